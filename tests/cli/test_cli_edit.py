"""``ornstein edit``: fill, vary, mix, invert, upscale, restore; E2, E3, E6."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from ornstein.bundle import Bundle, Sampler
from ornstein.core import GRIDS, PROCESSES, EDMTarget, V
from ornstein.data.coding import Coding
from ornstein.data.conditions import class_of
from ornstein.editing import METHODS, Ask, fill, invert, mix, restore, settled, vary
from ornstein.errors import UsageError
from ornstein.guide import Guide
from ornstein.model import Model
from ornstein.nets import MLP, UNet
from ornstein.nets.conditions import of_classes


def picture_model(shape: tuple[int, ...] = (3, 8, 12), classes: tuple[str, ...] = ()) -> Bundle:
    torch.manual_seed(0)
    net = UNet(
        shape=shape,
        conditions=of_classes(len(classes)),
        widths=[8, 8],
        blocks=[1, 1],
        attention=[],
    )
    coding = Coding((120.0, 100.0, 80.0), (60.0, 50.0, 70.0), "image", 0.0, 255.0, 256)
    model = Model(net, EDMTarget())
    sampler = Sampler("ddim", "karras", None, 6)
    known = (class_of(classes),) if classes else ()
    return Bundle(model, "unet", "edm", "edm", coding, shape, known, sampler=sampler)


def picture(shape: tuple[int, ...], seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, shape).astype(np.uint8)


@pytest.mark.parametrize("method", METHODS)
def test_every_method_fills_a_mask_and_keeps_the_rest_to_the_bit(method: str) -> None:
    bundle, item = picture_model(), picture((3, 8, 12))
    seen = np.zeros((8, 12), bool)
    seen[:, :5] = True
    made = fill(bundle, item, seen, Ask(3, method=method)).samples.items
    assert made.shape == (3, 3, 8, 12)
    assert made.dtype == np.uint8
    assert (made[..., :5] == item[..., :5]).all()
    assert (made[0][..., 5:] != made[1][..., 5:]).any()
    # Version k is the same, however many are made.
    assert (fill(bundle, item, seen, Ask(1, method=method)).samples.items[0] == made[0]).all()


@pytest.mark.parametrize("process", ["flow", "zero-snr", "trig"])
def test_every_edit_works_where_the_walk_starts_at_pure_noise(process: str) -> None:
    bundle, item = picture_model(), picture((3, 8, 12))
    bundle = dataclasses.replace(
        bundle, model=Model(bundle.model.net, V()), target="v", process=process,
        sampler=Sampler("ddim", "uniform", None, 3),
    )  # fmt: skip
    assert float(GRIDS["uniform"](PROCESSES[process](), 3).alpha[0]) == 0
    seen = np.arange(12) < 5
    y = np.full((1, 8, 12), 150.0, np.float32)
    # What is no longer finite raises on the way.
    for method in METHODS:
        fill(bundle, item, seen, Ask(1, method=method))
        if method not in ("replace", "repaint"):
            restore(bundle, y, lambda x: x.mean(1, keepdim=True), Ask(1, method=method))
    vary(bundle, item, 1.0, Ask(1))
    assert np.isfinite(invert(bundle, item, Ask(1)).figures["round trip"])
    assert np.isfinite(mix(bundle, item, item, Ask(2)).figures["round trip of the two ends"])


def point_model() -> Bundle:
    torch.manual_seed(0)
    coding = Coding((5.0, -3.0, 0.5), (2.0, 0.1, 1.0), "vector")
    model = Model(MLP(shape=(3,), width=16), EDMTarget())
    sampler = Sampler("ddim", "karras", None, 6)
    return Bundle(model, "mlp", "edm", "edm", coding, (3,), sampler=sampler)


def test_a_mask_of_a_vector_says_each_number_by_itself(tmp_path: Path) -> None:
    from ornstein.cli.edit import _edited

    item, mask = np.array([6.25, 0.0, 0.75], np.float32), np.array([0, 1, 0], np.float32)
    np.save(tmp_path / "item.npy", item)
    np.save(tmp_path / "mask.npy", mask)
    done = _edited(point_model(), tmp_path / "item.npy", "mask", tmp_path / "mask.npy", Ask(2))
    assert (done.samples.items[:, [0, 2]] == item[[0, 2]]).all()
    assert (done.samples.items[:, 1] != 0).all()


def test_series_and_vectors_are_filled_by_the_same_call() -> None:
    item = np.array([6.25, 0.0, 0.75], np.float32)
    made = fill(point_model(), item, np.array([1, 0, 1]), Ask(2)).samples.items
    assert (made[:, [0, 2]] == item[[0, 2]]).all()
    assert np.isfinite(made).all()


@pytest.mark.parametrize("odd", [0.5, 300.0, -1.0, np.inf])
def test_known_values_that_pictures_cannot_have_are_refused(odd: float, tmp_path: Path) -> None:
    """They were put back as 0, as 44, as 255."""
    from ornstein.cli.edit import _edited

    item = picture((3, 8, 12)).astype(np.float32)
    item[:, :, 5:] = np.nan
    np.save(tmp_path / "item.npy", item)
    made = _edited(picture_model(), tmp_path / "item.npy", "mask", None, Ask(1)).samples.items
    assert (made[..., :5] == item[..., :5]).all()
    item[1, 2, 3] = odd
    np.save(tmp_path / "item.npy", item)
    with pytest.raises(UsageError, match=f"levels from 0 to 255, so {odd:g} cannot be kept"):
        _edited(picture_model(), tmp_path / "item.npy", "mask", None, Ask(1))


def test_an_infinite_number_is_no_gap(tmp_path: Path) -> None:
    from ornstein.cli.edit import _edited

    for item in ([np.nan, np.inf, 0.5], [np.nan, -np.inf, 0.5]):
        np.save(tmp_path / "item.npy", np.array(item, np.float32))
        with pytest.raises(UsageError, match="not finite; only a gap to fill in may"):
            _edited(point_model(), tmp_path / "item.npy", "mask", None, Ask(1))


def test_an_operator_acts_in_raw_units_whatever_the_channels_scales() -> None:
    """The mean of the channels is a mean of grey levels, not of standardised values."""
    bundle, item = picture_model(), picture((3, 8, 12), 1).astype(np.float32)
    y = item.mean(0, keepdims=True)
    done = restore(bundle, y, lambda x: x.mean(1, keepdim=True), Ask(2, method="project"))
    made = done.samples.items.astype(np.float64)
    inside = (made > 0).all(1) & (made < 255).all(1)  # elsewhere values were clipped
    assert inside.mean() > 0.2
    assert np.abs(made.mean(1) - y[0])[inside].max() < 1.01


def test_little_strength_keeps_more_of_the_item_than_much() -> None:
    bundle, item = picture_model(), picture((3, 8, 12), 2)
    apart = [vary(bundle, item, s, Ask(2)).figures["distance from the original"] for s in (0.2, 1)]
    assert apart[0] < apart[1]


def test_a_mixture_starts_at_one_item_and_ends_at_the_other() -> None:
    bundle = picture_model()
    ends = [bundle.sample(1, seed=k, steps=30).items[0] for k in (1, 2)]
    made = mix(bundle, ends[0], ends[1], Ask(3)).samples.items.astype(float)
    for k, end in ((0, ends[0]), (2, ends[1])):
        others = np.abs(made[[j for j in range(3) if j != k]] - end).mean()
        assert np.abs(made[k] - end).mean() < 0.2 * others
    figures = invert(bundle, ends[0], Ask()).figures
    assert figures["round trip"] < 8


@pytest.mark.parametrize(
    "way", [{"grid": "uniform"}, {"steps": 1}, {"grid": "uniform", "steps": 2}]
)
def test_codes_depend_neither_on_the_grid_nor_on_the_steps(way: dict[str, Any]) -> None:
    """The grid's last level was taken for clean, at which half of the noise may be left."""
    bundle = picture_model()
    item = bundle.sample(1, seed=1, steps=30).items[0]
    usual, other = (invert(bundle, item, Ask(sampler=bundle.how(**how))) for how in ({}, way))
    assert other.figures == pytest.approx(usual.figures, rel=0.02, abs=0.1)
    assert np.abs(other.samples.items.astype(float) - usual.samples.items).max() <= 2


@pytest.mark.parametrize("guidance", [1.0, 2.0])
def test_codes_of_a_class_are_walked_by_as_many_rows_as_there_are(guidance: float) -> None:
    bundle, item = picture_model(classes=("a", "b")), picture((3, 8, 12))
    ask = Ask(3, class_name="b", sampler=bundle.how(guidance=guidance))
    assert invert(bundle, item, ask).samples.labels == ("b",)
    made = mix(bundle, item, item, ask).samples
    assert made.labels == ("b",) * 3
    other = mix(bundle, item, item, dataclasses.replace(ask, class_name="a")).samples
    assert made.settings["class"] == "b"
    assert other.settings["class"] == "a"


def test_a_method_that_is_left_open_is_the_one_that_measured_better() -> None:
    bundle = picture_model()
    for ask, masked, method in (
        (Ask(), True, "repaint"),
        (Ask(), False, "mmps"),
        (Ask(sampler=bundle.how(steps=3)), True, "repaint"),
        (Ask(sampler=bundle.how(solver="heun")), True, "mmps"),
        (Ask(method="dps"), True, "dps"),
    ):
        assert settled(bundle, ask, masked).method == method
    for kind in ("series", "table"):
        other = dataclasses.replace(bundle, coding=dataclasses.replace(bundle.coding, kind=kind))
        assert settled(other, Ask()).method == "mmps"


def write(path: Path, values: np.ndarray) -> None:
    array = values[0] if len(values) == 1 else values.transpose(1, 2, 0)
    Image.fromarray(array).save(path)


def test_the_command_writes_versions_and_a_sheet_and_says_the_figures(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from ornstein.cli.app import main

    monkeypatch.chdir(tmp_path)
    picture_model(classes=("a", "b")).save("m.safetensors")
    write(Path("cat.png"), picture((3, 30, 40)))
    write(
        Path("mask.png"),
        np.where(np.arange(40) < 20, 255, 0).astype(np.uint8) * np.ones((1, 30, 1), np.uint8),
    )

    def run(*args: str) -> tuple[int, str]:
        with pytest.raises(SystemExit) as stop:
            main(["edit", "m.safetensors", "cat.png", "-n", "2", *args])
        out = capsys.readouterr()
        return int(stop.value.code or 0), out.out + out.err

    code, text = run("--mask", "mask.png", "--json", "--out", "one")
    assert code == 0
    facts = json.loads(text)
    assert facts["settings"]["edit"] == "fill"
    assert (facts["settings"]["method"], facts["settings"]["solver"]) == ("repaint", "ddpm-small")
    facts = json.loads(run("--mask", "mask.png", "--json", "--solver", "heun")[1])
    assert (facts["settings"]["method"], facts["settings"]["solver"]) == ("mmps", "heun")
    facts = json.loads(run("--mask", "mask.png", "--json", "--out", "one")[1])
    with Image.open(facts["files"]["sheet"]) as sheet:
        assert sheet.width > sheet.height
    assert len(list(Path("one").glob("seed0-*.png"))) == 2
    for args, word in (
        (("--upscale", "2", "--spoil"), "PSNR to the original in dB"),
        (("--operator", "blur", "--spoil", "--width", "0.7"), "misfit to what was given"),
        (("--operator", "grey", "--spoil", "--class", "b"), "PSNR"),
        (("--strength", "0.5"), "distance from the original"),
        (("--invert",), "round trip"),
        (("--mix", "mask.png"), "round trip of the two ends"),
        (("--invert", "--class", "b"), "round trip"),
        (("--mix", "mask.png", "--class", "b", "--guidance", "2"), "round trip of the two ends"),
    ):
        code, text = run(*args)
        assert (code, word in text) == (0, True), text
    for args, word in (
        ((), "an edit is one of"),
        (("--invert", "--strength", "0.5"), "got --strength and --invert"),
        (("--mask", "cat.jpg"), "cat.jpg"),
        (("--mask", "mask.png", "--method", "mmp"), "mmps"),
        (("--upscale", "5"), "cannot be shrunk by 5"),
        (("--operator", "gray"), "grey"),
        (("--upscale", "2", "--method", "repaint"), "fills in what a mask leaves open"),
        (("--strength", "0.5", "--class", "c"), "no class 'c'"),
        (("--mask", "none.png"), "there is no file 'none.png'"),
        (("--mask", "mask.png", "--noise", "0.2"), "--noise goes with --upscale, not"),
        (("--strength", "0.5", "--method", "dps"), "--method goes with --mask or --upscale"),
        (("--mask", "mask.png", "--method", "repaint", "--solver", "heun"), "steps of its own"),
        (("--invert", "--spoil"), "--spoil goes with --upscale or --operator, not with --invert"),
    ):
        code, text = run(*args)
        assert code in (2, 65), text
        assert word in text
        assert "Traceback" not in text
        assert len(text.strip().splitlines()) <= 2, text
    write(Path("cat.png"), picture(picture_model().shape))
    code, text = run("--upscale", "2")
    assert code == 2
    assert "'cat.png' is as large as what the model makes" in text


def test_series_are_restored_and_gaps_are_for_filling_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from ornstein.cli.app import main

    monkeypatch.chdir(tmp_path)
    torch.manual_seed(0)
    net = UNet(shape=(1, 12), widths=[8, 8], blocks=[1, 1], attention=[])
    coding, sampler = Coding((3.0,), (2.0,), "series"), Sampler("ddim", "karras", None, 6)
    model = Model(net, EDMTarget())
    Bundle(model, "unet", "edm", "edm", coding, (1, 12), sampler=sampler).save("m.safetensors")
    whole = np.linspace(0, 6, 12, dtype=np.float32)[None]
    np.save("whole.npy", whole)
    np.save("gap.npy", np.where(np.arange(12) < 4, np.nan, whole))

    def run(*args: str) -> tuple[int, str]:
        with pytest.raises(SystemExit) as stop:
            main(["edit", "m.safetensors", *args, "-n", "2"])
        out = capsys.readouterr()
        return int(stop.value.code or 0), out.out + out.err

    code, text = run("whole.npy", "--upscale", "3", "--spoil")
    assert (code, "distance from the original" in text, "PSNR" in text) == (0, True, False)
    assert run("gap.npy")[0] == 0
    assert list(Path().glob("m-edit-gap-mask-gaps-*"))
    code, text = run("whole.npy", "--mask", "gap.npy")
    assert (code, "a mask has no NaN" in text) == (2, True)
    code, text = run("gap.npy", "--strength", "0.5")
    assert (code, "not finite" in text) == (2, True)
    Path("empty.npy").write_bytes(b"")
    Path("torn.npy").write_bytes(b"PK\x03\x04" + bytes(40))
    with Path("several.npy").open("wb") as file:
        np.savez(file, x=whole, y=whole)
    np.save("words.npy", np.full((1, 12), "a"))
    for name in ("empty", "torn", "several", "words"):
        for more in ((), ("--strength", "0.5")):
            code, text = run(f"{name}.npy", *more)
            assert (code, "one array of plain numbers with numpy.save" in text) == (65, True), text
            assert "Traceback" not in text


def test_a_mask_is_read_in_the_range_of_the_pictures_and_a_mixture_has_two_ends(
    tmp_path: Path,
) -> None:
    from ornstein.cli.edit import _edited

    coding = Coding((0.0,), (0.5,), "image", -1.0, 1.0)
    net = UNet(shape=(1, 8, 8), widths=[8, 8], blocks=[1, 1], attention=[])
    sampler = Sampler("ddim", "karras", None, 3)
    bundle = Bundle(
        Model(net, EDMTarget()), "unet", "edm", "edm", coding, (1, 8, 8), sampler=sampler
    )
    mask = np.full((1, 8, 8), 160, np.uint8)  # lighter than half, so made anew
    mask[..., :4] = 0
    write(tmp_path / "mask.png", mask)
    done = _edited(bundle, tmp_path / "mask.png", "mask", tmp_path / "mask.png", Ask(1))
    assert (done.samples.items[0, 0, :, 4:] != 160 / 127.5 - 1).any()
    assert (done.samples.items[0, 0, :, :4] == done.given[0, :, :4]).all()
    with pytest.raises(UsageError, match="two ends"):
        mix(bundle, done.given, done.given, Ask(1))


def test_the_grey_of_one_channel_leaves_nothing_to_be_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from ornstein.cli.app import cli
    from ornstein.cli.faults import guarded

    monkeypatch.chdir(tmp_path)
    coding = Coding((0.0,), (0.5,), "series")
    net = UNet(shape=(1, 8), widths=[8, 8], blocks=[1, 1], attention=[])
    Bundle(Model(net, EDMTarget()), "unet", "edm", "edm", coding, (1, 8)).save("m.safetensors")
    np.save("x.npy", np.zeros((1, 8), np.float32))
    words = ["edit", "m.safetensors", "x.npy", "--operator", "grey", "--spoil"]
    assert guarded(cli, words) == 2
    assert "one channel are grey already" in capsys.readouterr().err


def test_a_mask_of_one_colour_is_refused() -> None:
    bundle, item = picture_model(), picture((3, 8, 12))
    for seen, word in ((np.ones((8, 12)), "nothing"), (np.zeros((8, 12)), "all")):
        with pytest.raises(UsageError, match=f"{word} of the item is to be made"):
            fill(bundle, item, seen, Ask())


def test_edits_of_other_settings_go_to_another_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from ornstein.cli.app import cli
    from ornstein.cli.faults import guarded

    monkeypatch.chdir(tmp_path)
    torch.manual_seed(0)
    net = UNet(shape=(1, 12), widths=[8, 8], blocks=[1, 1], attention=[])
    coding, sampler = Coding((3.0,), (2.0,), "series"), Sampler("ddim", "karras", None, 2)
    made = Bundle(Model(net, EDMTarget()), "unet", "edm", "edm", coding, (1, 12), sampler=sampler)
    made.save("m.safetensors")
    whole = np.linspace(0, 6, 12, dtype=np.float32)[None]
    np.save("whole.npy", whole)
    np.save("gaps.npy", np.where(np.arange(12) < 4, np.nan, whole)[None])
    usual = "-n 4 --steps 2 --solver ddim --grid karras --schedule edm"
    for picture, of in (("whole.npy", "--strength 0.5"), ("gaps.npy", "")):
        for more in ("", usual, "-n 3", "--steps 3", "--solver heun", "--grid log-snr",
                     "--schedule vp"):  # fmt: skip
            words = ["edit", "m.safetensors", picture, *of.split(), *more.split(), "--quiet"]
            assert guarded(cli, words) == 0
    names = {path.name[:-7] for path in Path().glob("m-*")}  # without the mark of what is in it
    assert len(names) == 2 * 6  # what is as it would be anyway makes no name longer
    assert {"m-edit-whole-strength-0.5-auto-seed0", "m-fill-gaps-auto-seed0"} <= names
    for more in ("", "--width 3", "--spoil"):
        words = ["edit", "m.safetensors", "whole.npy", "--operator", "blur", "--quiet"]
        assert guarded(cli, [*words, *more.split()]) == 0
    assert len(list(Path().glob("m-edit-whole-operator-*"))) == 3


def test_pictures_of_one_name_in_two_folders_do_not_overwrite_each_others_edits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from ornstein.cli.app import cli
    from ornstein.cli.faults import guarded

    monkeypatch.chdir(tmp_path)
    picture_model().save("m.safetensors")
    for k, name in enumerate(("wild", "mutant")):
        Path(name).mkdir()
        write(Path(name, "cell.png"), picture((3, 8, 12), k))
        words = ["edit", "m.safetensors", f"{name}/cell.png", "--strength", "0.5", "-n", "1"]
        assert guarded(cli, [*words, "--quiet"]) == 0
        assert guarded(cli, [*words, "--quiet"]) == 0  # the same goes to the same place
    assert len(list(Path().glob("m-edit-cell-*"))) == 2


def test_a_mask_of_another_form_than_its_picture_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Both are cropped at the centre, so it would hide another part than was painted."""
    from ornstein.cli.app import cli
    from ornstein.cli.faults import guarded

    monkeypatch.chdir(tmp_path)
    picture_model().save("m.safetensors")
    write(Path("cat.png"), picture((3, 30, 40)))
    for height, width, code in ((30, 40, 0), (45, 60, 0), (8, 12, 0), (40, 30, 2), (30, 30, 2)):
        left = np.where(np.arange(width) < width // 3, 255, 0).astype(np.uint8)
        write(Path("mask.png"), left * np.ones((1, height, 1), np.uint8))
        words = ["edit", "m.safetensors", "cat.png", "--mask", "mask.png", "-n", "1", "--quiet"]
        assert guarded(cli, words) == code, (height, width)
    assert "the mask is 30x30, the picture 40x30; give" in capsys.readouterr().err


def test_an_edit_tells_the_manner_of_its_guidance() -> None:
    bundle = picture_model(classes=("a", "b"))
    way = dataclasses.replace(bundle.how(steps=2, guidance=2.0), guide=Guide(low=0.3, high=3.0))
    made = vary(bundle, picture((3, 8, 12)), 0.5, Ask(1, sampler=way, class_name="a")).samples
    assert made.settings["guide"] == {"kind": "cfg", "low": 0.3, "high": 3.0, "rescale": 0.0}
    assert (made.settings["guidance"], made.settings["schedule"]) == (2.0, "edm")


def test_names_in_other_scripts_make_other_labels() -> None:
    from ornstein.cli.places import label_from

    assert len({label_from("seed0", name) for name in ("猫", "犬", "a|b", "a/b", "a b")}) == 5
    assert label_from("seed0", "wild type", 4) == "seed0-wild_type-4"


def test_a_label_that_is_too_long_still_tells_settings_apart() -> None:
    from ornstein.cli.places import label_from

    labels = {label_from("a" * 200, steps) for steps in (4, 5, None)}
    assert len(labels) == 3
    assert max(map(len, labels)) <= 120
