"""A table from CSV to new rows: trained, sampled, checked beside the real rows, gaps filled."""

from __future__ import annotations

from pathlib import Path

import numpy as np

import ornstein
from ornstein.data import open_data
from ornstein.data.tables import Table
from ornstein.editing import Ask, impute
from ornstein.evaluate.rows import closest, detection, utility
from ornstein.evaluate.tables import Schema, associations, marginals
from ornstein.viz import sheet


def checks(
    real: np.ndarray, heldout: np.ndarray, made: np.ndarray, schema: Schema, target: str
) -> dict[str, float]:
    """The usual checks; with real rows as ``made`` they say what an ideal model would score."""
    pairs = associations(real, made, schema)
    near = closest(real, heldout, made, schema)
    return {
        "columns, mean distance": float(
            np.mean([column.distance for column in marginals(real, made, schema)])
        ),
        "pairs, mean difference": float(np.mean([abs(p.real - p.made) for p in pairs])),
        "told from real ones (AUC)": detection(real, made, schema),
        f"foretells {target}": utility(made, heldout, schema, target),
        "nearer to training than to held-out rows": near.closer,
        "copies": near.copies,
    }


def split(source: str, folder: Path, heldout: int) -> tuple[Path, Path]:
    """Two CSV files with the rows of a table, in an order of chance."""
    data = open_data(source)
    order = np.random.default_rng(0).permutation(len(data))
    paths = folder / "train.csv", folder / "test.csv"
    folder.mkdir(parents=True, exist_ok=True)
    for path, part in zip(paths, (order[heldout:], order[:heldout]), strict=True):
        (content,) = data.coding.files(data.items[part], path.stem).values()
        path.write_bytes(content)
    return paths


def main(
    source: str = "penguins",
    target: str = "species",
    folder: Path = Path("runs"),
    steps: int = 3000,
    size: str = "small",
    heldout: int = 100,
) -> dict[str, dict[str, float]]:
    """Train on all rows but ``heldout``; return the checks of made, real and filled rows."""
    path, other = split(source, folder, heldout)
    bundle = ornstein.train(
        path, runs=folder, steps=steps, settings={"net.name": "mlp", "net.size": size}
    ).bundle()
    coding = bundle.coding
    assert isinstance(coding, Table)
    made = bundle.sample(1000, batch=1000)
    made.save(folder / "made")
    train, test = (open_data(p, like=coding).items for p in (path, other))
    sheet(made.items, "table", labels=coding.captions, beside=train).save(folder / "made.png")

    keep = coding.learned
    schema = Schema(*zip(*[(coding.captions[k], coding.words[k]) for k in keep], strict=True))
    real, fresh, half = train[:, keep], made.items[:, keep], len(train) // 2
    found = {
        "made": checks(real, test[:, keep], fresh, schema, target),
        "real": checks(real[:half], test[:, keep], real[half:], schema, target),
    }

    hidden = np.random.default_rng(1).random(test.shape) < 0.2
    filled = impute(bundle, np.where(hidden, np.nan, test), Ask(n=10)).draws
    words = hidden & ~np.isnan(test) & (np.array(coding.words) > 0)
    commonest = (test == 0)[words]  # the words of a category stand in the order of their number
    found["filled"] = {"words that are right": float((filled == test)[:, words].mean())}
    found["guessed"] = {"words that are right": float(commonest.mean())}
    return found


if __name__ == "__main__":
    for kind, figures in main().items():
        for name, value in figures.items():
            print(f"{kind:<8} {name:<42} {value:.3f}")
