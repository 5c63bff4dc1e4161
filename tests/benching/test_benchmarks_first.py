"""The first picture from a cold start: what is told of known seconds, and real commands."""

from __future__ import annotations

from pathlib import Path

import pytest
from benchmarks import first
from benchmarks.first import Round, measure, table

from ornstein.errors import OrnsteinError, UsageError


def test_sampling_is_taken_off_before_the_ratio_of_each_round() -> None:
    rounds = [Round(2.0, 4.0, 1.0), Round(1.0, 4.0, 1.0), Round(4.0, 5.0, 1.0)]
    told = table(rounds)
    assert [r.ratio for r in rounds] == [1.5, 3.0, 1.0]
    assert "Without sampling: 1.50 (1.00–3.00) times torch's import." in told
    assert "| `import torch` | 2.0 (1.0–4.0) |" in told


def test_each_round_runs_both_and_the_first_of_each_is_not_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seconds = iter([9.0, 9.0, 2.0, 5.0, 1.0, 4.0])  # a pair that warms up, then two rounds
    ran = []

    def timed(command: list[str]) -> tuple[float, str]:
        ran.append("sample" if "sample" in command else "torch")
        return next(seconds), '{"seconds": 1.0}'

    monkeypatch.setattr(first, "timed", timed)
    told = measure(tmp_path / "model.safetensors", 2, lambda line: None)
    assert ran == ["torch", "sample"] * 3
    assert "2 rounds. Without sampling: 2.50 (2.00–3.00) times" in told


def test_a_command_that_fails_is_told_with_its_words(tmp_path: Path) -> None:
    with pytest.raises(OrnsteinError, match=r"none\.safetensors"):
        first.one_round(tmp_path / "none.safetensors")


def test_no_rounds_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="0 rounds"):
        measure(tmp_path, 0, lambda line: None)
