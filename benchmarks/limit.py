"""The limit of a step: its convolutions alone, the whole of it and a matrix product, in turn.

All by processor time, so that other work on the machine does not count; for one thread.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from copy import deepcopy
from functools import partial

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.own_work import prepare
from benchmarks.peers.serving import Ask
from ornstein.benching.steps import in_turn

ORDERS = {"as torch has it": torch.contiguous_format, "channels last": torch.channels_last}
SIDE, PRODUCTS = 1024, 10
HEADER = "| what | ms a picture | GFLOP/s | share of the step |\n|---|---|---|---|"


def measure(batch: int, seconds: float, *, half: bool = False) -> str:
    """Time everything in turn for so many seconds, in bfloat16 if asked; return the table."""
    kind = torch.bfloat16 if half else torch.float32
    options = ("twin", "bfloat16") if half else ("twin",)
    work = prepare(Ask("train", batch, options=options))
    net = work.net
    met = [(deepcopy(layer).to(kind), x.to(kind)) for layer, x in inputs(net, work.once)]
    square = torch.ones(SIDE, SIDE, dtype=kind)
    works: dict[str, Callable[[], object]] = {
        f"{PRODUCTS} products of {SIDE}x{SIDE} matrices": partial(products, square),
        **{
            f"the convolutions alone, {name}": partial(convolved, rows(met, order))
            for name, order in ORDERS.items()
        },
        "the whole step": work.once,
    }
    operations = {name: counted(once) / 1e9 for name, once in works.items()}
    spent = in_turn(works, seconds, time.process_time)
    whole = spent["the whole step"]
    lines = [
        f"| {name} | {1e3 * own / batch:.1f} | {operations[name] / own:.0f} | {own / whole:.0%} |"
        for name, own in spent.items()
    ]
    return "\n".join([HEADER, *lines])


def products(square: Tensor) -> None:
    """The speed that everything else is measured by."""
    for _ in range(PRODUCTS):
        square @ square


def inputs(net: nn.Module, once: Callable[[], object]) -> list[tuple[nn.Module, Tensor]]:
    """Every convolution of a network and what it meets, in their order."""
    met: list[tuple[nn.Module, Tensor]] = []
    hooks = [
        module.register_forward_pre_hook(lambda own, args: met.append((own, args[0].detach())))
        for module in net.modules()
        if isinstance(module, nn.Conv2d)
    ]
    once()
    for hook in hooks:
        hook.remove()
    return met


def rows(
    met: list[tuple[nn.Module, Tensor]], order: torch.memory_format
) -> list[tuple[nn.Module, Tensor, Tensor]]:
    """Each convolution with its input and a gradient of its output, in an order of memory."""
    made = []
    for layer, x in met:
        placed = x.clone(memory_format=order).requires_grad_()
        made.append((layer, placed, torch.ones_like(layer(placed), memory_format=order)))
    return made


def convolved(found: list[tuple[nn.Module, Tensor, Tensor]]) -> None:
    """All convolutions, forward and backward."""
    for layer, x, pull in found:
        layer.zero_grad()
        x.grad = None
        layer(x).backward(pull)


def counted(once: Callable[[], object]) -> int:
    """Multiplications and additions of it."""
    with FlopCounterMode(display=False) as counter:
        once()
    return counter.get_total_flops()
