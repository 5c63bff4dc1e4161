"""Plans: what the settings leave open is filled in from the data, and nothing given is changed."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from scipy.io import wavfile

from ornstein import build
from ornstein.config import Config, resolve, to_toml
from ornstein.data import Dataset, Source, make_dataset, open_data
from ornstein.errors import ConfigError, DataError, OutOfMemoryError, StoppedEarly
from ornstein.launch import introducing, train
from ornstein.launch.launch import _absolute, _agreed
from ornstein.planning import planning, trying
from ornstein.run import Run, Silent
from ornstein.training.memory import used_mb
from ornstein.training.ranks import ALONE, Share

CPU = torch.device("cpu")


def pictures(labelled: bool) -> Dataset:
    items = np.random.default_rng(0).integers(0, 256, (40, 1, 6, 5), dtype=np.uint8)
    labels = np.arange(40) % 2 if labelled else None
    classes = ("even", "odd") if labelled else ()
    return make_dataset(
        "some", "image", items, source=Source("made here"), labels=labels, classes=classes
    )


def planned(data: Dataset, **flags: object) -> planning.Plan:
    given = {f"train.{name}": value for name, value in flags.items()}
    return planning.plan(resolve(flags=given).config, data, CPU)


@pytest.mark.parametrize("shared", [True, False])
def test_a_training_reads_the_data_that_a_look_at_them_reads(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, shared: bool
) -> None:
    """With ./points there, train took it and data took the one in the folder of ORNSTEIN_DATA."""
    names = ("points", "digits", "emoji:64")
    for number, folder in enumerate(("here", "shared", "home")):
        for k, name in enumerate(names):
            (tmp_path / folder / name).mkdir(parents=True)
            sound = np.full((9 + k, 1 + number), number, np.uint8)
            wavfile.write(tmp_path / folder / name / "x.wav", 8000, sound)
    monkeypatch.chdir(tmp_path / "here")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("ORNSTEIN_DATA", str(tmp_path / "shared") if shared else "")
    looked = {}
    for source in (*names[:2], "./points", "./digits", "./emoji:64", "points/", "~/points",
                   *map(Path, names), tmp_path / "shared" / "points"):  # fmt: skip
        kept = _absolute(source)
        looked[source] = open_data(source)
        assert open_data(kept).fingerprint == looked[source].fingerprint, source
    channels = {source: data.items.shape[1] for source, data in looked.items()}
    assert channels["points"] == (2 if shared else 1)
    assert channels["./points"] == channels["points/"] == channels[Path("points")] == 1
    assert channels["~/points"] == 3
    assert _absolute("emoji:64") == "emoji:64"
    with pytest.raises(DataError, match="'~nobody' is neither a path"):
        open_data(_absolute("~nobody"))


def test_labelled_pictures_get_a_u_net_muon_and_guidance() -> None:
    made = planned(pictures(labelled=True), steps=3)
    config = made.config
    assert (config.net.name, config.net.size) == ("unet", "tiny")
    assert config.train.optimizer == "muon"
    assert config.sample.guidance == planning.GUIDANCE
    assert config.sample.interval == planning.INTERVAL
    assert made.steps == 3
    assert made.seconds is None


def test_guidance_is_off_where_it_cannot_be_learned() -> None:
    bare = planned(pictures(labelled=False), steps=1).config.sample
    assert (bare.guidance, bare.interval) == (1, None)
    unseen = planned(pictures(labelled=True), steps=1, condition_dropout=0.0)
    assert unseen.config.sample.guidance == 1


def test_guidance_of_nothing_at_all_is_a_wish_like_any_other() -> None:
    asked = {"sample.guidance": 0.0, "sample.interval": (0.0, 9.0), "train.steps": 1}
    made = planning.plan(resolve(flags=asked).config, pictures(labelled=True), CPU).config.sample
    assert (made.guidance, made.interval) == (0.0, (0.0, 9.0))


@pytest.mark.parametrize("resumed", [False, True])
def test_a_plan_leaves_nothing_open_and_is_kept_when_made_again(resumed: bool) -> None:
    first = planned(pictures(labelled=True), steps=3)
    again = planning.plan(first.config, pictures(labelled=True), CPU, resumed=resumed)
    assert again.config == first.config
    assert (again.step_seconds is None) == resumed  # nothing is measured where it is known


def test_minutes_are_turned_into_steps_however_often_the_log_is_written() -> None:
    made = planned(pictures(labelled=False), minutes=5, log_every=7)
    assert made.config.train.log_every == 7
    assert made.step_seconds is not None
    assert made.steps == round(300 / made.step_seconds)


def test_r1_a_training_by_the_clock_killed_before_its_first_save_starts_anew(
    tmp_path: Path,
) -> None:
    """It had taken one step for all there was to do, since its plan was known and its pace not."""

    class Killed(BaseException):
        """No chance to save anything."""

    class Kill(Silent):
        def step(self, *told: object) -> None:
            raise Killed

    def go_on(say: Silent) -> Run:
        settings = {"sample.count": 4}
        return train("two-moons", name="run", runs=tmp_path, minutes=0.1, settings=settings,
                     progress=say)  # fmt: skip

    with pytest.raises(Killed):
        go_on(Kill())
    assert (tmp_path / "run" / "config.toml").is_file()
    assert not list((tmp_path / "run").glob("checkpoints/*"))
    assert go_on(Silent()).record["step"] > 20


def test_images_become_steps_and_ten_minutes_are_the_default() -> None:
    data = pictures(labelled=False)
    assert planned(data, images=1000, batch=64).steps == 16
    assert planned(data).seconds == 600


def test_a_wrong_name_inside_a_plan_is_an_error() -> None:
    with pytest.raises(ValidationError):
        resolve().config.changed("train", batsh=3)


def test_options_beside_the_size_leave_it_to_the_plan_and_options_of_it_do_not() -> None:
    def size(**options: object) -> str | None:
        sets = {"net.name": "unet", "net.options": options, "train.steps": 1}
        return planning.plan(resolve(flags=sets).config, pictures(False), CPU).config.net.size

    assert size(resample="biggan", head=64) == "tiny"
    assert size(widths=[8, 8], blocks=[1, 1], attention=[]) is None


@pytest.mark.parametrize(
    ("known", "seconds", "chosen"),
    [(True, 0.5, "bfloat16"), (True, 0.85, "float32"), (False, 0.5, "float32")],
)
def test_half_precision_is_taken_where_the_chip_has_it_and_a_step_is_faster_so(
    known: bool, seconds: float, chosen: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def measured(trials: object, one: Config, other: Config) -> float:
        assert (one.train.precision, other.train.precision) == ("float32", "bfloat16")
        return seconds

    monkeypatch.setattr(trying.Trials, "share", measured)
    monkeypatch.setattr(planning, "has_bfloat16", lambda where: known)
    made = planned(pictures(labelled=False), steps=1)
    assert made.config.train.precision == chosen
    # A run that was planned before precisions were measured keeps the one it has.
    old = made.config.changed("train", precision=None)
    again = planning.plan(old, pictures(False), CPU, resumed=True)
    assert again.config.train.precision is None


def test_a_precision_that_is_asked_for_stays() -> None:
    assert planned(pictures(False), steps=1, precision="bfloat16").config.train.precision == (
        "bfloat16"
    )


class Notes(Silent):
    """Remembers what is said."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def note(self, text: str) -> None:
        """Remember it."""
        self.lines.append(text)


@pytest.mark.parametrize(
    ("there", "said"),
    [
        (24_000, "about 1,900 MB, as a trial took; there are 24,000 MB"),
        (2_000, "there are 2,000 MB; if it runs out, add accumulate=2"),
        (0, "about 1,900 MB, as a trial took"),
    ],
)
def test_c3_what_a_trial_took_is_said_beside_what_there_is(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, there: int, said: str
) -> None:
    monkeypatch.setattr(trying, "used_mb", lambda where: 1900)
    monkeypatch.setattr(introducing, "total_mb", lambda where: there)
    data, notes = pictures(labelled=False), Notes()
    made = planned(data, steps=2)
    introducing.introduce(notes, Run(tmp_path), data, made, CPU, ALONE)
    (line,) = [line for line in notes.lines if line.startswith("memory")]
    assert line.endswith(said)


def test_what_is_said_before_the_steps_tells_how_to_stop_and_how_to_go_on(tmp_path: Path) -> None:
    data, notes = pictures(labelled=False), Notes()
    introducing.introduce(notes, Run(tmp_path), data, planned(data, steps=2), CPU, ALONE)
    assert notes.lines[0].endswith(
        f"{tmp_path}; Ctrl-C saves and stops, the same command later goes on with it"
    )


def test_r7_who_asks_to_stop_is_heard_between_the_steps_of_a_trial() -> None:
    calls = 0

    def check() -> None:
        nonlocal calls
        calls += 1
        if calls == 2:
            raise StoppedEarly("stopped")

    with pytest.raises(StoppedEarly):
        planning.plan(resolve(flags={"train.steps": 3}).config, pictures(True), CPU, ALONE, check)


def test_a_way_that_does_not_fit_is_not_taken_and_no_error(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The user asked neither for that size nor for that precision."""

    def measured(trials: object, config: Config) -> float:
        if config.net.size == "small":
            raise OutOfMemoryError("out of memory")
        if config.train.precision == "float32":
            raise torch.OutOfMemoryError("CUDA out of memory.")
        return 1e-3

    def both(*steps: object) -> float:
        raise torch.OutOfMemoryError("CUDA out of memory.")

    monkeypatch.setattr(trying, "compared", both)
    monkeypatch.setattr(trying.Trials, "seconds", measured)
    monkeypatch.setattr(planning, "has_bfloat16", lambda where: True)
    config = planned(pictures(labelled=False), minutes=600).config
    assert (config.net.size, config.train.precision) == ("tiny", "bfloat16")


@pytest.mark.skipif(sys.platform != "linux", reason="other systems do not forget")
def test_the_memory_told_is_not_that_of_trials_which_were_not_chosen(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def sized(*_: object) -> str:
        torch.ones(400 << 18).sum()  # 400 MB, given back at once
        return "tiny"

    monkeypatch.setattr(planning, "_size", sized)
    before = used_mb(CPU)
    made = planned(pictures(labelled=False), steps=1)
    assert made.memory_mb is not None
    assert made.memory_mb < before + 200


def test_what_ranks_hold_in_parts_is_not_tried_whole_on_one_of_them() -> None:
    def parted(**flags: object) -> planning.Plan:
        given = {"train.shard": True, **{f"train.{name}": v for name, v in flags.items()}}
        return planning.plan(resolve(flags=given).config, pictures(False), CPU, Share(0, 2))

    made = parted(steps=7)
    assert (made.steps, made.step_seconds, made.memory_mb) == (7, None, None)
    assert parted(images=640).steps == 10
    for flags in ({}, {"minutes": 3.0}):
        with pytest.raises(ConfigError, match=r"cannot be turned into steps.*--steps"):
            parted(**flags)
    assert planned(pictures(False), minutes=3.0, shard=True).step_seconds  # alone it is whole


def test_the_device_is_that_of_the_rank_or_a_sentence_and_never_one_without_float64(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert build.fastest_device() == CPU
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setenv("LOCAL_RANK", "2")
    with pytest.raises(ConfigError, match=r"rank 2 .* there are 2. Start at most 2 ranks"):
        build.fastest_device()


OPEN = ("net.name=auto", "net.size=auto", "batch=auto", "learning_rate=auto", "optimizer=auto",
        "precision=auto", "log_every=auto", "guidance=auto", "interval=auto", "count=auto",
        "sample.schedule=auto", "train.minutes=auto")  # fmt: skip


def begun(folder: Path, *sets: str, recipe: str | None = None) -> Config:
    """Settings of a run as they are planned and written down."""
    config = resolve(recipe=recipe, sets=sets, flags={"train.steps": 1}).config
    made = planning.plan(config, pictures(labelled=True), CPU).config
    filled = set(config.changes(made)) - planning.FILLED
    assert filled <= {"net.options"}
    (folder / "config.toml").write_text(to_toml(made))
    return made


@pytest.mark.parametrize("sets", [("net.name=unet", 'net.options={resample="biggan"}'), OPEN])
def test_the_same_command_agrees_with_what_its_plan_filled_in(
    tmp_path: Path, sets: tuple[str, ...]
) -> None:
    made = begun(tmp_path, *sets)
    assert made.net.options["wiener"] == 30
    assert _agreed(Run(tmp_path), resolve(sets=sets, flags={"train.steps": 1})) == made


@pytest.mark.parametrize("recipe", ["default", "flow", "iddpm"])
def test_the_same_command_agrees_with_its_recipe_whatever_else_was_planned(
    tmp_path: Path, recipe: str
) -> None:
    made = begun(tmp_path, *OPEN, recipe=recipe)
    again = resolve(recipe=recipe, sets=OPEN, flags={"train.steps": 1})
    assert _agreed(Run(tmp_path), again) == made
    assert _agreed(Run(tmp_path), resolve(sets=("train.steps=1",))) == made
    other = resolve(recipe="edm", sets=OPEN, flags={"train.steps": 1})
    said = f"is a run by the recipe '{recipe}', not by 'edm'. Leave it out to go on, or start"
    with pytest.raises(ConfigError, match=said):
        _agreed(Run(tmp_path), other)


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ("net.options={wiener=8}", "net.options = .*asks for {'wiener': 8}"),
        ("net.options={}", "net.options = .*asks for {}"),
        ("net.options={blind=true}", "net.options = .*asks for {'blind': True}"),
        ("save_every=auto", r"train.save_every = 9, and --set asks for auto\. Leave it out"),
        ("data.limit=auto", "data.limit = 30, and --set asks for auto"),
    ],
)
def test_what_no_plan_fills_in_is_no_way_to_go_on(tmp_path: Path, asked: str, said: str) -> None:
    begun(tmp_path, "net.name=unet", 'net.options={resample="biggan"}', "save_every=9", "limit=30")
    sets = ("net.name=unet", asked)
    with pytest.raises(ConfigError, match=said):
        _agreed(Run(tmp_path), resolve(sets=sets, flags={"train.steps": 1}))


@pytest.mark.parametrize(
    ("source", "noun"), [("penguins", "rows"), ("two-moons", "vectors"), ("ecg", "series")]
)
def test_what_is_no_picture_is_not_mirrored(tmp_path: Path, source: str, noun: str) -> None:
    """Half of the rows of a table were read from the last column to the first."""
    said = f"data.flip mirrors pictures; '{source}' holds {noun}, .* Leave it out"
    with pytest.raises(ConfigError, match=said):
        train(source, settings={"flip": True}, steps=1, dry_run=True, runs=tmp_path)


def test_pictures_are_mirrored_and_what_began_before_that_was_refused_goes_on() -> None:
    flags = {"data.flip": True, "train.steps": 1}
    config = resolve(flags=flags).config
    assert planning.plan(config, pictures(labelled=False), CPU).config.data.flip
    points = make_dataset("p", "vector", np.ones((30, 2), np.float32), source=Source("made here"))
    assert planning.plan(config, points, CPU, resumed=True).config.data.flip
