"""``ornstein edit``: change what is there, with a trained model."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ornstein import jsons
from ornstein.cli.impute import TABLES, fill, many
from ornstein.cli.options import (
    SEED,
    Amount,
    Place,
    asked,
    check_heard,
    condition_options,
    run_options,
    said,
    sampler_options,
    target_argument,
)
from ornstein.cli.walks import opened

if TYPE_CHECKING:
    import numpy as np

    from ornstein.bundle import Bundle
    from ornstein.editing import Ask, Edited

# Options that say something of some edits only.
OF = {
    "noise": ("--upscale",),
    "spoil": ("--upscale", "--operator"),
    "width": ("--operator",),
    "method": ("--mask", "--upscale", "--operator"),
}
COUNT = 4  # versions
EDITS = ("mask", "strength", "mix", "invert", "upscale", "operator")
FILE = click.Path(path_type=Path, dir_okay=False)


@click.command("edit")
@target_argument
@click.argument("picture", type=FILE)
@click.option("--mask", type=FILE, help="Picture: white is made anew, black stays to the bit.")
@click.option(
    "--strength", type=Amount(0, 1, whole=False), help="Vary it: near 0 as it is, 1 all new."
)
@click.option("--mix", type=FILE, help="Go from the picture to this one, through their codes.")
@click.option("--invert", is_flag=True, help="To its code and back; says the error.")
@click.option("--upscale", type=Amount(2, 64), help="The picture is so many times too small.")
@click.option(
    "--noise",
    type=Amount(0, 1, whole=False),
    default=0.0,
    show_default=True,
    help="With a model trained to upscale: put on what is given, to forgive its faults.",
)
@click.option("--operator", help="Undo it: blur (see --width) or grey.")
@click.option("--width", type=Amount(0.1, 32, whole=False), default=1.0, show_default=True,
              help="Of the blur: its deviation in pixels.")  # fmt: skip
@click.option("--spoil", is_flag=True, help="PICTURE is the original: spoil it first and compare.")
@click.option("--method", default="auto", show_default=True,
              help="auto, mmps, pigdm, project, dps, repaint or replace.")  # fmt: skip
@click.option(
    "-n", "--count", type=Amount(1, 64), default=COUNT, show_default=True, help="Versions."
)
@click.option("--seed", type=SEED, default=0, show_default=True, help="Another seed, other ones.")
@condition_options
@sampler_options
@click.option("--out", type=Place(), help="Folder.")
@run_options
def command(
    target: str,
    picture: Path,
    mask: Path | None,
    strength: float | None,
    mix: Path | None,
    invert: bool,
    upscale: int | None,
    noise: float,
    operator: str | None,
    width: float,
    spoil: bool,
    method: str,
    count: int,
    seed: int,
    out: Path | None,
    runs: Path,
    as_json: bool,
    quiet: bool,
) -> None:
    """Edit PICTURE with a trained model: fill in, vary, mix, invert, upscale, restore.

    One of --mask, --strength, --mix, --invert, --upscale and --operator says what. Series and
    vectors are edited the same way: PICTURE is then an .npy, in which NaN stands for what is not
    known, and no --mask is needed. Of a table, PICTURE is a .csv like the one trained on, whose
    empty cells are filled; every other cell stays as it is. Written are the versions and one
    sheet of all, first what the model was given.
    """
    given = dict(zip(EDITS, (mask, strength, mix, invert or None, upscale, operator), strict=True))
    chosen = _chosen(given, picture)
    check_heard(OF, f"--{chosen or 'mask'}")
    from ornstein.cli.places import label_from, mark_of, output_folder
    from ornstein.cli.restoring import operator_of, restored
    from ornstein.editing import Ask

    if method == "repaint" and "solver" in asked():
        raise click.UsageError("repaint walks by steps of its own, so leave --solver out.")
    told = said()
    bundle = opened(target, runs)
    ask = Ask(count, seed, None, bundle.how(**asked()), method, told)
    mark = mark_of([picture, *given.values(), *told.values()])
    if chosen is None and many(picture, bundle):
        label = label_from(f"fill-{picture.stem}-{method}-seed{seed}", *_others(bundle, ask), mark)
        fill(bundle, picture, ask, output_folder(target, runs, label, out), as_json, quiet)
        return
    kind = chosen or "mask"
    value = given[kind]
    if kind in ("upscale", "operator"):
        done, original = restored(
            bundle, picture, operator_of(kind, value, width), spoil, ask, noise
        )
    else:
        done, original = _edited(bundle, picture, kind, value, ask), None
    label = label_from(
        f"edit-{picture.stem}-{kind}-{Path(str(value or 'gaps')).name}-{method}-seed{seed}",
        *_others(bundle, ask, noise=noise, width=width, spoil=spoil),
        mark,
    )
    folder = output_folder(target, runs, label, out)
    done.samples.save(folder)
    sheet = _sheet(bundle, done, original)
    files = {"items": folder, **({} if sheet is None else {"sheet": _saved(sheet, folder)})}
    if not quiet or as_json:
        _tell(kind, done, files, as_json)


def _chosen(given: Mapping[str, object], picture: Path) -> str | None:
    """Which edit is asked for; None where the gaps of PICTURE say it.

    Raises:
        UsageError: none, several, or one beside the gaps of a table.
    """
    chosen = [name for name, value in given.items() if value is not None]
    rows = picture.suffix.lower() in TABLES
    if rows and chosen:
        raise click.UsageError(
            f"the gaps of a table are its empty cells, so leave --{chosen[0]} out."
        )
    if not chosen and (rows or picture.suffix.lower() == ".npy"):
        return None
    if len(chosen) != 1:
        listed = ", ".join(f"--{name}" for name in EDITS)
        got = " and ".join(f"--{name}" for name in chosen) or "none"
        raise click.UsageError(f"an edit is one of {listed}; got {got}.")
    return chosen[0]


def _tell(kind: str, done: Edited, files: Mapping[str, Path], as_json: bool) -> None:
    """Say what was made, what was measured of it, and where it is."""
    if as_json:
        facts = {"files": {k: str(v) for k, v in files.items()}, "figures": done.figures}
        click.echo(jsons.dumps({**facts, "settings": done.samples.settings}))
        return
    click.echo(f"made       {len(done.samples)} by {kind}, {done.samples.seconds:.1f} s")
    for name, figure in done.figures.items():
        click.echo(f"measured   {name}: {figure:.4g}")
    for name, path in files.items():
        click.echo(f"{name:<10} {path}")


def _others(bundle: Bundle, ask: Ask, **options: object) -> list[str]:
    """What differs from the defaults, so that other settings go to another folder."""
    usual = bundle.how()
    own = {**vars(usual), "count": COUNT, "noise": 0.0, "width": 1.0, "spoil": False}
    here = {**vars(ask.sampler or usual), "count": ask.n, **options}
    told = [f"{name}-{value}" for name, value in here.items() if value != own[name]]
    told += bundle.rounding.values()
    return told + [f"{name}-{Path(str(value)).name}" for name, value in ask.cond.items()]


def _edited(bundle: Bundle, picture: Path, kind: str, value: object, ask: Ask) -> Edited:
    import numpy as np

    from ornstein import editing
    from ornstein.cli.restoring import check_mask, reach
    from ornstein.data import read_item

    item = read_item(picture, bundle.shape, bundle.coding)
    if kind == "strength":
        return editing.vary(bundle, item, float(str(value)), ask)
    if kind == "invert":
        return editing.invert(bundle, item, ask)
    if value is None:  # numbers, whose gaps are NaN
        return editing.fill(bundle, item, ~np.isnan(item), ask)
    other = read_item(Path(str(value)), bundle.shape, bundle.coding)
    if kind == "mix":
        return editing.mix(bundle, item, other, ask)
    check_mask(picture, Path(str(value)), bundle.shape)
    if not np.isfinite(other).all():
        raise click.UsageError("a mask has no NaN; gaps that are NaN in the item need no --mask.")
    low, high = reach(bundle)
    grey = other.astype(np.float64) if other.ndim == 1 else other.mean(0, dtype=np.float64)
    return editing.fill(bundle, item, grey < (low + high) / 2, ask)


def _sheet(bundle: Bundle, done: Edited, original: np.ndarray | None) -> np.ndarray | None:
    """What was given, enlarged to the items' size, the versions, and the original if there is one.

    A smaller picture is shown as its blocks and enlarged smoothly; None for numbers.
    """
    import numpy as np

    from ornstein.cli.restoring import reach
    from ornstein.editing import bicubic

    if bundle.kind != "image":
        return None
    given = np.asarray(done.given, dtype=np.float64)
    factor = bundle.shape[1] // given.shape[1]
    blocks = np.repeat(np.repeat(given, factor, 1), factor, 2)
    seen = [blocks, bicubic(given[None], factor)[0]] if factor > 1 else [blocks]
    seen += [] if original is None else [original]
    low, high = reach(bundle)
    like = done.samples.items
    shown = [
        np.broadcast_to(item, bundle.shape).clip(low, high).astype(like.dtype) for item in seen
    ]
    return bundle.coding.show(np.concatenate([shown, like]))


def _saved(items: np.ndarray, folder: Path) -> Path:
    from ornstein.viz import sheet

    path = folder / "sheet.png"
    sheet(items, "image", columns=min(8, len(items))).save(path)
    return path
