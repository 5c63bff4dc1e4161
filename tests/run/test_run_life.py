"""A run from Python: finished runs, changed settings and data, arrays, full disks."""

from __future__ import annotations

import errno
import shutil
import time
from pathlib import Path
from types import SimpleNamespace
from typing import IO

import numpy as np
import pytest
import torch

import ornstein as orn
from ornstein import build
from ornstein.bundle import Bundle
from ornstein.editing import Ask, fill, vary
from ornstein.errors import (
    ConfigError,
    DataError,
    DiskError,
    OrnsteinError,
    StoppedEarly,
    UsageError,
)
from ornstein.guide import Guide
from ornstein.launch.stored import Stored, store_array
from ornstein.planning import Plan, plan
from ornstein.run import Run, Silent, list_runs, open_run, run_name
from ornstein.training.ranks import joined
from ornstein.training.signals import StopRequest

TINY = {"net.name": "mlp", "net.size": "tiny", "batch": 32, "sample.count": 4}


class Notes(Silent):
    """Remembers what is said."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def note(self, text: str) -> None:
        """Remember it."""
        self.lines.append(text)


def started(runs: Path, **options: object) -> Run:
    settings = {**TINY, **options.pop("settings", {})}  # type: ignore[dict-item]
    return orn.train("two-moons", runs=runs, settings=settings, **{"steps": 6, **options})  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with one finished run, two-moons."""
    folder = tmp_path_factory.mktemp("runs")
    started(folder)
    return folder


def test_a_finished_run_is_not_trained_again(runs: Path) -> None:
    model = (runs / "two-moons" / "model.safetensors").read_bytes()
    notes = Notes()
    run = started(runs, progress=notes)
    assert run.state == "finished"
    assert "is finished: 6 steps" in notes.lines[0]
    assert (runs / "two-moons" / "model.safetensors").read_bytes() == model


def test_a_dry_run_of_a_finished_run_says_that_nothing_would_be_trained(runs: Path) -> None:
    """It told the plan of a training that the same command would not begin."""
    notes = Notes()
    started(runs, progress=notes, dry_run=True)
    (line,) = notes.lines
    assert "two-moons is finished: 6 steps. Sample it: " in line
    with pytest.raises(ConfigError, match="A finished run keeps its length"):
        started(runs, steps=9, dry_run=True)


def test_a_training_in_python_says_what_it_does_unless_silence_is_asked_for(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    started(tmp_path)
    said = capsys.readouterr().out
    assert "step 6/6" in said
    assert f"saved film of the training  {tmp_path / 'two-moons' / 'samples'}" in said
    started(tmp_path, name="silent", progress=orn.Silent())
    assert capsys.readouterr().out == ""


def test_a_changed_setting_is_refused_by_name_with_both_values(runs: Path) -> None:
    with pytest.raises(ConfigError, match=r"train.batch = 32.*asks for 64.*--name"):
        started(runs, settings={"batch": 64})
    with pytest.raises(ConfigError, match=r"train.steps = 6.*asks for 7"):
        started(runs, steps=7)
    with pytest.raises(ConfigError, match=r"without data.upscale, and --factor asks for 2"):
        started(runs, upscale=2)
    with pytest.raises(ConfigError, match=r"is a run of two-moons, not of rings. Name the same"):
        orn.train("rings", steps=6, runs=runs, name="two-moons", settings=TINY)


def test_another_length_of_a_finished_run_is_another_run(tmp_path: Path) -> None:
    """It said to leave the length out to go on, and then that the run was finished."""
    started(tmp_path)
    for length, said in (({"steps": 7}, "--steps asks for 7"),
                         ({"steps": None, "minutes": 60.0}, "--minutes asks for 60")):  # fmt: skip
        with pytest.raises(ConfigError, match=f"finished, with train.steps = 6, and {said}") as no:
            started(tmp_path, **length)
        assert "Leave it out" not in str(no.value)
    with pytest.raises(ConfigError, match=r"the same command with --name two-moons-7 trains"):
        started(tmp_path, steps=7)
    assert started(tmp_path, steps=7, name="two-moons-7").record["step"] == 7
    with pytest.raises(ConfigError, match=r"asks for 64\. Start another run with --name\."):
        started(tmp_path, settings={"batch": 64})
    record = tmp_path / "two-moons" / "run.json"
    record.write_text(record.read_text().replace("finished", "stopped"))
    with pytest.raises(ConfigError, match=r"train.steps = 6, and --steps asks for 7\. Leave it"):
        started(tmp_path, steps=7)


def recipes(tmp_path: Path, name: str) -> list[dict[str, object]]:
    """All ways to ask for a recipe."""
    file = tmp_path / f"{name}.toml"
    file.write_text(f'recipe = "{name}"\n')
    return [{"preset": name}, {"config": file}, {"settings": {"recipe": name}}]


@pytest.mark.parametrize(("first", "other"), [("edm", "flow"), ("default", "ddpm")])
@pytest.mark.parametrize("state", ["finished", "stopped"])
def test_another_recipe_is_refused_and_the_same_goes_on(
    tmp_path: Path, first: str, other: str, state: str
) -> None:
    """It went on with the first recipe and said nothing."""
    record = started(tmp_path, preset=None if first == "default" else first).folder / "run.json"
    record.write_text(record.read_text().replace("finished", state))
    said = (
        f"two-moons is a run by the recipe '{first}', not by '{other}'. .*another run with --name"
    )
    for asked in recipes(tmp_path, other):
        with pytest.raises(ConfigError, match=said):
            started(tmp_path, **asked)
    for asked in ({}, *recipes(tmp_path, first)):
        assert started(tmp_path, **asked).state == "finished"
    assert started(tmp_path, name="other", preset=other).config.recipe == other


def test_a_file_of_settings_may_be_called_recipe(runs: Path, tmp_path: Path) -> None:
    """What it said was taken for what a recipe says, which a run need not follow."""
    (tmp_path / "recipe.toml").write_text("[train]\nema = 0.03\n")
    with pytest.raises(ConfigError, match=r"recipe\.toml line 2 asks for 0\.03"):
        started(runs, config=tmp_path / "recipe.toml")


def test_a_run_shows_what_it_has(runs: Path) -> None:
    run = open_run("two-moons", runs)
    assert [r.name for r in list_runs(runs)] == ["two-moons"]
    assert run.record["step"] == 6
    assert run.log[-1]["heldout"] > 0
    assert run.config.train.steps == 6
    html = run._repr_html_()
    assert "<img" in html
    assert 'src="data:image/png;base64,' in html
    assert "http" not in html  # nothing from outside


def test_samples_from_the_run_and_from_its_file_are_the_same(runs: Path) -> None:
    run = open_run(runs / "two-moons")
    model = orn.load(runs / "two-moons" / "model.safetensors")
    first, second = run.sample(5, seed=3), model.sample(5, seed=3)
    assert first.items.shape == (5, 2)
    np.testing.assert_array_equal(first.items, second.items)
    assert not np.array_equal(first.items, run.sample(5, seed=4).items)


def test_a_run_is_sampled_on_the_fastest_device_and_loaded_on_the_cpu(
    runs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[torch.device] = []
    monkeypatch.setattr(build, "fastest_device", lambda: torch.device("meta"))
    monkeypatch.setattr(Bundle, "sample", lambda self, *_, **__: seen.append(self.device))
    run = open_run("two-moons", runs)
    run.sample(1)
    assert seen == [torch.device("meta")]
    assert orn.load(run.folder).device.type == run.bundle().device.type == "cpu"


def test_a_run_is_told_of_sampling_what_a_model_is_told(
    runs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[dict[str, object]] = []
    monkeypatch.setattr(Bundle, "sample", lambda self, n, **how: asked.append(how))
    guide = Guide("cfg", low=0.5, high=2.0)
    open_run("two-moons", runs).sample(5, guidance=3.0, guide=guide, batch=2)
    assert (asked[0]["guidance"], asked[0]["guide"], asked[0]["batch"]) == (3.0, guide, 2)


def test_an_unknown_run_is_refused_with_the_near_name(runs: Path) -> None:
    with pytest.raises(OrnsteinError, match=r"no run 'two-mons'.*Did you mean 'two-moons'"):
        open_run("two-mons", runs)


def test_an_array_is_kept_beside_the_run_and_guarded(tmp_path: Path) -> None:
    source = np.random.default_rng(0).normal(size=(60, 3)).astype(np.float32)
    run = orn.train(source, runs=tmp_path, name="mine", steps=3, settings=TINY)
    assert run.sample(2).items.shape == (2, 3)
    again = orn.train(source, runs=tmp_path, name="mine", steps=3, settings=TINY)
    assert again.state == "finished"
    with pytest.raises(DataError, match="other data"):
        orn.train(source + 1, runs=tmp_path, name="mine", steps=3, settings=TINY)


POINTS = np.random.default_rng(2).normal(size=(60, 3)).astype(np.float32)


def test_what_could_be_saved_and_never_opened_is_refused_before_the_first_step(
    tmp_path: Path,
) -> None:
    told = {"n" * 201: np.linspace(0, 3, 60) ** 2}
    with pytest.raises(UsageError, match=r"could never be opened again: conditions\.0\.name"):
        orn.train(POINTS, conditions=told, runs=tmp_path, name="mine", steps=2, settings=TINY)
    assert not list(tmp_path.rglob("*.safetensors"))


@pytest.mark.parametrize("first", ["refused", "planned", "killed"])
def test_what_a_call_left_that_began_no_run_does_not_bar_the_next(
    tmp_path: Path, first: str
) -> None:
    """The mended array was refused as that of another run, of which there was none."""
    how = {"runs": tmp_path, "name": "mine", "steps": 2, "settings": TINY}
    if first == "refused":
        with pytest.raises(DataError, match="not finite"):
            orn.train(np.where(POINTS > 2, np.nan, POINTS), **how)  # type: ignore[arg-type]
    elif first == "planned":
        orn.train(POINTS + 1, dry_run=True, **how)  # type: ignore[arg-type]
    else:
        np.save(tmp_path / "whole.npy", POINTS)
        (tmp_path / "mine").mkdir()
        torn = (tmp_path / "whole.npy").read_bytes()[:300]
        (tmp_path / "mine" / "data.npy").write_bytes(torn)
        (tmp_path / "whole.npy").unlink()
    assert first == "killed" or list(tmp_path.iterdir()) == []
    run = orn.train(POINTS, **how)  # type: ignore[arg-type]
    assert run.state == "finished"
    np.testing.assert_array_equal(np.load(run.folder / "data.npy"), POINTS)


def test_the_array_of_a_run_that_cannot_be_read_any_more_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "config.toml").touch()
    for name, told in (("data.npy", None), ("data.npz", {"age": np.zeros(60)})):
        (tmp_path / name).write_bytes(b"PK\3\4 torn")
        with pytest.raises(DataError, match=rf"{name}, the data of a run, cannot be read"):
            store_array(POINTS, tmp_path, told)
    with pytest.raises(DataError, match="of type object; it must hold real numbers"):
        store_array(POINTS.astype(object), tmp_path)


def test_an_array_whose_writing_is_cut_short_leaves_the_one_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store_array(POINTS, tmp_path, {"age": np.arange(60.0)})
    before = (tmp_path / "data.npz").read_bytes()
    told: dict[str, object] = {"age": np.zeros(60)}

    def cut(file: IO[bytes], *_: object, **__: object) -> None:
        file.write(b"half of it")
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("ornstein.launch.stored.write_array", cut)
    with pytest.raises(DiskError, match=r"disk is full: saving data\.npz needs"):
        store_array(POINTS, tmp_path, told)
    assert (tmp_path / "data.npz").read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == ["data.npz"]


def test_an_array_that_another_call_wrote_over_while_one_planned_is_kept_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The run trained on its own data and could then never go on: its data were the other's."""
    stop = StopRequest()

    class StopAtOnce(Silent):
        def step(self, info: object) -> None:
            stop.asked = "the test"

    def planned(*about: object, **how: object) -> Plan:
        made = plan(*about, **how)  # type: ignore[arg-type]
        store_array(POINTS + 1, tmp_path / "mine")
        return made

    how = {"runs": tmp_path, "name": "mine", "steps": 20, "settings": TINY}
    with monkeypatch.context() as patch:
        patch.setattr("ornstein.launch.launch.plan", planned)
        with pytest.raises(StoppedEarly):
            orn.train(POINTS, stop=stop, progress=StopAtOnce(), **how)  # type: ignore[arg-type]
    np.testing.assert_array_equal(np.load(tmp_path / "mine" / "data.npy"), POINTS)
    assert orn.train(POINTS, **how).state == "finished"  # type: ignore[arg-type]


def test_a_call_that_began_no_run_removes_its_own_array_only(tmp_path: Path) -> None:
    folder = tmp_path / "mine"
    first, second = Stored(POINTS, folder), Stored(POINTS + 1, folder)
    first.keep()
    before = (folder / "data.npy").stat().st_mtime_ns
    first.keep()  # there it is
    assert (folder / "data.npy").stat().st_mtime_ns == before
    second.keep()
    first.forget()
    np.testing.assert_array_equal(np.load(folder / "data.npy"), POINTS + 1)
    second.forget()
    assert list(tmp_path.iterdir()) == []


def test_an_empty_name_of_data_is_refused_and_is_no_array(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="DATA is empty; give a built-in name, a folder"):
        orn.train("", runs=tmp_path, steps=1, settings=TINY)
    assert list(tmp_path.iterdir()) == []


def test_a_dry_run_leaves_nothing_behind(tmp_path: Path) -> None:
    notes = Notes()
    started(tmp_path, dry_run=True, progress=notes)
    assert any(line.startswith("budget") and "6 steps" in line for line in notes.lines)
    assert list(tmp_path.iterdir()) == []


def test_r4_a_full_disk_at_a_save_does_not_end_the_training(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from ornstein.session import saving

    real, calls = saving.save_checkpoint, []

    def full_once(folder: Path, step: int, tensors: object, state: object) -> Path:
        calls.append(step)
        if len(calls) == 1:
            raise DiskError("disk is full: saving needs 1 MB, 0 MB free.")
        return real(folder, step, tensors, state)

    monkeypatch.setattr(saving, "save_checkpoint", full_once)
    notes = Notes()
    run = started(tmp_path, settings={"save_every": 2}, progress=notes)
    assert calls == [2, 4, 6, 6]
    assert run.state == "finished"
    assert "warning: disk is full: saving needs 1 MB, 0 MB free. Training goes on." in notes.lines


def test_r4_a_disk_still_full_at_the_end_is_an_error_with_exit_code_74(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from ornstein.session import saving

    def full(folder: Path, step: int, tensors: object, state: object) -> Path:
        raise DiskError("disk is full.")

    slept: list[float] = []
    monkeypatch.setattr(saving, "save_checkpoint", full)
    # Of this module alone: waiting for git sleeps as well, in its own.
    own = SimpleNamespace(monotonic=time.monotonic, sleep=slept.append)
    monkeypatch.setattr(saving, "time", own)
    with pytest.raises(DiskError) as caught:
        started(tmp_path)
    assert caught.value.exit_code == 74
    assert sum(slept) == 60
    assert Run(tmp_path / "two-moons").state == "new"


def test_changed_data_stop_a_run_from_going_on(tmp_path: Path) -> None:
    file = tmp_path / "points.npy"
    source = np.random.default_rng(1).normal(size=(60, 2)).astype(np.float32)
    np.save(file, source)
    run = orn.train(file, runs=tmp_path / "runs", steps=4, settings=TINY)
    record = run.folder / "run.json"
    record.write_text(record.read_text().replace("finished", "stopped"))
    np.save(file, source + 1)
    with pytest.raises(OrnsteinError, match="changed since it was started"):
        orn.train(file, runs=tmp_path / "runs", steps=4, settings=TINY)


def test_a_finished_run_is_not_called_so_for_data_that_it_never_saw(tmp_path: Path) -> None:
    file, again = tmp_path / "points.npy", {"runs": tmp_path / "runs", "steps": 4}
    source = np.random.default_rng(1).normal(size=(60, 2)).astype(np.float32)
    np.save(file, source)
    run = orn.train(file, settings=TINY, **again)  # type: ignore[arg-type]
    file.touch()  # another time and the same numbers are the same data
    assert orn.train(file, settings=TINY, **again).state == "finished"  # type: ignore[arg-type]
    np.save(file, source + 1)
    for gone in ("nothing", "checkpoints"):
        shutil.rmtree(run.folder / gone, ignore_errors=True)
        with pytest.raises(DataError, match="its data changed since"):
            orn.train(file, settings=TINY, **again)  # type: ignore[arg-type]
    file.write_bytes(b"")
    notes = Notes()
    orn.train(file, settings=TINY, progress=notes, **again)  # type: ignore[arg-type]
    assert "cannot be opened any more" in notes.lines[0]
    assert "is finished: 4 steps" in notes.lines[1]


@pytest.mark.parametrize(
    ("source", "name"),
    [
        ("photos/", "photos"),
        ("/data/My Cats.npy", "my-cats"),
        ("fashion-mnist", "fashion-mnist"),
        ("…", "run"),
    ],
)
def test_a_run_is_named_after_its_data(source: str, name: str) -> None:
    assert run_name(source) == name


@pytest.mark.parametrize("torn", ["", '{"state": "finis', "[]"])
def test_a_torn_record_reads_as_none(tmp_path: Path, torn: str) -> None:
    (tmp_path / "run.json").write_text(torn)
    run = Run(tmp_path)
    assert (run.record, run.state) == ({}, "new")


@pytest.mark.parametrize("said", ["abc", "0", "-3", "nan", "inf"])
def test_a_patience_that_is_no_number_of_seconds_is_refused(
    monkeypatch: pytest.MonkeyPatch, said: str
) -> None:
    monkeypatch.setenv("ORNSTEIN_RANK_TIMEOUT", said)
    monkeypatch.setenv("WORLD_SIZE", "2")
    with (
        pytest.raises(UsageError, match=f"ORNSTEIN_RANK_TIMEOUT is '{said}'; it must be a number"),
        joined(StopRequest()),
    ):
        pass


def test_settings_of_python_may_be_tables_and_lists(tmp_path: Path) -> None:
    wide: dict[str, object] = {"net.options": {"width": 32, "layers": 2}, "net.size": "auto"}
    run = started(tmp_path, settings={**wide, "train.ema": 0}, steps=2)
    assert run.config.net.options == wide["net.options"]
    # Without an average the weights are said in the same words everywhere.
    bundle = run.bundle()
    assert (bundle.weights, bundle.provenance["weights"]) == ("raw", "raw")


def test_a_run_elsewhere_is_called_by_its_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert Run(Path("runs/a")).typed == "a"
    assert Run(Path("my runs/a")).typed == "'my runs/a'"


def test_an_edit_of_a_run_is_that_of_its_model_walked_as_it_says(runs: Path) -> None:
    run, item = open_run("two-moons", runs), np.array([0.5, 0.2], np.float32)
    how = run.bundle().how(solver="heun", steps=5, guidance=1.0)
    ask = Ask(3, 7, "upper", how, "pigdm")
    words = {"solver": "heun", "steps": 5, "guidance": 1.0, "class_name": "upper"}
    asked = {**words, "n": 3, "seed": 7, "method": "pigdm"}
    seen = np.array([True, False])
    for verb, given in ((vary, (item, 0.5)), (fill, (item, seen))):
        made = run.edit(verb, *given, **asked).samples  # type: ignore[arg-type]
        wanted = verb(run.bundle(), *given, ask).samples
        assert np.array_equal(made.items, wanted.items)
        assert made.settings == wanted.settings
    by_cond = run.edit(vary, item, 0.5, n=3, seed=7, cond={"class": "upper"}, steps=5)
    assert by_cond.samples.settings["class"] == "upper"
    assert run.edit(vary, item, 0.5, precision="bfloat16").samples.settings["precision"]
    with pytest.raises(UsageError, match="unknown solver"):
        run.edit(vary, item, 0.5, solver="hoin")
