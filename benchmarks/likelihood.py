"""Bits per pixel of a trained model on the digits of writers it never saw.

Protocol: the 1,797 digits in file order, 8x8 pixels of 17 levels, the first 1,500 for training,
the last 297 for the test; uniform noise U[0, 1) fills the space between the levels.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np

import ornstein
from ornstein.data import open_data
from ornstein.likelihood import likelihood

SETTINGS = Path(__file__).with_name("digits-bits.toml")
SPLIT, LEVELS = 1500, 17
GIVEN = {"best Gaussian mixture": 2.787, "independent histogram": 2.363}


def protocol(folder: Path) -> tuple[Path, Path]:
    """Write first1500.npy and last297.npy, (N, 8, 8) uint8 of 0 to 16."""
    folder.mkdir(parents=True, exist_ok=True)
    items = open_data("digits").items[:, 0].astype(np.float64)
    levels = np.rint(items * (LEVELS - 1) / 255).astype(np.uint8)
    files = folder / "first1500.npy", folder / "last297.npy"
    for file, part in zip(files, (levels[:SPLIT], levels[SPLIT:]), strict=True):
        np.save(file, part)
    return files


def histogram(train: np.ndarray, test: np.ndarray) -> float:
    """Bits per pixel of one histogram for each pixel, all independent."""
    bits = 0.0
    for a, b in zip(train.reshape(len(train), -1).T, test.reshape(len(test), -1).T, strict=True):
        counts = np.bincount(a, minlength=LEVELS) + 0.01
        bits -= float(np.log2(counts[b] / counts.sum()).mean())
    return bits / train[0].size


def digits(folder: Path, steps: int | None, probes: int, say: Callable[[str], None]) -> None:
    """Train where it is not trained yet, measure, and print the table."""
    first, last = protocol(folder)
    name = "digits-bits" if steps is None else f"digits-bits-{steps}"
    run = ornstein.train(first, name=name, config=SETTINGS, steps=steps, runs=folder)
    test = np.load(last)
    found = likelihood(ornstein.load(run.folder), test[:, None], probes=probes)
    error = found.standard_error / found.dims
    say("| model | bits per pixel |")
    say("|---|---|")
    say(f"| ornstein, {run.record['step']:,} steps | {found.per_dim:.3f} ± {error:.3f} |")
    say(f"| independent histogram, measured here | {histogram(np.load(first), test):.3f} |")
    for name, bits in GIVEN.items():
        say(f"| {name}, given | {bits:.3f} |")
    probe, solver = found.probe_error / found.dims, found.solver_error / found.dims
    say(f"of the error: probes {probe:.3f}, solver {solver:.3f} bits per pixel")
    say(f"{found.evaluations:.0f} evaluations an item; {found.dequantisation}; {found.of}")
