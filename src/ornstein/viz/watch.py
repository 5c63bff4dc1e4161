"""Watching a network at work: which parts are called, what each reads, makes and costs."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

Hook = Callable[[nn.Module, Any, Tensor], None]


class Row(NamedTuple):
    """A part of a network, in the order in which it is called.

    Attributes:
        name: Its place in the network.
        kind: What it is.
        shape: Of its output, without the batch.
        parameters: Numbers that are learned, those of its parts included.
        flops: Floating-point operations for one item, forward.
        reads: Names of the parts and inputs whose values reach it through no other part.
        places: Numbers of its output along the axes that grow with the item; 1 if none does.
    """

    name: str
    kind: str
    shape: tuple[int, ...]
    parameters: int
    flops: int = 0
    reads: tuple[str, ...] = ()
    places: int = 1


def walk(
    net: nn.Module, x: Tensor, noise: Tensor, cond: dict[str, Tensor]
) -> tuple[list[Row], int]:
    """The parts with what they read and cost, and the cost of all.

    Which part reads which is seen from autograd: walking back from an output, the first known
    outputs that are met.
    """
    from torch.utils.flop_counter import FlopCounterMode

    rows: list[Row] = []
    given = {"x": x, "noise": noise, **cond}
    known = {
        _leaf(tensor.requires_grad_()): name
        for name, tensor in given.items()
        if tensor.is_floating_point()
    }
    counter = FlopCounterMode(display=False)
    begun: list[int] = []

    def before(part: nn.Module, _: object) -> None:
        begun.append(counter.get_total_flops())

    def note(name: str) -> Hook:
        def after(part: nn.Module, args: object, output: Tensor) -> None:
            whole = [n for n, t in cond.items() if not t.is_floating_point() and _holds(args, t)]
            reads = (*dict.fromkeys(_sources(output, known)), *whole)
            count = sum(p.numel() for p in part.parameters())
            cost = counter.get_total_flops() - begun.pop()
            rows.append(Row(name, _kind(part), tuple(output.shape[1:]), count, cost, reads))
            known[output.grad_fn] = name

        return after

    starts = [part.register_forward_pre_hook(before) for _, part in _parts(net)]
    with _watched(net, note), torch.enable_grad(), counter:
        net(x, noise, cond)
    for start in starts:
        start.remove()
    return rows, int(counter.get_total_flops())


def _leaf(tensor: Tensor) -> object:
    """The node at which autograd ends in a tensor."""
    made = tensor.view_as(tensor).grad_fn
    assert made is not None
    return made.next_functions[0][0]


def _sources(output: Tensor, known: Mapping[Any, str]) -> Iterator[str]:
    """Names of the known values that an output is made of, the nearest on each way."""
    todo: list[Any] = [output.grad_fn]
    seen = set()
    while todo:
        node = todo.pop()
        if node is None or node in seen:
            continue
        seen.add(node)
        if node in known:
            yield known[node]
        else:
            todo += [before for before, _ in node.next_functions]


def _holds(args: object, tensor: Tensor) -> bool:
    """Say whether a tensor is among the arguments of a call, or in a mapping among them."""
    inside = [v for a in args for v in (a.values() if isinstance(a, Mapping) else [a])]  # type: ignore[attr-defined]
    return any(value is tensor for value in inside)


def places(net: nn.Module, x: Tensor, noise: Tensor, cond: Mapping[str, Tensor]) -> dict[str, int]:
    """How many numbers of each part's output lie along axes that are longer for a larger item.

    Nothing is computed: the network is called on shapes. One that takes a single size has none.
    """
    shapes: dict[str, list[tuple[int, ...]]] = {name: [] for name, _ in _parts(net)}
    weights = {name: t.to("meta") for name, t in net.state_dict(keep_vars=True).items()}
    weights |= {name: t.to("meta") for name, t in net.named_buffers()}
    said = {name: value.to("meta") for name, value in cond.items()}

    def note(name: str) -> Hook:
        return lambda part, _, output: shapes[name].append(tuple(output.shape[1:]))

    with _watched(net, note), torch.no_grad():
        for times in (1, 2):
            larger = x.new_empty(1, x.shape[1], *(times * n for n in x.shape[2:]), device="meta")
            torch.func.functional_call(net, weights, (larger, noise.to("meta"), said))
    return {
        name: math.prod(a for a, b in zip(*seen[:: len(seen) // 2], strict=True) if a != b)
        for name, seen in shapes.items()
        if seen
    }


@contextmanager
def _watched(net: nn.Module, note: Callable[[str], Hook]) -> Iterator[None]:
    """Call ``note(name)`` with every answer of a part."""
    hooks = [part.register_forward_hook(note(name)) for name, part in _parts(net)]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


def kept_bytes(net: nn.Module, x: Tensor, noise: Tensor, cond: Mapping[str, Tensor]) -> int:
    """Bytes that autograd keeps for the backward pass of one item, each storage once."""
    own = {p.untyped_storage().data_ptr() for p in net.parameters()}
    kept: dict[int, int] = {}

    def pack(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in own:
            kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.enable_grad(), torch.autograd.graph.saved_tensors_hooks(pack, lambda t: t):
        output = net(x, noise, cond)  # held until the end, so that no address is used twice
    del output
    return sum(kept.values())


def _parts(net: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    """The children of a network; those of a list count one by one."""
    for name, child in net.named_children():
        if isinstance(child, (nn.ModuleList, nn.Sequential)):
            yield from ((f"{name}.{k}", part) for k, part in child.named_children())
        else:
            yield name, child


def _kind(part: nn.Module) -> str:
    if isinstance(part, (nn.Conv1d, nn.Conv2d, nn.Conv3d)):
        size, stride = "x".join(map(str, part.kernel_size)), part.stride[0]
        return f"convolution {size}" + (f", stride {stride}" if stride > 1 else "")
    if isinstance(part, nn.Linear):
        return "linear"
    inner = {type(p).__name__ for p in part.modules()}
    name = type(part).__name__
    return f"{name} with attention" if "Attention" in inner and name != "Attention" else name
