"""Series from CSV to new ones: heart beats, one to a line; trained, sampled, a gap filled."""

from __future__ import annotations

from pathlib import Path

import numpy as np

import ornstein
from ornstein.data import open_data
from ornstein.editing import Ask
from ornstein.imputing import impute
from ornstein.viz import sheet


def write_beats(path: Path, every: int = 2) -> Path:
    """The beats that ship with the package as a CSV file, every second sample, in mV."""
    beats = open_data("ecg").items[:, 0, ::every]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(",".join(f"{v:.3f}" for v in beat) + "\n" for beat in beats))
    return path


def straight(beats: np.ndarray, hidden: slice) -> np.ndarray:
    """The hidden part as a straight line between its neighbours, which any model must beat."""
    ends = beats[:, :, [hidden.start - 1, hidden.stop]]
    share = np.linspace(0, 1, hidden.stop - hidden.start + 2)[1:-1]
    return ends[:, :, :1] + share * (ends[:, :, 1:] - ends[:, :, :1])


def main(folder: Path = Path("runs"), steps: int = 1500, size: str = "tiny") -> dict[str, float]:
    """Train, sample, and fill a gap of a quarter of each held-out beat; return the errors."""
    path = write_beats(folder / "beats.csv")
    run = ornstein.train(
        path, runs=folder, steps=steps, settings={"net.name": "unet", "net.size": size}
    )
    bundle = run.bundle()
    made = bundle.sample(64)
    made.save(folder / "made")
    made.save_sheet(folder / "made.png")

    data = open_data(path)
    beats, hidden = data.items[data.heldout], slice(36, 68)  # around the peak, at 48
    gaps = beats.copy()
    gaps[:, :, hidden] = np.nan
    # A posterior leans on the network's derivative; first-order steps keep it from running away.
    draws = impute(bundle, gaps, Ask(n=8, sampler=bundle.how(solver="ddim", steps=30))).draws
    shown = np.concatenate([beats[:4], np.where(np.isnan(gaps), 0, gaps)[:4], *draws[:3, :4]])
    sheet(shown, "series", columns=4).save(folder / "filled.png")
    guess = gaps.copy()
    guess[:, :, hidden] = straight(beats, hidden)
    middle = np.median(draws, axis=0)
    off = [np.median(np.abs(made - beats)[..., hidden]) for made in (guess, draws, middle)]
    return {
        "median error of a straight line": float(off[0]),
        "median error of a draw": float(off[1]),
        "median error of the median draw": float(off[2]),
        "spread of real numbers": float(data.items.std()),
        "spread of made numbers": float(made.items.std()),
    }


if __name__ == "__main__":
    for name, value in main().items():
        print(f"{name:<32} {value:.3f} mV")
