"""Processes that train one model together: who has which rows, and what they add up.

Alone there is nothing to do, so the loop is written for many and costs one nothing. The processes
are started by torchrun, or by ``ornstein train --nproc``, whose environment says who is who.
"""

from __future__ import annotations

import json
import os
import signal
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.distributed_c10d import PrefixStore
from torch.distributed.rendezvous import rendezvous

from ornstein.errors import ConfigError, RankError, lacks_memory
from ornstein.training.blocks import is_parted, whole
from ornstein.training.pulse import Pulse, patience
from ornstein.training.signals import STOPPING, StopRequest

BUCKET = 1 << 24  # numbers that are added up in one go
FOR_EVER = timedelta(days=7)  # a rank may wait for another's preview; Pulse says if it is alive
GONE = (
    "another rank is gone; its own message, or its machine's, says why. What was saved stays: run "
    "the same command to go on."
)


@dataclass(frozen=True)
class Share:
    """One of ``count`` equal shares of a batch; with a count of 1, all of it.

    Attributes:
        rank: Which share, from 0.
        count: How many there are.
    """

    rank: int = 0
    count: int = 1

    def rows(self, total: int) -> slice:
        """Rows of this share, of ``total``.

        Raises:
            ConfigError: there are fewer rows than shares.
        """
        if total < self.count:
            raise ConfigError(
                f"a batch of {total} cannot be shared by {self.count} ranks; set train.batch to "
                f"{self.count} or more, or start fewer."
            )
        return slice(total * self.rank // self.count, total * (self.rank + 1) // self.count)

    def add_up(self, losses: Tensor, parameters: Sequence[nn.Parameter]) -> Tensor:
        """Add the losses, (B,), and the gradients of all ranks; returns the losses."""
        return losses

    def gather(self, tensor: Tensor) -> Tensor:
        """All of a tensor of which ranks may hold parts, on rank 0; the others get nothing."""
        if not is_parted(tensor):
            return tensor
        full = whole(tensor)
        return full.cpu() if self.rank == 0 else full.new_empty(0)


ALONE = Share()


@dataclass(frozen=True)
class Ranks(Share):
    """The ranks of a process group. Rank 0 leads; see :mod:`ornstein.training.leading`.

    Attributes:
        stop: A request to stop that reaches one rank reaches all with the next step.
        amidst: Set while all are at the same work, and hear of no other.
    """

    stop: StopRequest = field(default_factory=StopRequest)
    amidst: threading.Event = field(default_factory=threading.Event)

    def add_up(self, losses: Tensor, parameters: Sequence[nn.Parameter]) -> Tensor:
        """Add the losses, (B,), and the gradients of all ranks; returns the losses.

        Gradients are added in one fixed order. PyTorch's DistributedDataParallel is not used for
        it because it sorts them anew after its first step, so that from three ranks on a resumed
        training would differ in the last digit.
        """
        asked = self.stop.asked is not None
        facts = torch.tensor([asked, *(p.grad is not None for p in parameters)]).to(losses)
        with lost_ranks():
            facts = self._sum(torch.cat([losses, facts]))
            if facts[len(losses)] and not asked:
                self.stop.asked = "a signal to another rank"
            used = facts[len(losses) + 1 :].tolist()
            self._add_gradients([p for p, n in zip(parameters, used, strict=True) if n])
        return facts[: len(losses)]

    def _add_gradients(self, parameters: Sequence[nn.Parameter]) -> None:
        for p in parameters:
            if p.grad is None:  # of use to another rank's rows only
                p.grad = torch.zeros_like(p)
        grads = [p.grad for p in parameters if p.grad is not None and not is_parted(p)]
        for bucket in _buckets(grads):
            flat = self._sum(torch.cat([grad.flatten() for grad in bucket]))
            for grad, part in zip(bucket, flat.split([g.numel() for g in bucket]), strict=True):
                grad.copy_(part.view_as(grad))

    @staticmethod
    def _sum(tensor: Tensor) -> Tensor:
        dist.all_reduce(tensor)
        return tensor

    def tell(self, tensor: Tensor) -> Tensor:
        """Return rank 0's values of a tensor that has the same shape on all ranks."""
        with lost_ranks():
            dist.broadcast(tensor, 0)
        return tensor

    def tell_json(self, value: Any = None) -> Any:  # noqa: ANN401 - whatever JSON can say
        """Return what rank 0 says: JSON, because unpickling would run what another rank sends."""
        said = torch.frombuffer(bytearray(json.dumps(value).encode()), dtype=torch.uint8)
        size = int(self.tell(torch.tensor(len(said))))
        return json.loads(bytes(self.tell(said if self.rank == 0 else said.new_empty(size))))

    def tell_tensors(
        self, groups: Mapping[str, Mapping[str, Tensor]] | None = None
    ) -> dict[str, dict[str, Tensor]]:
        """Return rank 0's groups of named tensors, such as those of a checkpoint."""
        kinds = self.tell_json(
            groups
            and {
                stem: {name: [str(t.dtype), list(t.shape)] for name, t in group.items()}
                for stem, group in groups.items()
            }
        )
        told: dict[str, dict[str, Tensor]] = {stem: {} for stem in kinds}
        for stem, group in kinds.items():
            for name, (dtype, shape) in group.items():
                fresh = torch.empty(shape, dtype=getattr(torch, dtype.removeprefix("torch.")))
                told[stem][name] = self.tell(
                    groups[stem][name].cpu().contiguous() if groups else fresh
                )
        return told


@contextmanager
def joined(stop: StopRequest) -> Iterator[Share]:
    """Join the ranks that the environment names, for the length of the block; alone, do nothing.

    Raises:
        RankError: the others cannot be reached.
        UsageError: ORNSTEIN_RANK_TIMEOUT is no number of seconds.
    """
    count, rank = int(os.environ.get("WORLD_SIZE", "1")), int(os.environ.get("RANK", "0"))
    if count == 1:
        yield ALONE
        return
    patience()  # refused before the others are met
    nccl = torch.cuda.is_available() and dist.is_nccl_available()  # which Windows has not
    backend = "cpu:gloo,cuda:nccl" if nccl else "gloo"
    try:
        with as_if_alone():
            store, _, _ = next(rendezvous("env://", rank, count))
            store = PrefixStore(f"ornstein/{attempt()}", store)
            dist.init_process_group(
                backend, store=store, rank=rank, world_size=count, timeout=FOR_EVER
            )
    except (RuntimeError, ValueError) as error:
        reason = " ".join(str(error).split())[:200]
        raise RankError(f"rank {rank} cannot reach the other ranks: {reason}.") from error
    pulse = Pulse(rank, count, f"pulse/{attempt()}")
    try:
        yield Ranks(rank, count, stop)
        pulse.stop()
        with lost_ranks():
            dist.barrier()
    finally:
        pulse.stop()
        dist.destroy_process_group()


def attempt() -> str:
    """Which start of these ranks this is, on one machine.

    Started again by torchrun they find the store as the last start left it, and one may read
    where another listened then. Several machines do not count their starts alike.
    """
    alone = os.environ.get("GROUP_WORLD_SIZE", "1") == "1"
    return os.environ.get("TORCHELASTIC_RESTART_COUNT", "0") if alone else "0"


@contextmanager
def as_if_alone() -> Iterator[None]:
    """Let signals end the process: within a call that waits, no handler of ours would run."""
    before = {}
    if threading.current_thread() is threading.main_thread():
        before = {number: signal.signal(number, signal.SIG_DFL) for number in STOPPING}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def lost_ranks() -> Iterator[None]:
    """Say in words that a rank is gone, where the library speaks of sockets.

    Raises:
        RankError: a rank that takes part ended, or its machine is out of reach.
    """
    try:
        yield
    except RuntimeError as error:
        if lacks_memory(error):  # of this rank itself
            raise
        raise RankError(GONE) from error


def _buckets(tensors: Sequence[Tensor]) -> Iterator[list[Tensor]]:
    """Cut a list into lists of at most BUCKET numbers, or one tensor."""
    bucket: list[Tensor] = []
    for tensor in tensors:
        if bucket and sum(t.numel() for t in bucket) + tensor.numel() > BUCKET:
            yield bucket
            bucket = []
        bucket.append(tensor)
    if bucket:
        yield bucket
