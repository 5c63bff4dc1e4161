"""What is particular to the solvers that draw noise (B15, B19, B20)."""

from __future__ import annotations

import math

import laws
import numpy as np
import pytest
import torch
from torch import Tensor

from ornstein.core import GRIDS, PROCESSES, Estimate, Gaussian, ItemNoise, Level, Mixture
from ornstein.errors import UsageError
from ornstein.solvers import (
    DATA,
    DDIM,
    EXACT,
    LOG_SNR,
    Ancestral,
    AnnealedLangevin,
    Churn,
    EulerMaruyama,
    Heun,
    Multistep,
    PredictorCorrector,
    Renoised,
    SASolver,
    SDEDPMpp,
    UniPC,
    noisy,
    sample,
)
from ornstein.testing import draws_of, law_after, measure_order
from ornstein.testing.affine import Given, gap, noised
from ornstein.testing.solver import GAUSSIAN, path

MIXTURE = Mixture(*(torch.tensor(part, dtype=torch.float64) for part in laws.GMM3))
X = torch.tensor(np.random.default_rng(5).normal(size=(6, 2)))
DRAWS = torch.tensor(np.random.default_rng(6).normal(size=(12, 2, 6, 2)))
PURE = Level(torch.tensor(0.0), torch.tensor(1.0))


@pytest.mark.parametrize("process", ["subvp", "ve", "linear"])
def test_euler_maruyama_of_any_process_tends_to_the_law_at_first_order(process: str) -> None:
    # B15. On VE the error at these steps falls faster than it will.
    order = measure_order(EulerMaruyama(PROCESSES[process]()), steps=80)
    assert order > 0.8 if process == "ve" else order == pytest.approx(1, abs=0.25)


def test_without_noise_euler_maruyama_is_euler_on_the_probability_flow() -> None:
    solver = EulerMaruyama(eta=0.0)
    assert draws_of(solver) == 0
    assert measure_order(solver) == pytest.approx(1, abs=0.2)


def test_half_the_noise_of_euler_maruyama_keeps_the_law() -> None:
    assert measure_order(EulerMaruyama(eta=0.5), steps=80) == pytest.approx(1, abs=0.2)


def test_the_ancestral_chain_tends_to_the_reverse_sde_as_it_grows() -> None:
    # B20: same levels, two discretisations of one SDE; their laws meet as 1/N, and the noise they
    # add in a step differs by 1/N of it.
    apart, noise = [], []
    for steps in (150, 300):
        levels = GRIDS["uniform"](PROCESSES["vp"](), steps)[:-2]
        one, other = (
            law_after(s, GAUSSIAN, levels) for s in (Ancestral("small"), EulerMaruyama())
        )
        apart.append(gap(one, other))
        k = steps // 2
        stds = []
        for solver in (Ancestral("small"), EulerMaruyama()):
            quiet, loud = (
                solver.step(GAUSSIAN, X, levels[k], levels[k + 1], None, draw)[0]
                for draw in (torch.zeros_like, torch.ones_like)
            )
            stds.append(float((loud - quiet)[0, 0]))
        noise.append(abs(stds[0] / stds[1] - 1))
    assert apart[0] / apart[1] == pytest.approx(2, abs=0.3)
    assert noise[0] / noise[1] == pytest.approx(2, abs=0.3)


@pytest.mark.parametrize("eta", [0.25, 2.0])
def test_any_share_of_noise_keeps_the_law_at_second_order(eta: float) -> None:
    for solver in (SDEDPMpp(noisy(eta)), SASolver(noisy(eta))):
        assert measure_order(solver, steps=64) == pytest.approx(2, abs=0.25)


def test_with_hardly_any_noise_the_solvers_of_the_sde_are_those_of_the_flow() -> None:
    levels = path(-8, 5, 12)
    for loud, quiet in (
        (SDEDPMpp(noisy(1e-12), points=3), SDEDPMpp(DATA, points=3)),
        (SASolver(noisy(1e-12)), UniPC(DATA, LOG_SNR, 3, EXACT)),
        (SASolver(high=0.0), UniPC(DATA, LOG_SNR, 3, EXACT)),
    ):
        one, other = (sample(MIXTURE, X, levels, s, Given(DRAWS)) for s in (loud, quiet))
        torch.testing.assert_close(one, other, rtol=0, atol=1e-5)


def test_sa_solver_draws_noise_where_it_is_told_to() -> None:
    levels = GRIDS["karras"](PROCESSES["edm"](), 12)
    drawn: list[int] = []

    class Spy:
        def at(self, step: int, /):  # noqa: ANN202
            return lambda x: drawn.append(step) or torch.zeros_like(x)

    sample(MIXTURE, 80 * X, levels, SASolver(low=0.05, high=1.0), Spy())
    inside = [k for k in range(12) if 0.05 <= float(levels.rho[k]) <= 1.0]
    assert drawn == inside
    assert 2 < len(inside) < 10


def test_one_point_and_the_whole_noise_is_the_ancestral_step() -> None:
    levels = GRIDS["karras"](PROCESSES["subvp"](), 12)
    ends = [
        sample(MIXTURE, X, levels, solver, Given(DRAWS))
        for solver in (SDEDPMpp(points=1), Ancestral("small"), DDIM(1.0), Renoised())
    ]
    for end in ends[1:]:
        torch.testing.assert_close(end, ends[0], rtol=1e-9, atol=1e-9)


def test_half_the_fresh_noise_of_ddim_is_that_of_its_ancestral_form() -> None:
    levels = GRIDS["karras"](PROCESSES["vp"](), 12)
    one, other = (
        sample(MIXTURE, X, levels, s, Given(DRAWS)) for s in (DDIM(0.5), Renoised(eta=0.5))
    )
    torch.testing.assert_close(one, other, rtol=1e-9, atol=1e-9)


def test_churn_with_the_papers_growth_is_its_algorithm_2() -> None:
    # EDM, algorithm 2, in numpy, with S_min, S_max and S_noise; the last step has noise too.
    levels = GRIDS["karras"](PROCESSES["edm"](), 12)
    gamma = min(30 / 12, math.sqrt(2) - 1)
    D = laws.mixture(laws.GMM3)
    y, t = 80 * X.numpy(), levels.sigma.tolist()
    for k in range(12):
        hat = t[k] * (1 + (gamma if t[k] <= 50 else 0))
        y = y + math.sqrt(hat**2 - t[k] ** 2) * 1.007 * DRAWS[k, 0].numpy()
        d = (y - D(y, 1.0, hat)) / hat
        moved = y + (t[k + 1] - hat) * d
        if t[k + 1] > 0:
            d = (d + (moved - D(moved, 1.0, t[k + 1])) / t[k + 1]) / 2
        y = y + (t[k + 1] - hat) * d
    got = sample(MIXTURE, 80 * X, levels, Churn(Heun(), gamma, 0.0, 50.0, 1.007), Given(DRAWS))
    np.testing.assert_allclose(got.numpy(), y, rtol=0, atol=1e-9)


@pytest.mark.parametrize("sigma", [0.5, 3.0])
def test_langevin_at_one_level_makes_the_variance_of_the_closed_form(sigma: float) -> None:
    # B19. x' = (1 - h/v)·x + sqrt(2h)·z tends to v/(1 - h/(2v)).
    level, size = Level(1.0, sigma), 0.3
    v, h = 1 + sigma**2, size * sigma**2
    factor = 1 - h / v
    variance, solver = v, AnnealedLangevin(size, moves=1)
    law = Gaussian(torch.zeros(1), torch.ones(1, 1))
    one = torch.ones(1, 1, dtype=torch.float64)
    for _ in range(200):
        kept, _ = solver.step(law, one, level, level, None, torch.zeros_like)
        fresh, _ = solver.step(law, 0 * one, level, level, None, torch.ones_like)
        assert float(kept) == pytest.approx(factor)
        variance = float(kept) ** 2 * variance + float(fresh) ** 2
    assert variance == pytest.approx(v / (1 - h / (2 * v)), rel=1e-6)


def test_more_levels_and_smaller_moves_bring_langevin_to_the_law() -> None:
    # B19: the walk lags behind the levels, by less where they lie closer or moves are more.
    errors = []
    for steps, moves in ((40, 3), (80, 3), (80, 9)):
        levels = GRIDS["log-snr"](PROCESSES["ve"](), steps)
        law = law_after(AnnealedLangevin(moves=moves), GAUSSIAN, levels)
        errors.append(gap(law, noised(GAUSSIAN, levels[-1])))
    assert errors[1] < 0.6 * errors[0]
    assert errors[2] < 0.5 * errors[1]
    assert errors[2] < 0.06


@pytest.mark.parametrize("predictor", [Ancestral("small"), EulerMaruyama()])
def test_a_corrector_does_not_spoil_what_the_predictor_made(
    predictor: Ancestral | EulerMaruyama,
) -> None:
    # B15: the law check of predictor and corrector, without sampling.
    levels = path(-10, 6, 60)
    truth = noised(GAUSSIAN, levels[-1])
    alone, both = (
        gap(law_after(s, GAUSSIAN, levels), truth)
        for s in (predictor, PredictorCorrector(predictor))
    )
    assert both < 1.1 * alone
    assert both < 0.12


def test_a_sample_sets_its_own_step_of_the_corrector() -> None:
    # 2·(snr·|z|/|score|)² with |z|² = D, from the sample's own score, and never more than what
    # data of unit variance allow.
    size = torch.tensor([[4.0, 3.0], [1.2, 1.6], [0.0, 1e-6]], dtype=torch.float64)

    def denoise(x: Tensor, level: Level) -> Estimate:
        return Estimate(0 * x, size[: len(x)])

    level = Level(0.6, 0.8)
    solver = PredictorCorrector(DDIM(), snr=0.1, norms=True)
    moved, _ = solver.step(denoise, 0 * size, level, Level(0.0, 1.0), None, torch.ones_like)
    fresh = moved - size + 0.0  # DDIM to pure noise answers eps; what is left is nothing of x
    assert torch.equal(fresh, torch.zeros_like(fresh))
    step = solver._size(size, level) * level.sigma**2
    want = [2 * (0.1 * 0.8) ** 2 * 2 / 25, 2 * (0.1 * 0.8) ** 2 * 2 / 4, 2 * 0.1**2]
    assert step.tolist() == pytest.approx(want)


def test_samples_of_a_corrector_with_norms_do_not_see_their_batch() -> None:
    solver, levels = PredictorCorrector(norms=True), path(-6, 5, 6)
    together = sample(MIXTURE, X, levels, solver, ItemNoise(4, range(6)))
    for k in range(6):
        alone = sample(MIXTURE, X[k : k + 1], levels, solver, ItemNoise(4, [k]))
        torch.testing.assert_close(alone[0], together[k], rtol=0, atol=1e-12)


def test_the_moves_of_a_step_draw_different_noise() -> None:
    given: list[Tensor] = []

    class Spy:
        def at(self, step: int, /):  # noqa: ANN202
            draw = ItemNoise(4, range(6)).at(step)
            return lambda x: given.append(draw(x)) or given[-1]

    sample(MIXTURE, X, path(-6, 5, 2), AnnealedLangevin(moves=3), Spy())
    assert len(given) == 6
    assert len({tuple(z.flatten().tolist()) for z in given}) == 6


@pytest.mark.parametrize(
    "make", [lambda: AnnealedLangevin(size=0.0), lambda: PredictorCorrector(moves=0)]
)
def test_moves_that_do_not_move_are_refused(make) -> None:  # noqa: ANN001
    with pytest.raises(UsageError, match="step above 0 and at least one move"):
        make()


def test_one_multistep_solver_serves_the_sde_by_its_frame_alone() -> None:
    levels = path(-8, 5, 12)
    one = sample(MIXTURE, X, levels, SDEDPMpp(rule=EXACT), Given(DRAWS))
    other = sample(MIXTURE, X, levels, Multistep(noisy(1.0), LOG_SNR, 2, EXACT), Given(DRAWS))
    assert torch.equal(one, other)
