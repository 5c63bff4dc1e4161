"""``ornstein edit RUN GAPS.csv``: the empty cells of a table, or the NaNs of arrays, filled."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ornstein import jsons

if TYPE_CHECKING:
    from ornstein.bundle import Bundle
    from ornstein.displays import Count
    from ornstein.editing import Ask, Imputed

TABLES = (".csv", ".tsv")


def fill(bundle: Bundle, path: Path, ask: Ask, folder: Path, as_json: bool, quiet: bool) -> None:
    """Fill the gaps of a file ``ask.n`` times and write as many files like it.

    Raises:
        UsageError: the file is of another kind than the model's data, or has no gaps.
        DataError: a column or a value that the model does not know.
    """
    from ornstein.displays import Count
    from ornstein.editing import settled

    ask = settled(bundle, ask)
    with Count("filling", shown=not as_json and not quiet) as counted:
        done, files = _way(bundle, path)(bundle, path, ask, counted)
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        (folder / name).write_bytes(content)
    places = [str(folder / name) for name in files]
    facts = {
        "items": len(done.gaps),
        "filled": int(done.gaps.sum()),
        "versions": ask.n,
        "method": ask.method,
        "seconds": round(done.seconds, 3),
    }
    if as_json:
        click.echo(jsons.dumps({**facts, "files": places}))
    elif not quiet:
        noun = bundle.coding.noun
        click.echo(
            f"filled     {facts['filled']:,} gaps of {len(done.gaps):,} {noun}, {ask.n} times, by "
            f"{ask.method}, {done.seconds:.1f} s; what was there is as it was"
        )
        for place in places:
            click.echo(f"items      {place}")


def many(path: Path, bundle: Bundle) -> bool:
    """Whether a file holds a batch of items, as every table does, and not a single one.

    Raises:
        DataError: an .npy holds no numbers.
    """
    from ornstein.data.one import load_numbers

    if path.suffix.lower() in TABLES:
        return True
    shape = load_numbers(path).shape
    return len(shape) == len(bundle.shape) + 1 and shape[1:] == bundle.shape


def _table(
    bundle: Bundle, path: Path, ask: Ask, counted: Count
) -> tuple[Imputed, dict[str, bytes]]:
    """The file's own text, every empty cell of a column that the model makes written in."""
    import numpy as np

    from ornstein.data.tables import Table, like_items, read_text, write_text
    from ornstein.editing import impute
    from ornstein.errors import UsageError

    coding = bundle.coding
    if not isinstance(coding, Table):
        raise UsageError(f"'{path}' is a table, but this model makes {coding.noun}.")
    text = read_text(path)
    done = impute(bundle, like_items(text, coding), ask, counted)
    header = text.header or ()
    at = {
        column.name: header.index(column.name)
        for column in coding.columns
        if column.name in header
    }
    files = {}
    for k, draw in enumerate(done.draws, 1):
        rows = [list(row) for row in text.rows]
        for n, place in zip(*np.nonzero(done.gaps), strict=True):
            column = coding.columns[place]
            rows[n][at[column.name]] = column.cell(float(draw[n, place]))
        files[f"{path.stem}-{k}.csv"] = write_text(text.style, header, rows)
    return done, files


def _series(
    bundle: Bundle, path: Path, ask: Ask, counted: Count
) -> tuple[Imputed, dict[str, bytes]]:
    """The file's own text, every empty cell filled: by its line, or by windows down the lines."""
    import numpy as np

    from ornstein.data.series import Series, numbers_like
    from ornstein.data.tables import read_text, write_text
    from ornstein.editing import impute, impute_long

    coding = bundle.coding
    assert isinstance(coding, Series)
    text = read_text(path)
    numbers, first = numbers_like(text, coding, bundle.shape)
    if coding.down:
        done = impute_long(bundle, numbers.T, ask, counted)
        draws, gaps = done.draws.transpose(0, 2, 1), done.gaps.T
    else:
        done = impute(bundle, numbers[:, None], ask, counted)
        draws, gaps = done.draws[:, :, 0], done.gaps[:, 0]
    files = {}
    for k, draw in enumerate(draws, 1):
        rows, made = [list(row) for row in text.rows], coding.cells(draw)
        for n, place in zip(*np.nonzero(gaps), strict=True):
            rows[n][place + first] = made[n][place]
        files[f"{path.stem}-{k}.csv"] = write_text(text.style, text.header or (), rows)
    return done, files


def _array(
    bundle: Bundle, path: Path, ask: Ask, counted: Count
) -> tuple[Imputed, dict[str, bytes]]:
    """Arrays of items like the model's, (N, *shape), with NaN for what is not known."""
    import io

    import numpy as np

    from ornstein.data.one import load_numbers
    from ornstein.editing import impute

    done = impute(bundle, load_numbers(path).astype(np.float32), ask, counted)
    file = io.BytesIO()
    np.save(file, done.draws.astype(np.float32), allow_pickle=False)
    return done, {f"{path.stem}-filled.npy": file.getvalue()}


Way = Callable[["Bundle", Path, "Ask", "Count"], "tuple[Imputed, dict[str, bytes]]"]


def _way(bundle: Bundle, path: Path) -> Way:
    from ornstein.data.series import Series

    if path.suffix.lower() not in TABLES:
        return _array
    return _series if isinstance(bundle.coding, Series) else _table
