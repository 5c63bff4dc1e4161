from __future__ import annotations

import builtins
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from scipy import stats

from ornstein.core import DDPM, GRIDS, PROCESSES, FiniteData, ItemNoise, Level, item_normal
from ornstein.errors import LevelError, UsageError
from ornstein.solvers import DDIM, trace
from ornstein.viz import ascent, joint_path, record
from ornstein.viz.paths1d import density, draw_paths, two_peaks, walk
from ornstein.viz.paths2d import field, moments, planes
from ornstein.viz.schedule import compare, curves
from ornstein.viz.training import column, draw_training, smooth

COUNT = 20_000


@pytest.mark.parametrize("name", PROCESSES)
def test_the_path_has_the_joint_law_and_not_independent_marginals(name: str) -> None:
    """A3: Cov(x_s, x_t | x0) = alpha_t/alpha_s · sigma_s², and the mean is alpha·x0."""
    levels = ascent(PROCESSES[name](), 6)
    x0 = torch.full((1, COUNT), 1.5, dtype=torch.float64)
    path = joint_path(x0, levels, seed=3)[:, 0].numpy()
    alpha, sigma = levels.alpha.numpy(), levels.sigma.numpy()
    for s in range(6):
        scale = max(float(sigma[s]), 1e-12)
        assert abs(path[s].mean() - 1.5 * alpha[s]) <= 4.5 * scale / COUNT**0.5
        for t in range(max(s, 1), 6):
            expected = (alpha[t] / alpha[s] if s < t else 1) * sigma[s] ** 2
            found = ((path[s] - 1.5 * alpha[s]) * (path[t] - 1.5 * alpha[t])).mean()
            # Standard error of a covariance of Gaussians.
            error = ((sigma[s] ** 2 * sigma[t] ** 2 + expected**2) / COUNT) ** 0.5
            assert abs(found - expected) <= 4.5 * error + 1e-12, (name, s, t)
    # The check can tell a path from independent draws: for neighbours the covariance is not small.
    assert alpha[2] / alpha[1] * sigma[1] > 0.1 * sigma[2]


def test_a_path_of_an_item_is_the_same_in_any_batch() -> None:
    levels = ascent(PROCESSES["cosine"](), 9)
    x0 = torch.randn(6, 3, 4, generator=torch.Generator().manual_seed(0))
    whole = joint_path(x0, levels, seed=7)
    assert torch.equal(joint_path(x0[4:], levels, seed=7, items=[4, 5]), whole[:, 4:])
    assert not torch.equal(joint_path(x0, levels, seed=8), whole)


def test_a_path_starts_at_the_data_and_refuses_to_go_back() -> None:
    process = PROCESSES["linear"]()
    x0 = torch.ones(2, 3)
    assert torch.equal(joint_path(x0, ascent(process, 3))[0], x0)
    down = ascent(process, 4)[torch.tensor([3, 2, 1])]
    with pytest.raises(LevelError):
        joint_path(x0, down)
    with pytest.raises(LevelError):
        joint_path(x0, ascent(process, 4)[torch.tensor([3, 0])])
    with pytest.raises(LevelError, match="at least 2"):
        ascent(process, 1)


@pytest.mark.parametrize("most", [49, 4])
def test_a_recorded_moment_pairs_x_with_what_was_seen_in_it(most: int) -> None:
    """For a law with a single item, x0 is that item at every moment and x the straight mix."""
    item = torch.tensor([[0.3, -1.2]], dtype=torch.float64)
    levels = GRIDS["uniform"](PROCESSES["edm"](), 10)
    start = 80 * item_normal(1, [0], (2,)).double() + item
    eps = (start - item) / float(levels.sigma[0])
    seen = record(start, levels, trace(FiniteData(item), start, levels, DDIM()), most)
    assert len(seen.levels) == len(seen.x) == len(seen.x0) == min(most, 11)
    for k in range(len(seen.levels)):
        level = seen.levels[k]
        unit = (level.alpha * item + level.sigma * eps) / torch.hypot(level.alpha, level.sigma)
        torch.testing.assert_close(seen.x[k], unit, rtol=0, atol=1e-9)
        torch.testing.assert_close(seen.x0[k], item, rtol=0, atol=1e-9)
    assert float(seen.levels.sigma[-1]) == 0


def test_the_last_recorded_moment_is_the_sample() -> None:
    data = torch.randn(5, 2, generator=torch.Generator().manual_seed(2))
    levels = GRIDS["karras"](PROCESSES["linear"](), 7)
    noise = ItemNoise(4, [0, 1, 2])
    walk = list(trace(FiniteData(data), noise.start((2,)), levels, DDIM(), noise))
    seen = record(noise.start((2,)), levels, walk)
    assert torch.equal(seen.x[-1], walk[-1].x)


def test_curves_have_the_published_values() -> None:
    """A4, A5: the seeds' tables of linear and cosine betas."""
    linear, cosine = curves(DDPM.linear()), curves(DDPM.cosine())
    assert linear["alpha2"][499] == pytest.approx(0.07859, abs=5e-6)
    assert linear["alpha2"][999] == pytest.approx(4.04e-5, abs=5e-8)
    assert linear["log_snr"][999] == pytest.approx(-10.12, abs=5e-3)
    assert cosine["alpha2"][499] == pytest.approx(0.49384, abs=5e-6)
    np.testing.assert_allclose(linear["beta"], np.linspace(1e-4, 0.02, 1000), rtol=1e-9)
    np.testing.assert_allclose(linear["keep"] ** 2, 1 - linear["beta"], rtol=1e-12)


def test_the_scale_of_a_step_keeps_x_from_growing() -> None:
    """A7: with √(1 - beta) the deviation stays 1; without it, as in VE, it explodes to 50."""
    np.testing.assert_allclose(curves(DDPM.linear())["norm"], 1, rtol=1e-12)
    assert curves(PROCESSES["ve"]())["norm"][-1] == pytest.approx(50.01, abs=0.005)


def test_schedules_are_drawn_beside_each_other(tmp_path: Path) -> None:
    path = compare({name: make() for name, make in PROCESSES.items()}, tmp_path / "all.png")
    with Image.open(path) as opened:
        opened.load()
        assert opened.width > 1000
    with pytest.raises(UsageError, match="at least one"):
        compare({}, tmp_path / "none.png")


def test_without_matplotlib_one_sentence_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = builtins.__import__

    def without(name: str, *rest: Any, **named: Any) -> Any:  # noqa: ANN401
        if name.startswith("matplotlib"):
            raise ImportError(name)
        return real(name, *rest, **named)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(UsageError, match="pip install matplotlib"):
        compare({"linear": DDPM.linear()}, tmp_path / "a.png")


def test_a_level_beyond_the_data_scale_is_shown_at_unit_variance() -> None:
    levels = Level(torch.tensor([1.0, 1.0]), torch.tensor([50.0, 0.0]))
    start = torch.full((1, 1), 50.0)
    seen = record(start, levels, trace(FiniteData(torch.zeros(1, 1)), start, levels, DDIM()))
    assert float(seen.x[0]) == pytest.approx(1.0, abs=1e-3)


def test_smoothing_averages_the_values_before() -> None:
    found = smooth(np.array([4.0, 2.0, 0.0, 6.0]), 2)
    np.testing.assert_allclose(found, [4.0, 3.0, 1.0, 3.0])


def test_a_training_is_drawn_from_its_log_even_with_gaps(tmp_path: Path) -> None:
    log: list[dict[str, Any]] = [
        {"step": k, "loss": 1 / k, "grad_norm": float("nan") if k == 3 else 1.0, "rate": 1e-3}
        for k in range(1, 40)
    ]
    log.append({"step": 39, "heldout": 0.5})
    with Image.open(draw_training(log, tmp_path / "loss.png")) as opened:
        opened.load()
    assert column(log, "grad_norm")[0].tolist() == [1, 2, *range(4, 40)]
    with pytest.raises(UsageError, match="nothing has been logged"):
        draw_training([{"step": 1, "heldout": 1.0}], tmp_path / "none.png")


@pytest.mark.parametrize("name", ["linear", "flow"])
def test_paths_in_one_dimension_follow_their_density_both_ways(name: str) -> None:
    """A11: noising, reverse SDE and flow share the marginal law at every time."""
    law = two_peaks()
    assert float(law.mean) == pytest.approx(0, abs=1e-7)
    assert float(law.covariance) == pytest.approx(1, abs=1e-6)
    found = walk(PROCESSES[name](), law, count=400, seed=2)
    x = torch.linspace(-6, 6, 1201, dtype=torch.float64)
    at = [0, 50, 100, 150, 200]
    shade = density(PROCESSES[name](), law, x)[at]
    np.testing.assert_allclose(shade.sum(1) * 0.01, 1, atol=1e-3)
    below = (shade[:, x.numpy() < 0]).sum(1) * 0.01
    for points in (found.noising, found.sde, found.ode):
        share = (points[at] < 0).mean(1)
        assert np.abs(share - below).max() < 4 * 0.5 / 400**0.5 + 0.01
        np.testing.assert_allclose(points[at].std(1), 1, atol=0.15)


def test_the_flow_keeps_the_order_of_its_paths_and_fresh_noise_does_not() -> None:
    found = walk(DDPM.linear(), two_peaks(), count=60, seed=1)
    assert (np.argsort(found.ode[0]) == np.argsort(found.ode[-1])).all()
    assert (np.argsort(found.sde[0]) != np.argsort(found.sde[-1])).any()
    np.testing.assert_array_equal(found.sde[-1], found.ode[-1])


def test_the_paths_of_the_film_are_those_of_the_picture_and_grow_from_either_side(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A11: the first frame has no path, the last is the picture."""
    monkeypatch.setattr("ornstein.viz.paths1d.FRAMES", 5)
    picture, moving = draw_paths(DDPM.linear(), tmp_path / "paths.png")
    whole = np.asarray(Image.open(picture).convert("RGB")).astype(int)
    with Image.open(moving) as opened:
        frames = []
        for k in range(opened.n_frames):  # type: ignore[attr-defined]
            opened.seek(k)
            frames.append(np.asarray(opened.convert("RGB")).astype(int))
    assert frames[0].shape == whole.shape
    # What the film's compression costs is less than the paths.
    assert np.abs(frames[-1] - whole).mean() < 0.5 * np.abs(frames[0] - whole).mean()
    # What is drawn so far differs from the empty figure: left part of noising, right of the flow.
    drawn = np.abs(frames[2] - frames[0]).sum((0, 2))
    width = whole.shape[1]
    noising, flow = drawn[width // 8 : width // 3], drawn[2 * width // 3 : 7 * width // 8]
    assert noising[: len(noising) // 3].mean() > 5 * noising[-len(noising) // 4 :].mean()
    assert flow[-len(flow) // 3 :].mean() > 5 * flow[: len(flow) // 4].mean()


@pytest.mark.parametrize("name", PROCESSES)
def test_moments_in_the_plane_lead_from_data_to_noise_on_every_process(name: str) -> None:
    t, levels = moments(PROCESSES[name](), 17)
    assert (t[0], t[-1]) == (0, 1)
    assert bool((t.diff() > 0).all())
    assert bool((levels.log_snr.diff() < 0).all())


def test_points_in_the_plane_go_to_noise_and_come_back_to_the_data() -> None:
    """A13: Kolmogorov's distance from N(0, 1) at the noisy end; the data at the clean one."""
    source = np.random.default_rng(0)
    angle = source.uniform(0, 2 * np.pi, 600)
    data = torch.tensor(2**0.5 * np.stack([np.cos(angle), np.sin(angle)], 1))
    seen = planes(PROCESSES["linear"](), data, most=33)
    for path in (seen.noising, seen.sde, seen.ode):
        gaps = [stats.kstest(path[-1][:, k].numpy(), "norm").statistic for k in (0, 1)]
        assert max(gaps) < 1.63 / 600**0.5
        np.testing.assert_allclose(path[0].norm(dim=1).numpy(), 2**0.5, atol=0.03)
        assert path[len(path) // 2].norm(dim=1).std() > 0.2
    assert torch.equal(seen.sde[-1], seen.ode[-1])


@pytest.mark.parametrize("k", [8, 16])
def test_the_density_drawn_is_that_of_the_noised_points(k: int) -> None:
    data = torch.tensor([[1.0, 0.5], [-1.0, 0.2]])
    _, levels = moments(PROCESSES["linear"](), 17)
    p, cell = field(data, levels[k], 60), 6 / 59
    assert p.sum() * cell**2 == pytest.approx(1, abs=0.02)
    at = np.linspace(-3, 3, 60)
    mean = [(p.sum(0) * at).sum() * cell**2, (p.sum(1) * at[::-1]).sum() * cell**2]
    want = float(levels.alpha[k]) * data.mean(0).numpy()
    assert mean == pytest.approx(want.tolist(), abs=0.02)


def test_points_that_are_not_in_the_plane_are_refused() -> None:
    with pytest.raises(UsageError, match="points in the plane"):
        planes(PROCESSES["linear"](), torch.zeros(5, 3))


def test_the_information_left_is_half_the_log_of_1_plus_snr() -> None:
    """A5: half-way, cosine betas keep half a bit of a Gaussian, linear ones an eighth as much."""
    linear, cosine = curves(DDPM.linear())["bits"], curves(DDPM.cosine())["bits"]
    assert cosine[499] == pytest.approx(0.5 * np.log2(1 / (1 - 0.49384)), abs=1e-5)
    assert linear[499] == pytest.approx(0.5 * np.log2(1 / (1 - 0.07859)), abs=1e-5)
