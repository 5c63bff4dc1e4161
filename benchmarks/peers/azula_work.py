"""azula: one step of its KarrasDenoiser, which has no trainer, or a walk by its DDIMSampler.

Its U-Net has one modulated block per level, no attention: a smaller network than the others'.
"""

from __future__ import annotations

import sys
from pathlib import Path

import torch
from torch import Tensor, nn

sys.path.insert(0, str(Path(__file__).parent))
from azula.denoise import KarrasDenoiser
from azula.nn.layers import SineEncoding
from azula.nn.unet import UNet
from azula.noise import VPSchedule
from azula.sample import DDIMSampler
from serving import Ask, Work, serve

EVALUATIONS = 64  # of its samplers, where ``steps`` is not said
MODULATION = 256


class Backbone(nn.Module):
    """Its U-Net with the time told through sines and a linear map, as its tutorials do."""

    def __init__(self) -> None:
        super().__init__()
        self.told = nn.Sequential(SineEncoding(64), nn.Linear(64, MODULATION), nn.SiLU())
        self.net = UNet(
            1, 1, hid_channels=(64, 128, 128), hid_blocks=(1, 1, 1), mod_features=MODULATION
        )

    def forward(self, x: Tensor, t: Tensor) -> Tensor:
        """Map x (B, 1, 32, 32) at noise numbers t (B,), like x."""
        answer: Tensor = self.net(x, self.told(t.reshape(-1)))
        return answer


def prepare(ask: Ask) -> Work:
    """Build the network and what is done with it."""
    net = Backbone()
    denoiser = KarrasDenoiser(ask.shaped(net), VPSchedule())
    if ask.task == "sample":
        sampler = DDIMSampler(denoiser.eval(), steps=ask.steps, silent=True)

        def walk() -> object:
            with ask.autocast(), torch.inference_mode():
                return sampler(sampler.init((ask.batch, 1, 32, 32)))

        return Work(net, walk, EVALUATIONS, ask.batch)
    optimiser = torch.optim.AdamW(net.parameters(), lr=1e-4)
    average = [p.detach().clone() for p in net.parameters()]
    pictures = torch.rand(ask.batch, 1, 32, 32) * 2 - 1

    def once() -> float:
        with ask.autocast():
            loss = denoiser.loss(pictures, torch.rand(ask.batch)).mean()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(net.parameters(), 1.0)
        optimiser.step()
        optimiser.zero_grad()
        torch._foreach_lerp_(average, [p.detach() for p in net.parameters()], 1e-3)
        return loss.item()

    return Work(net, once, EVALUATIONS, ask.batch)


if __name__ == "__main__":
    serve(prepare)
