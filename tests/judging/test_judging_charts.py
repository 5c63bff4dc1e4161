"""The charts of a report, read back as a browser draws them."""

from __future__ import annotations

import re

import numpy as np
import pytest

from ornstein.judging.charts import round_shares, shares

SETS = {"asked for": [0.5, 0.25, 0.25], "taken for": [0.1, 0.37, 0.53]}


def places(drawn: str) -> dict[float, float]:
    """Share to height on the page of each number at the axis: that of the line across at it."""
    lines = [float(y) for y in re.findall(r'<line class="grid"[^>]* y1="([\d.]+)"', drawn)]
    words = re.findall(r'text-anchor="end">([\d.e-]+) %<', drawn)
    return dict(zip((float(word) / 100 for word in words), lines, strict=True))


def test_the_shares_of_classes_can_be_read_off_the_axis_at_their_left() -> None:
    drawn = shares(["a", "b", "c"], SETS)
    axis = places(drawn)
    found = re.findall(r'<rect class="set\d"[^>]* y="([\d.]+)"', drawn)
    read = np.interp([-float(y) for y in found], *zip(*sorted((-y, s) for s, y in axis.items()),
                                                      strict=True))  # fmt: skip
    truth = [SETS[name][k] for k in range(3) for name in SETS]
    assert read == pytest.approx(truth, abs=0.005)  # a tenth of a pixel of 130
    left = min(float(x) for x in re.findall(r'<rect class="set\d" x="([\d.]+)"', drawn))
    ends = [float(x) for x in re.findall(r'<text x="([\d.]+)"[^>]*text-anchor="end"', drawn)]
    assert max(ends) < left


@pytest.mark.parametrize("most", [0.0, 1e-4, 0.003, 0.0199, 0.12, 0.3, 0.4, 0.41, 0.6, 0.999, 1.0])
def test_an_axis_has_a_few_round_numbers_that_hold_all(most: float) -> None:
    ticks = round_shares(most)
    assert ticks[0] == 0
    assert ticks[-2] < (most or 1.0) * (1 + 1e-6) <= ticks[-1] * (1 + 2e-6)
    assert 3 <= len(ticks) <= 5
    assert f"{100 * ticks[1]:g}".strip("0.").split("e")[0] in ("1", "2", "5")


def test_shares_of_nothing_are_drawn() -> None:
    assert "100 %" in shares(["a"], {"taken for": [0.0]})
