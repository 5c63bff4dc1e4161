"""denoising-diffusion-pytorch: Unet and GaussianDiffusion by its own Trainer, scaled down.

Everything at its default (v-prediction on a sigmoid schedule, rate 1e-4, Adam with betas
0.9 and 0.99, EMA 0.995 every 10 steps, batch 16, two of them per step) but the width. In
the peer's favour: data in memory, no mirrored pictures, no saving on the way.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

sys.path.insert(0, str(Path(__file__).parent))
import common

common.allow_foreign_torchvision()

from denoising_diffusion_pytorch import GaussianDiffusion, Trainer, Unet  # noqa: E402


class TimeUp(Exception):  # noqa: N818 - the way out of a loop that is not ours
    """The minutes are over."""


def until(clock: common.Clock, trainer: Trainer, source: Iterator) -> Iterator[torch.Tensor]:
    """Hand on batches until the clock says stop, always at the border of a step."""
    fresh = -1
    for batch in source:
        if trainer.step != fresh:
            fresh = trainer.step
            if clock.over(fresh):
                raise TimeUp
        yield batch


def train(job: common.Job, diffusion: GaussianDiffusion, pictures: torch.Tensor) -> None:
    """Train for the time by its own Trainer, and write the averaged weights."""
    with tempfile.TemporaryDirectory() as folder:
        for i in range(100):  # its Trainer insists on a folder of 100 pictures
            Image.fromarray(pictures[i, 0].numpy()).save(f"{folder}/{i}.png")
        trainer = Trainer(
            diffusion,
            folder,
            train_batch_size=16,
            gradient_accumulate_every=2,
            train_num_steps=10**9,
            save_and_sample_every=10**9,
            calculate_fid=False,
            results_folder=str(job.out / "results"),
        )
        clock = common.Clock(job)
        trainer.dl = until(clock, trainer, common.batches(pictures, 16, job.seed))
        try:
            trainer.train()
        except TimeUp:
            print("time is up", flush=True)
    common.write_record(
        job,
        steps=trainer.step,
        seconds=round(clock.seconds, 1),
        load=round(float(np.median(clock.load)), 2),
        parameters=sum(p.numel() for p in diffusion.model.parameters()),
    )
    save_file(trainer.ema.ema_model.state_dict(), job.weights)


def main() -> None:
    """Train, then sample with DDIM from the averaged weights."""
    job = common.read_job()
    items = np.load(job.data, allow_pickle=False)
    diffusion = GaussianDiffusion(
        Unet(dim=64, dim_mults=(1, 2, 2), channels=items.shape[1]),
        image_size=common.SIDE,
        timesteps=1000,
        sampling_timesteps=job.steps,
    )
    if job.stage != "sample":
        train(job, diffusion, common.padded(items))
    if job.stage == "train":
        return
    diffusion.load_state_dict(load_file(job.weights))
    diffusion.eval()

    def draw(n: int, seed: int) -> torch.Tensor:
        torch.manual_seed(seed)
        return diffusion.sample(batch_size=n).cpu()

    common.sample_in_pieces(job, items.shape[1:], draw)


if __name__ == "__main__":
    main()
