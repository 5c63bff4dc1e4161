"""Every coding of raw data, by the name it has in a model file."""

from __future__ import annotations

from typing import Any

from ornstein.data.coding import Coding, read_coding
from ornstein.data.series import Series
from ornstein.data.sound import Sound
from ornstein.data.tables.table import Table
from ornstein.errors import DataError

CODINGS: dict[str, type[Coding]] = {
    "channels": Coding,
    "table": Table,
    "sound": Sound,
    "series": Series,
}


def coding_from_json(fields: dict[str, Any]) -> Coding:
    """Coding from the dict of its ``to_json``; one without a name is that of channels.

    Raises:
        DataError: an unknown name, or a field that is missing or of the wrong type.
    """
    name = fields.get("coding", "channels")
    if not isinstance(name, str) or name not in CODINGS:
        raise DataError(f"the file has data of a coding '{str(name)[:40]}', unknown here.")
    return read_coding(CODINGS[name], fields)
