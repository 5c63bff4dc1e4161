"""Sizes of each network, from tiny to large, as plain options; they fit any shape of data."""

from __future__ import annotations

from typing import Any

# Each size does about four times the arithmetic of the one before, per item, forward and
# backward. The U-Net's small takes 2.8 times the time of tiny, training on 1x28x28 with one core:
# narrow layers use a processor less well.
SIZES: dict[str, dict[str, dict[str, Any]]] = {
    "unet": {
        "tiny": {"widths": [16, 32, 64], "blocks": [1, 1, 1], "attention": [2], "patch": 1},
        "small": {"widths": [32, 64, 128], "blocks": [1, 1, 1], "attention": [2], "patch": 1},
        "medium": {"widths": [48, 96, 192], "blocks": [2, 2, 2], "attention": [2], "patch": 1},
        "large": {"widths": [96, 192, 384], "blocks": [2, 2, 2], "attention": [2], "patch": 1},
    },
    "dit": {
        "tiny": {"width": 64, "depth": 4, "patch": 2},
        "small": {"width": 128, "depth": 4, "patch": 2},
        "medium": {"width": 192, "depth": 8, "patch": 2},
        "large": {"width": 384, "depth": 8, "patch": 2},
    },
    "mlp": {
        "tiny": {"width": 64, "layers": 4},
        "small": {"width": 128, "layers": 4},
        "medium": {"width": 256, "layers": 5},
        "large": {"width": 512, "layers": 6},
    },
}
