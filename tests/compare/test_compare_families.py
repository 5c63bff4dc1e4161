"""The other families: their likelihoods against closed forms, and what they train by."""

from __future__ import annotations

import math
import os
import signal
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch

from ornstein.comparing import FAMILIES, Budget, Task, vae
from ornstein.comparing.flow import Flow
from ornstein.comparing.gan import penalty
from ornstein.comparing.playing import Player, play, rate_share
from ornstein.comparing.vae import WARM, Autoencoder, Vae
from ornstein.data import Dataset, Source, make_dataset, open_data
from ornstein.errors import DivergedError, StoppedEarly

MEAN = torch.tensor([3.0, -200.0], dtype=torch.float64)
COVARIANCE = torch.tensor([[4.0, 24.0], [24.0, 400.0]], dtype=torch.float64)
TRUTH = torch.distributions.MultivariateNormal(MEAN, COVARIANCE)


@pytest.fixture(scope="module")
def gaussian() -> np.ndarray:
    rng = np.random.default_rng(3)
    return rng.multivariate_normal(MEAN.numpy(), COVARIANCE.numpy(), 6000).astype(np.float32)


def task_of(source: np.ndarray, folder: Path) -> Task:
    return Task(source, open_data(source), folder)


# Nats by which a short training may stay below the truth.
SHORT = {"vae": (400, 0.12), "flow": (60, 0.06), "diffusion": (150, 0.1)}
SLOW = pytest.param("diffusion", marks=pytest.mark.slow)


@pytest.mark.parametrize("family", ["vae", "flow", SLOW])
def test_d12_the_density_of_a_gaussian_is_near_the_truth_and_never_above_it(
    family: str, gaussian: np.ndarray, tmp_path: Path
) -> None:
    """In raw units, on held-out items; the mean gap is a divergence: not below 0."""
    steps, near = SHORT[family]
    task = task_of(gaussian, tmp_path)
    fitted = FAMILIES[family].fit(task, Budget(steps=steps), 0)
    raw = task.data.raw(task.data.heldout)
    found = fitted.log_density(raw, 0)
    assert found is not None
    gap = TRUTH.log_prob(torch.from_numpy(raw).double()) - found
    error = float(gap.std()) / len(gap) ** 0.5
    assert -2.5 * error < float(gap.mean()) < near
    items = fitted.sample(2000, 0)
    off = (np.cov(items.T) - COVARIANCE.numpy()) / 20 ** np.array([[0, 1], [1, 2]])
    assert np.abs(off).max() < 0.5


W = torch.tensor([1.5, 0.4])  # of a linear decoder: each latent moves one value
NOISE = 0.3


def linear_vae(gaussian: np.ndarray, folder: Path, *, exact: bool) -> tuple[Vae, torch.Tensor]:
    """An autoencoder whose law is known, N(0, W² + NOISE²) standardised, and 50 of its items.

    Its encoder answers with the exact posterior (Tipping and Bishop 1999), or with the prior.
    """
    fitted = FAMILIES["vae"].fit(task_of(gaussian, folder), Budget(steps=1), 0)
    assert isinstance(fitted, Vae)
    encoder, decoder = torch.nn.Linear(2, 16), torch.nn.Linear(8, 4)
    total = W**2 + NOISE**2
    with torch.no_grad():
        for parameter in (*encoder.parameters(), *decoder.parameters()):
            parameter.zero_()
        decoder.weight[:2, :2] = W.diag()
        decoder.bias[2:] = math.log(NOISE**2)
        if exact:
            encoder.weight[:2, :2] = (W / total).diag()
            encoder.bias[8:10] = (NOISE**2 / total).log()
    fitted.net.encoder, fitted.net.decoder = encoder, decoder
    raw = fitted.sample(50, 1)
    law = torch.distributions.Normal(0.0, total.sqrt().double())
    truth = law.log_prob(fitted.data.coding.encode(raw).double()).sum(1)
    return fitted, truth - sum(math.log(s) for s in fitted.data.coding.std)


@pytest.mark.parametrize("draws", [1, 7])
def test_the_bound_of_a_vae_with_the_exact_posterior_is_the_log_density(
    draws: int, gaussian: np.ndarray, tmp_path: Path
) -> None:
    fitted, truth = linear_vae(gaussian, tmp_path, exact=True)
    found = fitted.log_density(fitted.sample(50, 1), 0, draws)
    assert found is not None
    assert torch.allclose(found, truth, atol=1e-4)


def test_the_bound_of_a_vae_rises_with_its_draws_and_stays_below_the_truth(
    gaussian: np.ndarray, tmp_path: Path
) -> None:
    fitted, truth = linear_vae(gaussian, tmp_path, exact=False)
    bounds = [fitted.log_density(fitted.sample(50, 1), 0, draws) for draws in (1, 8, 64, 512)]
    gaps = [float((truth - bound).mean()) for bound in bounds if bound is not None]
    assert all(more < few for few, more in pairwise(gaps))
    assert gaps[0] > 5
    assert -0.02 < gaps[3] < 0.2


def test_the_bound_of_a_vae_decodes_large_items_a_few_at_a_time(
    gaussian: np.ndarray, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same draws are weighed, in pieces; 16 pictures of 3x128x128 took 12 GB at once."""
    fitted, _ = linear_vae(gaussian, tmp_path, exact=False)
    raw, seen = fitted.sample(50, 1), list[int]()

    def note(net: torch.nn.Module, inputs: tuple[torch.Tensor, ...]) -> None:
        seen.append(2 * len(inputs[0]))  # items of two numbers

    fitted.net.decoder.register_forward_pre_hook(note)
    whole = fitted.log_density(raw, 0)
    assert max(seen) == 2 * 16 * vae.DRAWS
    seen.clear()
    monkeypatch.setattr(vae, "NUMBERS", 100)
    split = fitted.log_density(raw, 0)
    assert whole is not None
    assert split is not None
    assert torch.allclose(split, whole)
    assert max(seen) <= 100
    assert sum(seen) == 2 * 50 * vae.DRAWS


def test_the_density_of_a_flow_integrates_to_one_in_raw_units(
    gaussian: np.ndarray, tmp_path: Path
) -> None:
    fitted = FAMILIES["flow"].fit(task_of(gaussian, tmp_path), Budget(steps=15), 0)
    std = COVARIANCE.diag().sqrt().numpy()
    axes = [np.linspace(m - 7 * s, m + 7 * s, 141) for m, s in zip(MEAN.numpy(), std, strict=True)]
    grid = np.stack(np.meshgrid(*axes, indexing="ij"), -1).reshape(-1, 2).astype(np.float32)
    found = fitted.log_density(grid, 0)
    assert found is not None
    cell = np.prod([axis[1] - axis[0] for axis in axes])
    assert float(found.exp().sum()) * cell == pytest.approx(1, abs=0.02)


@pytest.fixture
def levels() -> Dataset:
    """Pictures of one pixel."""
    rng = np.random.default_rng(0)
    items = rng.normal(128, 30, 4000).round().clip(0, 255).astype(np.uint8)[:, None, None, None]
    return make_dataset("pixel", "image", items, source=Source("a test"))


@pytest.mark.parametrize(("family", "steps"), [("vae", 20), ("flow", 20)])
def test_the_probabilities_of_all_levels_add_up_to_one(
    family: str, steps: int, levels: Dataset, tmp_path: Path
) -> None:
    """Each is a mean over draws, so that the sum is one but for their error."""
    fitted = FAMILIES[family].fit(Task("", levels, tmp_path), Budget(steps=steps), 0)
    every = np.arange(256, dtype=np.uint8)[:, None, None, None]
    found = [fitted.log_density(every, seed) for seed in range(4)]
    sums = [float(part.exp().sum()) for part in found if part is not None]
    assert sum(sums) / 4 == pytest.approx(1, abs=0.15)


def test_the_penalty_is_the_squared_slope_of_the_critic_in_closed_form() -> None:
    """R1: of a quadratic critic, slope and its derivative by the weights are known."""
    random = torch.Generator().manual_seed(0)
    A = torch.randn(3, 3, generator=random, dtype=torch.float64, requires_grad=True)
    b, x = (torch.randn(n, generator=random, dtype=torch.float64) for n in ((3,), (5, 3)))
    found = penalty(lambda x: ((x @ A) * x).sum(1) + x @ b, x)
    slope = x @ (A + A.T).detach() + b
    assert torch.allclose(found, (slope**2).sum(1))
    found.sum().backward()
    assert A.grad is not None
    half = slope.T @ x
    assert torch.allclose(A.grad, 2 * (half + half.T))


def test_beta_rises_to_one_and_is_one_of_pictures_from_the_first_step(
    levels: Dataset, gaussian: np.ndarray, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[float] = []
    whole = Autoencoder.weights

    def weights(self: Autoencoder, x: torch.Tensor, *, beta: float) -> torch.Tensor:
        seen.append(beta)
        return whole(self, x, beta=beta)

    monkeypatch.setattr(Autoencoder, "weights", weights)
    monkeypatch.setitem(WARM, "vector", 3)
    FAMILIES["vae"].fit(Task("", levels, tmp_path), Budget(steps=2), 0)
    FAMILIES["vae"].fit(task_of(gaussian, tmp_path), Budget(steps=5), 0)
    assert seen == [1, 1, 0.25, 0.5, 0.75, 1, 1]


def test_a_gan_moves_towards_the_data(gaussian: np.ndarray, tmp_path: Path) -> None:
    task = task_of(gaussian, tmp_path)
    fitted = FAMILIES["gan"].fit(task, Budget(steps=60), 0)
    assert fitted.log_density(gaussian[:5], 0) is None
    made = task.data.coding.encode(fitted.sample(1000, 0))
    assert float(made.mean(0).abs().max()) < 0.6
    assert float(torch.corrcoef(made.T)[0, 1]) > 0.5  # 0.6 in the data


@pytest.mark.parametrize("family", ["gan", "vae", "flow"])
def test_a_training_and_its_samples_are_a_function_of_the_seed(
    family: str, gaussian: np.ndarray, tmp_path: Path
) -> None:
    def made(seed: int) -> np.ndarray:
        torch.rand(1)  # the global generator has no say
        return (
            FAMILIES[family].fit(task_of(gaussian, tmp_path), Budget(steps=2), seed).sample(8, 5)
        )

    assert np.array_equal(made(0), made(0))
    assert not np.array_equal(made(0), made(1))


SHAPES = [(1, 8, 8), (3, 12, 9), (2, 33), (5,)]


@pytest.mark.parametrize("shape", SHAPES, ids=lambda shape: "x".join(map(str, shape)))
@pytest.mark.parametrize("family", ["gan", "vae", "flow"])
def test_every_family_takes_items_of_any_shape(
    family: str, shape: tuple[int, ...], tmp_path: Path
) -> None:
    kind = {1: "vector", 2: "series", 3: "image"}[len(shape)]
    items = np.random.default_rng(0).normal(size=(40, *shape)).astype(np.float32)
    data = make_dataset("noise", kind, items, source=Source("a test"))
    fitted = FAMILIES[family].fit(Task(items, data, tmp_path), Budget(steps=1), 0)
    assert fitted.sample(3, 0).shape == (3, *shape)


def test_a_loss_that_is_not_finite_is_told_and_not_trained_on(
    gaussian: np.ndarray, tmp_path: Path
) -> None:
    net = torch.nn.Linear(2, 1)
    player = Player(net, lambda x: net(x).mean() * float("nan"), 1e-3)
    with pytest.raises(DivergedError, match="the loss is nan after 0 steps"):
        play([player], net, task_of(gaussian, tmp_path), Budget(steps=3), 0)


def test_a_player_moves_its_own_weights_only(gaussian: np.ndarray, tmp_path: Path) -> None:
    mine, other = torch.nn.Linear(2, 2), torch.nn.Linear(2, 1)
    before = [p.clone() for p in (*mine.parameters(), *other.parameters())]
    player = Player(mine, lambda x: other(mine(x)).square().mean(), 1e-2)
    play([player], mine, task_of(gaussian, tmp_path), Budget(steps=5), 0)
    after = [*mine.parameters(), *other.parameters()]
    same = [torch.equal(a, b) for a, b in zip(after, before, strict=True)]
    assert same == [False, False, True, True]
    assert all(p.grad is None for p in other.parameters())


def test_a_budget_of_seconds_lasts_as_long_by_the_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    now = iter(range(100))
    monkeypatch.setattr("time.monotonic", lambda: float(next(now)))
    assert list(Budget(seconds=4).shares()) == [0.25, 0.5, 0.75]
    assert list(Budget(steps=4).shares()) == [0, 0.25, 0.5, 0.75]


def test_a_request_to_stop_ends_a_budget() -> None:
    shares = Budget(steps=10).shares()
    next(shares)
    os.kill(os.getpid(), signal.SIGINT)
    with pytest.raises(StoppedEarly):
        list(shares)


def test_the_rate_rises_stays_and_falls_to_zero() -> None:
    rates = [rate_share(s) for s in (0.0, 0.1, 0.5, 0.8, 1.0)]
    assert rates == pytest.approx([0.05, 1, 1, 0.5, 0])


def test_a_flow_of_many_dimensions_takes_two_passes_and_of_few_one_for_each(
    gaussian: np.ndarray, tmp_path: Path
) -> None:
    fit: Callable[..., object] = FAMILIES["flow"].fit
    few = fit(task_of(gaussian, tmp_path), Budget(steps=1), 0)
    wide = np.random.default_rng(0).normal(size=(50, 30)).astype(np.float32)
    many = fit(task_of(wide, tmp_path), Budget(steps=1), 0)
    assert isinstance(few, Flow)
    assert isinstance(many, Flow)
    assert (few.evaluations, many.evaluations) == (2, 2)
    # Of a coupling, one half passes through and is all that the other half is told.
    x = torch.randn(1, 30)
    first = many.net().transform.transforms[0]
    slopes = torch.autograd.functional.jacobian(first, x)[0, :, 0]
    told = (slopes - slopes.diag().diag()).abs().sum(1) > 0
    assert int(told.sum()) == 15


def test_by_steps_diffusion_is_the_same_whatever_precision_was_faster_at_the_moment(
    gaussian: np.ndarray, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = []
    for precision in ("float32", "bfloat16"):
        monkeypatch.setattr("ornstein.planning.planning._precision", lambda *_, one=precision: one)
        task = task_of(gaussian[:500], tmp_path / precision)
        made.append(FAMILIES["diffusion"].fit(task, Budget(steps=3), 0).sample(4, 0))
    np.testing.assert_array_equal(*made)
