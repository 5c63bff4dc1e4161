"""C8: the curve of fidelity against diversity."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from PIL import Image

from ornstein.errors import UsageError
from ornstein.viz import tradeoff
from ornstein.viz.compared import Panel, draw_comparison
from ornstein.viz.schedule import new_figure
from ornstein.viz.tradeoff import Scale, draw_tradeoff

if TYPE_CHECKING:
    from matplotlib.figure import Figure

REAL = Scale(0.0, 0.9, 0.9, 1.0, 1.0, 0.95)


def test_the_curve_goes_from_scale_to_scale_in_order(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    found = [Scale(s, 0.5 + s / 20, 0.9 - s / 20, s, s, 0.6 + s / 20) for s in (1.0, 2.0, 4.0)]
    pictures = [
        np.asarray(Image.open(draw_tradeoff(order, REAL, tmp_path / f"{k}.png")))
        for k, order in enumerate((found, [found[k] for k in (1, 2, 0)]))
    ]
    assert np.array_equal(*pictures)
    wide = pictures[0].shape[1]
    unlabelled = [one._replace(accuracy=None) for one in found]
    narrow = Image.open(draw_tradeoff(unlabelled, REAL, tmp_path / "two.png")).width
    assert narrow < 0.8 * wide  # nothing to say of classes, so no panel for them


@pytest.mark.parametrize("few", [None, 90])
def test_beside_fewer_real_items_stands_the_distance_of_as_few_samples(
    few: int | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("matplotlib")
    figures = []

    def kept(size: tuple[float, float]) -> Figure:
        figures.append(new_figure(size))
        return figures[0]

    monkeypatch.setattr(tradeoff, "new_figure", kept)
    found = [Scale(s, 0.5, 0.5, s, 3 + s) for s in (1.0, 2.0)]
    draw_tradeoff(found, REAL, tmp_path / "drawn.png", few)
    lines = [list(line.get_ydata()) for line in figures[0].axes[1].lines]
    assert ([4.0, 5.0] in lines) is (few is not None)
    assert [1.0, 2.0] in lines
    assert [1.0, 1.0] in lines  # real items


def test_nothing_to_draw_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="at least one scale"):
        draw_tradeoff([], REAL, tmp_path / "none.png")


def test_a_comparison_of_one_number_is_drawn_too(tmp_path: Path) -> None:
    sheets = {"real": Image.new("RGB", (8, 8))}
    path = draw_comparison(sheets, [Panel("recall", {"gan": [0.5]}, 0.9)], tmp_path / "one.png")
    assert Image.open(path).width > 1000
