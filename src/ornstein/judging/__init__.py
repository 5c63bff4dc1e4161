"""Judge a trained model: make samples within a budget, measure them, keep and show the numbers."""

from ornstein.judging.affording import Plan, plan
from ornstein.judging.board import Board, Standing, board
from ornstein.judging.making import samples_of
from ornstein.judging.measuring import Measured, compare_ways, measure
from ornstein.judging.records import measurements, record

__all__ = [
    "Board",
    "Measured",
    "Plan",
    "Standing",
    "board",
    "compare_ways",
    "measure",
    "measurements",
    "plan",
    "record",
    "samples_of",
]
