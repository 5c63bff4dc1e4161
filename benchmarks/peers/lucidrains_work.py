"""denoising-diffusion-pytorch: one step as in its Trainer, or a walk by its ``sample``."""

from __future__ import annotations

import sys
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).parent))
import common
from serving import Ask, Work, serve

common.allow_foreign_torchvision()

from denoising_diffusion_pytorch import GaussianDiffusion, Unet  # noqa: E402
from ema_pytorch import EMA  # noqa: E402

EVALUATIONS = 1000  # of ``sample``, where sampling_timesteps is not said


def prepare(ask: Ask) -> Work:
    """Build the network and what is done with it."""
    net = Unet(dim=64, dim_mults=(1, 2, 2), channels=1)
    steps = ask.steps if ask.task == "sample" else None
    diffusion = GaussianDiffusion(ask.shaped(net), image_size=32, sampling_timesteps=steps)
    if ask.task == "sample":

        def walk() -> object:
            with ask.autocast():
                return diffusion.eval().sample(batch_size=ask.batch)

        return Work(net, walk, EVALUATIONS, ask.batch)
    optimiser = torch.optim.Adam(diffusion.parameters(), lr=1e-4, betas=(0.9, 0.99))
    average = EMA(diffusion, beta=0.995, update_every=10)
    pictures = torch.rand(ask.batch, 1, 32, 32)

    def once() -> float:
        with ask.autocast():
            loss = diffusion(pictures)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(diffusion.parameters(), 1.0)
        optimiser.step()
        optimiser.zero_grad()
        average.update()
        return loss.item()

    return Work(net, once, EVALUATIONS, ask.batch)


if __name__ == "__main__":
    serve(prepare)
