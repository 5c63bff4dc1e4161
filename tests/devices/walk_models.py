"""Networks, levels and exact laws on a foreign device; started by test_devices.py."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from foreign import agree
from torch import Tensor, nn

from ornstein.core import PROCESSES, TARGETS, FiniteData, Gaussian, Level, Mixture
from ornstein.core.exact import Principal
from ornstein.model import Classifier, Model
from ornstein.nets import MLP, DiT, UNet
from ornstein.nets.encoder import Encoder

TOLD = {
    "class": {"kind": "class", "count": 3},
    "tags": {"kind": "tags", "count": 2},
    "size": {"kind": "numbers", "count": 2},
}
BESIDE = {**TOLD, "low": {"kind": "picture", "shape": [1, 4, 3]}}
SMALL = {"widths": (8, 12), "blocks": (1, 1), "attention": (1,)}
NETS: dict[str, Callable[[], nn.Module]] = {
    "unet": lambda: UNet((2, 8, 6), BESIDE, **SMALL, dropout=0.2, waves=1),
    "unet-cross": lambda: UNet((2, 7, 6), BESIDE, "cross-attention", **SMALL, resample="biggan"),
    "unet-series": lambda: UNet((1, 11), TOLD, "concat", **SMALL, modulation="add", outputs=2),
    "unet-volume": lambda: UNet((1, 4, 4, 3), TOLD, **SMALL),
    "dit": lambda: DiT((2, 8, 6), BESIDE, width=16, depth=2, head=8, dropout=0.1),
    "dit-cross": lambda: DiT((1, 11), TOLD, "cross-attention", width=16, depth=1, head=8),
    "mlp": lambda: MLP((3,), TOLD, width=16, layers=2, dropout=0.1),
}


def shaken(make: Callable[[], nn.Module]) -> nn.Module:
    """A network none of whose layers is silent."""
    torch.manual_seed(0)
    net = make()
    for parameter in net.parameters():
        nn.init.normal_(parameter, std=0.2)
    return net


def conditions(net: UNet | DiT | MLP, rows: int) -> dict[str, Tensor]:
    """One of each kind, of which some rows say nothing."""
    unsaid = torch.tensor(float("nan"))
    said = {
        "class": torch.arange(rows) % 4,
        "tags": torch.tensor([[1.0, 0.0], [1.0, 1.0], [unsaid, unsaid]])[torch.arange(rows) % 3],
        "size": torch.stack([torch.linspace(-1, 1, rows), torch.ones(rows)], 1),
        "low": torch.linspace(-1, 1, rows)[:, None, None, None].repeat(1, 1, 4, 3),
    }
    return {name: value for name, value in said.items() if name in net.embed.conditions}


@pytest.mark.parametrize(
    ("name", "told"), [*((name, True) for name in NETS), ("unet", False), ("dit", False)]
)
def test_a_network_answers_and_learns_alike(name: str, told: bool) -> None:
    def work(where: torch.device) -> object:
        net = shaken(NETS[name]).to(where)
        for module in net.modules():
            if hasattr(module, "rows"):
                module.rows = torch.arange(3, device=where) * 7919
        cond = conditions(net, 3) if told else {}
        x = torch.linspace(-1, 1, 3 * torch.Size(net.shape).numel()).reshape(3, *net.shape)
        answer = net(
            x.to(where), torch.tensor([-1.0, 0.2, 2.0]).to(where),
            {k: v.to(where) for k, v in cond.items()},
        )  # fmt: skip
        answer.square().mean().backward()
        return answer.detach(), [p.grad for p in net.parameters() if p.grad is not None]

    agree(work)


def test_a_classifier_of_noisy_items_leads_alike() -> None:
    def work(where: torch.device) -> object:
        net = shaken(lambda: Encoder((1, 8, 8), 3, widths=(8,), blocks=(1,), attention=(0,)))
        judge = Classifier(net).to(where)
        x = torch.linspace(-1, 1, 128).reshape(2, 1, 8, 8).to(where).requires_grad_()
        log_prob = judge.of(torch.tensor([0, 2], device=where))
        (pull,) = torch.autograd.grad(log_prob(x, Level(0.6, 0.8)).sum(), x)
        return pull

    agree(work)


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("rows", [False, True])
def test_every_target_reads_a_network_alike(target: str, rows: bool) -> None:
    """Levels are one number on the CPU, or one for each row, on either device."""

    def work(where: torch.device) -> object:
        model = Model(shaken(lambda: MLP((3,), width=8, layers=1)), TARGETS[target]()).to(where)
        x = torch.linspace(-1, 1, 6).reshape(2, 3).to(where)
        levels = [Level(torch.tensor([0.6, 0.1]), torch.tensor([0.8, 2.0]))] if rows else []
        levels += [level.to(where) for level in levels] or [Level(0.6, 0.8)]
        return [part for level in levels for part in model(x, level)[:2]]

    agree(work)


@pytest.mark.parametrize("process", PROCESSES)
def test_a_process_answers_on_the_device_of_its_clock(process: str) -> None:
    def work(where: torch.device) -> object:
        made = PROCESSES[process]()
        t = torch.tensor([0.1, 0.4, 0.9], dtype=torch.float64, device=where)
        level = made(t)
        return level.alpha, level.sigma, made.time(level.log_snr), made.drift(t)

    agree(work)


COVARIANCE = torch.tensor([[1.1, 0.3], [0.3, 0.5]], dtype=torch.float64)
POINTS = torch.tensor([[0.3, -1.0], [1.2, 0.4], [0.0, 2.0]], dtype=torch.float64)


def mixture(where: torch.device) -> Mixture:
    means = torch.tensor([[0.0, 1.0], [1.0, -1.0]], device=where)
    return Mixture(torch.tensor([0.3, 0.7], device=where), means, torch.tensor([0.4, 0.2]))


@pytest.mark.parametrize("law", ["cpu", "same"])
def test_exact_laws_answer_alike_wherever_they_were_made(law: str) -> None:
    def work(where: torch.device) -> object:
        home = where if law == "same" else "cpu"
        gaussian = Gaussian(torch.tensor([0.1, -0.2]).to(home), COVARIANCE.to(home))
        several = mixture(home)
        x, level = POINTS.to(where), Level(0.8, 0.6)
        laws = (gaussian, several, FiniteData(POINTS.to(home)), Principal.fit(POINTS.to(home), 1))
        line = Gaussian(torch.zeros(1).to(home), torch.eye(1).to(home))
        return [
            *(part for law in laws for part in law(x, level)[:2]),
            several.log_prob(x), several.score(x), several.variance(x, level), several.mean,
            several.covariance, gaussian.flow(x, level, Level(0.9, 0.1)),
            line.transport(x[:, :1], level, Level(0.9, 0.1)),
        ]  # fmt: skip

    agree(work)
