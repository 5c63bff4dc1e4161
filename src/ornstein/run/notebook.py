"""How a run shows itself in a notebook: one piece of HTML, no library, nothing from outside."""

from __future__ import annotations

import base64
import html
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ornstein.run.run import Run


def run_html(run: Run) -> str:
    """State, held-out loss over the steps and the last grid of a run, as HTML."""
    record = run.record
    head = (
        f"<b>{html.escape(run.name)}</b> {run.state}, step {record.get('step', 0):,} of "
        f"{record.get('steps', 0):,}, {record.get('seconds', 0):,.0f} s"
    )
    told = [(r["step"], r["loss"]) for r in run.log if r.get("loss") is not None]
    parts = [f"<p>{head}</p>", curve(told)]
    if run.grids:
        data = base64.b64encode(run.grids[-1].read_bytes()).decode()
        parts.append(
            f'<img alt="samples at {run.grids[-1].stem}" src="data:image/png;base64,{data}">'
        )
    return "<div>" + "".join(parts) + "</div>"


def curve(points: list[tuple[float, float]], width: int = 480, height: int = 120) -> str:
    """A line through ``points`` (step, loss) as inline SVG, averaged to at most 120 corners."""
    if len(points) < 2:
        return ""
    group = -(-len(points) // 120)
    chunks = [points[i : i + group] for i in range(0, len(points), group)]
    corners = [(c[-1][0], sum(y for _, y in c) / len(c)) for c in chunks]
    left, right = corners[0][0], corners[-1][0]
    low, high = min(y for _, y in corners), max(y for _, y in corners)
    line = " ".join(
        f"{8 + (x - left) / (right - left or 1) * (width - 16):.1f},"
        f"{height - 20 - (y - low) / (high - low or 1) * (height - 32):.1f}"
        for x, y in corners
    )
    return (
        f'<svg width="{width}" height="{height}" role="img" aria-label="loss over steps">'
        f'<polyline fill="none" stroke="#4477aa" stroke-width="1.5" points="{line}"/>'
        f'<text x="8" y="{height - 4}" font-size="11">loss {high:.3g} to {low:.3g}, '
        f"steps {left:,} to {right:,}</text></svg>"
    )
