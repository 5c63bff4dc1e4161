"""What is wrong? Measured checks of data, a training or a model, each with the way to mend it."""

from ornstein.doctor.examine import CHECKS, Answer, examine
from ornstein.doctor.patient import Finding, Patient, admit

__all__ = ["CHECKS", "Answer", "Finding", "Patient", "admit", "examine"]
