"""Which combinations a thinned table runs, so that it grows by rows and not by products."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import product


def in_turn(*tables: Iterable[str], period: int) -> list[tuple[str, ...]]:
    """One diagonal in ``period`` of the product of the tables.

    With a prime period, what is fixed by all tables but one is met by every ``period``-th entry of
    that one; so nothing is left out where a table is longer than that.
    """
    places: list[Sequence[tuple[int, str]]] = [list(enumerate(table)) for table in tables]
    return [
        tuple(entry for _, entry in chosen)
        for chosen in product(*places)
        if sum(k * place for k, (place, _) in enumerate(chosen, 1)) % period == 0
    ]
