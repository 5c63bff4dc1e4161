"""Say what is to be made: a number and tags beside every picture, learnt and asked for.

    python examples/conditions.py

Draws 600 discs of known size and place into a folder with a metadata.csv, trains on it for a
minute, asks for discs of three sizes on either side, and measures what came.
"""

from __future__ import annotations

import csv
import sys
import tempfile
from pathlib import Path

import numpy as np
from PIL import Image

import ornstein as orn

SIDE = 16


def disc(radius: float, left: bool) -> np.ndarray:
    """A white disc on black, on the left or right half."""
    y, x = np.mgrid[:SIDE, :SIDE] + 0.5
    away = np.hypot(x - (5 if left else SIDE - 5), y - SIDE / 2)
    return np.uint8(255 * np.clip(radius + 0.5 - away, 0, 1))


def write(folder: Path, count: int) -> None:
    """Write the pictures, and beside them what is said of each."""
    rng = np.random.default_rng(0)
    folder.mkdir()
    with (folder / "metadata.csv").open("w", newline="") as file:
        table = csv.writer(file)
        table.writerow(["file_name", "radius", "tags"])
        for k in range(count):
            radius, left = rng.uniform(1, 4), bool(k % 2)
            Image.fromarray(disc(radius, left)).save(folder / f"{k}.png")
            table.writerow([f"{k}.png", f"{radius:.3f}", "left|disc" if left else "disc"])


def main(steps: int = 1000, count: int = 600) -> list[tuple[float, float, float]]:
    """Train and measure; returns what was asked and came: radius, radius, share on the left.

    The area of a disc tells its radius.
    """
    told = []
    with tempfile.TemporaryDirectory() as place:
        write(Path(place) / "discs", count)
        run = orn.train(Path(place) / "discs", steps=steps, runs=place,
                        settings={"net.size": "tiny", "train.batch": 32})  # fmt: skip
        for radius, tags in ((1.5, "disc"), (2.5, "left|disc"), (3.5, "left|disc")):
            made = run.sample(16, cond={"radius": radius, "tags": tags}, guidance=1.0).items
            light = made.astype(float).mean(1) / 255
            found = float(np.sqrt(light.sum((1, 2)) / np.pi).mean())
            share = light[:, :, : SIDE // 2].sum() / light.sum()
            told.append((radius, found, float(share)))
            print(f"asked: radius {radius}, {tags:<9} came: radius {found:.2f}, {share:.0%} left")
    return told


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
