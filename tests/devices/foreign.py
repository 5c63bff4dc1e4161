"""A device that is not the CPU: the rules of a GPU with the numbers of the CPU.

A tensor of the device "foreign" hides one of the CPU and computes with its kernels, so what comes
out can be compared. It refuses what CUDA refuses: to be mixed with a tensor of the CPU (other than
a single number among pointwise operands, or the places it is indexed by), to be written into one,
to be seen by numpy, to draw from a generator of the CPU. Its own random numbers are others than
the CPU's, so that a result which rests on them is found out too.

Torch keeps one such device for a whole process and counts the devices when it first goes backward,
so this module is imported first of all, in a process of its own. The door to torch is one that it
calls experimental: ``torch.utils.backend_registration._setup_privateuseone_for_python_backend``.
"""

# ruff: noqa: ANN401 - an operator takes and answers whatever it likes
from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from typing import Any, NoReturn

import torch
from torch import Tensor
from torch.utils._pytree import tree_map_only
from torch.utils.backend_registration import _setup_privateuseone_for_python_backend

CPU, NAME = torch.device("cpu"), "foreign"
DONE: Counter[Any] = Counter()
"""Operators that the device has computed."""

FACTORIES = (
    "empty.memory_format", "empty_strided", "arange", "arange.start", "arange.start_step",
    "linspace", "logspace", "eye", "eye.m",
)  # fmt: skip
AUTOCAST = {
    **dict.fromkeys(("linear", "matmul", "conv1d", "conv2d"), None),
    **dict.fromkeys(("group_norm", "layer_norm"), torch.float32),
}
"""What autocast computes on CUDA in half precision (None) and what in full, of what is used."""

aten = torch.ops.aten
COPIES = {aten.copy_.default, aten._to_copy.default}
INDEXING = {aten.index, aten.index_put, aten.index_put_, aten._index_put_impl_}
WITH_NUMBERS = {aten.fill, aten.fill_, *INDEXING}
RANDOM = torch.Generator().manual_seed(1905)


class Foreign(Tensor):
    """A tensor of the device; ``hidden`` is what it is made of."""

    hidden: Tensor
    __torch_function__ = torch._C._disabled_torch_function_impl

    @staticmethod
    def __new__(cls: type, hidden: Tensor) -> Foreign:
        return Tensor._make_wrapper_subclass(  # type: ignore[attr-defined, no-any-return]
            cls,
            hidden.size(),
            strides=hidden.stride(),
            storage_offset=hidden.storage_offset(),
            dtype=hidden.dtype,
            device=f"{NAME}:0",
        )

    def __init__(self, hidden: Tensor) -> None:
        self.hidden = hidden

    def __repr__(self, **_: object) -> str:
        return f"foreign({self.hidden})"

    def tolist(self) -> Any:
        return self.hidden.tolist()

    def numpy(self, *_: object, **__: object) -> NoReturn:
        raise TypeError("can't convert a foreign tensor to numpy. Use Tensor.cpu() first.")

    __array__ = numpy

    @classmethod
    def __torch_dispatch__(
        cls, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        return computed(func, args, dict(kwargs or {}))


def computed(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Run an operator on what is hidden, unless CUDA would not."""
    DONE[func] += 1
    if func is aten._fused_sdp_choice.default:
        return 0  # none: the fused kernels know their devices by name
    leaves: list[Tensor] = []
    mapped((args, tuple(kwargs.values())), leaves.append)
    refuse(func, args, leaves, kwargs)
    leaving = torch.device(kwargs.get("device") or NAME).type == "cpu"
    if kwargs.get("device") is not None:
        kwargs["device"] = CPU
    known = {id(t.hidden): t for t in leaves if isinstance(t, Foreign)}
    bare = mapped(args, bared)
    with own_numbers() if torch.Tag.nondeterministic_seeded in func.tags else nullcontext():
        made = func(*bare, **{name: mapped(value, bared) for name, value in kwargs.items()})
    for tensor in known.values():
        if tensor.shape != tensor.hidden.shape:  # matmul squeezes its answer in place
            hidden = tensor.hidden
            with torch._C._DisableTorchDispatch(), torch._C._AutoDispatchBelowAutograd():
                tensor.as_strided_(hidden.size(), hidden.stride(), hidden.storage_offset())
    if leaving or func is aten.copy_.default:
        return args[0] if made is bare[0] else made
    return mapped(made, lambda t: known[id(t)] if id(t) in known else Foreign(t))


def mapped(value: Any, change: Callable[[Tensor], Any]) -> Any:
    """Change every tensor in lists and tuples of an operator's arguments or answer."""
    if isinstance(value, Tensor):
        return change(value)
    if isinstance(value, (list, tuple)):
        return type(value)([mapped(part, change) for part in value])
    return value


def bared(tensor: Tensor) -> Tensor:
    """What a tensor hides, or itself."""
    return tensor.hidden if isinstance(tensor, Foreign) else tensor


@contextmanager
def own_numbers() -> Iterator[None]:
    """Let torch draw from the device's stream in place of the CPU's."""
    before = torch.get_rng_state()
    torch.set_rng_state(RANDOM.get_state())
    yield
    RANDOM.set_state(torch.get_rng_state())
    torch.set_rng_state(before)


def refuse(func: Any, args: tuple[Any, ...], leaves: list[Tensor], kwargs: dict[str, Any]) -> None:
    """Raise what CUDA raises where devices are mixed."""
    if func in COPIES:
        return
    if kwargs.get("generator") is not None:
        raise RuntimeError(f"{func}: expected a foreign generator but found one of the cpu")
    strays = [t for t in leaves if not isinstance(t, Foreign)]
    if not strays:
        return
    packet = func.overloadpacket
    if packet in INDEXING and isinstance(args[0], Foreign):
        strays = [t for t in strays if not any(t is place for place in args[1])]
    numbers = torch.Tag.pointwise in func.tags or packet in WITH_NUMBERS
    written = func._schema.is_mutable and any(t is args[0] for t in strays)
    if written or any(t.ndim or not numbers for t in strays):
        raise RuntimeError(
            f"{func}: expected all tensors to be on the same device, but found foreign and cpu, "
            f"of shapes {[tuple(t.shape) for t in strays]}"
        )


def copied(source: Tensor, to: Tensor, non_blocking: bool = False) -> Tensor:
    """Copy between the devices, as ``torch.tensor(..., device=)`` does."""
    bared(to).copy_(bared(source))
    return to


def fresh(op: Any) -> Callable[..., Foreign]:
    """A factory of tensors, on the device."""
    return lambda *args, **kwargs: Foreign(op(*args, **{**kwargs, "device": CPU}))


def cast(op: Any, dtype: torch.dtype | None) -> Callable[..., Any]:
    """An operator as autocast computes it, which leaves float64 alone."""
    key = torch._C.DispatchKeySet(torch._C.DispatchKey.AutocastPrivateUse1)

    def run(*args: Any, **kwargs: Any) -> Any:
        def to(t: Tensor) -> Tensor:
            here = isinstance(t, Foreign) and t.is_floating_point() and t.dtype != torch.float64
            return t.to(dtype or torch.get_autocast_dtype(NAME)) if here else t

        with torch._C._ExcludeDispatchKeyGuard(key):
            named = {name: mapped(value, to) for name, value in kwargs.items()}
            return op(*mapped(args, to), **named)

    return run


class Module:
    """What torch asks of ``torch.foreign``."""

    def is_available(self) -> bool:
        return True

    def is_initialized(self) -> bool:
        return True

    def current_device(self) -> int:
        return 0

    def device_count(self) -> int:
        return 1

    def _is_in_bad_fork(self) -> bool:
        return False

    def manual_seed_all(self, seed: int) -> None:
        RANDOM.manual_seed(seed + 1)

    def get_amp_supported_dtype(self) -> list[torch.dtype]:
        return [torch.bfloat16, torch.float16]


def registered() -> tuple[torch.library.Library, ...]:
    """Make the device known to torch, for as long as what is returned lives."""
    _setup_privateuseone_for_python_backend(NAME, Module())
    known, others = torch.library.Library("aten", "IMPL"), torch.library.Library("_", "IMPL")
    for name in FACTORIES:
        packet, _, overload = name.partition(".")
        op = getattr(getattr(aten, packet), overload or "default")
        known.impl(name, fresh(op), "PrivateUse1")
    known.impl("_copy_from", copied, "PrivateUse1")
    others.fallback(torch.library.fallthrough_kernel, "AutocastPrivateUse1")
    for name, dtype in AUTOCAST.items():
        known.impl(name, cast(getattr(aten, name), dtype), "AutocastPrivateUse1")
    return known, others


KEPT = registered()
HERE = torch.device(NAME)


def agree(work: Callable[[torch.device], Any], apart: float = 1e-5) -> Any:
    """Do a piece of work on either device; the numbers must be the same, to rounding.

    Args:
        work: Called with a device; answers with tensors, arrays and numbers in any nesting.
        apart: How far they may be apart, absolute and relative.

    Returns:
        What the foreign device answered.
    """
    here = work(CPU)
    DONE.clear()
    there = work(HERE)
    assert DONE, "nothing was computed on the foreign device"
    bare = tree_map_only(Foreign, bared, there)
    torch.testing.assert_close(bare, here, rtol=apart, atol=apart, equal_nan=True)
    return there
