"""Faults are planted; each is named by its own check, and what is healthy is left alone."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import sys
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from types import SimpleNamespace
from typing import NamedTuple

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

import ornstein
from ornstein import build
from ornstein.cli.app import cli
from ornstein.cli.faults import guarded
from ornstein.config import resolve
from ornstein.data import Source, make_dataset, open_data
from ornstein.doctor import CHECKS, Patient, admit, course, examine, machine, trials
from ornstein.doctor.trials import sampler
from ornstein.errors import StoppedEarly
from ornstein.nets.mlp import MLP
from ornstein.run import Run
from ornstein.training.ema import PowerEMA
from ornstein.training.loop import Trainer
from ornstein.training.settings import Settings, slower

TINY = {
    "net.name": "mlp", "net.size": "tiny", "batch": 64, "log_every": 2, "learning_rate": 3e-3,
    "sample.count": 4,
}  # fmt: skip


def train(runs: Path, source: str | Path = "two-moons", steps: int = 250, **sets: object) -> Run:
    return ornstein.train(source, name="run", runs=runs, steps=steps, settings={**TINY, **sets})


def named(patient: Patient) -> set[str]:
    """Checks that found something."""
    return {answer.check for answer in examine(patient) if answer.findings}


def of_run(run: Run, seconds: float = 60) -> Patient:
    return admit(str(run.folder), run.folder.parent, seconds, run.folder)


def labelled(labels: np.ndarray) -> Patient:
    """The digits with other labels."""
    data = open_data("digits")
    (known,) = data.conditions
    return Patient("digits", replace(data, conditions=(replace(known, values=labels),)))


def knowing(run: Run, **facts: object) -> Patient:
    """A patient of whom some things are known otherwise than the files say."""
    patient = of_run(run)
    patient.__dict__.update(facts)
    return patient


def with_line(run: Run, **changes: object) -> Patient:
    """A patient whose log ends with other errors by level."""
    log = [dict(line) for line in run.log]
    last = max(k for k, line in enumerate(log) if "levels" in line)
    log[last]["levels"] = {**log[last]["levels"], **changes}
    return knowing(run, log=log)


@pytest.fixture(scope="module")
def healthy(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A short run that is well."""
    return train(tmp_path_factory.mktemp("healthy"), steps=400)


def test_a_healthy_run_is_left_alone_by_every_check(healthy: Run) -> None:
    answers = list(examine(of_run(healthy)))
    assert [answer.check for answer in answers] == list(CHECKS)
    assert [answer for answer in answers if answer.findings or not answer.made] == []


@pytest.mark.parametrize("name", ["digits", "emoji", "swiss-roll", "ecg"])
def test_the_data_that_come_with_the_package_are_well(name: str) -> None:
    assert named(Patient(name, open_data(name))) == set()


def test_planted_constant_channel_far_value_and_copies(tmp_path: Path) -> None:
    items = np.random.default_rng(0).normal(size=(500, 5)).astype("f4")
    items[:, 2] = 7.0
    items[13, 4] = 1e6
    items[100:200] = items[7]
    np.save(tmp_path / "bad.npy", items)
    patient = Patient("bad", open_data(str(tmp_path / "bad.npy")))
    assert named(patient) == {"constant", "range", "copies"}
    found = {a.check: a.findings[0].measured for a in examine(patient) if a.findings}
    assert "1 of 5 channels are constant: 2" in found["constant"]
    assert "1 of 475 values of channel 4 make up 100%" in found["range"]


def test_planted_files_that_are_no_pictures_are_named_and_the_others_examined(
    tmp_path: Path,
) -> None:
    for k in range(60):
        pixels = np.random.default_rng(k % 30).integers(0, 256, (8, 8, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(tmp_path / f"{k}.png")
    for k in range(5):
        (tmp_path / f"empty{k}.png").touch()
    answers = {a.check: a.findings for a in examine(admit(str(tmp_path), tmp_path, 60, None))}
    (found,) = answers["opening"]
    assert "5 of 65 pictures cannot be used (5 empty file)" in found.measured
    assert "--allow-bad" in found.mend
    assert len(answers["copies"]) == 1


def test_planted_shuffled_labels() -> None:
    labels = open_data("digits").labels
    assert labels is not None
    assert named(labelled(np.random.default_rng(0).permutation(labels))) == {"labels"}


def test_planted_single_class_and_a_class_hardly_met() -> None:
    labels = open_data("digits").labels
    assert labels is not None
    (single,) = list(CHECKS["labels"].find(labelled(np.zeros_like(labels))))
    assert "all items are of one class, '0'" in single.measured
    few = np.where((labels == 3) & (np.arange(len(labels)) > 12), 4, labels)
    (rare,) = list(CHECKS["labels"].find(labelled(few)))
    assert "1 of 10 classes are hardly met: '3'" in rare.measured


def test_planted_prior_that_keeps_signal(healthy: Run) -> None:
    options = "model.process_options={beta_min = 0.1, beta_max = 5.0}"
    weak = resolve(sets=("model.process=vp", options)).config
    (found,) = CHECKS["prior"].find(knowing(healthy, config=weak))
    assert "'vp' keeps 0.0" in found.measured


def test_planted_average_that_never_moves(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def slow(self: PowerEMA, module: nn.Module, step: int) -> None:
        for name, p in module.named_parameters():
            self.average[name].lerp_(p.detach(), 1e-4)  # the 0.9999 of long trainings

    monkeypatch.setattr(PowerEMA, "update", slow)
    assert named(of_run(train(tmp_path, steps=100))) == {"average"}


def test_planted_model_file_older_than_the_training(healthy: Run) -> None:
    patient = of_run(healthy)
    assert patient.bundle is not None
    old = replace(patient.bundle, provenance={**patient.bundle.provenance, "steps": 100})
    assert named(knowing(healthy, bundle=old)) == {"average"}


def test_planted_rate_a_hundred_times_too_high(tmp_path: Path) -> None:
    found = named(of_run(train(tmp_path, steps=20, learning_rate=0.3)))
    assert "rate" in found
    assert found <= {"rate", "half"}  # the weights have grown large as well


def test_planted_loss_that_jumps_and_loss_that_rises(healthy: Run) -> None:
    log = [dict(line) for line in healthy.log]
    jumps = [{**e, "loss": 9.0} if "loss" in e and k % 20 == 7 else e for k, e in enumerate(log)]
    assert named(knowing(healthy, log=jumps)) == {"loss"}
    rises = [
        {**e, "loss": e["loss"] * (1 + max(0, k - 100) / 100)} if "loss" in e else e
        for k, e in enumerate(log)
    ]
    (found,) = CHECKS["loss"].find(knowing(healthy, log=rises))
    assert "the loss has risen to" in found.measured


def test_a_loss_that_goes_below_0_is_no_multiple_of_anything(healthy: Run) -> None:
    """A bound in nats: of -2, -1.9 is no multiple above 3, though it is more than 3 times -2."""
    for shift in (1e3, 0.9):  # all below 0; most of them
        log = [{**e, "loss": e["loss"] - shift} if "loss" in e else e for e in healthy.log]
        assert any(e["loss"] < 0 for e in log if "loss" in e)
        assert list(CHECKS["loss"].find(knowing(healthy, log=log))) == []


@pytest.mark.parametrize(
    ("own", "less", "found"), [(-1.5, -1.5, 0), (-1.0, -1.5, 1), (1.5, 1.5, 0), (2.0, 1.5, 1)]
)
def test_a_rate_is_too_high_where_a_part_of_it_ends_lower_below_0_too(
    healthy: Run, monkeypatch: pytest.MonkeyPatch, own: float, less: float, found: int
) -> None:
    class Ends(NamedTuple):
        loss: float

        def step(self, number: int) -> Ends:
            return self

    monkeypatch.setattr(
        trials, "_from_the_start", lambda _, share: Ends(own if share == 1 else less)
    )
    assert len(list(CHECKS["rate"].find(of_run(healthy)))) == found


@pytest.mark.parametrize("optimizer", ["adamw", "muon"])
def test_a_lower_rate_is_advised_for_a_new_run_and_can_be_typed(
    healthy: Run, optimizer: str
) -> None:
    sets = ("learning_rate=0.002", "matrix_rate=0.01", f"optimizer={optimizer}")
    config = resolve(sets=sets).config
    jumps = [{**e, "loss": 9.0} if k % 20 == 7 and "loss" in e else e
             for k, e in enumerate(healthy.log)]  # fmt: skip
    (found,) = CHECKS["loss"].find(knowing(healthy, log=jumps, config=config))
    said, _, typed = found.mend.partition(": ")
    assert said == "in a new run"
    words = shlex.split(typed)
    assert words[-2:] == ["--name", "NAME"]
    assert words[:-2:2] == ["--set"] * len(words[1:-2:2])
    train = resolve(sets=(*sets, *words[1:-2:2])).config.train
    assert train.learning_rate == pytest.approx(2e-4)
    assert train.matrix_rate == pytest.approx(1e-3 if optimizer == "muon" else 1e-2)
    assert slower(train, 1) == slower(Settings(optimizer=optimizer, learning_rate=2e-4,
                                               matrix_rate=train.matrix_rate), 1)  # fmt: skip


def test_planted_sampler_with_too_few_steps(tmp_path: Path) -> None:
    assert named(of_run(train(tmp_path, steps=20, **{"sample.steps": 3}))) == {"sampler"}


def test_planted_network_whose_output_is_lost(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = MLP.forward

    def lost(self: MLP, x: Tensor, noise: Tensor, cond: dict[str, Tensor]) -> Tensor:
        return 0 * whole(self, x, noise, cond)

    monkeypatch.setattr(MLP, "forward", lost)
    assert named(of_run(train(tmp_path, steps=20))) == {"one-batch"}


def test_planted_weights_too_large_for_half_precision(healthy: Run) -> None:
    patient = of_run(healthy)
    assert patient.bundle is not None
    with torch.no_grad():
        for parameter in patient.bundle.model.parameters():
            if parameter.ndim > 1:
                parameter.mul_(1e3)
    (found,) = [a for a in examine(patient) if a.check == "half"]
    assert any("float16 the answers of the network are not finite" in f.measured
               for f in found.findings)  # fmt: skip


def test_planted_full_disk(healthy: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(course, "free_bytes", lambda folder: 100_000)
    assert named(of_run(healthy)) == set()  # a finished run needs no room
    monkeypatch.setattr(Run, "state", "training")
    assert named(of_run(healthy)) == {"disk"}


def test_planted_memory_of_training_items(healthy: Run) -> None:
    patient = with_line(healthy, memory=0.5, doubt=0.05)
    assert named(patient) == {"memorising"}
    (points,) = CHECKS["memorising"].find(patient)
    assert "flip" not in points.mend
    patient.data = open_data("digits")
    (pictures,) = CHECKS["memorising"].find(patient)
    assert "on more items, with --set flip=true or with a smaller net.size" in pictures.mend


def test_planted_levels_that_were_not_learned(healthy: Run) -> None:
    errors = dict(next(line["levels"] for line in healthy.log[::-1] if "levels" in line)["train"])
    middle = len(errors["model"]) // 2
    errors["model"] = list(errors["model"])
    errors["model"][middle] = 2 * errors["linear"][middle]
    patient = with_line(healthy, train=errors)
    assert named(patient) == {"floor"}
    (found,) = CHECKS["floor"].find(patient)
    assert "(2.00 times)" in found.measured


def test_planted_rows_that_are_not_finite(tmp_path: Path) -> None:
    items = np.random.default_rng(0).normal(size=(200, 2)).astype("f4")
    np.save(tmp_path / "points.npy", items)
    run = train(tmp_path, tmp_path / "points.npy", steps=5)
    items[17, 1] = np.nan
    np.save(tmp_path / "points.npy", items)
    patient = of_run(run)
    assert named(patient) == {"opening"}
    assert "not finite, the first in item 17" in patient.wounds[0].measured


def test_planted_steps_that_are_not_finite(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = Trainer.backward

    def backward(self: Trainer, step: int) -> tuple[float, tuple[Tensor, Tensor]]:
        loss, seen = whole(self, step)
        return (float("nan") if 5 < step < 20 and self.cut == 1 else loss), seen

    monkeypatch.setattr(Trainer, "backward", backward)
    run = train(tmp_path, steps=25, save_every=3)
    monkeypatch.undo()
    patient = of_run(run)
    assert "divergence" in named(patient)
    (found,) = CHECKS["divergence"].find(patient)
    assert found.mend.endswith("in a new run: --set learning_rate=0.001 --name NAME")


def test_planted_guidance_too_strong_and_never_learned(healthy: Run) -> None:
    patient = of_run(healthy)
    assert patient.bundle is not None
    strong = replace(patient.bundle, sampler=replace(patient.bundle.sampler, guidance=12.0))
    assert named(knowing(healthy, bundle=strong)) == {"guidance"}
    config = resolve(sets=("condition_dropout=0", "sample.guidance=2")).config
    (found,) = CHECKS["guidance"].find(knowing(healthy, config=config))
    assert "no condition was ever hidden" in found.measured


def test_planted_memory_used_up_and_a_pace_that_fell(healthy: Run) -> None:
    log = [dict(line) for line in healthy.log]
    for k, line in enumerate(log):
        if "memory_mb" in line:
            line["memory_mb"], line["items_per_s"] = 10**9, 1000 if k < 0.9 * len(log) else 100
    assert named(knowing(healthy, log=log)) == {"memory", "pace"}


def test_out_of_time_is_said_and_checks_are_left(healthy: Run) -> None:
    answers = list(examine(of_run(healthy, seconds=0)))
    assert not any(answer.made for answer in answers)


def test_a_command_that_checked_nothing_does_not_end_as_if_all_were_well(
    healthy: Run, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Patient, "left", 0.0)  # a machine on which opening took all of the time
    words = ["doctor", "run", "--runs", str(healthy.folder.parent), "--seconds", "5"]
    assert guarded(cli, words) == 2
    assert "took all of 5 s, so nothing was checked" in capsys.readouterr().err


def test_the_command_says_finding_normal_and_mend_and_its_exit_code_tells(
    healthy: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    runs = ["--runs", str(healthy.folder.parent)]
    assert guarded(cli, ["doctor", "run", *runs]) == 0
    assert (
        capsys.readouterr().out.splitlines()[-1] == f"nothing wrong found by {len(CHECKS)} checks"
    )
    items = np.random.default_rng(0).normal(size=(300, 3)).astype("f4")
    items[:, 1] = 1
    np.save(tmp_path / "bad.npy", items)
    assert guarded(cli, ["doctor", str(tmp_path / "bad.npy")]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert lines[1].startswith("constant")
    assert [line.split()[0] for line in lines[2:4]] == ["normal:", "mend:"]
    assert guarded(cli, ["doctor", str(tmp_path / "bad.npy"), "--json"]) == 1
    told = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [row["check"] for row in told if row["findings"]] == ["constant"]
    assert guarded(cli, ["doctor", "nothing-here"]) in (2, 65)


def test_a_folder_is_examined_as_data_where_a_run_has_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "photos").mkdir()
    (tmp_path / "runs" / "photos").mkdir(parents=True)
    (tmp_path / "runs" / "photos" / "config.toml").touch()
    taken: list[Path | None] = []

    def admitted(target: str, runs: Path, seconds: float, folder: Path | None, _: object) -> None:
        taken.append(folder)
        raise StoppedEarly("enough is known.")

    monkeypatch.setattr("ornstein.doctor.admit", admitted)
    for name in ("photos/", "photos"):
        assert guarded(cli, ["doctor", name]) == 75
    assert taken == [None, Path("runs/photos")]


def test_without_a_name_it_tells_of_the_machine(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ORNSTEIN_CACHE", str(tmp_path / "cache"))
    words = ["doctor", "--runs", str(tmp_path / "not" / "yet")]
    assert guarded(cli, [*words, "--json"]) == 0
    told = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    versions, processor, *_, speed, runs, cache = told
    assert [versions[name] for name in ("kind", "ornstein", "python", "torch")] == [
        "versions", ornstein.__version__, sys.version.split()[0], version("torch"),
    ]  # fmt: skip
    assert (processor["device"], processor["cores"]) == ("cpu", os.cpu_count())
    assert processor["threads"] == torch.get_num_threads()
    if sys.platform == "linux":
        total = re.search(r"MemTotal: +(\d+) kB", Path("/proc/meminfo").read_text())
        assert total is not None
        assert processor["memory_mb"] == int(total[1]) >> 10
    assert speed["gflops"] > 0
    free = shutil.disk_usage(tmp_path).free
    for row, of, folder in ((runs, "runs", "not/yet"), (cache, "cache", "cache")):
        assert (row["of"], row["folder"]) == (of, str(tmp_path / folder))
        assert row["free_bytes"] == pytest.approx(free, rel=0.2)
    assert guarded(cli, words) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == [row.get("of", row["kind"]) for row in told]
    assert list(tmp_path.iterdir()) == []


def test_of_several_devices_the_one_that_a_training_takes_is_named(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    names, sizes = ("A100", "H100"), (40_000, 80_000)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda k: names[k])
    monkeypatch.setattr(
        torch.cuda, "get_device_properties",
        lambda where: SimpleNamespace(total_memory=sizes[where.index] << 20),
    )  # fmt: skip
    monkeypatch.setattr(build, "fastest_device", lambda: torch.device("cuda", 1))
    devices = [told for told in machine(Path("runs")) if told.kind == "device"]
    assert [told.facts["taken"] for told in devices] == [False, False, True]
    assert [told.line for told in devices[1:]] == [
        "device     cuda:0: A100, 40,000 MB",
        "device     cuda:1: H100, 80,000 MB; training takes it",
    ]


def test_a_machine_without_a_home_directory_has_no_cache(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def nowhere() -> Path:
        raise RuntimeError("Could not determine home directory.")

    for name in ("ORNSTEIN_CACHE", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(Path, "home", nowhere)
    assert guarded(cli, ["doctor"]) == 0
    assert "name one in ORNSTEIN_CACHE" in capsys.readouterr().out.splitlines()[-1]


def test_a_machine_has_no_size(capsys: pytest.CaptureFixture[str]) -> None:
    assert guarded(cli, ["doctor", "--size", "8"]) == 2
    assert "--size is for data; name them" in capsys.readouterr().err


def test_the_sampler_is_tried_on_data_that_are_all_the_same(healthy: Run) -> None:
    patient = of_run(healthy)
    assert patient.data is not None
    same = np.repeat(patient.data.items[:1], len(patient.data), axis=0)
    patient.data = replace(patient.data, items=same)
    assert list(sampler(patient)) == []


def test_data_that_changed_under_a_run_are_named_and_not_measured(tmp_path: Path) -> None:
    """Of another shape they would not even fit the model."""
    file = tmp_path / "points.npy"
    chance = np.random.default_rng(0)
    np.save(file, chance.normal(size=(100, 2)).astype(np.float32))
    run = train(tmp_path / "runs", file, 4)
    assert "opening" not in named(of_run(run))
    np.save(file, chance.normal(size=(100, 3)).astype(np.float32))
    found = {answer.check: answer.findings for answer in examine(of_run(run))}
    assert "others than it learned" in found["opening"][0].measured
    assert "copies" not in found  # a check of data


def test_classes_are_counted_in_all_items_and_not_in_those_that_are_read() -> None:
    """Of pictures of 3x96x96 some 300 are read, which cannot hold 400 classes twice."""
    kind = np.arange(1200) // 3
    shade = (kind % 256).astype(np.uint8)[:, None, None, None]
    data = make_dataset(
        "many",
        "image",
        np.broadcast_to(shade, (1200, 3, 96, 96)),
        source=Source("here"),
        labels=kind,
        classes=tuple(map(str, range(400))),
        heldout=np.empty(0, np.int64),
    )
    patient = Patient("many", data)
    assert len(patient.picked) < 400
    assert not [f for f in CHECKS["labels"].find(patient) if "hardly met" in f.measured]
