"""Sampling a bundle: item k of a seed is one picture, in any batch, order and piece."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from makers import CODINGS, make_bundle

from ornstein.bundle import Sampler
from ornstein.core import GRIDS, PROCESSES, Gaussian
from ornstein.errors import LevelError, TargetError, UsageError
from ornstein.solvers import SOLVERS


@pytest.mark.parametrize("kind", CODINGS)
@pytest.mark.parametrize("solver", ["ddpm", "dpmpp-2m"])
def test_item_k_has_the_same_bits_in_any_batch(kind: str, solver: str) -> None:
    bundle = make_bundle(kind)
    whole = bundle.sample(20, seed=7, steps=3, solver=solver)
    for batch in (3, 7, 16):
        again = bundle.sample(20, seed=7, steps=3, solver=solver, batch=batch)
        assert np.array_equal(again.items, whole.items), batch
        assert again.labels == whole.labels
    for first, n in ((5, 1), (19, 1), (3, 17)):
        part = bundle.sample(n, seed=7, first=first, steps=3, solver=solver)
        assert np.array_equal(part.items, whole.items[first : first + n])
        assert part.labels == whole.labels[first : first + n]
        assert part.numbers == whole.numbers[first : first + n]


@given(first=st.integers(0, 200), n=st.integers(1, 9), batch=st.integers(1, 12))
@settings(max_examples=12, deadline=None)
def test_any_piece_is_a_piece_of_the_whole(first: int, n: int, batch: int) -> None:
    bundle = make_bundle("vector", seed=3)
    parts = bundle.sample(n, seed=1, first=first, steps=2, batch=batch).items
    singles = [bundle.sample(1, seed=1, first=first + k, steps=2).items for k in range(n)]
    assert np.array_equal(parts, np.concatenate(singles))


def test_other_seeds_and_other_items_differ() -> None:
    bundle = make_bundle("vector")
    a, b = (bundle.sample(20, seed=seed, steps=3).items for seed in (1, 2))
    assert len(np.unique(np.concatenate([a, b]), axis=0)) == 40


def test_classes_go_round_by_the_number_of_the_item() -> None:
    bundle = make_bundle("vector")
    assert bundle.sample(5, first=4, steps=1).labels == ("one", "two", "zero", "one", "two")
    assert bundle.sample(3, class_name="two", steps=1).labels == ("two",) * 3
    assert make_bundle("vector", classes=()).sample(2, steps=1).labels == (None, None)


def test_the_class_reaches_the_network() -> None:
    bundle = make_bundle("vector")
    one, two = (bundle.sample(4, class_name=name, steps=3).items for name in ("one", "two"))
    assert not np.allclose(one, two)


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        ({"class_name": "thre"}, r"no class 'thre'.*zero, one, two"),
        ({"class_name": "tow"}, "Did you mean 'two'"),
        ({"solver": "huen"}, r"unknown solver 'huen'\. Did you mean 'heun'\? There are: .*ddim"),
        ({"grid": "karas"}, "unknown grid 'karas'. Did you mean 'karras'"),
        ({"schedule": "cosin"}, "unknown schedule 'cosin'. Did you mean 'cosine'"),
        ({"n": 0}, "at least one item"),
        ({"first": -1}, "at least one item"),
        ({"batch": 0}, "at least one item"),
    ],
)
def test_a_wrong_wish_is_answered_by_what_there_is(asked: dict[str, object], words: str) -> None:
    with pytest.raises(UsageError, match=words):
        make_bundle("vector").sample(**{"n": 2, **asked})  # type: ignore[arg-type]


def test_impossible_grids_are_refused_before_anything_is_computed() -> None:
    with pytest.raises(LevelError):
        make_bundle("vector").sample(2, steps=0)
    eps = make_bundle("vector", target="eps", process="linear")
    with pytest.raises(TargetError, match="schedule 'flow'"):
        eps.sample(2, schedule="flow", grid="uniform")
    with pytest.raises(UsageError, match="knows no classes"):
        make_bundle("vector", classes=()).sample(2, class_name="two")


@pytest.mark.parametrize("schedule", PROCESSES)
@pytest.mark.parametrize("grid", GRIDS)
def test_a_model_of_one_schedule_walks_every_other(schedule: str, grid: str) -> None:
    bundle = make_bundle("vector")
    walk = bundle.walk(3, sampler=bundle.how(schedule=schedule, grid=grid, steps=6))
    steps = list(walk.steps)
    assert len(steps) == 6
    assert torch.isfinite(steps[-1].x).all()
    assert walk.settings["schedule"] == schedule


@pytest.mark.parametrize("solver", SOLVERS)
def test_every_solver_brings_the_exact_law_back_in_data_units(solver: str) -> None:
    """A denoiser of N(0, 1) data, through the coding, must give the data's mean and deviation."""
    bundle = make_bundle("vector", classes=())
    law = Gaussian(torch.zeros(2), torch.eye(2))
    object.__setattr__(bundle, "denoiser", lambda cond, guidance: law)
    found = bundle.sample(1600, steps=60, solver=solver, batch=1600, grid="log-snr").items
    mean, std = np.array(bundle.coding.mean), np.array(bundle.coding.std)
    # 1,600 draws: 5 standard errors are 12.5 % of the deviation, and 8.8 % of it for itself.
    assert np.abs((found.mean(0) - mean) / std).max() < 0.125
    assert np.abs(found.std(0) / std - 1).max() < 0.12


def test_defaults_are_those_of_the_model_and_each_can_be_changed() -> None:
    bundle = make_bundle("vector", sampler=Sampler("heun", "uniform", "cosine", 5))
    walk = bundle.walk(2)
    named = {k: walk.settings[k] for k in ("solver", "grid", "schedule", "steps")}
    assert named == {"solver": "heun", "grid": "uniform", "schedule": "cosine", "steps": 5}
    assert walk.evaluations == 9  # the last step, to clean data, asks once
    assert len(walk.levels) == 6
    way = bundle.how(solver="ddim", grid="karras", schedule="edm", steps=3)
    other = bundle.walk(2, sampler=way).settings
    named = {k: other[k] for k in ("solver", "grid", "schedule", "steps")}
    assert named == {"solver": "ddim", "grid": "karras", "schedule": "edm", "steps": 3}


def test_the_process_of_training_keeps_its_options_as_a_schedule() -> None:
    bundle = make_bundle("vector", process="edm", process_options={"sigma_max": 20.0})
    assert float(bundle.levels(bundle.how(steps=4)).sigma[0]) == pytest.approx(20.0)
    assert float(bundle.levels(bundle.how(steps=4, schedule="edm")).sigma[0]) == pytest.approx(
        20.0
    )


def test_progress_counts_every_step_of_every_piece() -> None:
    told: list[tuple[int, int]] = []
    make_bundle("vector").sample(
        5, steps=3, batch=2, progress=lambda done, total: told.append((done, total))
    )
    assert told == [(k, 9) for k in range(1, 10)]


def test_a_walk_starts_at_the_noise_and_ends_at_the_sample() -> None:
    bundle = make_bundle("vector")
    way = bundle.how(steps=3)
    walk = bundle.walk(3, seed=4, sampler=way)
    assert walk.start.std() > 20  # sigma is 80 there
    steps = list(walk.steps)
    assert [step.number for step in steps] == [0, 1, 2]
    assert all(step.x.shape == step.x0.shape == (3, 2) for step in steps)
    made = bundle.sample(3, seed=4, steps=3).items
    assert np.array_equal(bundle.coding.decode(steps[-1].x), made)
    assert torch.equal(list(bundle.trace(3, seed=4, sampler=way))[-1].x, steps[-1].x)
