"""What is wrong? Measured checks of data, a training or a model, each with the way to mend it.

And what the machine is that they run on.
"""

from ornstein.doctor.examine import CHECKS, Answer, examine
from ornstein.doctor.machine import machine
from ornstein.doctor.patient import Finding, Patient, admit

__all__ = ["CHECKS", "Answer", "Finding", "Patient", "admit", "examine", "machine"]
