"""JSON as any program reads it: what is no finite number is null."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from typing import Any


def dumps(
    value: object,
    *,
    indent: int | None = None,
    sort_keys: bool = False,
    ascii_only: bool = True,
    default: Callable[[Any], object] | None = None,
) -> str:
    """JSON text of a value; NaN and the infinities, which JSON does not know, are null.

    Args:
        value: What JSON knows, and floats of any kind.
        indent: Spaces of a level; None for one line.
        sort_keys: Whether names are in order.
        ascii_only: Whether other letters are written as escapes.
        default: What stands for a value of another type.
    """

    def text(value: object) -> str:
        return json.dumps(
            value, indent=indent, sort_keys=sort_keys, ensure_ascii=ascii_only, default=default,
            allow_nan=False,
        )  # fmt: skip

    try:
        return text(value)
    except ValueError:  # rare, so that usually nothing is walked through
        return text(_finite(value))


def _finite(value: object) -> object:
    if isinstance(value, dict):
        return {name: _finite(each) for name, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(each) for each in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
