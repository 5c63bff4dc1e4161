"""R19: out of memory is said with the largest batch that fits and how to keep the batch."""

from __future__ import annotations

import platform
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

import ornstein
from ornstein import build
from ornstein.bundle import Bundle
from ornstein.cli.app import cli
from ornstein.cli.faults import guarded
from ornstein.config import resolve
from ornstein.data import open_data
from ornstein.errors import OutOfMemoryError
from ornstein.model import Model
from ornstein.run import Run, Silent
from ornstein.session import previews
from ornstein.session.saving import Saving
from ornstein.session.work import Work
from ornstein.training.loop import Trainer
from ornstein.training.memory import fitting
from ornstein.training.panel import Panel, readings
from ornstein.training.ranks import Share

SETTINGS = {"net.name": "mlp", "batch": 48, "save_every": 5, "sample.count": 4}


def lack_of_torch() -> Exception:
    return torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")


def lack_of_the_cpu() -> Exception:
    return RuntimeError("[enforce fail at alloc_cpu.cpp:121] DefaultCPUAllocator: can't allocate")


def holds(
    monkeypatch: pytest.MonkeyPatch,
    most: int,
    fault: Callable[[], Exception] = lack_of_torch,
    after: int = 0,
) -> list[int]:
    """Let a step of more than ``most`` items at a time fail as a full memory does."""
    whole, tried = Trainer.loss, []

    def loss(self: Trainer, clean: Tensor, *rest: Tensor | None) -> Tensor:
        tried.append(len(clean))
        if len(clean) > most and self.done >= after:
            raise fault()
        return whole(self, clean, *rest)

    monkeypatch.setattr(Trainer, "loss", loss)
    return tried


def train(runs: Path, **settings: object) -> Run:
    return ornstein.train(
        "two-moons", name="run", runs=runs, steps=20, settings={**SETTINGS, **settings}
    )


def trainer(accumulate: int = 1) -> Trainer:
    points = open_data("two-moons")
    config = resolve(
        sets=("net.name=mlp", "batch=48", "learning_rate=1e-3", f"accumulate={accumulate}")
    ).config
    return build.trainer(config, points, torch.device("cpu"))


@pytest.mark.parametrize(
    ("fault", "most", "pieces"),
    [
        (lack_of_torch, 47, 2),
        (lack_of_torch, 24, 2),
        (lack_of_torch, 23, 3),
        (lack_of_torch, 1, 48),
        (lack_of_the_cpu, 7, 7),
        (MemoryError, 7, 7),
    ],
)
def test_r19_the_largest_piece_that_fits_is_found_and_the_batch_is_kept(
    monkeypatch: pytest.MonkeyPatch, fault: Callable[[], Exception], most: int, pieces: int
) -> None:
    tried = holds(monkeypatch, most, fault)
    with pytest.raises(OutOfMemoryError) as caught:
        fitting(trainer(), 10)
    assert caught.value.exit_code == 71
    assert f"48 items at a time do not fit on cpu, {most} do" in str(caught.value)
    assert caught.value.setting == f"accumulate={pieces}"
    assert len(tried) < 20  # by halving, not one by one
    tried.clear()
    fitting(trainer(accumulate=pieces), 10)
    assert max(tried) <= most
    assert sum(tried) == 48


@pytest.mark.parametrize(
    ("ranks", "accumulate", "failed", "advised"), [(2, 1, 24, 2), (2, 3, 8, 6), (5, 1, 9, 3)]
)
def test_r19_of_several_ranks_none_tries_alone_and_half_is_advised(
    monkeypatch: pytest.MonkeyPatch, ranks: int, accumulate: int, failed: int, advised: int
) -> None:
    """The others wait inside a sum; a trial of one rank would never end."""
    made = trainer(accumulate)
    made.ranks = made.batches.share = Share(0, ranks)
    tried = holds(monkeypatch, failed // 2)
    with pytest.raises(OutOfMemoryError) as caught:
        fitting(made, 10)
    assert caught.value.setting == f"accumulate={advised}"
    said = f"{failed} items at a time do not fit on cpu, {failed // 2} may."
    assert said in str(caught.value)
    assert tried == [failed]
    again = trainer(advised)
    again.ranks = again.batches.share = Share(0, ranks)
    fitting(again, 10)  # what is advised does what it says


@pytest.mark.parametrize("accumulate", [6, 48])
def test_r19_where_each_rank_takes_one_item_at_a_time_no_more_pieces_are_advised(
    monkeypatch: pytest.MonkeyPatch, accumulate: int
) -> None:
    made = trainer(accumulate)
    made.ranks = made.batches.share = Share(0, 8)
    holds(monkeypatch, 0)
    with pytest.raises(OutOfMemoryError, match=r"not even one item .*net.size=tiny"):
        fitting(made, 10)


def test_r19_not_even_one_item_fits(monkeypatch: pytest.MonkeyPatch) -> None:
    holds(monkeypatch, 0)
    with pytest.raises(OutOfMemoryError, match=r"not even one item .*net.size=tiny"):
        fitting(trainer(), 10)


def test_r19_another_fault_passes_through(monkeypatch: pytest.MonkeyPatch) -> None:
    holds(monkeypatch, 0, lambda: RuntimeError("shapes do not match"))
    with pytest.raises(RuntimeError, match="shapes"):
        fitting(trainer(), 10)


def test_r19_what_is_found_while_planning_leaves_nothing_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    holds(monkeypatch, 20)
    with pytest.raises(OutOfMemoryError, match="accumulate=3 added"):
        train(tmp_path)
    assert not (tmp_path / "run").exists()


def test_r19_in_the_middle_of_a_training_nothing_is_lost_and_pieces_go_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = train(tmp_path / "whole", log_every=1)
    with monkeypatch.context() as patch:
        holds(patch, 16, after=12)
        patch.setattr("ornstein.planning.trying.pace", lambda step, seconds: 0.01)
        with pytest.raises(OutOfMemoryError, match="accumulate=3 added"):
            train(tmp_path, log_every=1)
        run = train(tmp_path, accumulate=3)
    assert run.config.train.accumulate == 3
    assert train(tmp_path).state == "finished"  # without naming it again
    first, second = ([r["loss"] for r in r.log if "loss" in r] for r in (whole, run))
    assert second == pytest.approx(first, rel=1e-4)  # pieces are summed in another order
    assert second[:10] == first[:10]  # up to the checkpoint, to the bit


def test_r19_the_command_line_ends_with_the_command_that_fits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    holds(monkeypatch, 20)
    options = ["batch=48", "sample.steps=2", "--steps", "5", "--runs", str(tmp_path)]
    command = ["train", "two-moons", *options]
    assert guarded(cli, command) == 71
    said = capsys.readouterr().err.strip().splitlines()
    assert said[-1].strip() == f"ornstein {' '.join(command)} --set accumulate=3"
    again = [*said[-1].split()[1:], "--quiet"]
    assert guarded(cli, again) == 0


class Notes(Silent):
    """Remembers what is said."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def note(self, text: str) -> None:
        """Remember it."""
        self.lines.append(text)


@pytest.mark.parametrize("place", ["heldout_loss", "sample", "film"])
def test_r19_a_preview_that_does_not_fit_is_said_and_the_training_ends_well(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    lacking = "CUDA out of memory. Tried to allocate 2.00 GiB"

    def full(*_: object, **__: object) -> None:
        raise RuntimeError(f"{lacking}.")

    owner = {"heldout_loss": Trainer, "sample": Bundle, "film": previews}[place]
    monkeypatch.setattr(owner, place, full)
    notes = Notes()
    settings = {**SETTINGS, "sample_every": 6, "sample.count": 4}
    run = ornstein.train(
        "two-moons", name="run", runs=tmp_path, steps=20, settings=settings, progress=notes
    )
    assert run.state == "finished"
    said = [line for line in notes.lines if line.startswith("warning")]
    assert len(said) == (1 if place == "film" else 4)  # at steps 6, 12, 18 and 20
    assert set(said) == {f"warning: no memory for a preview ({lacking}). Training goes on."}
    assert len(run.grids) == (4 if place == "film" else 0)


@pytest.mark.parametrize(("place", "times"), [("__init__", 1), ("read", 4)])
def test_r19_errors_by_level_that_do_not_fit_leave_the_samples_and_are_not_read_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str, times: int
) -> None:
    def full(*_: object, **__: object) -> None:
        raise lack_of_the_cpu()

    monkeypatch.setattr(Panel, place, full)
    notes = Notes()
    settings = {**SETTINGS, "sample_every": 6}
    run = ornstein.train(
        "two-moons", name="run", runs=tmp_path, steps=20, settings=settings, progress=notes
    )
    assert run.state == "finished"
    said = [line for line in notes.lines if line.startswith("warning")]
    assert len(said) == times
    assert all("no memory for errors by level (" in line for line in said)
    assert len(run.grids) == 4  # at steps 6, 12, 18 and 20
    previews = [line for line in run.log if "loss" not in line]
    assert [line["heldout"] > 0 for line in previews] == [True] * 4
    assert readings(run.log) == []


@pytest.mark.parametrize("place", ["save", "bundle"])
def test_r19_nothing_but_a_preview_is_done_without(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    """Other ranks take part in what gathers the weights, and a save is what is promised."""

    def full(*_: object) -> None:
        raise RuntimeError("CUDA out of memory.")

    monkeypatch.setattr({"save": Saving, "bundle": Work}[place], place, full)
    with pytest.raises(RuntimeError, match="out of memory"):
        train(tmp_path, sample_every=6)


@pytest.mark.parametrize(
    ("dims", "accumulate", "ranks", "rows"),
    [(10**6, 1, 1, 48), (10**6, 3, 1, 16), (10**6, 5, 2, 5), (10**6, 48, 1, 1), (2, 48, 1, 2**14)],
)
def test_r19_beside_the_steps_no_more_large_items_are_asked_about_at_once_than_in_them(
    dims: int, accumulate: int, ranks: int, rows: int
) -> None:
    made = trainer(accumulate)
    made.ranks = Share(0, ranks)
    assert made.piece(dims) == rows


def test_r19_previews_and_held_out_losses_are_made_in_pieces_of_the_steps(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows: list[int] = []
    whole = Model.output

    def output(self: Model, x: Tensor, *rest: Any) -> object:  # noqa: ANN401 - handed on
        if not (self.training or torch.is_grad_enabled()):
            rows.append(len(x))
        return whole(self, x, *rest)

    monkeypatch.setattr(Model, "output", output)
    monkeypatch.setattr("ornstein.training.loop.SMALL", 2)
    monkeypatch.setattr("ornstein.training.panel.PIECE", 2)
    train(tmp_path, accumulate=3, **{"sample.count": 40})
    assert max(rows) == 16


def test_r19_a_piece_fits_only_where_it_does_beside_what_the_optimiser_remembers(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    whole = Trainer.loss

    def loss(self: Trainer, clean: Tensor, *rest: Tensor | None) -> Tensor:
        if len(clean) > (20 if any(o.state for o in self.optimizers) else 24):
            raise lack_of_torch()
        return whole(self, clean, *rest)

    monkeypatch.setattr(Trainer, "loss", loss)
    with pytest.raises(OutOfMemoryError, match="48 items at a time do not fit on cpu, 20 do"):
        fitting(trainer(), 10)


def faults() -> int:
    """Pages that a process is given while it makes and frees an array of 8 MB 50 times."""
    code = (
        "import resource, torch\n"
        "from ornstein.training.memory import keep_freed\n"
        "keep_freed()\n"
        "def make():\n"
        "    for _ in range(50): torch.ones(4, 1 << 19).add(1)\n"
        "make()\n"
        "start = resource.getrusage(resource.RUSAGE_SELF).ru_minflt\n"
        "make()\n"
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - start)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return int(done.stdout)


@pytest.mark.skipif(
    platform.libc_ver()[0] != "glibc", reason="other C libraries keep memory by their own rules"
)
def test_memory_that_was_freed_is_used_again() -> None:
    # 4,096 bytes a page: 8 MB are 2,048 of them, were they given anew.
    assert faults() < 50 * 2048 / 10


SAVING = """
import sys
from pathlib import Path
import ornstein as orn
from ornstein.session.saving import Saving

def held():
    status = Path("/proc/self/status").read_text()
    return int(status.partition("RssAnon:")[2].split()[0]) / 1024

def save(self, *state, whole=Saving.save):
    before = held()
    whole(self, *state)
    print("grown", held() - before)

Saving.save = save
large = {"net.name": "mlp", "net.size": "large", "batch": 2, "precision": "float32"}
orn.train("two-moons", steps=2, runs=sys.argv[1], settings={**large, "save_every": 2})
"""


@pytest.mark.skipif(
    platform.libc_ver()[0] != "glibc", reason="other C libraries keep memory by their own rules"
)
def test_r25_a_save_leaves_no_memory_taken(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", SAVING, str(tmp_path)], capture_output=True, text=True, check=True
    )
    grown = [float(line.split()[1]) for line in done.stdout.splitlines() if "grown" in line]
    assert grown
    # The largest layer, of 25 MB, is looked at for values that are not finite.
    assert max(grown) < 6
