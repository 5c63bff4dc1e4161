"""diffusers: a UNet2DModel trained as its unconditional example does by default, scaled down.

The example's defaults (batch 16, AdamW 1e-4 with betas 0.95 and 0.999 and decay 1e-6,
cosine with 500 warm-up steps, EMA of inverse gamma 1 and power 3/4 up to 0.9999, DDPM with
1000 linear steps, eps-prediction, clipping at 1) with a net of 4.4 M parameters. In the
peer's favour: data in memory, and the cosine ends where the time ends.

With ``--recipe tuned`` it is trained as suits minutes on a CPU: channels last and bfloat16 where a
step takes less time so, batch and rate as five short trials by held-out loss found, warm-up,
decay and average chosen without one.
"""

from __future__ import annotations

import sys
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch.nn import functional as nnf

sys.path.insert(0, str(Path(__file__).parent))
import common

common.allow_foreign_torchvision()

from diffusers import DDIMPipeline, DDIMScheduler, DDPMScheduler, UNet2DModel  # noqa: E402
from diffusers.optimization import get_scheduler  # noqa: E402
from diffusers.training_utils import EMAModel  # noqa: E402


@dataclass(frozen=True)
class Recipe:
    """What a user of the network sets to train it.

    Attributes:
        batch: Pictures in a step.
        rate: Peak learning rate.
        betas: Of AdamW.
        schedule: Of the rate, by diffusers' name.
        warmup: Steps.
        decay: Of the average; it grows to this.
        tries: Whether to time a step with weights in either order of memory, in float32 and in
            bfloat16, and to train and sample in the fastest way.
    """

    batch: int = 16
    rate: float = 1e-4
    betas: tuple[float, float] = (0.95, 0.999)
    schedule: str = "cosine"
    warmup: int = 500
    decay: float = 0.9999
    tries: bool = False


LAYOUTS = {"contiguous": torch.contiguous_format, "channels_last": torch.channels_last}
PLAIN = ("contiguous", False)
RECIPES = {
    "default": Recipe(),
    "tuned": Recipe(
        rate=1e-3, betas=(0.9, 0.99), schedule="linear", warmup=30, decay=0.995, tries=True
    ),
}


def build() -> UNet2DModel:
    """Base 64, multipliers 1, 2, 2, one residual block per level, attention at 8x8."""
    return UNet2DModel(
        sample_size=common.SIDE,
        in_channels=1,
        out_channels=1,
        layers_per_block=1,
        block_out_channels=(64, 128, 128),
        down_block_types=("DownBlock2D", "DownBlock2D", "AttnDownBlock2D"),
        up_block_types=("AttnUpBlock2D", "UpBlock2D", "UpBlock2D"),
    )


def loss_of(net: UNet2DModel, schedule: DDPMScheduler, pictures: torch.Tensor) -> torch.Tensor:
    """Return the plain eps loss on pictures in [0, 1]."""
    clean = pictures * 2 - 1
    noise = torch.randn_like(clean)
    steps = torch.randint(0, schedule.config.num_train_timesteps, (len(clean),))
    noisy = schedule.add_noise(clean, noise, steps)
    return nnf.mse_loss(net(noisy, steps).sample, noise)


def autocast(half: bool) -> torch.autocast:
    """In bfloat16, or as it is."""
    return torch.autocast("cpu", dtype=torch.bfloat16, enabled=half)


def step_seconds(pictures: torch.Tensor, recipe: Recipe, layout: str, half: bool) -> float:
    """Seconds of a step, timed on a net that is thrown away."""
    net, schedule = (
        build().to(memory_format=LAYOUTS[layout]),
        DDPMScheduler(num_train_timesteps=1000),
    )
    source = common.batches(pictures, recipe.batch, 99)
    times = []
    for _ in range(8):
        start = time.monotonic()
        with autocast(half):
            loss = loss_of(net, schedule, next(source))
        loss.backward()
        times.append(time.monotonic() - start)
    return sorted(times)[len(times) // 2] * 1.08  # optimiser and EMA besides


def train(job: common.Job, pictures: torch.Tensor) -> None:
    """Train for the time, and write the averaged weights."""
    recipe = RECIPES[job.recipe]
    every = [(name, half) for name in LAYOUTS for half in (False, True)]
    ways = every if recipe.tries else [PLAIN]
    times = {way: step_seconds(pictures, recipe, *way) for way in ways}
    layout, half = min(times, key=times.__getitem__)
    total = max(1, int(60 * job.minutes / times[layout, half]))
    net, schedule = (
        build().to(memory_format=LAYOUTS[layout]),
        DDPMScheduler(num_train_timesteps=1000),
    )
    optimiser = torch.optim.AdamW(
        net.parameters(), lr=recipe.rate, betas=recipe.betas, weight_decay=1e-6, eps=1e-8
    )
    rate = get_scheduler(
        recipe.schedule, optimiser, num_warmup_steps=recipe.warmup, num_training_steps=total
    )
    average = EMAModel(
        net.parameters(),
        decay=recipe.decay,
        use_ema_warmup=True,
        inv_gamma=1.0,
        power=0.75,
    )
    source, clock, step = common.batches(pictures, recipe.batch, job.seed), common.Clock(job), 0
    while step < total and not clock.over(step):
        with autocast(half):
            loss = loss_of(net, schedule, next(source))
        loss.backward()
        torch.nn.utils.clip_grad_norm_(net.parameters(), 1.0)
        optimiser.step()
        rate.step()
        optimiser.zero_grad()
        average.step(net.parameters())
        loss.item()
        step += 1
    common.write_record(
        job,
        steps=step,
        planned=total,
        layout=layout,
        half=half,
        seconds=round(clock.seconds, 1),
        load=round(float(np.median(clock.load)), 2),
        parameters=sum(p.numel() for p in net.parameters()),
    )
    average.copy_to(net.parameters())
    save_file({name: w.contiguous() for name, w in net.state_dict().items()}, job.weights)


def main() -> None:
    """Train, then sample with DDIM."""
    job = common.read_job()
    items = np.load(job.data, allow_pickle=False)
    if job.stage != "sample":
        train(job, common.padded(items))
    if job.stage == "train":
        return
    net = build()
    net.load_state_dict(load_file(job.weights))
    record = common.read_record(job)
    net.eval().to(memory_format=LAYOUTS[str(record.get("layout", PLAIN[0]))])
    half = bool(record.get("half"))
    pipeline = DDIMPipeline(net, DDIMScheduler(num_train_timesteps=1000))
    pipeline.set_progress_bar_config(disable=True)

    def draw(n: int, seed: int) -> torch.Tensor:
        generator = torch.Generator().manual_seed(seed)
        with autocast(half):
            made = pipeline(n, generator, num_inference_steps=job.steps, output_type="np").images
        return torch.from_numpy(made).permute(0, 3, 1, 2)

    common.sample_in_pieces(job, items.shape[1:], draw)


if __name__ == "__main__":
    main()
