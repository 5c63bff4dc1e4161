"""What is said about a folder of pictures: notes, classes, files left out."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from itertools import takewhile

import numpy as np

from ornstein.data.listing import Listing
from ornstein.data.moments import usual
from ornstein.data.pixels import Range, Size
from ornstein.data.walk import shown

TOP = "(top)"
# Folders of these names are parts of a split, where there is one of each kind and no other.
LEARNED = {"train", "training"}
HELD = {"test", "testing", "val", "valid", "validation"}
DIM = 64  # of 255: deep files whose values all are at most this use a quarter of their range
DEEP = "mode = 'F' OR mode GLOB 'I*'"
# Which pictures a note counts, and what it says of them.
NOTED = {
    "rotated": "turned upright by EXIF",
    "animated": "animated: only the first frame is used",
    "mode IN ('RGBA', 'LA', 'PA', 'La', 'RGBa')": "put on white",
    "mode = 'CMYK'": "converted from CMYK",
    DEEP: "scaled from deep grey to 8 bits",
    "height * {width} != width * {height}": "cropped at the centre to fit the shape",
    "height < {height} OR width < {width}": "enlarged",
}


def notes_of(
    listing: Listing, target: Size, asked: Size | None, brightest: int = 255
) -> list[str]:
    """What was done to the pictures whose headers were looked at, a sentence each."""
    low, high = listing.ask(
        "SELECT min(min(height, width)), max(max(height, width)) FROM looked"
    ).fetchone()
    middle = "x".join(str(int(median(listing, side))) for side in ("width", "height"))
    chosen = "" if asked else ", chosen from the pictures; size= changes it"
    modes = listing.ask("SELECT mode, count(*) FROM looked GROUP BY mode ORDER BY 2 DESC, 1")
    notes = [
        f"Sizes {low}-{high} px, median {middle}; brought to {target[1]}x{target[0]}{chosen}.",
        "Modes: " + ", ".join(f"{mode} {count:,}" for mode, count in modes) + ".",
    ]
    sums = ", ".join(f"sum({which})" for which in NOTED).format(height=target[0], width=target[1])
    counts = listing.ask(f"SELECT {sums} FROM looked").fetchone()  # noqa: S608 - words of ours
    done = dict(zip(NOTED, counts, strict=True))
    notes += [f"{count:,} {NOTED[which]}." for which, count in done.items() if count]
    if done[DEEP] and brightest <= DIM:
        notes.append(
            f"The brightest value is {brightest} of 255: deep files that hold 12 bits or so keep "
            f"few levels; multiply their values by {255 // max(1, brightest)} before training."
        )
    return notes


def spanned(extents: Iterable[Range | None]) -> tuple[Range | None, list[str]]:
    """The one range of all pictures whose formats leave it open, as arrays have it, and a note.

    Args:
        extents: Least and greatest value of each; None for one that has a range by its format.
    """
    low, high, count = math.inf, -math.inf, 0
    for extent in extents:
        if extent is not None:
            low, high, count = min(low, extent[0]), max(high, extent[1]), count + 1
    if not count:
        return None, []
    black, white = usual(low, high)
    note = (
        f"{count:,} of real numbers or 32 bits: {black:.6g} is black and {white:.6g} is white in "
        "all of them; an .npy keeps the numbers themselves."
    )
    return (black, white), [note]


def median(listing: Listing, value: str) -> float:
    """Median of a value, such as a column, over the pictures looked at."""
    count = listing.one("SELECT count(*) FROM looked")
    query = f"SELECT {value} AS v FROM looked ORDER BY v LIMIT ? OFFSET ?"  # noqa: S608 - ours
    middle = listing.ask(query, 2 - count % 2, (count - 1) // 2)
    return float(np.mean([v for (v,) in middle]))


def classes_of(paths: Sequence[bytes]) -> tuple[np.ndarray | None, tuple[str, ...], list[str]]:
    """Label of each picture, class names, and a note where labels were not made.

    Below folders such as train and test, those in them are the classes; what lies beside these
    says none, -1.
    """
    index, found = _folders(paths, _shared(paths))
    split = _are_parts(found)
    if split:
        index, found = _folders(paths, _shared(paths) + 1)
    names = sorted(set(found) - ({TOP} if split else set()))
    if len(names) < 2:
        return None, (), []
    if len(names) * 2 > len(paths):
        return None, (), [f"{len(names):,} sub-folders hold {len(paths):,} pictures: no classes."]
    place = {name: k for k, name in enumerate(names)}
    return np.array([place.get(name, -1) for name in found])[index], tuple(names), []


def heldout_of(paths: Sequence[bytes]) -> tuple[np.ndarray | None, list[str]]:
    """What lies in folders such as test, beside one such as train, and a note; None without."""
    index, found = _folders(paths, _shared(paths))
    if not _are_parts(found):
        return None, []
    held = [k for k, name in enumerate(found) if name.lower() in HELD]
    listed = ", ".join(f"'{found[k]}'" for k in held)
    return np.flatnonzero(np.isin(index, held)), [f"Held out is what lies in {listed}."]


def _are_parts(folders: Sequence[str]) -> bool:
    """Whether folders are a split that somebody made, and no classes."""
    names = {name.lower() for name in folders}
    return names <= {*LEARNED, *HELD} and bool(names & LEARNED) and bool(names & HELD)


def _shared(paths: Sequence[bytes]) -> int:
    """How many folders all paths begin with; they are sorted, so first and last tell."""
    ends = zip(*(path.split(b"/")[:-1] for path in (paths[0], paths[-1])), strict=False)
    return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], ends))


def _folders(paths: Sequence[bytes], skipped: int) -> tuple[np.ndarray, list[str]]:
    """Which folder each path lies in below the first ones, and their names as they come."""
    found: dict[str, int] = {}
    firsts = (_first(path, skipped) for path in paths)
    index = np.fromiter(
        (found.setdefault(name, len(found)) for name in firsts), np.int64, len(paths)
    )
    return index, list(found)


def _first(path: bytes, skipped: int) -> str:
    """Name of the class: of the first folder of a path that not all others share."""
    parts = path.split(b"/", skipped + 1)
    return shown(parts[skipped]) if len(parts) > skipped + 1 else TOP


def many(count: int, what: str) -> str:
    """Such as "3 pictures" and "1 picture"; ``what`` is said of many."""
    return f"{count:,} {what if count != 1 else what.removesuffix('s')}"


def tally(reasons: Iterable[str]) -> str:
    """Reasons counted, the most frequent first: "9 truncated, 4 not a picture"."""
    counted = Counter(reason.split(" (")[0] for reason in reasons)
    ordered = sorted(counted.items(), key=lambda pair: (-pair[1], pair[0]))
    return ", ".join(f"{count:,} {reason}" for reason, count in ordered)
