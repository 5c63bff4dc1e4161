"""diffusers: one step as in its unconditional example, or a walk by its DDIMPipeline."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import torch

sys.path.insert(0, str(Path(__file__).parent))
import common
from serving import Ask, Work, serve

common.allow_foreign_torchvision()

from diffusers import DDIMPipeline, DDIMScheduler, DDPMScheduler, UNet2DModel  # noqa: E402
from diffusers.models.unets.unet_2d import UNet2DOutput  # noqa: E402
from diffusers.training_utils import EMAModel  # noqa: E402
from diffusers_unconditional import build, loss_of  # noqa: E402

EVALUATIONS = 50  # of DDIMPipeline, where nothing is said


def prepare(ask: Ask) -> Work:
    """Build the network and what is done with it."""
    return {"train": training, "sample": sampling}[ask.task](ask)


def training(ask: Ask) -> Work:
    """Noise, loss, backward, clip, AdamW, EMA, and the loss read, as the example does."""
    net, schedule = build(), DDPMScheduler(num_train_timesteps=1000)
    called = ask.shaped(net)
    optimiser = torch.optim.AdamW(
        net.parameters(), lr=1e-4, betas=(0.95, 0.999), weight_decay=1e-6, eps=1e-8
    )
    average = EMAModel(net.parameters(), use_ema_warmup=True, inv_gamma=1.0, power=0.75)
    pictures = torch.rand(ask.batch, 1, 32, 32)

    def once() -> float:
        with ask.autocast():
            loss = loss_of(called, schedule, pictures)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(net.parameters(), 1.0)
        optimiser.step()
        optimiser.zero_grad()
        average.step(net.parameters())
        return loss.item()

    return Work(net, once, EVALUATIONS, ask.batch)


def halved(net: UNet2DModel) -> UNet2DModel:
    """Keep the weights in bfloat16; answers are float32, as numpy knows no bfloat16."""
    answer = net.to(torch.bfloat16).forward

    def forward(sample: torch.Tensor, *args: Any, **options: Any) -> UNet2DOutput:  # noqa: ANN401
        return UNet2DOutput(answer(sample.to(torch.bfloat16), *args, **options).sample.float())

    net.forward = forward
    return net


def sampling(ask: Ask) -> Work:
    """Walk with DDIM; in bfloat16 by autocast, or with weights that are."""
    net = build().eval()
    if ask.has("bfloat16_weights"):
        net = halved(net)
    pipeline = DDIMPipeline(ask.shaped(net), DDIMScheduler(num_train_timesteps=1000))
    pipeline.set_progress_bar_config(disable=True)

    def once() -> object:
        with ask.autocast():
            return pipeline(ask.batch, num_inference_steps=ask.steps, output_type="np").images

    return Work(net, once, EVALUATIONS, ask.batch)


if __name__ == "__main__":
    serve(prepare)
