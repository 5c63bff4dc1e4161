"""EfficientNet-Lite0: that of arXiv:1905.11946 without squeeze and excitation, for features."""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as nnf

STAGES = (  # expansion, kernel, stride, width, blocks
    (1, 3, 1, 16, 1), (6, 3, 2, 24, 2), (6, 5, 2, 40, 2), (6, 3, 2, 80, 3),
    (6, 5, 1, 112, 3), (6, 5, 2, 192, 4), (6, 3, 1, 320, 1),
)  # fmt: skip


class Same(nn.Conv2d):
    """Convolution padded as TensorFlow does: the odd pixel goes to the right and below."""

    def forward(self, x: Tensor) -> Tensor:
        """Convolve (B, C, H, W)."""
        kernel, stride = self.kernel_size[0], self.stride[0]
        pads = []
        for side in reversed(x.shape[2:]):
            whole = max((-(-side // stride) - 1) * stride + kernel - side, 0)
            pads += [whole // 2, whole - whole // 2]
        return super().forward(nnf.pad(x, pads))


def _layer(
    wide: int, out: int, kernel: int = 1, stride: int = 1, groups: int = 1, act: bool = True
) -> list[nn.Module]:
    conv = Same(wide, out, kernel, stride, groups=groups, bias=False)
    return [conv, nn.BatchNorm2d(out, eps=1e-3), *([nn.ReLU6()] if act else [])]


class Block(nn.Sequential):
    """Widen, filter each channel, narrow; and the way around where the shape stays."""

    def __init__(self, wide: int, out: int, expansion: int, kernel: int, stride: int) -> None:
        inner = wide * expansion
        super().__init__(
            *(_layer(wide, inner) if expansion > 1 else []),
            *_layer(inner, inner, kernel, stride, groups=inner),
            *_layer(inner, out, act=False),
        )
        self.around = stride == 1 and wide == out

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) to (B, C', H', W')."""
        y = x
        for layer in self:
            y = layer(y)
        return x + y if self.around else y


class EfficientNetLite0(nn.Module):
    """4.7 M weights, registered in the order of the published file."""

    def __init__(self) -> None:
        super().__init__()
        layers, wide = _layer(3, 32, 3, 2), 32
        for expansion, kernel, stride, out, count in STAGES:
            for k in range(count):
                layers.append(Block(wide, out, expansion, kernel, stride if k == 0 else 1))
                wide = out
        self.body = nn.Sequential(*layers, *_layer(wide, 1280))
        self.head = nn.Linear(1280, 1000)

    def features(self, pictures: Tensor) -> Tensor:
        """Means of the last maps, (B, 1280), of pictures (B, 3, H, W) with values 0 to 255."""
        x = ((pictures - 127) / 128).contiguous(memory_format=torch.channels_last)
        return cast("Tensor", self.body(x)).mean((2, 3))

    def forward(self, pictures: Tensor) -> Tensor:
        """Logits of the 1,000 classes of ImageNet."""
        return cast("Tensor", self.head(self.features(pictures)))
