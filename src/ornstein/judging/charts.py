"""Small charts as inline SVG, in the colours of the page they stand in."""

from __future__ import annotations

import html
import math
from collections.abc import Sequence

import numpy as np


def svg(width: int, height: int, body: str, label: str) -> str:
    """Wrap drawn parts; the picture shrinks with a narrow page."""
    return (
        f'<svg viewBox="0 0 {width} {height}" role="img" aria-label="{html.escape(label)}" '
        f'style="max-width:{width}px">{body}</svg>'
    )


def text(x: float, y: float, words: str, anchor: str = "middle") -> str:
    """A small text."""
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{html.escape(words)}</text>'


def gauge(
    value: float, interval: tuple[float, float], floor: float, matched: float | None = None
) -> str:
    """A number on a line from 0: its interval as a bar, and a mark where real data are.

    A ring is the number of as many samples as there are real data.
    """
    width, high = 150, 1.08 * max(value, floor, matched or 0.0, *interval, 1e-12)

    def place(v: float) -> float:
        return 4 + (width - 8) * min(max(v / high, 0.0), 1.0)

    low, top = interval
    wide = max(2.0, place(top) - place(low))
    parts = [
        f'<line class="track" x1="4" x2="{width - 4}" y1="9" y2="9"/>',
        f'<rect class="bar" x="{place(low):.1f}" y="6" rx="3" height="6" width="{wide:.1f}"/>',
        f'<circle class="dot" cx="{place(value):.1f}" cy="9" r="4"/>',
        f'<line class="mark" x1="{place(floor):.1f}" x2="{place(floor):.1f}" y1="1" y2="17"/>',
    ]
    if matched is not None:
        parts.append(f'<circle class="ring" cx="{place(matched):.1f}" cy="9" r="3.5"/>')
    return svg(width, 18, "".join(parts), f"{value:.4g}, real data {floor:.4g}")


def shares(names: Sequence[str], sets: dict[str, Sequence[float]]) -> str:
    """Bars of shares side by side: one group for each class, one bar for each set.

    The axis of shares is at their left, with a line across at each number.
    """
    ticks = round_shares(max(max(values) for values in sets.values()))
    wide = max(16, min(54, 680 // len(names)))
    left, top, height, foot = 44, 8, 130, 30
    width, base = left + wide * len(names), top + height
    parts = []
    for tick in ticks:
        y = base - height * tick / ticks[-1]
        parts.append(
            f'<line class="grid" x1="{left}" x2="{width}" y1="{y:.1f}" y2="{y:.1f}"/>'
            + text(left - 6, y + 4, f"{100 * tick:g} %", "end")
        )
    for c, name in enumerate(names):
        for k, values in enumerate(sets.values()):
            bar = (wide - 8) / len(sets)
            tall = height * values[c] / ticks[-1]
            parts.append(
                f'<rect class="set{k}" x="{left + c * wide + 4 + k * bar:.1f}" '
                f'width="{bar - 1:.1f}" y="{base - tall:.1f}" height="{tall:.1f}"/>'
            )
        letters = max(2, wide // 7)
        shown = name if len(name) <= letters else name[: letters - 1] + "…"
        parts.append(text(left + c * wide + wide / 2, base + 15, shown))
    drawn = svg(width, top + height + foot, "".join(parts), "shares of the classes")
    return drawn + legend(list(sets), "set")


def round_shares(most: float) -> list[float]:
    """Round numbers, evenly from 0 to the first that is not below ``most``; five at most."""
    most = most or 1.0
    power = 10.0 ** math.floor(math.log10(most / 4))
    step = next(k * power for k in (1, 2, 5, 10) if 4 * k * power >= most * (1 - 1e-9))
    return [k * step for k in range(math.ceil(most / step * (1 - 1e-9)) + 1)]


def histogram(sets: dict[str, np.ndarray], threshold: float, words: str) -> str:
    """Two sets of numbers over one axis, and a line where a copy begins."""
    width, height = 520, 130
    whole = np.concatenate(list(sets.values()))
    high = float(np.quantile(whole, 0.999)) * 1.05 or 1.0
    edges = np.linspace(0, high, 49)
    parts, most = [], 0.0
    bars = []
    for values in sets.values():
        counts, _ = np.histogram(np.clip(values, 0, high), edges)
        bars.append(counts / max(1, len(values)))
        most = max(most, float(bars[-1].max()))
    for k, heights in enumerate(bars):
        steps = [f"0,{height}"]
        for i, tall in enumerate(heights):
            y = height - tall / (most or 1) * (height - 8)
            steps += [f"{i * width / 48:.1f},{y:.1f}", f"{(i + 1) * width / 48:.1f},{y:.1f}"]
        steps.append(f"{width},{height}")
        parts.append(f'<polygon class="area{k}" points="{" ".join(steps)}"/>')
    at = min(threshold / high, 1.0) * width
    parts += [
        f'<line class="mark" x1="{at:.1f}" x2="{at:.1f}" y1="0" y2="{height}"/>',
        f'<line class="track" x1="0" x2="{width}" y1="{height}" y2="{height}"/>',
        text(0, height + 14, "0", "start"),
        text(width / 2, height + 14, words),
        text(width, height + 14, f"{high:.3g}", "end"),
    ]
    drawn = svg(width, height + 20, "".join(parts), words)
    return drawn + legend(list(sets), "area", "copied if left of the line")


def curve(points: Sequence[tuple[float, float]], words: str, dots: bool = False) -> str:
    """A line through (step, value), smoothed to at most 160 corners, from the least to most."""
    if len(points) < 2:
        return ""
    group = -(-len(points) // 160)
    chunks = [points[i : i + group] for i in range(0, len(points), group)]
    corners = np.array([np.mean(chunk, axis=0) for chunk in chunks])
    width, height, left = 520, 150, 44
    low, high = corners.min(0), corners.max(0)
    span = np.where(high > low, high - low, 1.0)
    at = (corners - low) / span * [width - left - 10, -(height - 20)] + [left, height - 10]
    line = " ".join(f"{x:.1f},{y:.1f}" for x, y in at)
    parts = [
        f'<line class="track" x1="{left}" x2="{width}" y1="{height}" y2="{height}"/>',
        f'<polyline class="line" points="{line}"/>',
        text(left - 6, 14, f"{high[1]:.3g}", "end"),
        text(left - 6, height - 6, f"{low[1]:.3g}", "end"),
        text(left, height + 15, f"{low[0]:,.0f}", "start"),
        text((left + width) / 2, height + 15, words),
        text(width, height + 15, f"{high[0]:,.0f}", "end"),
    ]
    if dots:
        parts += [f'<circle class="dot" cx="{x:.1f}" cy="{y:.1f}" r="3.5"/>' for x, y in at]
    return svg(width, height + 20, "".join(parts), words)


def legend(names: Sequence[str], kind: str, mark: str = "") -> str:
    """The colours of the sets, and what the line means."""
    keys = [f'<span><i class="{kind}{k}"></i>{html.escape(n)}</span>' for k, n in enumerate(names)]
    keys += [f'<span><i class="upright"></i>{html.escape(mark)}</span>'] if mark else []
    return f'<p class="legend">{"".join(keys)}</p>'
