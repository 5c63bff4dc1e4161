"""Networks too large for their device: computed in parts again, or held in parts by many ranks."""

from __future__ import annotations

import warnings
from functools import partial

from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint


def blocks(net: nn.Module) -> list[nn.Module]:
    """The repeated parts of a network: what its outermost lists of modules hold."""
    found: list[nn.Module] = []
    for child in net.children():
        found += list(child) if isinstance(child, nn.ModuleList) else blocks(child)
    return found


def recomputed(net: nn.Module) -> None:
    """Let the blocks of a network keep nothing for the backward pass, and compute it again."""
    for block in blocks(net):
        block.forward = partial(checkpoint, block.forward, use_reentrant=False)


def split_over_ranks(net: nn.Module) -> None:
    """Let each rank hold a part of every weight, gradient and average only (FSDP2)."""
    from torch.distributed.fsdp import fully_shard

    # It warns of changes in place to an answer that is a view; nobody here makes any.
    warnings.filterwarnings("ignore", message="FSDP2-wrapped module")
    for block in blocks(net):
        fully_shard(block)
    fully_shard(net)


def is_parted(tensor: Tensor) -> bool:
    """Whether each rank holds a part of it only."""
    return hasattr(tensor, "full_tensor")


def whole(tensor: Tensor) -> Tensor:
    """All of a tensor of which each rank may hold a part; then all ranks must ask."""
    found: Tensor = tensor.full_tensor() if hasattr(tensor, "full_tensor") else tensor
    return found


def parted(tensor: Tensor, like: Tensor) -> Tensor:
    """This rank's part of a whole tensor, held as ``like`` is."""
    tensor = tensor.to(like.device)
    if not is_parted(like):
        return tensor
    from torch.distributed.tensor import DTensor, distribute_tensor

    assert isinstance(like, DTensor)
    return distribute_tensor(tensor, like.device_mesh, like.placements, src_data_rank=None)
