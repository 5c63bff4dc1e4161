"""What guidance trades: fidelity against diversity, scale by scale."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from ornstein.errors import UsageError
from ornstein.viz.schedule import dress, new_figure


class Scale(NamedTuple):
    """Samples at one scale of guidance.

    Attributes:
        scale: Of the guidance; 1 is off.
        precision: Share of samples that lie where real items lie.
        recall: Share of real items that lie where samples lie.
        frechet: Fréchet distance to the training data.
        matched: The same of as many samples as there are real items to stand beside them.
        accuracy: Share of samples taken for the class asked for; None without classes.
    """

    scale: float
    precision: float
    recall: float
    frechet: float
    matched: float
    accuracy: float | None = None


def draw_tradeoff(
    found: Sequence[Scale], real: Scale, path: str | Path, few: int | None = None
) -> Path:
    """Draw recall against precision along the scales, and distance and accuracy over them.

    Args:
        found: One for each scale.
        real: The same numbers of real items; its scale does not count.
        path: Where to write; the suffix names the format (.png, .svg, .pdf).
        few: Real items, where they are fewer than samples. Fewer items lie farther, so the
            distance of as few samples is drawn too.

    Raises:
        UsageError: matplotlib is not installed, or there is nothing to draw.
    """
    if not found:
        raise UsageError("name at least one scale of guidance to draw.")
    found = sorted(found)
    known = [one for one in found if one.accuracy is not None]
    figure = new_figure((12.5 if known else 8.6, 4.0))
    panels = figure.subplots(1, 3 if known else 2)
    curve, distance = panels[0], panels[1]
    curve.plot([one.recall for one in found], [one.precision for one in found], "o-", ms=4)
    curve.plot([real.recall], [real.precision], "*", ms=11, color="tab:green")
    for one in found:
        curve.annotate(
            f"{one.scale:g}",
            (one.recall, one.precision),
            textcoords="offset points",
            xytext=(5, 5),
            fontsize=8,
        )
    dress(
        curve,
        "fidelity and diversity (star: real items)",
        "recall: how much of the data is covered",
    )
    curve.set_ylabel("precision: how many look real", fontsize=8)
    scales = [one.scale for one in found]
    distance.plot(scales, [one.frechet for one in found], "o-", ms=4, label="all samples")
    distance.axhline(real.frechet, color="tab:green", linewidth=1, linestyle="--")
    if few is not None:
        as_few, words = [one.matched for one in found], f"{few:,} samples, as many as real items"
        distance.plot(scales, as_few, "o:", ms=3, color="tab:green", label=words)
        distance.legend(frameon=False, fontsize=8)
    distance.set_ylim(bottom=0)
    dress(distance, "Fréchet distance to the data (dashed: real items)", "scale of guidance")
    if known:
        panels[2].plot([one.scale for one in known], [one.accuracy for one in known], "o-", ms=4)
        if real.accuracy is not None:
            panels[2].axhline(real.accuracy, color="tab:green", linewidth=1, linestyle="--")
        dress(panels[2], "taken for the class asked for (dashed: real items)", "scale of guidance")
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=120)
    return path
