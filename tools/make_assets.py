r"""Make the data sets that ship with the package: digits.npz, ecg.npz, emoji.png, emoji.json.

    python tools/make_assets.py digits OUT
    python tools/make_assets.py ecg OUT --wheel scipy-1.11.4-....whl
    python tools/make_assets.py emoji OUT --emoji node_modules/emoji-datasource-google \
        --words node_modules/emojibase-data

OUT is src/ornstein/data/assets. `digits` needs scikit-learn and `ecg` needs scipy (any version;
only the signal functions); the ECG itself is inside the wheel of scipy 1.11.4, which is read
as a zip file and not installed (`pip download --no-deps scipy==1.11.4`).
"""

from __future__ import annotations

import argparse
import io
import json
import zipfile
from pathlib import Path

import numpy as np

from ornstein.data.emoji import read_emoji

BEFORE, LENGTH = 96, 256  # samples before the peak, samples of a beat


def digits(out: Path) -> None:
    """1,797 digits of 8x8; the 17 grey levels 0..16 spread over 0..255."""
    from sklearn.datasets import load_digits

    x, y = load_digits(return_X_y=True)
    pictures = np.rint(x.reshape(-1, 1, 8, 8) * (255 / 16)).astype(np.uint8)
    np.savez_compressed(out / "digits.npz", x=pictures, y=y.astype(np.uint8))


def ecg(out: Path, wheel: Path) -> None:
    """500 beats of 256 samples, the R peak at sample 96, int16, 1/200 mV."""
    from scipy.signal import find_peaks, medfilt

    with zipfile.ZipFile(wheel) as archive:
        raw = np.load(io.BytesIO(archive.read("scipy/misc/ecg.dat")))["ecg"]
    # The samples are unsigned: subtracting 1024 before converting would wrap around.
    signal = raw.astype(np.int32) - 1024
    level = signal - medfilt(signal.astype(float), 217)  # without the wandering baseline
    peaks, _ = find_peaks(level, distance=108, height=80, prominence=100)
    fit = peaks[(peaks >= BEFORE) & (peaks - BEFORE + LENGTH <= len(signal))][:500]
    beats = np.stack([signal[p - BEFORE : p - BEFORE + LENGTH] for p in fit])
    np.savez_compressed(out / "ecg.npz", x=beats[:, None].astype(np.int16))


def emoji(out: Path, package: Path, words: Path, size: int = 32) -> None:
    """The base emoji as one PNG sheet of 40 columns, and their names, captions, categories."""
    from PIL import Image

    found = read_emoji(package, size=size, words=words)
    columns, rows = 40, -(-len(found.pictures) // 40)
    sheet = np.full((rows * columns, size, size, 3), 255, np.uint8)
    sheet[: len(found.pictures)] = found.pictures.transpose(0, 2, 3, 1)
    sheet = sheet.reshape(rows, columns, size, size, 3).transpose(0, 2, 1, 3, 4)
    picture = Image.fromarray(sheet.reshape(rows * size, columns * size, 3))
    picture.save(out / "emoji.png", optimize=True)
    table = {
        "size": size,
        "columns": columns,
        "categories": list(found.classes),
        "emoji": [
            [name, caption, int(label)]
            for name, caption, label in zip(found.names, found.captions, found.labels, strict=True)
        ],
    }
    text = json.dumps(table, ensure_ascii=True, separators=(",", ":")).replace("],[", "],\n[")
    (out / "emoji.json").write_text(text + "\n", encoding="utf-8")


def main() -> None:
    """Run one of the makers."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", choices=["digits", "ecg", "emoji"])
    parser.add_argument("out", type=Path)
    parser.add_argument("--wheel", type=Path)
    parser.add_argument("--emoji", type=Path)
    parser.add_argument("--words", type=Path)
    given = parser.parse_args()
    if given.what == "digits":
        digits(given.out)
    elif given.what == "ecg":
        ecg(given.out, given.wheel)
    else:
        emoji(given.out, given.emoji, given.words)


if __name__ == "__main__":
    main()
