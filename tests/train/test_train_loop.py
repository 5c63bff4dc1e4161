"""The loop: order, resuming, accumulation, rate and refusal of what is not finite."""

from __future__ import annotations

import random

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from figures import figure, times
from ornstein.core import EDM, EDMTarget, Level
from ornstein.model import Model
from ornstein.training.batches import afforded
from ornstein.training.budget import Budget, compared, largest
from ornstein.training.loop import Settings, Trainer
from ornstein.training.objective import WEIGHTS, LogNormal, Objective

CASES: list[int] = []
OBJECTIVE = Objective(EDM(), LogNormal(), WEIGHTS["edm"])


class Small(nn.Module):
    """A network with dropout and classes, on two numbers."""

    def __init__(self) -> None:
        super().__init__()
        self.classed = nn.Embedding(4, 8)
        self.body = nn.Sequential(
            nn.Linear(11, 16),
            nn.SiLU(),
            nn.Linear(16, 16),
            nn.SiLU(),
            nn.Dropout(0.2),
            nn.Linear(16, 2),
        )
        self.seen: list[Tensor] = []

    def forward(self, x: Tensor, noise: Tensor, cond: dict[str, Tensor]) -> Tensor:
        self.seen.append(cond["class"])
        return self.body(torch.cat([x, noise[:, None], self.classed(cond["class"])], 1))


class Points:
    """103 points around three corners, labelled by corner, 10 of them held out."""

    def __init__(self) -> None:
        spread = 0.1 * torch.randn(103, 2, generator=torch.Generator().manual_seed(1))
        corners = torch.tensor([[1.2, 0.0], [-0.6, 1.2], [-0.6, -1.2]])
        self.x = corners[torch.arange(103) % 3] + spread
        self.train, self.heldout = torch.arange(93), torch.arange(93, 103)

    def batch(self, indices: Tensor) -> Tensor:
        return self.x[indices]

    def condition_batch(self, indices: Tensor) -> dict[str, Tensor]:
        return {"class": indices % 3}


def trainer(**options: object) -> Trainer:
    torch.manual_seed(0)
    model = Model(Small(), EDMTarget())
    return Trainer(
        model,
        Points(),
        OBJECTIVE,
        Settings(**{"batch": 32, **options}),
        null={"class": torch.tensor([3])},
    )


def losses(made: Trainer, steps: int, total: int = 40) -> list[float]:
    return [made.step(total).loss for _ in range(steps)]


@settings(max_examples=times(15, 200), deadline=None, database=None)
@given(
    stop=st.integers(1, 19),
    batch=st.integers(1, 200),
    accumulate=st.integers(1, 4),
    ema=st.sampled_from([0.0, 0.05, 0.2]),
    flip=st.booleans(),
    optimizer=st.sampled_from(["adamw", "muon"]),
)
def resumes(
    stop: int, batch: int, accumulate: int, ema: float, flip: bool, optimizer: str
) -> None:
    """Stop a training at a step and go on with another trainer."""
    options = {
        "batch": batch,
        "accumulate": accumulate,
        "ema": ema,
        "flip": flip,
        "optimizer": optimizer,
    }
    straight = trainer(**options)
    before = losses(straight, stop)
    saved = {part: {k: v.clone() for k, v in t.items()} for part, t in straight.tensors().items()}
    after = losses(straight, 20 - stop)

    torch.manual_seed(99)  # another process: another global state, other initial weights
    resumed = Trainer(
        Model(Small(), EDMTarget()),
        Points(),
        OBJECTIVE,
        Settings(**options),
        null={"class": torch.tensor([3])},
    )
    resumed.restore(saved, stop)
    assert losses(resumed, 20 - stop) == after
    assert before != after
    for name, value in straight.ema.average.items():
        assert torch.equal(resumed.ema.average[name], value)
    CASES.append(batch)


@pytest.mark.torture
def test_r10_a_resumed_training_is_bit_equal_to_a_straight_one() -> None:
    CASES.clear()
    resumes()
    figure("R10", "stopped at any step under any options", f"{len(CASES)} cases, all bit-equal")
    assert len(CASES) >= times(15, 200)


def test_every_epoch_meets_each_item_once_in_a_new_order() -> None:
    made = trainer(batch=31)
    epochs = [torch.cat([made.batches.order(3 * e + k) for k in range(3)]) for e in range(3)]
    for epoch in epochs:
        assert torch.equal(epoch.sort().values, torch.arange(93))
    assert not torch.equal(epochs[0], epochs[1])


def test_a_batch_larger_than_the_data_takes_whole_epochs() -> None:
    counts = trainer(batch=93 * 4).batches.order(5).bincount()
    assert counts.tolist() == [4] * 93


def test_accumulated_pieces_give_the_gradient_of_the_whole_batch() -> None:
    whole, pieces = trainer(), trainer(accumulate=5)
    for made in (whole, pieces):
        made.model.eval()  # dropout masks depend on the pieces; the gradient without them must not
        made.backward(0)
    for a, b in zip(whole.model.parameters(), pieces.model.parameters(), strict=True):
        torch.testing.assert_close(a.grad, b.grad)


def test_labels_are_hidden_at_the_stated_rate() -> None:
    made = trainer(batch=4000, condition_dropout=0.25)
    made.step(1)
    labels = made.model.net.seen[0]
    assert float((labels == 3).float().mean()) == pytest.approx(
        0.25, abs=4 * (0.25 * 0.75 / 4000) ** 0.5
    )


def test_the_rate_rises_stays_and_falls_to_zero() -> None:
    made = trainer(warmup=0.1, decay=0.5)
    assert made.rate_share(0, 100) == pytest.approx(0.1)
    assert made.rate_share(9, 100) == 1.0
    assert made.rate_share(50, 100) == 1.0
    assert made.rate_share(75, 100) == pytest.approx(0.5)
    assert made.rate_share(99, 100) == pytest.approx(0.02)


def test_r18_a_loss_that_is_not_finite_changes_no_weight() -> None:
    made = trainer()
    losses(made, 2)
    weights = [p.detach().clone() for p in made.model.parameters()]
    average = {name: value.clone() for name, value in made.ema.average.items()}
    made.items.x[:] = float("nan")
    report = made.step(10)
    item = int(made.batches.order(2)[0])
    assert report.trouble is not None
    assert report.trouble.startswith(f"the loss of item {item} at rho ")
    assert made.done == 3
    assert all(torch.equal(made.ema.average[name], value) for name, value in average.items())
    for now, then in zip(made.model.parameters(), weights, strict=True):
        assert torch.equal(now, then)


def test_r18_a_loss_that_is_not_finite_changes_no_weight_where_its_gradient_is_finite(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    made = trainer()
    whole, weights = made.backward, [p.detach().clone() for p in made.model.parameters()]

    def backward(step: int) -> tuple[float, tuple[Tensor, Tensor]]:
        return float("inf"), whole(step)[1]

    monkeypatch.setattr(made, "backward", backward)
    assert made.step(10).trouble is not None
    assert all(map(torch.equal, made.model.parameters(), weights))


def test_after_one_step_the_average_is_the_weights_without_a_trace_of_the_first() -> None:
    made = trainer()
    losses(made, 1)
    for name, weight in made.model.named_parameters():
        assert torch.equal(made.ema.average[name], weight)


def test_training_lowers_the_heldout_loss() -> None:
    made = trainer(learning_rate=1e-2)
    made.model.eval()
    start = made.heldout_loss(made.model)
    assert made.heldout_loss(made.model) == start  # a fixed draw
    made.model.train()
    losses(made, 200, 200)
    made.model.eval()
    assert made.heldout_loss(made.model) < 0.95 * start


def test_the_planner_takes_the_largest_size_that_sees_enough() -> None:
    needs = {"s": 0, "m": 10_000, "l": 100_000}
    cost = {"s": 1e-3, "m": 4e-3, "l": 16e-3}  # seconds per item

    def chosen(seconds: float) -> str:
        return largest(needs, lambda name: seconds / cost[name])

    assert chosen(60) == "m"
    assert chosen(39) == "s"
    assert chosen(0) == "s"
    assert chosen(1600) == "l"


def test_a_time_budget_is_replanned_and_a_step_budget_is_not(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now = [100.0]
    monkeypatch.setattr("ornstein.training.budget.time.monotonic", lambda: now[0])
    timed, counted = Budget(1000, seconds=60), Budget(1000)
    for budget in (timed, counted):
        budget.replan(0)
    now[0] += 20  # 100 steps took 20 s: 40 s are left for 200 more
    for budget in (timed, counted):
        budget.replan(100)
    assert timed.total == 300
    assert counted.total == 1000
    now[0] += 41  # late: stop
    timed.replan(299)
    assert timed.total == 299


def test_a_plan_that_a_changed_machine_makes_wrong_is_noticed_early(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now = [0.0]
    monkeypatch.setattr("ornstein.training.budget.time.monotonic", lambda: now[0])
    timed, counted = Budget(100, seconds=100), Budget(100)
    for budget in (timed, counted):
        budget.replan(0)
    now[0] = 4.0
    assert not timed.astray(60)  # too soon to tell
    now[0] = 10.0
    assert not timed.astray(10)  # a second a step, as planned
    assert not timed.astray(12)
    assert timed.astray(50)  # would end at 20 s
    assert timed.astray(5)  # would end at 200 s
    assert not counted.astray(50)
    now[0] = 30.0
    timed.rest(20.0)  # a preview was drawn
    assert timed.astray(10)  # 90 steps of a second in 70
    assert not timed.astray(14)
    now[0] = 97.0
    assert not timed.astray(94)  # near the end little is wrong


def test_a_bound_of_0_on_the_gradient_is_none_and_not_a_standstill() -> None:
    free, wide = trainer(clip=0.0), trainer(clip=1e6)
    assert losses(free, 8) == losses(wide, 8)
    assert losses(trainer(clip=1e-9), 8) != losses(wide, 8)


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_layers_compute_in_the_precision_that_is_set_and_weights_stay_whole(
    precision: str,
) -> None:
    made, kinds = trainer(precision=precision), set()
    first = made.model.net.body[0]
    first.register_forward_hook(lambda layer, seen, answer: kinds.add(answer.dtype))
    made.step(10)
    assert kinds == {getattr(torch, precision)}
    assert {p.dtype for p in made.model.parameters()} == {torch.float32}
    assert {p.grad.dtype for p in made.model.parameters()} == {torch.float32}


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_noise_and_target_keep_their_digits_whatever_the_layers_compute_in(
    precision: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A peer draws the noise in half precision, and asks for that noise back."""
    met: list[Tensor] = []
    real = Objective.loss

    def loss(
        self: Objective,
        model: Model,
        clean: Tensor,
        eps: Tensor,
        level: Level,
        cond: dict[str, Tensor],
    ) -> Tensor:
        met.extend((clean, eps, model.target.of(clean, eps, level)))
        return real(self, model, clean, eps, level, cond)

    monkeypatch.setattr(Objective, "loss", loss)
    trainer(precision=precision).step(10)
    assert len(met) == 3
    for values in met:
        assert values.dtype == torch.float32
        assert float((values.bfloat16().float() == values).float().mean()) < 0.05


def test_r18_the_weight_whose_gradient_is_not_finite_is_named_and_no_other(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Clipping by a norm that is NaN made every gradient NaN, and the first was named."""
    made = trainer()
    whole, (*_, last) = made.backward, dict(made.model.named_parameters())

    def backward(step: int) -> tuple[float, tuple[Tensor, Tensor]]:
        found = whole(step)
        made.model.get_parameter(last).grad.fill_(float("nan"))
        return found

    monkeypatch.setattr(made, "backward", backward)
    report = made.step(10)
    assert report.trouble == f"the gradient of {last} is not finite"


class Large:
    """600 held-out pictures of 3x512x512, and how many were read at once."""

    def __init__(self) -> None:
        self.train, self.heldout = torch.arange(8), torch.arange(8, 608)
        self.read: list[int] = []

    def batch(self, indices: Tensor) -> Tensor:
        self.read.append(len(indices))
        assert len(indices) * 3 * 512**2 <= 1 << 25, "too many at once"
        return torch.zeros(1).expand(len(indices), 3, 512, 512)

    def condition_batch(self, indices: Tensor) -> dict[str, Tensor]:
        return {}


class Scaled(nn.Module):
    """A network of one number."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.tensor(0.5))

    def forward(self, x: Tensor, noise: Tensor, cond: dict[str, Tensor]) -> Tensor:
        return self.scale * x


def test_fewer_large_items_are_held_for_the_held_out_loss() -> None:
    """512 of 3x512x512 and their noise took 3.2 GB, whatever the batch."""
    items = Large()
    made = Trainer(Model(Scaled(), EDMTarget()), items, OBJECTIVE, Settings(batch=4))
    assert made.heldout_loss(made.model) > 0
    assert max(items.read) == 42
    assert afforded(512, 3 * 64 * 64) == 512
    assert afforded(512, 10**9) == 8


class Sorted:
    """3,000 numbers, every third of them held out, which lie class by class: 1s, 2s, then 3s."""

    def __init__(self) -> None:
        every = torch.arange(3000)
        self.heldout, self.train = every[every % 3 == 0], every[every % 3 != 0]
        self.read: list[Tensor] = []

    def batch(self, indices: Tensor) -> Tensor:
        self.read.append(indices)
        return 1.0 + (indices // 1000)[:, None].float()

    def condition_batch(self, indices: Tensor) -> dict[str, Tensor]:
        return {}


def test_the_held_out_loss_is_of_items_from_all_over_the_data() -> None:
    """It was of the first 512 held-out items: here of the 1s and half of the 2s."""
    items = Sorted()
    made = Trainer(Model(Scaled(), EDMTarget()), items, OBJECTIVE, Settings(batch=4))
    found = made.heldout_loss(made.model)
    asked = items.read[-1]
    assert len(asked.unique()) == 512
    assert bool(torch.isin(asked, items.heldout).all())
    counts = (asked // 1000).bincount()
    assert counts.tolist() == pytest.approx([512 / 3] * 3, abs=1)
    assert made.heldout_loss(made.model) == found
    assert torch.equal(items.read[-1], asked)  # the same at each measurement
    few = made.heldout_loss(made.model, limit=1000)  # all that there are
    assert torch.equal(items.read[-1], items.heldout)
    assert few != found


@pytest.mark.parametrize("share", [0.5, 0.9, 1.3])
@pytest.mark.parametrize("seed", range(8))
def test_a_machine_with_slow_moments_does_not_change_how_two_ways_compare(
    seed: int, share: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Slow for some ten calls at a time, up to four times, and one call in ten interrupted."""
    now, chance, load = [0.0], random.Random(seed), [1.0]

    def step(seconds: float) -> None:
        if chance.random() < 0.1:
            load[0] = chance.choice([1.0, 1.5, 4.0])
        now[0] += seconds * load[0] + (0.05 if chance.random() < 0.1 else 0.0)

    monkeypatch.setattr("ornstein.training.budget.time.perf_counter", lambda: now[0])
    found = compared(lambda: step(0.01), lambda: step(0.01 * share), seconds=9.0)
    assert found == pytest.approx(share, rel=0.05)
