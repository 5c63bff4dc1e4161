"""Series from CSV to new ones: heart beats, one to a line; trained, sampled, a gap filled."""

from __future__ import annotations

from pathlib import Path

import numpy as np

import ornstein
from ornstein.data import open_data
from ornstein.editing import Ask, impute
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


def errors(draws: np.ndarray, truth: np.ndarray) -> dict[str, float]:
    """Errors of draws, (V, n, 1, L): a peak a little beside its place is no worse than none.

    CRPS is the mean error less half the mean distance of two draws, least for the true law.
    """
    count, far = len(draws), np.abs(draws - truth).mean()
    apart = np.abs(draws[:, None] - draws).mean((2, 3, 4)).sum() / max(count * (count - 1), 1)
    height = np.abs(draws.max(-1) - truth.max(-1))
    return {"CRPS": float(far - apart / 2), "error of the height": float(np.median(height))}


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
    draws = impute(bundle, gaps, Ask(n=8)).draws
    shown = np.concatenate([beats[:4], np.where(np.isnan(gaps), 0, gaps)[:4], *draws[:3, :4]])
    sheet(shown, "series", columns=4).save(folder / "filled.png")
    found = {
        "spread of real numbers": float(data.items.std()),
        "spread of made numbers": float(made.items.std()),
    }
    for name, tries in (("a straight line", straight(beats, hidden)[None]), ("draws", draws)):
        guess = tries if tries.shape[-1] < beats.shape[-1] else tries[..., hidden]
        found |= {f"{what} of {name}": v for what, v in errors(guess, beats[..., hidden]).items()}
    return found


if __name__ == "__main__":
    for name, value in main().items():
        print(f"{name:<32} {value:.3f} mV")
