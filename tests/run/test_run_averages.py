"""Averages of the weights of any width, made after the training."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

import ornstein
from ornstein.cli.app import cli
from ornstein.cli.faults import guarded
from ornstein.run import Run
from ornstein.run.averages import averaged, stored
from ornstein.training.ema import exponent, product, shares

SETTINGS = {
    "net.name": "mlp", "net.size": "tiny", "batch": 32, "log_every": 50, "sample.count": 4,
    "learning_rate": 3e-3, "snapshots": 16,
}  # fmt: skip


def train(runs: Path, steps: int, **sets: object) -> Run:
    settings = {**SETTINGS, **sets}
    return ornstein.train("two-moons", name="run", runs=runs, steps=steps, settings=settings)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A run whose own average has width 0.15 and which stored those of 0.05 and 0.1."""
    return train(tmp_path_factory.mktemp("runs"), 320, ema=0.15)


@pytest.mark.parametrize(("first", "end"), [(40.0, 100.0), (100.0, 100.0), (100.0, 7.0)])
@pytest.mark.parametrize(("a", "b"), [(0.05, 0.1), (0.1, 0.1), (0.2, 0.07)])
def test_inner_products_of_profiles_are_their_integrals(
    a: float, b: float, first: float, end: float
) -> None:
    from scipy.integrate import quad

    g, h = exponent(a), exponent(b)

    def both(tau: float) -> float:
        return (g + 1) * tau**g / first ** (g + 1) * (h + 1) * tau**h / end ** (h + 1)

    truth, _ = quad(both, 0, min(first, end))
    got = product(*(torch.tensor(v, dtype=torch.float64) for v in (g, first, h, end)))
    assert float(got) == pytest.approx(truth, rel=1e-9)


def test_inner_products_of_long_trainings_are_finite() -> None:
    values = (torch.tensor(v, dtype=torch.float64) for v in (exponent(0.02), 1e9, 5.0, 1e6))
    assert bool(torch.isfinite(product(*values)))


def test_a_stored_average_is_made_of_itself_alone() -> None:
    share = shares((0.05, 0.1) * 3, (10, 10, 20, 20, 30, 30), 0.1, 30)
    torch.testing.assert_close(share, torch.tensor([0.0] * 5 + [1.0]).double(), atol=1e-6, rtol=0)


def test_shares_of_any_width_sum_to_1() -> None:
    for width in (0.03, 0.07, 0.2):
        for steps in ((1,), (1, 2), (100, 200, 300)):
            times = [step for step in steps for _ in range(2)]
            share = shares((0.05, 0.1) * len(steps), times, width, steps[-1])
            assert float(share.sum()) == pytest.approx(1, abs=1e-9)


def test_any_width_made_afterwards_is_near_the_one_that_was_followed(run: Run) -> None:
    followed = dict(run.bundle().model.named_parameters())  # width 0.15 by the setting
    made = dict(averaged(run, 0.15).model.named_parameters())
    other = load_file(stored(run.folder)[320])  # the nearest that is stored, 0.1
    off = away = 0.0
    for name, value in followed.items():
        off += float((made[name] - value).detach().square().sum())
        away += float((other[f"0.1/{name}"] - value.detach()).square().sum())
    assert (off / away) ** 0.5 < 0.03


@pytest.mark.parametrize("steps", [1, 2, 3, 10])
def test_few_steps_give_sane_averages_of_any_width(tmp_path: Path, steps: int) -> None:
    run = train(tmp_path, steps, ema=0.07)
    assert list(stored(run.folder)) == list(range(1, steps + 1))
    followed = dict(run.bundle().model.named_parameters())
    start = load_file(stored(run.folder)[1])
    for width in (0.05, 0.07, 0.2):
        for name, value in averaged(run, width).model.named_parameters():
            assert bool(torch.isfinite(value).all())
            # Nothing lies much further off than the weights have ever been.
            last = followed[name].detach()
            far = float((last - start[f"0.1/{name}"]).abs().max())
            assert float((value.detach() - last).abs().max()) <= 1.5 * far + 1e-5


def test_a_resumed_training_stores_the_same_averages(tmp_path: Path, run: Run) -> None:
    again = train(tmp_path, 320, ema=0.15, save_every=100)
    record = again.folder / "run.json"
    record.write_text(record.read_text().replace("finished", "training"))
    (again.folder / "checkpoints" / "step-000000320").rename(tmp_path / "gone")
    for step, path in stored(again.folder).items():
        if step > 300:
            path.unlink()
    train(tmp_path, 320, ema=0.15, save_every=100)
    first, second = (load_file(stored(r.folder)[320]) for r in (run, again))
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_without_snapshots_nothing_is_stored_and_the_command_says_how(
    tmp_path: Path, run: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    plain = train(tmp_path, 2, snapshots=0)
    assert not (plain.folder / "averages").exists()
    there, here = (["--runs", str(r.folder.parent)] for r in (plain, run))
    assert guarded(cli, ["ema", "run", "--width", "0.07", *there]) == 2
    assert "--set snapshots=16" in capsys.readouterr().err
    assert guarded(cli, ["ema", "run", "--width", "0.3", *here]) == 2
    assert guarded(cli, ["ema", "run", "--width", "0.07", *here]) == 0
    made = ornstein.load(run.folder / "model-0.07.safetensors")
    assert made.weights == "average of relative width 0.07, made afterwards"
    assert made.sample(3).items.shape == (3, 2)


def test_a_damaged_snapshot_is_named(tmp_path: Path) -> None:
    run = train(tmp_path, 3)
    path = stored(run.folder)[2]
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(ornstein.errors.ModelFileError, match="step-000000002"):
        averaged(run, 0.1)
