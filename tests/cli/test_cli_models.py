"""Commands on models: untrained ones do, since what is tested is what becomes of their answers."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple
from xml.etree import ElementTree as ET

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from ornstein.bundle import Bundle, Sampler, TunedGrid, load
from ornstein.cli.app import cli
from ornstein.cli.faults import guarded
from ornstein.cli.guiding import led_text, said_of
from ornstein.cli.show import told as told_of
from ornstein.config import Config, to_toml
from ornstein.core import EDMTarget
from ornstein.data import Coding
from ornstein.data.conditions import class_of
from ornstein.guide import Guide
from ornstein.model import Model
from ornstein.nets import NETS
from ornstein.nets.conditions import of_classes
from ornstein.samples import read_settings
from ornstein.viz.anatomy import bytes_text, count_text, examine

SHAPES = {"image": (1, 8, 8), "series": (2, 40), "vector": (2,)}


def make(kind: str) -> Bundle:
    classes = ("cat", "dog", "a cow") if kind != "series" else ()
    shape = SHAPES[kind]
    options: dict[str, Any] = {"shape": shape, "conditions": of_classes(len(classes))}
    if kind == "vector":
        options |= {"width": 16, "layers": 1}
    else:
        options |= {"widths": [8, 16], "blocks": [1, 1], "attention": [1]}
    torch.manual_seed(1)
    name = "mlp" if kind == "vector" else "unet"
    net = NETS[name](**options)
    for parameter in net.parameters():  # the last layer starts at zero and would hide the rest
        nn.init.normal_(parameter, std=0.1)
    channels = shape[0]
    low, high, levels = (0.0, 255.0, 256) if kind == "image" else (None, None, None)
    coding = Coding((100.0,) * channels, (50.0,) * channels, kind, low, high, levels)
    return Bundle(
        model=Model(net, EDMTarget()), net=name, target="edm", process="edm", coding=coding,
        shape=shape,
        conditions=(class_of(classes),) if classes else (),
        sampler=Sampler("heun", "karras", None, 4),
        provenance={"source": "drawn", "licence": "CC0-1.0"},
    )  # fmt: skip


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("made")
    for kind in SHAPES:
        run = folder / "runs" / kind
        run.mkdir(parents=True)
        make(kind).save(run / "model.safetensors")
        (run / "config.toml").write_text(to_toml(Config()))
        record = {"state": "finished", "step": 40, "steps": 40, "seconds": 75}
        (run / "run.json").write_text(json.dumps(record))
        log = [
            {"step": k, "images": k, "loss": 1 / k, "rate": 1e-3, "grad_norm": 1.0}
            for k in range(1, 41)
        ]
        log.append({"step": 40, "heldout": 0.5})
        (run / "log.jsonl").write_text("".join(json.dumps(r) + "\n" for r in log))
    return folder


@pytest.fixture
def here(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    shutil.copytree(made, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    return tmp_path


class Answer(NamedTuple):
    out: str
    err: str


def run(capsys: pytest.CaptureFixture[str], *args: str, code: int = 0) -> Answer:
    found = guarded(cli, args)
    answer = Answer(*capsys.readouterr())
    assert found == code, answer
    return answer


def test_a_picture_holds_the_settings_that_make_it_again(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = (
        "sample image -n 5 --seed 7 --steps 3 --solver ddim --grid log-snr --schedule vp --json"
    )
    facts = json.loads(run(capsys, *words.split()).out)
    folder = Path(facts["files"]["items"])
    assert folder.parent == Path("runs/image/gallery")
    pictures = sorted(folder.glob("seed7-*.png"))
    assert len(pictures) == 5
    inside = read_settings(pictures[3])
    assert inside is not None
    assert inside["item"] == 3
    assert (inside["seed"], inside["steps"], inside["solver"]) == (7, 3, "ddim")
    assert (inside["grid"], inside["schedule"], inside["class"]) == ("log-snr", "vp", "cat")
    again = load("runs/image").sample(
        1, seed=inside["seed"], first=inside["item"], steps=inside["steps"],
        solver=inside["solver"], grid=inside["grid"], schedule=inside["schedule"],
        class_name=inside["class"],
    )  # fmt: skip
    with Image.open(pictures[3]) as picture:
        assert (np.asarray(picture) == again.items[0, 0]).all()
    assert facts["evaluations"] == 3
    with Image.open(facts["files"]["grid"]) as grid:
        assert grid.size == (3 * 66 + 2, 2 * 66 + 2)


def test_half_precision_is_asked_for_by_name_and_told(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ask = ["sample", "image", "-n", "3", "--precision", "bfloat16"]
    assert "bfloat16" in run(capsys, *ask).out
    facts = json.loads(run(capsys, *ask, "--json").out)
    folder = Path(facts["files"]["items"])
    assert folder.name.endswith("bfloat16")  # beside those in single precision
    inside = read_settings(next(folder.glob("seed0-*.png")))
    assert inside is not None
    assert inside["precision"] == "bfloat16"
    edited = ["edit", "image", str(next(folder.glob("seed0-*.png"))), "--strength", "0.5"]
    facts = json.loads(run(capsys, *edited, "--precision", "bfloat16", "--json").out)
    assert "bfloat16" in Path(facts["files"]["items"]).name
    inside = read_settings(next(Path(facts["files"]["items"]).glob("*.png")))
    assert inside is not None
    assert inside["precision"] == "bfloat16"
    answer = run(capsys, "sample", "image", "--precision", "half", code=2)
    assert "float32" in answer.err
    assert "bfloat16" in answer.err


def test_a_batch_changes_no_picture(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run(capsys, *["sample", "image", "-n", "7", "--out", "a", "--batch", "2"])
    run(capsys, *["sample", "image", "-n", "7", "--out", "b"])
    made = sorted(Path("a").glob("seed*.png"))
    assert len(made) == 7
    for path in made:
        assert path.read_bytes() == Path("b", path.name).read_bytes()


def test_other_settings_go_to_another_folder(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for more in ("", "--steps 2", "--solver ddim", "--class dog", "--schedule flow", "-n 2"):
        run(capsys, *f"sample image -n 1 {more}".split())
    assert len(list(Path("runs/image/gallery").iterdir())) == 6


@pytest.mark.parametrize("kind", SHAPES)
def test_every_kind_is_sampled_with_a_sheet_and_a_film(
    here: Path, capsys: pytest.CaptureFixture[str], kind: str
) -> None:
    told = run(capsys, *f"sample runs/{kind}/model.safetensors -n 6 --steps 9 --film".split()).out
    folder = next(Path("runs", kind, "gallery").iterdir())
    with Image.open(folder / "film.webp") as film:
        # Ten moments; frames that are equal to the eye are joined.
        assert 3 <= getattr(film, "n_frames", 1) <= 10
    with Image.open(folder / "grid.png") as grid:
        grid.load()
    assert (kind == "image") == (len(list(folder.glob("seed*.png"))) == 6)
    if kind != "image":
        assert np.load(next(folder.glob("*.npy"))).shape == (6, *SHAPES[kind])
    assert "17 evaluations each" in told or "18 evaluations each" in told
    assert str(folder / "film.webp") in told


def test_a_model_file_alone_is_enough(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shutil.move("runs/image/model.safetensors", "mine.safetensors")
    shutil.rmtree("runs")
    run(capsys, *["sample", "mine.safetensors", "-n", "2"])
    folder = next(Path().glob("mine-seed0-*"))
    assert len(list(folder.glob("seed0-*.png"))) == 2
    shown = run(capsys, "show", "mine.safetensors").out
    assert "licence: CC0-1.0" in shown


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        ("sample image --class cta", 2, "Did you mean 'cat'"),
        ("sample series --class cat", 2, "knows no classes"),
        ("sample imag", 2, "Did you mean 'image'"),
        ("sample image --grid trailing --steps 2000", 2, "at most"),
        ("viz reverse image --class cta", 2, "Did you mean 'cat'"),
        ("viz reverse image --solver huen", 2, "Did you mean 'heun'"),
        ("show imag", 2, "Did you mean 'image'"),
    ],
)
def test_what_a_model_does_not_have_is_said(
    here: Path, capsys: pytest.CaptureFixture[str], words: str, code: int, said: str
) -> None:
    answer = run(capsys, *words.split(), code=code)
    assert answer.err.startswith("error: ")
    assert said in answer.err
    assert "Traceback" not in answer.err


def test_a_damaged_model_is_refused(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = Path("runs/image/model.safetensors")
    data = bytearray(path.read_bytes())
    data[-100] ^= 1
    path.write_bytes(data)
    assert "damaged" in run(capsys, "sample", "image", code=65).err
    path.write_bytes(data[:500])
    assert "error: " in run(capsys, "show", "image", code=65).err


def test_a_folder_that_cannot_be_written_is_a_disk_error(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("file").write_text("")
    answer = run(capsys, *["sample", "image", "-n", "1", "--out", "file/below"], code=74)
    assert answer.err.startswith("error: ")


@pytest.mark.parametrize("kind", SHAPES)
def test_the_way_back_is_a_strip_with_x_and_x0(
    here: Path, capsys: pytest.CaptureFixture[str], kind: str
) -> None:
    words = f"viz reverse {kind} -n 2 --steps 12 --columns 5 --json"
    files = json.loads(run(capsys, *words.split()).out)
    with Image.open(files["strip"]) as strip:
        strip.load()
        height = {"image": 4 * 66, "series": 4 * 82, "vector": 2 * 152}[kind]
        assert strip.height == height + 2 + 15
    with Image.open(files["film"]) as film:
        assert getattr(film, "n_frames", 1) >= 3


def test_show_counts_what_there_is(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    facts = json.loads(run(capsys, "show", "image", "--json").out)
    net = load("runs/image").model.net
    assert facts["parameters"] == sum(p.numel() for p in net.parameters())
    assert sum(row["parameters"] for row in facts["layers"]) == facts["parameters"]
    assert facts["layers"][-1]["shape"] == [1, 8, 8]
    assert facts["config"]["train.clip"] == 1.0
    assert facts["run"]["state"] == "finished"
    told = run(capsys, "show", "image").out
    assert f"{facts['parameters']:,} parameters" in told
    assert "with attention" in told
    assert "told       class (class: cat, dog, a cow)" in told
    size = {"name": "size", "kind": "numbers", "names": (), "low": (1.0,), "high": (9.5,)}
    assert told_of(size) == "size (numbers from 1 to 9.5)"
    assert "0.5000" in told.splitlines()[-1]


def test_show_tells_what_a_model_was_tuned_for(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    places, guide = (80 / 81, 0.7, 0.3, 0.0), Guide("apg", high=3.0)
    kept = [
        TunedGrid("deis-2", places, 0.01, schedule="edm", guidance=scale, before=0.2, guide=guide)
        for scale in (1.0, 2.0)
    ]
    replace(make("vector"), tuned=tuple(kept)).save("tuned.safetensors")
    told = json.loads(run(capsys, "show", "tuned.safetensors", "--json").out)["tuned"]
    assert [one["guidance"] for one in told] == [1.0, 2.0]
    assert told[0]["places"] == list(places)
    assert told[0]["guide"] == {"kind": "apg", "low": 0.0, "high": 3.0, "rescale": 0.0}
    shown = run(capsys, "show", "tuned.safetensors").out
    assert "3 steps on edm, guidance 2: deis-2, 0.01 from the truth, 0.2 before" in shown


def test_show_draws_the_training_and_the_process(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    facts = json.loads(run(capsys, *["show", "vector", "--plots", "--out", "drawn", "--json"]).out)
    for name in ("process", "training"):
        with Image.open(facts["plots"][name]) as plot:
            plot.load()
    assert sorted(p.name for p in Path("drawn").iterdir()) == ["process.png", "training.png"]


def test_show_draws_the_network_and_refuses_another_kind_of_file(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    told = json.loads(run(capsys, *["show", "image", "--diagram", "drawn/net.svg", "--json"]).out)
    drawn = ET.parse(told["plots"]["diagram"]).getroot()
    words = {text.text for text in drawn.iter("{http://www.w3.org/2000/svg}text")}
    assert {row["name"] for row in told["layers"]} <= words
    refused = run(capsys, "show", "image", "--diagram", "net.png", code=2)
    assert "net.svg" in refused.err


class Known(nn.Module):
    """A network whose costs can be counted by hand."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(6, 10)
        self.rest = nn.Sequential(nn.Tanh(), nn.Linear(10, 6, bias=False))

    def forward(self, x: torch.Tensor, noise: torch.Tensor, cond: object) -> torch.Tensor:
        answer: torch.Tensor = self.rest(self.first(x))
        return answer


def test_operations_and_memory_are_those_counted_by_hand() -> None:
    found = examine(Known(), (6,), {})
    assert [(r.name, r.kind, r.shape, r.parameters) for r in found.rows] == [
        ("first", "linear", (10,), 70),
        ("rest.0", "Tanh", (10,), 0),
        ("rest.1", "linear", (6,), 60),
    ]
    assert found.parameters == 130
    assert found.flops == 2 * (6 * 10 + 10 * 6)
    # Kept for the backward pass: the input of the first layer (6) and the output of tanh (10).
    assert found.kept_bytes == 4 * (6 + 10)
    assert found.training_bytes(32, moments=2 * 130) == 4 * 6 * 130 + 32 * 64


def test_sizes_are_said_in_three_digits() -> None:
    assert [bytes_text(v) for v in (12, 4_770_000, 1.2e9)] == ["12 B", "4.77 MB", "1.2 GB"]
    assert count_text(281e6) == "281 M"


def test_what_is_not_said_of_the_manner_of_guidance_is_the_models_own(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    way = Sampler("heun", "karras", None, 4, 2.0, Guide(low=0.3, high=3.0))
    replace(make("vector"), sampler=way).save("own.safetensors")
    shown = run(capsys, "show", "own.safetensors").out
    assert "heun, 4 steps on edm (karras grid), guidance 2 (levels 0.3 to 3)\n" in shown

    def told(*words: str, code: int = 0) -> Answer:
        ask = ["sample", "own.safetensors", "-n", "1", "--json", "--out", "o", *words]
        return run(capsys, *ask, code=code)

    def guide(*words: str) -> dict[str, Any]:
        return dict(json.loads(told(*words).out)["settings"]["guide"])

    own = {"kind": "cfg", "low": 0.3, "high": 3.0, "rescale": 0.0}
    assert guide() == own
    assert guide("--guide", "apg") == {**own, "kind": "apg"}
    assert guide("--rescale", "0.7") == {**own, "rescale": 0.7}
    assert guide("--interval", "0.2:5") == {**own, "low": 0.2, "high": 5.0}
    # cfg++ has scales of its own, so that of the model and its interval mean nothing to it.
    plain = {"kind": "cfg++", "low": 0.0, "high": None, "rescale": 0.0}
    assert guide("--guide", "cfg++", "--guidance", "0.6") == plain
    assert "something else for cfg++; add --guidance 0.6" in told("--guide", "cfg++", code=2).err


def test_c8_guidance_that_would_do_nothing_is_refused_unless_it_is_said(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A model of vectors is not guided by itself; --negative alone changed no bit."""
    replace(make("vector"), sampler=Sampler("heun", "karras", None, 3)).save("own.safetensors")
    ask = ["sample", "own.safetensors", "-n", "1", "--json", "--out", "o"]
    lead = ["--negative", "cat"]
    assert (
        "so --negative would do nothing; add --guidance 2" in run(capsys, *ask, *lead, code=2).err
    )
    assert "--interval would do nothing" in run(capsys, *ask, "--interval", "0.2:5", code=2).err
    for scale in ("1", "2"):  # as in a loop over scales
        settings = json.loads(run(capsys, *ask, *lead, "--guidance", scale).out)["settings"]
        assert settings["negative"] == {"class": "cat"}
        assert led_text(settings) == ("away from class cat" if scale == "2" else "")


@pytest.mark.parametrize(
    ("words", "name"),
    [
        ("--negative cat --negative class=dog", "class"),
        ("--negative tags=red --negative tags=round", "tags"),
        ("--cond tags=red --cond tags=round", "tags"),
    ],
)
def test_c8_what_is_said_twice_is_refused(
    here: Path, capsys: pytest.CaptureFixture[str], words: str, name: str
) -> None:
    told = run(capsys, *f"sample nobody --guidance 2 {words}".split(), code=2).err
    assert f"'{name}' is said twice; tags go together, {name}=a|b." in told


def test_what_was_said_is_told_as_one_would_say_it() -> None:
    said = {"tags": [], "place": [0.5, 2.0], "size": None, "kind": "a b"}
    assert [said_of(value) for value in said.values()] == ["none", "0.5+2", "nothing", "a b"]
