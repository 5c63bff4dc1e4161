"""What looks at models and stands beside them, on a foreign device; started by test_devices.py."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from foreign import DONE, HERE, agree
from walk_training import USUAL

import ornstein
from ornstein import build
from ornstein.cli.app import cli
from ornstein.cli.faults import guarded
from ornstein.comparing import FAMILIES, Budget, Task
from ornstein.data import open_data
from ornstein.doctor import admit, trials
from ornstein.editing import Ask, impute
from ornstein.planning import trying
from ornstein.run import Run

SHORT = [*USUAL, "net.size=tiny", "sample.count=2", "sample.steps=2", "sample_every=100"]


@pytest.fixture
def table(tmp_path: Path) -> Path:
    """A table of two columns and a class, of some hundred rows."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(200, 2))
    rows = [f"{a:.4f},{a + b:.4f},{'u' if a > 0 else 'w'}" for a, b in x.tolist()]
    path = tmp_path / "table.csv"
    path.write_text("a,b,kind\n" + "\n".join(rows) + "\n")
    return path


def trained(where: torch.device, source: str | Path, at: Path) -> Run:
    return ornstein.train(source, name=f"on-{where}", runs=at, steps=2, settings=SHORT)


@pytest.fixture(autouse=True)
def patched(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """No time is measured, and the foreign device is the fastest until a test says otherwise."""
    monkeypatch.setattr(trying, "pace", lambda step, seconds: step() or 0.01)
    monkeypatch.setattr(build, "fastest_device", lambda: HERE)
    return monkeypatch


@pytest.mark.slow
def test_a_table_is_learnt_and_its_gaps_are_filled_alike(
    table: Path, tmp_path: Path, patched: pytest.MonkeyPatch
) -> None:
    def work(where: torch.device) -> object:
        patched.setattr(build, "fastest_device", lambda: where)
        bundle = trained(where, table, tmp_path).bundle().to(where)
        rows = np.array([[0.5, np.nan, 0.0], [np.nan, -1.0, 1.0]])
        filled = impute(bundle, rows, Ask(2, sampler=bundle.how(steps=2)))
        return bundle.sample(3).items, filled.draws

    agree(work, 1e-2)


@pytest.mark.slow
def test_samples_are_judged_and_likelihoods_told_on_the_device(
    tmp_path: Path, patched: pytest.MonkeyPatch
) -> None:
    trained(HERE, "two-moons", tmp_path / "runs")
    patched.chdir(tmp_path)
    name = f"on-{HERE}"
    DONE.clear()
    for words in (
        ["evaluate", name, "-n", "60", "--steps", "2", "--no-likelihood"],
        ["likelihood", name, "two-moons", "-n", "2", "--method", "bound", "--steps", "3"],
        ["viz", "reverse", name],
    ):
        assert guarded(cli, [*words, "--quiet"]) == 0
    assert DONE
    patient = admit(name, tmp_path / "runs", 60, tmp_path / "runs" / name)
    patched.setattr(trials, "OVERFIT_STEPS", 3)
    patched.setattr(trials, "FALLEN", 2.0)
    patched.setattr(trials, "ROUGH", 0.5)
    assert [*trials.half(patient), *trials.one_batch(patient)] == []


@pytest.mark.parametrize("family", ["gan", "vae", "flow"])
def test_the_other_families_play_on_the_device(family: str, tmp_path: Path) -> None:
    if family == "flow":
        pytest.importorskip("zuko")
    task = Task("two-moons", open_data("two-moons"), tmp_path)
    DONE.clear()
    fitted = FAMILIES[family].fit(task, Budget(steps=2), 0)
    made = fitted.sample(8, 0)
    assert DONE
    assert made.shape == (8, 2)
    assert np.isfinite(made).all()
    assert (fitted.sample(8, 0) == made).all()
    found = fitted.log_density(task.data.raw(task.data.heldout[:2]), 0)
    assert found is None or bool(found.isfinite().all())
