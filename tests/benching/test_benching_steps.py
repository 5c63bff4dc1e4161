"""Steps timed within a budget, by a clock of our own; and the advice that follows."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from PIL import Image

from ornstein.benching import Asked, advice
from ornstein.benching.machine import Bench, Made
from ornstein.benching.report import _sampled, lightest
from ornstein.benching.steps import Cell, in_turn, table
from ornstein.bundle import Bundle
from ornstein.cli.app import cli
from ornstein.cli.bench import _asked
from ornstein.cli.faults import guarded
from ornstein.data import open_data
from ornstein.errors import OutOfMemoryError, UsageError
from ornstein.planning import trying
from ornstein.run import open_run
from ornstein.training.budget import pace
from ornstein.training.memory import forget_peak, used_mb


class Hours:
    """A clock that moves only when somebody works."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now

    def work(self, seconds: float) -> Callable[[], None]:
        def once() -> None:
            self.now += seconds

        return once


def tried(
    budget: float, cost: Callable[[str, int], float], room: Callable[[str, int], bool]
) -> tuple[list[Cell], float]:
    """Fill a table of three sizes and two batches; the cells, and the time that it took."""
    clock = Hours()

    def trial(size: str, batch: int, seconds: float) -> Cell:
        if not room(size, batch):
            return Cell(size, batch, 0.0, fits=False)
        once = cost(size, batch)
        clock.now += min(max(4 * once, seconds), 13 * once)  # as training.budget.pace does
        return Cell(size, batch, cost(size, batch), 100)

    return list(table(("a", "b", "c"), (8, 32), budget, trial, clock)), clock.now


def cost(size: str, batch: int) -> float:
    """A size is four times the one before, a picture costs the same in any batch."""
    return batch * 4.0 ** "abc".index(size) / 100


def anything(size: str, batch: int) -> bool:
    return True


def test_all_is_tried_where_there_is_time_and_the_time_is_kept() -> None:
    cells, spent = tried(120.0, cost, anything)
    assert [(c.size, c.batch) for c in cells] == [(s, b) for s in "abc" for b in (8, 32)]
    assert all(c.tried for c in cells)
    assert spent <= 120


def test_what_would_take_too_long_is_expected_from_the_cell_before() -> None:
    cells, spent = tried(12.0, cost, anything)
    late = [c for c in cells if not c.tried]
    assert late
    assert spent <= 13
    for cell in late:
        assert cell.mb is None
        assert cell.seconds == pytest.approx(cost(cell.size, cell.batch))


@pytest.mark.parametrize("batch", [8, 32])
def test_a_batch_for_which_there_is_no_memory_ends_its_size_and_the_least_the_larger_ones(
    batch: int,
) -> None:
    """They were said to fit, and to take no time."""
    cells, _ = tried(120.0, cost, lambda size, many: (size, many) != ("b", batch))
    told = {(c.size, c.batch): (c.tried, c.fits) for c in cells}
    assert told["a", 32] == (True, True)
    assert told["b", batch] == (True, False)
    assert told["b", 32] == (batch == 32, False)
    assert told["c", 8] == ((True, True) if batch == 32 else (False, False))


def test_ways_in_turn_are_compared_round_by_round_after_a_warm_up() -> None:
    clock, calls = Hours(), []
    slow, fast = clock.work(3.0), clock.work(1.0)

    def noted(name: str, work: Callable[[], None]) -> Callable[[], None]:
        return lambda: (calls.append(name), work())[1]

    works = {"slow": noted("slow", slow), "fast": noted("fast", fast)}
    assert in_turn(works, 20.0, clock) == {"slow": 3.0, "fast": 1.0}
    assert calls == ["slow", "fast"] * 6  # one to warm up; five rounds of 4 s fill 20 s


def test_comparisons_use_the_largest_batch_that_there_is_time_for() -> None:
    cells = [Cell("", batch, batch / 100, 1) for batch in (16, 64, 256)]
    assert lightest(cells, 12 * 0.7).batch == 64
    assert lightest(cells, 0.01).batch == 16
    unknown = cells[-1]._replace(seconds=0.001, tried=False)
    assert lightest([*cells[:2], unknown], 100.0).batch == 64


@pytest.mark.skipif(sys.platform != "linux", reason="other systems do not forget")
def test_most_memory_counts_from_when_it_was_forgotten() -> None:
    torch.ones(100 << 18).sum()  # 100 MB, given back at once
    before = used_mb(torch.device("cpu"))
    forget_peak(torch.device("cpu"))
    assert used_mb(torch.device("cpu")) < before - 80


def seen(**changes: dict[str, object]) -> dict[str, dict[str, object]]:
    quiet = {
        "machine": {"noisy": False, "others": 0.0},
        "precision": {"times": 0.4, "taken": "float32"},
    }
    return {**quiet, "threads": {"times": 1.8}, **changes}


def test_advice_is_the_one_thing_that_gains_most() -> None:
    assert advice(seen()).startswith("the defaults are the fastest")
    assert "precision=bfloat16, which is 2.0" in advice(
        seen(precision={"times": 2.0, "taken": "float32"})
    )
    assert advice(seen(precision={"times": 2.0, "taken": "bfloat16"})).startswith("the defaults")
    assert "OMP_NUM_THREADS=1, which is 2.0" in advice(seen(threads={"times": 0.5}))
    tried = {"tried": True, "first": 60.0, "times": 1.7, "taken": False}
    assert "train.compile=true, which is 1.7" in advice(seen(compile=tried))
    assert "OMP_NUM_THREADS=1" in advice(seen(compile=tried, threads={"times": 0.5}))
    assert advice(seen(compile={**tried, "taken": True})).startswith("the defaults")
    assert advice(seen(compile={"tried": False})).startswith("the defaults")
    assert "1.3 cores busy" in advice(seen(machine={"noisy": True, "others": 1.3}))


def test_every_kind_of_figure_comes_out_of_a_short_bench_of_ones_own_data(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trying, "pace", lambda step, seconds: pace(step, 0.01))
    np.save(tmp_path / "points.npy", np.random.default_rng(0).normal(size=(300, 2)))
    words = ["bench", str(tmp_path / "points.npy"), "--seconds", "1", "--json"]
    done = CliRunner().invoke(cli, words, catch_exceptions=False)
    told = [json.loads(line) for line in done.output.splitlines()]
    kinds = {"machine", "plan", "step", "precision", "compile", "sampling", "advice"}
    assert kinds <= {fact["kind"] for fact in told} <= kinds | {"threads"}
    steps = [fact for fact in told if fact["kind"] == "step" and fact["tried"]]
    assert steps
    for fact in steps:
        assert fact["items_per_second"] == pytest.approx(fact["batch"] / fact["seconds"])
    assert [f["minutes"] for f in told if f["kind"] == "plan"] == [60.0, 10.0]


def test_where_no_batch_fits_into_memory_one_sentence_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The table is told; then the largest of no batches was asked for."""
    monkeypatch.setattr(trying, "pace", lambda step, seconds: pace(step, 0.01))

    def full(*_: object) -> None:
        raise OutOfMemoryError("not even one item at a time fits.")

    monkeypatch.setattr("ornstein.benching.machine.fitting", full)
    np.save(tmp_path / "points.npy", np.random.default_rng(0).normal(size=(300, 2)))
    code = guarded(cli, ["bench", str(tmp_path / "points.npy"), "--seconds", "1"])
    out, err = capsys.readouterr()
    assert code == 71
    assert "does not fit into memory" in out
    assert len(err.splitlines()) == 1
    assert "out of memory: a step of mlp" in err
    assert "so nothing else is measured" in err
    assert "--size" not in err  # of points


def test_a_run_is_measured_as_it_is_and_its_data_have_their_size(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trying, "pace", lambda step, seconds: pace(step, 0.01))
    words = [
        "train",
        "two-moons",
        "--steps",
        "2",
        "--quiet",
        "net.size=tiny",
        "--runs",
        str(tmp_path),
    ]
    assert CliRunner().invoke(cli, words, catch_exceptions=False).exit_code == 0
    asked = ["bench", "two-moons", "--runs", str(tmp_path), "--seconds", "1", "--json"]
    done = CliRunner().invoke(cli, asked, catch_exceptions=False)
    told = [json.loads(line) for line in done.output.splitlines()]
    assert not [fact for fact in told if fact["kind"] == "plan"]
    assert len([fact for fact in told if fact["kind"] == "step"]) == 3
    with pytest.raises(UsageError, match="--size is for data"):
        CliRunner().invoke(cli, [*asked, "--size", "8"], catch_exceptions=False)


def test_a_folder_of_data_is_measured_where_a_run_has_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """photos/ was taken for the run photos, which has no --size."""
    monkeypatch.chdir(tmp_path)
    Path("photos").mkdir()
    for k in range(30):
        pixels = np.random.default_rng(k).integers(0, 256, (8, 8), dtype=np.uint8)
        Image.fromarray(pixels).save(f"photos/{k}.png")
    Path("runs/photos").mkdir(parents=True)
    Path("runs/photos/config.toml").write_text('[data]\nsource = "two-moons"\n')
    folder, run = (
        _asked(name, 1.0, size, False, Path("runs"))
        for name, size in (("photos/", 4), ("photos", None))
    )
    assert (folder.data.shape, folder.fixed) == ((1, 4, 4), False)
    assert (run.data.name, run.fixed) == ("two-moons", True)


def test_a_model_is_sampled_on_the_device_that_is_measured(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = ["train", "two-moons", "--steps", "2", "--quiet", "net.size=tiny", "--runs"]
    CliRunner().invoke(cli, [*words, str(tmp_path)], catch_exceptions=False)
    run, device = open_run("two-moons", tmp_path), torch.device("meta")
    asked = Asked(run.config, open_data("two-moons"), run.bundle(), device=device)
    seen: list[torch.device] = []

    def sampling(bundle: Bundle, *_: float) -> Made:
        seen.append(bundle.device)
        return Made(1, 1.0, 1, "ddim")

    monkeypatch.setattr(sys.modules[_sampled.__module__], "sampling", sampling)
    list(_sampled(asked, Bench(asked.config, asked.data, device), 1.0))
    assert seen == [device]
