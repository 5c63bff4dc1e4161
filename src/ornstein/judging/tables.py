"""What is said besides of made rows of a table: the usual checks of the field."""

from __future__ import annotations

from importlib.util import find_spec
from typing import Any

import numpy as np

from ornstein.data import Dataset
from ornstein.data.tables import Table
from ornstein.evaluate.rows import closest, detection
from ornstein.evaluate.tables import Schema, associations, marginals

SHOWN = 12  # columns that are told one by one, the worst first


def checks(data: Dataset, made: np.ndarray) -> dict[str, Any]:
    """Columns, pairs, detection and closest records of made rows, real rows as the floor.

    Args:
        data: The real rows, raw.
        made: The made ones, raw.
    """
    coding = data.coding
    assert isinstance(coding, Table)
    keep = coding.learned
    schema = Schema(tuple(coding.captions[k] for k in keep), tuple(coding.words[k] for k in keep))
    train, held, new = (
        rows[:, keep] for rows in (data.raw(data.train), data.raw(data.heldout), made)
    )
    found: dict[str, Any] = {"made": _figures(train, new, schema)}
    found["columns"] = [column._asdict() for column in marginals(train, new, schema)]
    if len(held):
        # Few rows are far from many by chance alone, so the floor has as many made rows beside it.
        found["even"] = _figures(train, new[: len(held)], schema)
        found["floor"] = _figures(train, held, schema)
        found["rows"] = [len(new), min(len(new), len(held)), len(held)]
        found["closest"] = closest(train, held, new, schema)._asdict()
    return found


def _figures(train: np.ndarray, other: np.ndarray, schema: Schema) -> dict[str, float | None]:
    columns, pairs = marginals(train, other, schema), associations(train, other, schema)
    return {
        "columns": float(np.mean([column.distance for column in columns])),
        "pairs": float(np.mean([abs(p.real - p.made) for p in pairs])) if pairs else 0.0,
        "missing": max(abs(column.missing) for column in columns),
        "detection": detection(train, other, schema) if _can_detect(train, other) else None,
    }


def _can_detect(train: np.ndarray, other: np.ndarray) -> bool:
    """Whether scikit-learn is here, and rows enough for its folds."""
    return find_spec("sklearn") is not None and min(len(train), len(other)) >= 50


def lines(found: dict[str, Any]) -> list[str]:
    """The same for people: each figure beside that of held-out rows."""
    titles = {
        "columns": "distance of a column (KS, TV), mean",
        "pairs": "difference of associations, mean",
        "missing": "share of missing cells, worst off",
        "detection": "told from real rows (AUC, 0.5 best)",
    }
    parts = [found["made"], found.get("even", {}), found.get("floor", {})]
    counts = found.get("rows", ["all"])
    heads = [
        f"{what} ({n})" for what, n in zip(("made", "made", "held out"), counts, strict=False)
    ]
    out = [f"{'table':36}" + "".join(f"{head:>16}" for head in heads)]
    for name, title in titles.items():
        cells = [_text(part.get(name)) for part in parts]
        out.append((f"{title:36}" + "".join(f"{cell:>16}" for cell in cells)).rstrip())
    if near := found.get("closest"):
        out.append(
            f"{'copies of training rows':36}{near['copies']:>16.1%}{near['control']:>32.1%}"
            " of training rows among themselves"
        )
        out.append(f"{'nearer to training than to held out':36}{near['closer']:>16.1%}{'50%':>32}")
    worst = sorted(found["columns"], key=lambda column: -column["distance"])[:SHOWN]
    out.append("columns    " + ", ".join(f"{c['name']} {c['distance']:.3f}" for c in worst))
    return out


def _text(value: float | None) -> str:
    return "" if value is None else f"{value:.3f}"
