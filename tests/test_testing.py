"""The public checks: the tables pass them, and what is wrong is found and said."""

from __future__ import annotations

import math
from dataclasses import dataclass

import pytest
import torch
from torch import Tensor

from ornstein.core import PROCESSES, TARGETS, VP, Denoiser, Draw, Eps, Estimate, Gaussian, Level
from ornstein.solvers import DDIM, SOLVERS, DPMpp2M, Heun, PredictorCorrector
from ornstein.solvers.base import State
from ornstein.testing import check_process, check_solver, check_target, law_after


def bad(report: object) -> list[str]:
    """The questions whose answer is not good, as printed."""
    return [line.split()[1] for line in str(report).splitlines() if line.startswith("  !")]


@pytest.mark.parametrize("name", ["sa-solver"])
def test_solvers_of_the_table_pass(name: str) -> None:
    report = check_solver(SOLVERS[name]())
    assert report.good, str(report)


@pytest.mark.parametrize("name", PROCESSES)
def test_processes_of_the_table_pass(name: str) -> None:
    report = check_process(PROCESSES[name]())
    assert report.good, str(report)


@pytest.mark.parametrize("name", TARGETS)
def test_targets_of_the_table_pass(name: str) -> None:
    report = check_target(TARGETS[name]())
    assert report.good, str(report)


@dataclass(frozen=True)
class Mine:
    """DDIM with one thing after another wrong."""

    fault: str
    order: int = 1
    evaluations: int = 1

    def init(self) -> State:
        return None

    def step(
        self, denoise: Denoiser, x: Tensor, t: Level, s: Level, state: State, randn: Draw
    ) -> tuple[Tensor, State]:
        answer = denoise(x, t)
        if self.fault == "old level":
            return t.mix(answer.x0, answer.eps), None
        if self.fault == "mean of the batch, in double":
            answer = Estimate(answer.x0.double() + 0.01 * answer.x0.mean(), answer.eps.double())
        if self.fault == "rho":
            return s.alpha * (answer.x0 + (s.rho - t.rho) * answer.eps + t.rho * answer.eps), None
        if self.fault == "crash":
            raise ValueError("no such level")
        return s.mix(answer.x0, answer.eps), None


def test_a_good_solver_is_called_good_with_its_order() -> None:
    report = check_solver(Mine("none"))
    assert report.good
    assert report["order"].value == pytest.approx(1, abs=0.1)
    assert str(report).startswith("Mine: good\n    order")


@pytest.mark.parametrize(
    ("solver", "found"),
    [
        (Mine("none", order=2, evaluations=2), ["order", "evaluations"]),
        (Mine("old level"), ["order", "bias", "ends"]),
        (Mine("mean of the batch, in double"), ["order", "batch", "ends", "precision"]),
        (Mine("rho"), ["ends"]),  # raises there: the sample is no longer finite
        (Mine("crash"), ["order", "bias", "batch", "ends", "evaluations", "precision"]),
    ],
    ids=lambda value: value.fault if isinstance(value, Mine) else "",
)
def test_what_is_wrong_with_a_solver_is_found(solver: Mine, found: list[str]) -> None:
    assert bad(check_solver(solver)) == found


def test_an_error_inside_is_a_finding_and_not_raised() -> None:
    report = check_solver(Mine("crash"))
    assert report["ends"].text == "raised ValueError: no such level"
    assert str(report).startswith("Mine: 6 of 6 checks failed")


class Late(VP):
    """Its times are a little late."""

    def time(self, log_snr: Tensor | float) -> Tensor:
        return super().time(log_snr) + 1e-3


class Loud(VP):
    """Its diffusion has lost its factor two."""

    def diffusion2(self, t: Tensor | float) -> Tensor:
        return super().diffusion2(t) / 2


class Back(VP):
    """It grows cleaner again towards the end."""

    def __call__(self, t: Tensor | float) -> Level:
        t = torch.as_tensor(t, dtype=torch.float64)
        return super().__call__(t - 0.6 * t * t)


@pytest.mark.parametrize(("process", "question"), [(Late, "time"), (Loud, "diffusion")])
def test_what_is_wrong_with_a_process_is_found(process: type[VP], question: str) -> None:
    assert bad(check_process(process())) == [question]


def test_a_log_snr_that_rises_is_found_with_its_time() -> None:
    report = check_process(Back())
    assert "fall" in bad(report)
    assert report["fall"].value == pytest.approx(1 / 1.2, abs=2e-3)


class Slip(Eps):
    """It says eps, and reads it with the wrong sign."""

    def estimate(self, output: Tensor, x: Tensor, level: Level) -> Estimate:
        right = super().estimate(output, x, level)
        return right._replace(eps=-right.eps)


class Heavy(Eps):
    """Its gain has lost its square, and it is never refused."""

    def gain2(self, level: Level) -> Tensor:
        return super().gain2(level).sqrt()

    def check(self, level: Level, name: str = "this process") -> None:
        pass


@pytest.mark.parametrize(
    ("target", "found"), [(Slip, ["round", "clean"]), (Heavy, ["gain", "pure"])]
)
def test_what_is_wrong_with_a_target_is_found(target: type[Eps], found: list[str]) -> None:
    assert bad(check_target(target())) == found


def test_the_law_without_sampling_is_that_of_the_known_factors() -> None:
    # DDIM shrinks N(0, c) by a product that can be written down.
    c, levels = 0.3, Level(torch.tensor([0.1, 0.5, 0.9]), torch.tensor([1.0, 0.7, 0.2]))
    law = Gaussian(torch.zeros(1), torch.tensor([[c]]))
    factor = 1.0
    for k in range(2):
        (a, b), (s, r) = levels.alpha[k : k + 2].tolist(), levels.sigma[k : k + 2].tolist()
        variance = a * a * c + s * s
        factor *= (b * a * c + r * s) / variance
    got = law_after(DDIM(), law, levels)
    start = 0.1**2 * c + 1
    assert float(got.covariance) == pytest.approx(factor**2 * start)
    assert float(got.mean) == pytest.approx(0, abs=1e-12)


def test_a_law_that_cannot_be_had_without_sampling_is_refused() -> None:
    from ornstein.errors import UsageError
    from ornstein.testing.solver import GAUSSIAN, path

    with pytest.raises(UsageError, match="not affine"):
        law_after(PredictorCorrector(norms=True), GAUSSIAN, path(-6, 4, 5))
    assert math.isfinite(float(law_after(DPMpp2M(), GAUSSIAN, path(-6, 4, 5)).mean[0]))
    assert Heun().order == 2
