"""What holds for every solver and for the loop: batches, scales, precision, memory, errors."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from ornstein.core import GRIDS, PROCESSES, Estimate, FreshNoise, ItemNoise, Level, Mixture
from ornstein.errors import DivergedError, LevelError, UsageError
from ornstein.solvers import DDIM, SOLVERS, Ancestral, sample, trace

LAW = Mixture(
    *(
        torch.tensor(p, dtype=torch.float64)
        for p in ([0.5, 0.3, 0.2], [[1.0, 0.4], [-0.8, 0.9], [0.2, -1.1]], [0.25, 0.35, 0.15])
    )
)
GRID = GRIDS["karras"](PROCESSES["linear"](), 8)
ITEMS = list(range(8))
START = ItemNoise(4, ITEMS).start((2,)).double()
every_solver = pytest.mark.parametrize("name", SOLVERS)


@every_solver
def test_a_batch_of_eight_equals_eight_batches_of_one(name: str) -> None:
    # A peer averages over the batch inside a step, so that samples depend on their neighbours.
    together = sample(LAW, START, GRID, SOLVERS[name](), ItemNoise(4, ITEMS))
    for k in ITEMS:
        alone = sample(LAW, START[k : k + 1], GRID, SOLVERS[name](), ItemNoise(4, [k]))
        torch.testing.assert_close(alone, together[k : k + 1], rtol=0, atol=1e-12)


@every_solver
def test_the_order_of_a_batch_does_not_matter(name: str) -> None:
    order = [3, 7, 0, 1, 6, 2, 5, 4]
    plain = sample(LAW, START, GRID, SOLVERS[name](), ItemNoise(4, ITEMS))
    mixed = sample(LAW, START[order], GRID, SOLVERS[name](), ItemNoise(4, order))
    torch.testing.assert_close(mixed, plain[order], rtol=0, atol=1e-12)


@every_solver
def test_rescaling_x_and_levels_together_leaves_the_sample_unchanged(name: str) -> None:
    scale = torch.linspace(3.0, 0.5, len(GRID), dtype=torch.float64)
    scaled = Level(scale * GRID.alpha, scale * GRID.sigma)
    noise = ItemNoise(4, ITEMS)
    plain = sample(LAW, START, GRID, SOLVERS[name](), noise)
    other = sample(LAW, scale[0] * START, scaled, SOLVERS[name](), noise)
    torch.testing.assert_close(other / scale[-1], plain, rtol=1e-9, atol=1e-9)


@every_solver
def test_float32_stays_float32_and_is_near_float64(name: str) -> None:
    noise = ItemNoise(4, ITEMS)
    single = sample(LAW, START.float(), GRID, SOLVERS[name](), noise)
    assert single.dtype == torch.float32
    double = sample(LAW, START, GRID, SOLVERS[name](), noise)
    torch.testing.assert_close(single.double(), double, rtol=0, atol=2e-4)


@every_solver
def test_points_of_any_shape_are_moved_alike(name: str) -> None:
    def shrink(x: Tensor, level: Level) -> Estimate:
        x0 = 0.5 * x / level.norm
        return Estimate(x0, (x - level.alpha * x0) / level.sigma)

    picture = sample(shrink, START.reshape(2, 2, 2, 2), GRID, SOLVERS[name](), Zero())
    vector = sample(shrink, START, GRID, SOLVERS[name](), Zero())
    torch.testing.assert_close(picture.reshape(8, 2), vector)


class Zero:
    """No noise."""

    def at(self, step: int, /):  # noqa: ANN201
        return torch.zeros_like


@every_solver
def test_two_walks_with_one_solver_do_not_disturb_each_other(name: str) -> None:
    solver = SOLVERS[name]()
    alone = [step.x for step in trace(LAW, START, GRID, solver, Zero())]
    one, two = trace(LAW, START, GRID, solver, Zero()), trace(LAW, -START, GRID, solver, Zero())
    for x, (step, _) in zip(alone, zip(one, two, strict=True), strict=True):
        assert torch.equal(step.x, x)


@every_solver
def test_a_learned_spread_changes_the_ancestral_step_and_no_other_solver(name: str) -> None:
    def with_spread(x: Tensor, level: Level) -> Estimate:
        return LAW(x, level)._replace(interpolation=torch.full_like(x, 0.3))

    noise = ItemNoise(4, ITEMS)
    plain, other = (sample(d, START, GRID, SOLVERS[name](), noise) for d in (LAW, with_spread))
    assert torch.equal(plain, other) == (name != "ddpm")


@every_solver
def test_a_walk_leaves_its_start_alone_and_keeps_no_gradient(name: str) -> None:
    start = START.clone().requires_grad_()
    end = sample(LAW, start, GRID, SOLVERS[name](), Zero())
    assert torch.equal(start.detach(), START)
    assert not end.requires_grad


@pytest.mark.parametrize(("share", "bound"), [(0.0, "small"), (1.0, "large")])
def test_learned_variance_has_the_two_fixed_ones_as_its_ends(share: float, bound: str) -> None:
    # B10.
    def learned(x: Tensor, level: Level) -> Estimate:
        return LAW(x, level)._replace(interpolation=torch.full_like(x, share))

    noise = ItemNoise(4, ITEMS)
    got = sample(learned, START, GRID, Ancestral("learned"), noise)
    want = sample(LAW, START, GRID, Ancestral(bound), noise)
    torch.testing.assert_close(got, want, rtol=0, atol=1e-12)


def test_learned_variance_is_the_geometric_mean_half_way_and_per_element() -> None:
    t, s = GRID[2], GRID[3]
    share = torch.tensor([[0.0, 0.5], [0.5, 1.0]], dtype=torch.float64)

    def learned(x: Tensor, level: Level) -> Estimate:
        return LAW(x, level)._replace(interpolation=share)

    steps = [
        solver.step(learned, START[:2], t, s, None, noise)[0]
        for solver in (Ancestral("learned"), Ancestral("small"), Ancestral("large"))
        for noise in (torch.zeros_like, torch.ones_like)
    ]
    std, small, large = (one - none for none, one in zip(steps[::2], steps[1::2], strict=True))
    torch.testing.assert_close(std, small ** (1 - share) * large**share)


def test_learned_variance_is_refused_where_none_was_learned() -> None:
    with pytest.raises(UsageError, match="learned no variance"):
        sample(LAW, START, GRID, Ancestral("learned"))


def test_an_unknown_variance_is_refused_with_the_near_name() -> None:
    with pytest.raises(UsageError, match="Did you mean 'learned'"):
        Ancestral("lerned")


def test_trace_yields_each_level_and_the_first_estimate_of_each_step() -> None:
    for name in ("heun", "dpmpp-2m"):
        steps = list(trace(LAW, START, GRID, SOLVERS[name](), Zero()))
        assert [step.number for step in steps] == list(range(8))
        assert [float(step.level.sigma) for step in steps] == GRID.sigma[1:].tolist()
        x = START
        for i, step in enumerate(steps):
            assert torch.equal(step.x0, LAW(x, GRID[i]).x0)
            x = step.x
        assert torch.equal(x, sample(LAW, START, GRID, SOLVERS[name](), Zero()))


def test_trace_gives_each_step_its_own_noise() -> None:
    asked: list[int] = []

    class Spy(Zero):
        def at(self, step: int, /):  # noqa: ANN202
            asked.append(step)
            return torch.zeros_like

    sample(LAW, START, GRID, Ancestral(), Spy())
    assert asked == list(range(8))


def test_without_a_source_noise_comes_from_torch() -> None:
    ends = []
    for _ in range(2):
        torch.manual_seed(0)
        ends.append(sample(LAW, START, GRID, Ancestral()))
    torch.manual_seed(0)
    ends.append(sample(LAW, START, GRID, Ancestral(), FreshNoise()))
    assert torch.equal(ends[0], ends[1])
    assert torch.equal(ends[0], ends[2])
    assert not torch.equal(ends[0], sample(LAW, START, GRID, Ancestral()))


def test_a_grid_that_climbs_is_refused_before_the_first_step() -> None:
    up = Level(GRID.alpha.flip(0), GRID.sigma.flip(0))
    with pytest.raises(LevelError, match="grow cleaner"):
        next(trace(LAW, START, up, DDIM()))


def test_a_sample_that_is_not_finite_is_an_error_that_names_the_step() -> None:
    def broken(x: Tensor, level: Level) -> Estimate:
        answer = LAW(x, level)
        return answer._replace(x0=answer.x0 * math.nan) if level.rho < 1 else answer

    with pytest.raises(DivergedError, match=r"after step [1-7] \(rho"):
        sample(broken, START, GRID, DDIM())
