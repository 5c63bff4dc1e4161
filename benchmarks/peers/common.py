"""What the peer scripts share. Needs numpy and torch only; knows nothing of ornstein.

A peer script trains on ``train.npy`` for a number of minutes, and writes samples as
uint8 pieces, so that a long sampling can be stopped and read at any time, and a record.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import re
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

SIDE = 32  # the peers' nets halve twice; 28 would do, 32 is what their users take
PIECE = 100  # samples per piece


@dataclass(frozen=True)
class Job:
    """What the benchmark asks of a peer."""

    data: Path
    out: Path
    minutes: float
    samples: int
    steps: int  # of the sampler
    seed: int
    stage: str  # train, sample, or both
    recipe: str  # how it is trained, of those that the script knows

    @property
    def weights(self) -> Path:
        """Where the averaged weights go between the stages."""
        return self.out / "weights.safetensors"


@cache
def allow_foreign_torchvision() -> None:
    """Let a torchvision built for CUDA be imported beside a torch without it.

    Both peers import it for its transforms alone; its box operators, which do not load,
    are declared here by name, so that its import does not stop at them.
    """
    spec = importlib.util.find_spec("torchvision")
    assert spec is not None
    assert spec.origin is not None
    built_for_cuda = "+cu" in (Path(spec.origin).parent / "version.py").read_text()
    if torch.version.cuda or not built_for_cuda:
        return
    text = (Path(spec.origin).parent / "_meta_registrations.py").read_text()
    names = re.findall(r'register_(?:meta|fake)\("(?:torchvision::)?(\w+)"\)', text)
    for name in sorted(set(names)):
        _LIBRARY.define(f"{name}(Tensor x) -> Tensor")


_LIBRARY = torch.library.Library("torchvision", "FRAGMENT")


def read_job() -> Job:
    """Read the command line."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--minutes", type=float, required=True)
    parser.add_argument("--samples", type=int, default=2000)
    parser.add_argument("--steps", type=int, default=50)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--stage", choices=("train", "sample", "both"), default="both")
    parser.add_argument("--recipe", default="default")
    job = Job(**vars(parser.parse_args()))
    job.out.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(job.seed)
    return job


def padded(items: np.ndarray) -> Tensor:
    """Pictures (N, C, H, W) of bytes with a border of zeros to SIDE, still bytes."""
    high, wide = (SIDE - items.shape[2]), (SIDE - items.shape[3])
    edges = ((0, 0), (0, 0), (high // 2, high - high // 2), (wide // 2, wide - wide // 2))
    return torch.from_numpy(np.pad(items, edges))


def cropped(pictures: Tensor, shape: tuple[int, ...]) -> np.ndarray:
    """Pictures in [0, 1] back to bytes of the data's own shape (C, H, W)."""
    top, left = (SIDE - shape[1]) // 2, (SIDE - shape[2]) // 2
    inner = pictures[:, :, top : top + shape[1], left : left + shape[2]]
    return (inner.clamp(0, 1) * 255).round().to(torch.uint8).numpy()


def batches(pictures: Tensor, size: int, seed: int) -> Iterator[Tensor]:
    """Shuffled batches without end, in [0, 1], from memory: the peer pays for no file reading."""
    generator = torch.Generator().manual_seed(seed)
    while True:
        order = torch.randperm(len(pictures), generator=generator)
        for index in order.split(size):
            if len(index) == size:
                yield pictures[index].float() / 255


class Clock:
    """Says when training is over: the minutes are past."""

    def __init__(self, job: Job) -> None:
        self.job, self.start, self.load = job, time.monotonic(), [os.getloadavg()[0]]

    @property
    def seconds(self) -> float:
        """Seconds since the start."""
        return time.monotonic() - self.start

    def over(self, step: int) -> bool:
        """Whether to stop before this step; notes the load of the machine on the way."""
        if step % 50 == 0:
            self.load.append(os.getloadavg()[0])
            print(f"step {step}  {self.seconds:.0f} s  load {self.load[-1]:.1f}", flush=True)
        return self.seconds >= 60 * self.job.minutes


def write_record(job: Job, **facts: object) -> None:
    """Add facts to record.json."""
    text = json.dumps({**read_record(job), **facts}, indent=1)
    (job.out / "record.json").write_text(text)


def read_record(job: Job) -> dict[str, object]:
    """What record.json says so far."""
    path = job.out / "record.json"
    return dict(json.loads(path.read_text())) if path.exists() else {}


def sample_in_pieces(job: Job, shape: tuple[int, ...], draw: Callable[[int, int], Tensor]) -> None:
    """Write samples piece by piece; draw(n, seed) gives n pictures in [0, 1]."""
    start, done = time.monotonic(), 0
    for piece in range(-(-job.samples // PIECE)):
        n = min(PIECE, job.samples - piece * PIECE)
        if (job.out / f"samples-{piece:04d}.npy").exists():
            continue  # an earlier call was stopped here; each piece has its own seed
        pictures = cropped(draw(n, job.seed + 1 + piece), shape)
        np.save(job.out / f"samples-{piece:04d}.npy", pictures, allow_pickle=False)
        done += n
        seconds = time.monotonic() - start
        print(f"{done} of {job.samples} samples, {done / seconds:.2f}/s", flush=True)
        write_record(job, sampled_here=done, sampling_seconds=round(seconds, 1))
