"""Texts, boxes and lines of a drawing (SVG)."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

Point = tuple[float, float]

PAPER, INK, FAINT = "#ffffff", "#1f2733", "#66707f"
FONT = 'font-family="Helvetica, Arial, sans-serif"'
_BEND = 9.0  # radius of the corners of a line


def page(width: float, height: float, title: str, parts: Sequence[str]) -> str:
    """A whole file that shows ``parts`` on paper."""
    size = f'viewBox="0 0 {width:.0f} {height:.0f}" width="{width:.0f}" height="{height:.0f}"'
    return "\n".join([
        f'<svg xmlns="http://www.w3.org/2000/svg" {size} role="img" {FONT}>',
        f"<title>{escape(title)}</title>",
        f'<rect width="100%" height="100%" fill="{PAPER}"/>',
        *parts,
        "</svg>\n",
    ])  # fmt: skip


def text(
    at: Point, words: str, size: float, colour: str = INK, *, bold: bool = False, anchor: str = ""
) -> str:
    """One line of text whose baseline begins at a point, or is centred there (anchor "middle")."""
    style = ' font-weight="bold"' if bold else ""
    style += f' text-anchor="{anchor}"' if anchor else ""
    place = f'x="{at[0]:.1f}" y="{at[1]:.1f}"'
    return f'<text {place} font-size="{size:g}" fill="{colour}"{style}>{escape(words)}</text>'


def box(
    corner: Point, wide: float, tall: float, fill: str, *, edge: str = "none", round_: float = 7
) -> str:
    """A rectangle with round corners."""
    return (
        f'<rect x="{corner[0]:.1f}" y="{corner[1]:.1f}" width="{wide:.1f}" height="{tall:.1f}" '
        f'rx="{round_:g}" fill="{fill}" stroke="{edge}"/>'
    )


def line(points: Sequence[Point], colour: str, *, wide: float = 1.6, dashed: bool = False) -> str:
    """A line through points with round corners, and an arrow's head at its end."""
    first, *inner, last = points
    path = [f"M{first[0]:.1f} {first[1]:.1f}"]
    for before, here, after in zip(points, inner, points[2:], strict=False):
        start, end = _towards(here, before), _towards(here, after)
        path.append(f"L{start[0]:.1f} {start[1]:.1f}")
        path.append(f"Q{here[0]:.1f} {here[1]:.1f} {end[0]:.1f} {end[1]:.1f}")
    path.append(f"L{last[0]:.1f} {last[1]:.1f}")
    dash = ' stroke-dasharray="3 3"' if dashed else ""
    drawn = f'<path d="{" ".join(path)}" fill="none" stroke="{colour}" stroke-width="{wide:g}"'
    return f"{drawn}{dash}/>" + _head(points[-2], last, colour)


def _towards(here: Point, there: Point) -> Point:
    """The point a bend's radius away from a corner, but not past the middle of the way."""
    away = max(abs(there[0] - here[0]), abs(there[1] - here[1]))
    share = min(_BEND, away / 2) / away if away else 0.0
    return here[0] + share * (there[0] - here[0]), here[1] + share * (there[1] - here[1])


def _head(before: Point, tip: Point, colour: str) -> str:
    """A small triangle that points along the last, upright or level, piece of a line."""
    x, y = ((b > a) - (b < a) for a, b in zip(before, tip, strict=True))
    corners = [
        tip,
        (tip[0] - 7 * x - 3.5 * y, tip[1] - 7 * y - 3.5 * x),
        (tip[0] - 7 * x + 3.5 * y, tip[1] - 7 * y + 3.5 * x),
    ]
    path = " ".join(f"{a:.1f},{b:.1f}" for a, b in corners)
    return f'<polygon points="{path}" fill="{colour}"/>'
