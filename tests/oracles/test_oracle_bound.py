"""The terms of the bound against improved-diffusion's numbers and closed forms (B4, B10)."""

from __future__ import annotations

import math
import re

import laws
import numpy as np
import pytest
import torch
from reader import Record, records
from torch import Tensor

from ornstein.bound import Bins, Chain, bound
from ornstein.core import DDPM, Draw, Estimate, Gaussian, knowing

CHAINS = {"linear": DDPM.linear, "cosine": DDPM.cosine}
SHAPE = (4, 3, 4, 4)  # the batch of the records


def named(record: Record) -> str:
    return str(record["id"])


def pseudo(key: int) -> Tensor:
    return torch.tensor(laws.pseudo(SHAPE, key))


def peer_term(k: int, variance: str, law: str, share: Tensor | None = None) -> Tensor:
    """Bits per dimension of each item at their index k, which is the paper's step k + 1."""
    grid = DDPM.linear(1000).levels
    t, s = grid[999 - k], grid[1000 - k]
    x0 = ((pseudo(1) / math.sqrt(3) + 1) * 127.5).round() / 127.5 - 1
    x, eps = t.mix(x0, pseudo(2)), pseudo(2) + 0.3 * pseudo(3)
    estimate = Estimate((x - t.sigma * eps) / t.alpha, eps, share)
    chain = Chain(grid, variance, Bins(law=law))  # type: ignore[arg-type]
    return chain.term(estimate, x, x0, t, s).flatten(1).mean(1) / math.log(2)


@pytest.mark.parametrize("record", records("terms", "vlb."), ids=named)
def test_b4_a_term_of_the_bound_is_that_of_the_peer(record: Record) -> None:
    k, variance = record["input"]["t"], record["input"]["var"]
    got = peer_term(k, variance, "tanh").tolist()
    assert got == pytest.approx(record["expect"], abs=record["tol"] / 10)
    if exact := re.search(r"exact normal CDF: (.*)", record["note"]):
        numbers = [float(number) for number in exact.group(1).split(", ")]
        assert peer_term(k, variance, "normal").tolist() == pytest.approx(numbers, abs=1e-6)


@pytest.mark.parametrize("record", records("terms", "decoder."), ids=named)
def test_b4_the_decoder_is_that_of_the_peer(record: Record) -> None:
    """Two pixels at either end, far from a mean that was made before they were put there."""
    before = ((pseudo(6) / math.sqrt(3) + 1) * 127.5).round() / 127.5 - 1
    x0, mean = before.clone(), before + 0.02 * pseudo(8)
    x0[0, 0, :2, :2] = torch.tensor([[-1.0, -1.0], [1.0, 1.0]])
    variance = (2 * (-3 + 1.5 * pseudo(9) / math.sqrt(3))).exp()

    def nats(law: str) -> float:
        pixels = -Bins(law=law)(x0, mean, variance)  # type: ignore[arg-type]
        return float(pixels.clamp(min=math.log(1e-12)).mean())  # the peer's floor

    exact = re.search(r"exact normal CDF gives (-[\d.]+)", record["note"])
    assert exact
    assert nats("normal") == pytest.approx(float(exact.group(1)), abs=1e-7)
    # In float32, as the peer has it, one far pixel is 0.043 nats higher: 2.3e-4 in the mean.
    assert nats("tanh") == pytest.approx(record["expect"][0], abs=1.5 * record["tol"])


@pytest.mark.parametrize("k", [0, 1, 500, 999])
def test_b10_the_bound_by_bridges_is_the_bound_by_tables_for_a_learned_range(k: int) -> None:
    # Once more in numpy, from tables of betas as improved-diffusion has them (eq. 15 of N21).
    v = np.clip(laws.pseudo(SHAPE, 4) / math.sqrt(3), -1, 1)
    got = peer_term(k, "learned", "tanh", torch.tensor((v + 1) / 2))

    betas = np.linspace(1e-4, 0.02, 1000)
    after = np.cumprod(1 - betas)
    before = np.append(1.0, after[:-1])
    tilde = betas * (1 - before) / (1 - after)
    log_tilde = np.log(np.append(tilde[1], tilde[1:]))
    log_variance = (v + 1) / 2 * np.log(betas[k]) + (1 - v) / 2 * log_tilde[k]
    x0 = np.round((laws.pseudo(SHAPE, 1) / math.sqrt(3) + 1) * 127.5) / 127.5 - 1
    x = math.sqrt(after[k]) * x0 + math.sqrt(1 - after[k]) * laws.pseudo(SHAPE, 2)
    eps = laws.pseudo(SHAPE, 2) + 0.3 * laws.pseudo(SHAPE, 3)
    guess = (x - math.sqrt(1 - after[k]) * eps) / math.sqrt(after[k])
    first = math.sqrt(before[k]) * betas[k] / (1 - after[k])
    if k > 0:
        term = 0.5 * (
            log_variance
            - log_tilde[k]
            + np.exp(log_tilde[k] - log_variance)
            + (first * (x0 - guess)) ** 2 * np.exp(-log_variance)
            - 1
        )
    else:
        std = np.exp(0.5 * log_variance)

        def below(z: np.ndarray) -> np.ndarray:
            return 0.5 * (1 + np.tanh(math.sqrt(2 / math.pi) * (z + 0.044715 * z**3)))

        low = np.where(x0 < -0.999, 0, below((x0 - 1 / 255 - guess) / std))
        high = np.where(x0 > 0.999, 1, below((x0 + 1 / 255 - guess) / std))
        term = -np.log(np.maximum(high - low, 1e-12))
    want = term.reshape(4, -1).mean(1) / math.log(2)
    assert got.tolist() == pytest.approx(want.tolist(), rel=1e-6)


class Signs:
    """Noise of +1 and -1 in turn: with x0 = ±√c, averages of squares are exact expectations."""

    def at(self, step: int, /) -> Draw:
        return lambda x: torch.tensor([[1.0], [-1.0], [1.0], [-1.0]]).to(x)


@pytest.mark.parametrize("record", records("closed", "vlb."), ids=named)
def test_b4_the_whole_bound_is_the_closed_form(record: Record) -> None:
    told = record["input"]
    variance = {"optimal": "analytic"}.get(told["var"], told["var"])
    law = Gaussian(torch.zeros(1), torch.tensor([[told["c"]]], dtype=torch.float64))
    x0 = math.sqrt(told["c"]) * torch.tensor([[1.0], [1.0], [-1.0], [-1.0]], dtype=torch.float64)
    grid = CHAINS[told["schedule"]](told["T"]).levels
    got = bound(knowing(law, law.variance), x0, grid, variance=variance, noise=Signs())
    parts = [got.prior, got.steps, got.decoder, got.value]
    assert parts == pytest.approx(record["expect"], abs=1e-11)
    assert got.terms is not None
    assert float(got.terms.mean(1).sum()) == pytest.approx(got.steps)
