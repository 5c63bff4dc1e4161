"""What a check found, and how it is told."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Finding:
    """The answer to one question.

    Attributes:
        good: Whether it is as it should be.
        text: What was found, for people.
        value: The number behind it, if there is one.
    """

    good: bool
    text: str
    value: float | None = None


@dataclass(frozen=True)
class Report:
    """All findings about one thing, by the name of their question; prints as a verdict."""

    name: str
    findings: Mapping[str, Finding]

    @property
    def good(self) -> bool:
        """Whether all is as it should be."""
        return all(finding.good for finding in self.findings.values())

    def __getitem__(self, question: str) -> Finding:
        return self.findings[question]

    def __str__(self) -> str:
        bad = sum(not finding.good for finding in self.findings.values())
        verdict = f"{bad} of {len(self.findings)} checks failed" if bad else "good"
        width = max(map(len, self.findings))
        rows = [
            f"  {' ' if finding.good else '!'} {question:{width}}  {finding.text}"
            for question, finding in self.findings.items()
        ]
        return "\n".join([f"{self.name}: {verdict}", *rows])


def report(name: str, questions: Mapping[str, Callable[[], Finding]]) -> Report:
    """Ask every question; one that raises is answered by its error."""
    return Report(name, {what: _answer(ask) for what, ask in questions.items()})


def _answer(ask: Callable[[], Finding]) -> Finding:
    try:
        return ask()
    except Exception as error:  # noqa: BLE001 - whatever is wrong in it is what was asked for
        return Finding(False, f"raised {type(error).__name__}: {error}")
