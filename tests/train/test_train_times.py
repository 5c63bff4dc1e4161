"""Importance-sampled levels: unbiased, quieter, and part of what a checkpoint holds (B11)."""

from __future__ import annotations

import pytest
import torch
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from test_train_loop import Points, Small
from torch import Tensor

from ornstein.bound import Density
from ornstein.core import DDPM, EDMTarget, generator
from ornstein.model import Model
from ornstein.training.loop import Settings, Trainer
from ornstein.training.objective import LAWS, WEIGHTS, Objective, stratified
from ornstein.training.times import Importance
from ornstein.training.variational import LOSSES


def taught(cells: int = 8, slope: float = 5.0) -> Importance:
    """One that has met losses which grow with the place."""
    made = Importance(cells)
    place = stratified(cells * 12, generator("teach"))
    made.observe(place, (slope * place).exp())
    return made


def test_b11_weights_undo_the_shift_so_that_every_mean_is_kept() -> None:
    u = (torch.arange(400_000, dtype=torch.float64) + 0.5) / 400_000
    place, weight = taught()(u)
    for k in (1, 2, 5):
        assert float((weight * place**k).mean()) == pytest.approx(1 / (k + 1), abs=1e-4)
    assert float(place.mean()) > 0.7  # they went where the losses are
    assert bool((place.diff() >= 0).all())


def test_b11_a_cell_is_as_likely_as_the_root_mean_square_of_its_last_ten_losses() -> None:
    made = Importance(2, uniform=0.1)
    losses = torch.arange(1.0, 25.0, dtype=torch.float64)
    made.observe(torch.full((24,), 0.2), losses)
    assert made.shares().tolist() == [0.5, 0.5]  # the other cell has none yet
    made.observe(torch.full((10,), 0.9), torch.full((10,), 3.0))
    low = float(losses[-10:].square().mean().sqrt())
    want = 0.9 * low / (low + 3) + 0.05
    assert made.shares().tolist() == pytest.approx([want, 1 - want])


@given(
    cells=st.integers(1, 6),
    sizes=st.lists(st.integers(1, 40), min_size=1, max_size=5),
    seed=st.integers(0, 99),
)
@settings(max_examples=50, deadline=None)
def test_what_is_remembered_is_what_one_loss_after_another_would_leave(
    cells: int, sizes: list[int], seed: int
) -> None:
    source = generator(seed)
    made, kept = Importance(cells, history=3), [[] for _ in range(cells)]
    for size in sizes:
        place, loss = (torch.rand(size, generator=source).double() for _ in range(2))
        made.observe(place, loss)
        for p, v in zip(place.tolist(), loss.tolist(), strict=True):
            kept[min(int(p * cells), cells - 1)].append(v)
    for row, count, all_of_it in zip(made.losses, made.counts, kept, strict=True):
        assert int(count) == len(all_of_it)
        assert sorted(row[: len(all_of_it)].tolist()) == sorted(all_of_it[-3:])


def trainer(importance: bool, batch: int = 48, accumulate: int = 1) -> Trainer:
    torch.manual_seed(0)
    process = DDPM.cosine(100)
    objective = Objective(
        process,
        LAWS["steps"](0, 1),
        WEIGHTS["simple"],
        bound=LOSSES["vlb"](process, Density()),
        times=Importance(10) if importance else None,
    )
    how = Settings(batch=batch, accumulate=accumulate, condition_dropout=0.0, clip=1e9)
    return Trainer(
        Model(Small(), EDMTarget()), Points(), objective, how, null={"class": torch.tensor([3])}
    )


# Not shrunk when it fails: each try is two trainings.
@settings(max_examples=5, deadline=None, phases=[Phase.generate])
@given(stop=st.integers(1, 11), batch=st.integers(20, 120), accumulate=st.integers(1, 3))
def test_r10_a_resumed_training_meets_the_same_levels_bit_for_bit(
    stop: int, batch: int, accumulate: int
) -> None:
    straight = trainer(True, batch, accumulate)
    for _ in range(stop):
        straight.step(20)
    saved = {part: {k: v.clone() for k, v in t.items()} for part, t in straight.tensors().items()}
    assert set(saved["times"]) == {"losses", "counts"}
    after = [straight.step(20).loss for _ in range(12 - stop)]
    resumed = trainer(True, batch, accumulate)
    resumed.restore(saved, stop)
    assert [resumed.step(20).loss for _ in range(12 - stop)] == after
    assert torch.equal(resumed.objective.times.losses, straight.objective.times.losses)


def test_the_pieces_of_a_batch_do_not_change_what_is_remembered() -> None:
    whole, pieces = trainer(True), trainer(True, accumulate=5)
    for made in (whole, pieces):
        made.model.eval()  # dropout masks depend on the pieces
        made.objective.times.load(taught(10).tensors())
        _, seen = made.backward(0)
        made.objective.times.observe(*seen)
    one, other = whole.objective.times, pieces.objective.times
    torch.testing.assert_close(one.losses, other.losses)
    assert torch.equal(one.counts, other.counts)
    for a, b in zip(whole.model.parameters(), pieces.model.parameters(), strict=True):
        torch.testing.assert_close(a.grad, b.grad)


def gradient_noise(made: Trainer) -> tuple[Tensor, float]:
    """Mean gradient over many steps at the same weights, and the sum of its variances."""
    made.model.eval()
    seen = []
    for step in range(100, 220):
        made.model.zero_grad()
        made.backward(step)
        seen.append(torch.cat([p.grad.flatten() for p in made.model.parameters()]).double())
    return torch.stack(seen).mean(0), float(torch.stack(seen).var(0).sum())


def test_b11_the_gradient_of_the_bound_keeps_its_mean_and_loses_variance() -> None:
    plain, made = trainer(False), trainer(True)
    for each in (plain, made):  # both at the weights of the same training
        teacher = trainer(True)
        for _ in range(40):
            teacher.step(1000)
        each.model.load_state_dict(teacher.model.state_dict())
        if each.objective.times is not None:
            each.objective.times.load(teacher.objective.times.tensors())
    (one, before), (other, after) = gradient_noise(plain), gradient_noise(made)
    assert after < 0.5 * before
    assert float((one - other).norm()) < 4 * ((before + after) / 120) ** 0.5
