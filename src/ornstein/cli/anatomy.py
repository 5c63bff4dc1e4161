"""What a network is made of and what it costs: layers, parameters, operations, memory."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import NamedTuple

import torch
from torch import Tensor, nn

WHOLE_COPIES = 6  # training keeps weights, gradients, two moments, the average and its copy


class Row(NamedTuple):
    """A part of a network, in the order in which it is called.

    Attributes:
        name: Its place in the network.
        kind: What it is.
        shape: Of its output, without the batch.
        parameters: Numbers that are learned, those of its parts included.
    """

    name: str
    kind: str
    shape: tuple[int, ...]
    parameters: int


class Anatomy(NamedTuple):
    """What a network is made of and what it costs.

    Attributes:
        rows: Its parts.
        parameters: Numbers that are learned.
        flops: Floating-point operations for one item, forward.
        kept_bytes: What one item leaves in memory for the backward pass.
    """

    rows: list[Row]
    parameters: int
    flops: int
    kept_bytes: int

    def training_bytes(self, batch: int) -> int:
        """Estimate of the memory of a training, in float32."""
        return 4 * WHOLE_COPIES * self.parameters + batch * self.kept_bytes

    def weights_bytes(self) -> int:
        """Size of the weights in float32."""
        return 4 * self.parameters


def examine(net: nn.Module, shape: tuple[int, ...]) -> Anatomy:
    """Call a network on one empty item and watch it.

    Args:
        net: Called as net(x, noise, {}).
        shape: Of one item.
    """
    from torch.utils.flop_counter import FlopCounterMode

    parameter = next(net.parameters())
    x = torch.zeros(1, *shape, device=parameter.device, dtype=parameter.dtype)
    noise = x.new_zeros(1)
    rows: list[Row] = []
    watched = [part.register_forward_hook(_note(name, rows)) for name, part in _parts(net)]
    was_training = net.training
    net.eval()
    try:
        counter = FlopCounterMode(display=False)
        with torch.no_grad(), counter:
            net(x, noise, {})
    finally:
        for hook in watched:
            hook.remove()
    kept = _kept_bytes(net, x, noise)
    net.train(was_training)
    total = sum(p.numel() for p in net.parameters())
    return Anatomy(rows, total, int(counter.get_total_flops()), kept)


def _parts(net: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    """The children of a network; those of a list count one by one."""
    for name, child in net.named_children():
        if isinstance(child, (nn.ModuleList, nn.Sequential)):
            yield from ((f"{name}.{k}", part) for k, part in child.named_children())
        else:
            yield name, child


def _note(name: str, rows: list[Row]) -> Callable[[nn.Module, object, object], None]:
    def hook(part: nn.Module, _: object, output: object) -> None:
        shape = tuple(output.shape[1:]) if isinstance(output, Tensor) else ()
        count = sum(p.numel() for p in part.parameters())
        rows.append(Row(name, _kind(part), shape, count))

    return hook


def _kind(part: nn.Module) -> str:
    if isinstance(part, (nn.Conv1d, nn.Conv2d)):
        size, stride = "x".join(map(str, part.kernel_size)), part.stride[0]
        return f"convolution {size}" + (f", stride {stride}" if stride > 1 else "")
    if isinstance(part, nn.Linear):
        return "linear"
    inner = {type(p).__name__ for p in part.modules()}
    name = type(part).__name__
    return f"{name} with attention" if "Attention" in inner and name != "Attention" else name


def _kept_bytes(net: nn.Module, x: Tensor, noise: Tensor) -> int:
    """Bytes that autograd keeps for the backward pass of one item, each storage once."""
    own = {p.untyped_storage().data_ptr() for p in net.parameters()}
    kept: dict[int, int] = {}

    def pack(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in own:
            kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.enable_grad(), torch.autograd.graph.saved_tensors_hooks(pack, lambda t: t):
        output = net(x, noise, {})  # held until the end, so that no address is used twice
    del output
    return sum(kept.values())


def shape_text(shape: tuple[int, ...]) -> str:
    """A shape in words: 3x32x32."""
    return "x".join(str(n) for n in shape) or "-"


def count_text(number: float) -> str:
    """A large number in words: 12.3 M."""
    for size, unit in ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k")):
        if number >= size:
            return f"{number / size:.3g} {unit}"
    return f"{number:.0f} "


def bytes_text(number: float) -> str:
    """A size in memory: 12.3 MB."""
    return f"{count_text(number)}B" if math.isfinite(number) else "unknown"
