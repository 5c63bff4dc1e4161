"""Checks for a solver, process or target of one's own, against laws that are known exactly.

    from ornstein.testing import check_solver
    print(check_solver(MySolver()))

Each check returns a report, which prints as a plain verdict, and raises nothing itself: what goes
wrong inside is a finding of the report.
"""

from ornstein.testing.affine import Law, draws_of, law_after
from ornstein.testing.process import check_process
from ornstein.testing.report import Finding, Report
from ornstein.testing.solver import check_solver, measure_order
from ornstein.testing.target import check_target

__all__ = [
    "Finding",
    "Law",
    "Report",
    "check_process",
    "check_solver",
    "check_target",
    "draws_of",
    "law_after",
    "measure_order",
]
