"""Networks: they map a noisy array to an array of the same shape and know no diffusion."""

from __future__ import annotations

from ornstein.nets.base import Net
from ornstein.nets.dit import DiT
from ornstein.nets.mlp import MLP
from ornstein.nets.unet import UNet

NETS: dict[str, type[UNet] | type[DiT] | type[MLP]] = {"unet": UNet, "dit": DiT, "mlp": MLP}

__all__ = ["MLP", "NETS", "DiT", "Net", "UNet"]
