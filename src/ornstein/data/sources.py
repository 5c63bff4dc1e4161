"""The data sets known by name, and the order in which a name is looked up.

For a name: the folder named by the environment variable ORNSTEIN_DATA, the file in the package,
the Debian path, an npm folder. A path always wins when it is written as one (./digits).
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np

from ornstein.data.dataset import Dataset, Source, make_dataset
from ornstein.data.emoji import ASSETS, Emoji, read_emoji, shipped_emoji
from ornstein.data.idx import find_idx, open_idx, read_idx, unpack
from ornstein.data.tables import Table, open_table, read_text
from ornstein.data.toys import TOYS
from ornstein.errors import DataError, UsageError

ENVIRONMENT = "ORNSTEIN_DATA"
DEBIAN = Path("/usr/share/datasets")
EMOJI_PACKAGE = "emoji-datasource-google"

FASHION_CLASSES = (
    "T-shirt/top",
    "Trouser",
    "Pullover",
    "Dress",
    "Coat",
    "Sandal",
    "Shirt",
    "Sneaker",
    "Bag",
    "Ankle boot",
)
PENGUINS = ASSETS / "penguins.csv"
PENGUINS_SOURCE = Source(
    "344 penguins near Palmer Station, as in the package palmerpenguins",
    licence="CC0-1.0",
    citation="K. B. Gorman, T. D. Williams and W. R. Fraser (2014), PLoS ONE 9(3):e90081; "
    "A. M. Horst, A. P. Hill and K. B. Gorman (2020), palmerpenguins, doi:10.5281/zenodo.3960218",
)
# SHA-256 of the decompressed bytes, in the order of IDX_FILES.
FASHION_SHA256 = (
    "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888",
    "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9",
    "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b",
    "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34",
)


def places(name: str) -> list[Path]:
    """Paths of ``name`` under the folder in ORNSTEIN_DATA, as a folder or an array file.

    What is written as a path, or with a colon, is no name.
    """
    root = os.environ.get(ENVIRONMENT, "")
    if not root or name[:1] in ("", ".") or "/" in name or ":" in name:
        return []
    return [path for end in ("", ".npz", ".npy") if (path := Path(root) / (name + end)).exists()]


def is_known(source: str | Path) -> bool:
    """Whether this is a name that is looked up, before and in place of any path that it spells."""
    if not isinstance(source, str):
        return False
    return source.partition(":")[0] in (*TOYS, *SOURCES) or bool(places(source))


def path_of(source: str | Path) -> Path:
    """The path that is written, ~ being the home of its owner where there is such."""
    return Path(os.path.expanduser(source))  # noqa: PTH111 - Path's own fails on a ~ of nobody


def open_digits(option: str) -> Dataset:
    """1,797 handwritten digits, 8x8, 0..255."""
    _no_option("digits", option)
    with np.load(ASSETS / "digits.npz", allow_pickle=False) as file:
        return make_dataset(
            "digits",
            "image",
            file["x"],
            labels=file["y"],
            classes=tuple("0123456789"),
            source=Source(
                "optical recognition of handwritten digits (UCI), as in scikit-learn",
                licence="CC-BY-4.0",
                citation="E. Alpaydin and C. Kaynak (1998), doi:10.24432/C50P49",
            ),
        )


def open_ecg(option: str) -> Dataset:
    """500 heart beats of 256 samples at 360 Hz, in millivolts."""
    _no_option("ecg", option)
    with np.load(ASSETS / "ecg.npz", allow_pickle=False) as file:
        beats = file["x"].astype(np.float32) / np.float32(200)
    return make_dataset(
        "ecg",
        "series",
        beats,
        source=Source(
            "500 beats of MIT-BIH record 208, cut at the R peaks, 360 Hz, mV",
            licence="ODC-By-1.0",
            citation="G. B. Moody and R. G. Mark (2001), The impact of the MIT-BIH Arrhythmia "
            "Database, IEEE Eng. in Med. and Biol. 20(3):45-50; A. L. Goldberger et al. (2000), "
            "PhysioNet, Circulation 101(23):e215-e220",
        ),
    )


def open_emoji(option: str) -> Dataset:
    """The base emoji in the Noto style: 32 px from the package, other sizes from npm."""
    if option in ("", "32"):
        return _emoji_dataset(shipped_emoji())
    if not option.isdigit() or not 8 <= int(option) <= 64:
        raise UsageError(f"'emoji:{option}' is not a size; write emoji, or emoji:64 for 64 px.")
    folders = [*places(EMOJI_PACKAGE), *places("emoji"), Path("node_modules") / EMOJI_PACKAGE]
    found = next((path for path in folders if (path / "emoji.json").is_file()), None)
    if found is None:
        raise DataError(
            f"emoji:{option} needs the npm package {EMOJI_PACKAGE}, which is not in "
            f"./node_modules nor in the folder of {ENVIRONMENT}; get it with "
            f"`npm install --ignore-scripts {EMOJI_PACKAGE}@16.0.0`."
        )
    return _emoji_dataset(read_emoji(found, int(option)))


def _emoji_dataset(emoji: Emoji) -> Dataset:
    return make_dataset(
        "emoji",
        "image",
        emoji.pictures,
        labels=emoji.labels,
        classes=emoji.classes,
        captions=emoji.captions,
        names=emoji.names,
        source=Source(
            "Noto Emoji without flags and components, on white",
            licence="Apache-2.0",
            citation="Google, Noto Emoji; emoji-datasource-google 16.0.0",
        ),
    )


def open_penguins(
    option: str,
    *,
    columns: Mapping[str, str] | None = None,
    label: str | None = None,
    like: Table | None = None,
) -> Dataset:
    """344 penguins of three species: numbers, categories and gaps."""
    _no_option("penguins", option)
    found = open_table(read_text(PENGUINS), columns=columns, label=label, like=like)
    return replace(found, source=PENGUINS_SOURCE)


def open_fashion(option: str) -> Dataset:
    """Fashion-MNIST: 60,000 for training, the official 10,000 held out."""
    _no_option("fashion-mnist", option)
    folders = [*places("fashion-mnist"), DEBIAN / "fashion-mnist"]
    found = next((files for folder in folders if (files := find_idx(folder))), None)
    if found is None:
        raise DataError(
            "fashion-mnist is not on this machine; get it with "
            "`apt-get install dataset-fashion-mnist`, or put its four files in "
            f"fashion-mnist/ under the folder that {ENVIRONMENT} names."
        )
    raw = [unpack(path) for path in found]
    for path, data, pinned in zip(found, raw, FASHION_SHA256, strict=True):
        if hashlib.sha256(data).hexdigest() != pinned:
            raise DataError(f"'{path}' differs from the published Fashion-MNIST file of its name.")
    return open_idx(
        "fashion-mnist",
        [read_idx(data, path) for data, path in zip(raw, found, strict=True)],
        classes=FASHION_CLASSES,
        source=Source(
            "Fashion-MNIST, official training and test sets",
            licence="MIT",
            citation="H. Xiao, K. Rasul and R. Vollgraf (2017), arXiv:1708.07747",
        ),
    )


def _no_option(name: str, option: str) -> None:
    if option:
        raise UsageError(f"'{name}:{option}': '{name}' takes nothing after a colon.")


def _not_here(name: str, instead: str) -> Callable[[str], Dataset]:
    def refuse(option: str) -> Dataset:
        raise DataError(
            f"{name} does not come with ornstein; use {instead}, or put its files in {name}/ "
            f"under the folder that {ENVIRONMENT} names."
        )

    return refuse


SOURCES: dict[str, Callable[[str], Dataset]] = {
    "digits": open_digits,
    "emoji": open_emoji,
    "ecg": open_ecg,
    "penguins": open_penguins,
    "fashion-mnist": open_fashion,
    "mnist": _not_here("mnist", "fashion-mnist or digits"),
    "cifar10": _not_here("cifar10", "emoji (colour) or fashion-mnist"),
}
"""How to open each, given what follows a colon in its name ("64" in emoji:64), or ""."""
