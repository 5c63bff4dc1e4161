"""A network as a drawing (SVG): its parts as cards, what each reads as lines.

Parts that x reaches stand in the order of their calls, one column each, and the lower the fewer
places their output has: a network that halves its arrays draws itself as a U. What is reached by
the noise and the conditions alone stands in a row below. Nothing here knows an architecture.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from ornstein.viz.anatomy import Anatomy, count_text
from ornstein.viz.svg import FAINT, INK, Point, box, line, page, text
from ornstein.viz.watch import Row

WIDE, TALL, CHIP = 128.0, 94.0, 30.0  # of a card; height of an input
GAP, LEVEL, EDGE, HEAD = 28.0, 158.0, 28.0, 104.0
FLOW, SKIP, TOLD, PALE = "#3b4a5e", "#dd8427", "#a3abb8", "#eef1f5"

# Colour of a card: by the first of these words in its kind.
COLOURS = {
    "attention": "#7a5cc2",
    "convolution": "#2f7fc1",
    "linear": "#2a9d76",
    "norm": "#7f8a9a",
    "embedding": "#c25c8a",
    "": "#3f6fb0",
}


class Place(NamedTuple):
    """Where a card stands: its upper left corner and its height."""

    x: float
    y: float
    tall: float = TALL

    @property
    def left(self) -> Point:
        """Middle of its left side."""
        return self.x, self.y + self.tall / 2

    @property
    def right(self) -> Point:
        """Middle of its right side."""
        return self.x + WIDE, self.y + self.tall / 2

    @property
    def top(self) -> Point:
        """Middle of its upper side."""
        return self.x + WIDE / 2, self.y

    @property
    def bottom(self) -> Point:
        """Middle of its lower side."""
        return self.x + WIDE / 2, self.y + self.tall

    @property
    def ear(self) -> Point:
        """Where it is told of the noise and the conditions: on its lower side, to the left."""
        return self.x + 24, self.y + self.tall


class Ways(NamedTuple):
    """The parts of a network by what reaches them, each in the order of their calls.

    Attributes:
        main: Parts that x reaches.
        side: Parts that only the noise and the conditions reach.
        long: Pairs of names: a part of the main way, and one further on than the next that reads
            it. With each, how many such lines lie within it on its level.
    """

    main: list[Row]
    side: list[Row]
    long: dict[tuple[str, str], int]


def diagram(anatomy: Anatomy, title: str, about: str) -> str:
    """Draw a network.

    Args:
        anatomy: Its parts.
        title: First line.
        about: Second line.

    Returns:
        The text of an SVG file.
    """
    levels = _levels(anatomy)
    ways = _ways(anatomy, levels)
    places = _layout(anatomy, ways, levels)
    most = max((row.flops for row in anatomy.rows), default=0)
    parts = [text((EDGE, 38), title, 19, bold=True), text((EDGE, 59), about, 12.5, FAINT)]
    parts += _legend(ways)
    parts += _lines(anatomy, ways, places)
    for row in anatomy.rows:
        parts += _card(row, places[row.name], most)
    for name, shape in anatomy.inputs.items():
        parts += _chip(name, shape, places[name])
    right = max(p.x for p in places.values()) + WIDE
    width = max(right, 640, 7 * max(len(title), len(about))) + EDGE
    height = max(p.y + p.tall for p in places.values()) + EDGE
    return page(width, height, title, parts)


def _levels(anatomy: Anatomy) -> dict[str, int]:
    """Parts that x reaches, and how often the array of each was halved, beside the largest."""
    reached = {"x"}
    main: list[Row] = []
    for row in anatomy.rows:
        if reached & set(row.reads):
            reached.add(row.name)
            main.append(row)
    axes = max(1, len(anatomy.inputs["x"]) - 1)
    most = max((row.places for row in main), default=1)
    return {row.name: round(math.log2(most / row.places) / axes) for row in main}


def _ways(anatomy: Anatomy, levels: dict[str, int]) -> Ways:
    main = [row for row in anatomy.rows if row.name in levels]
    order = {row.name: k for k, row in enumerate(main)}
    spans = [
        (source, row.name)
        for row in main
        for source in row.reads
        if source in order and order[row.name] > order[source] + 1
    ]
    long: dict[tuple[str, str], int] = {}
    for a, b in sorted(spans, key=lambda span: order[span[1]] - order[span[0]]):
        inside = [
            depth
            for (c, d), depth in long.items()
            if order[a] <= order[c] and order[d] <= order[b] and levels[c] == levels[a]
        ]
        long[a, b] = max(inside, default=-1) + 1
    return Ways(main, [row for row in anatomy.rows if row.name not in levels], long)


def _layout(anatomy: Anatomy, ways: Ways, levels: dict[str, int]) -> dict[str, Place]:
    """Where every card and every input stands."""
    start = EDGE + WIDE + GAP
    top = HEAD + 18 + 11 * max(ways.long.values(), default=-1)
    places = {
        row.name: Place(start + k * (WIDE + GAP), top + levels[row.name] * LEVEL)
        for k, row in enumerate(ways.main)
    }
    below = max((p.y for p in places.values()), default=top) + LEVEL
    at = start
    for row in ways.side:
        first = min((places[r.name].x for r in ways.main if row.name in r.reads), default=at)
        places[row.name] = Place(at if at == start else max(at, first), below)
        at = places[row.name].x + WIDE + GAP
    above = {name for row in ways.main for name in row.reads}
    for y, names in (
        (top, [name for name in anatomy.inputs if name in above]),
        (below, [name for name in anatomy.inputs if name not in above]),
    ):
        first_y = y + TALL / 2 - CHIP / 2 if len(names) == 1 else y
        for k, name in enumerate(names):
            places[name] = Place(EDGE, first_y + k * (CHIP + 8), CHIP)
    return places


def _lines(anatomy: Anatomy, ways: Ways, places: dict[str, Place]) -> Iterator[str]:
    """What each part reads: told things first, so that they lie under the others."""
    side = {row.name: 16 + 9 * k for k, row in enumerate(ways.side)}
    pairs = [(source, row.name) for row in anatomy.rows for source in row.reads]
    for a, b in pairs:
        p, q = places[a], places[b]
        if b in side:
            yield line(_level(p, q), TOLD, dashed=True)
        elif a in side:
            track = p.y - side[a]
            yield line([p.top, (p.top[0], track), (q.ear[0], track), q.ear], TOLD, dashed=True)
    for a, b in pairs:
        p, q = places[a], places[b]
        if (a, b) in ways.long:
            y = min(p.y, q.y) - 16 - 11 * ways.long[a, b]
            up, down = p.top[0] + 14, q.top[0] - 14
            yield line([(up, p.y), (up, y), (down, y), (down, q.y)], SKIP, wide=2)
        elif a not in side and b not in side:
            yield line(_next(p, q), FLOW)


def _level(p: Place, q: Place) -> Sequence[Point]:
    """From one card's right to the left of another, in the gap before it up or down."""
    turn = q.x - GAP / 2
    return [p.right, (turn, p.right[1]), (turn, q.left[1]), q.left]


def _next(p: Place, q: Place) -> Sequence[Point]:
    """From one card to the next: along a level, down to its left or up to its lower side."""
    if q.y >= p.y + TALL:
        return [p.bottom, (p.bottom[0], q.left[1]), q.left]
    if q.y + TALL <= p.y:
        return [p.right, (q.bottom[0], p.right[1]), q.bottom]
    return _level(p, q)


def _card(row: Row, place: Place, most: int) -> Iterator[str]:
    """A part: its name, what it is, the shape it makes and what it costs."""
    colour = next(c for word, c in COLOURS.items() if word in row.kind.lower())
    x, y = place.x, place.y
    yield box((x, y), WIDE, TALL, "#ffffff", edge=colour)
    yield (
        f'<path d="M{x} {y + 22} v-15 a7 7 0 0 1 7 -7 h{WIDE - 14} a7 7 0 0 1 7 7 v15 z" '
        f'fill="{colour}"/>'
    )
    yield text((x + 9, y + 15.5), row.name, 11.5, "#ffffff", bold=True)
    yield text((x + 9, y + 38), "\u00d7".join(map(str, row.shape)), 12, bold=True)
    yield text((x + 9, y + 53), row.kind.replace("convolution", "conv"), 10)
    yield text((x + 9, y + 66.5), f"{count_text(row.parameters).strip()} weights", 9, FAINT)
    if row.flops:
        yield text((x + 9, y + 78.5), f"{count_text(row.flops)}FLOP", 9, FAINT)
    yield box((x + 9, y + TALL - 9), WIDE - 18, 3, PALE, round_=1.5)
    if most:
        yield box((x + 9, y + TALL - 9), (WIDE - 18) * row.flops / most, 3, colour, round_=1.5)


def _chip(name: str, shape: Sequence[int], place: Place) -> Iterator[str]:
    """An input: its name and shape."""
    yield box((place.x, place.y), WIDE, CHIP, PALE, edge="#c3cad4", round_=CHIP / 2)
    said = f"{name}  " + "\u00d7".join(map(str, shape)) if shape else name
    yield text((place.top[0], place.y + 19.5), said, 11.5, INK, anchor="middle")


def _legend(ways: Ways) -> Iterator[str]:
    """What the lines and the bars mean."""
    y, x = 80.0, EDGE
    meanings = [("what flows from x", FLOW, False), ("skip", SKIP, False)][: 1 + bool(ways.long)]
    for words, colour, dashed in [*meanings, ("what tells the noise and conditions", TOLD, True)]:
        yield line([(x, y), (x + 26, y)], colour, dashed=dashed)
        yield text((x + 33, y + 3.5), words, 10.5, FAINT)
        x += 33 + 5.6 * len(words) + 22
    yield box((x, y - 1.5), 26, 3, FAINT, round_=1.5)
    yield text((x + 33, y + 3.5), "share of the operations, beside the dearest part", 10.5, FAINT)
