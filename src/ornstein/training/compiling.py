"""A network that torch compiles: an option, since its first step can take minutes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from torch import nn

from ornstein.errors import ConfigError

COMPILERS = ("torch._dynamo", "torch._inductor")  # where the faults of compiling come from


def compiled(net: nn.Module) -> None:
    """Let torch compile a network when it is first called; names of weights stay as they are."""
    net.compile()


@contextmanager
def explained() -> Iterator[None]:
    """Say in a sentence that a network cannot be compiled here.

    Raises:
        ConfigError: in the place of a compiler's fault.
    """
    try:
        yield
    except Exception as fault:
        if not any(kind.__module__.startswith(COMPILERS) for kind in type(fault).__mro__):
            raise
        said = " ".join(str(fault).split("\n")[:2]).strip() or type(fault).__name__
        raise ConfigError(
            f"the network cannot be compiled here: {said[:200]}. Compiling needs a C++ "
            "compiler, or a GPU with triton; leave compile=true out: nothing needs it."
        ) from fault
