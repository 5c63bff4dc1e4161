"""C5: what is said of the items to be made: understood, carried along, refused in a sentence."""

from __future__ import annotations

import json
import warnings
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from makers import CODINGS
from PIL import Image

from ornstein.bundle import Bundle, Sampler, load
from ornstein.core import TARGETS
from ornstein.data.coding import Coding
from ornstein.data.conditions import Declared, class_of
from ornstein.errors import OrnsteinWarning, UsageError
from ornstein.model import Model
from ornstein.nets import NETS
from ornstein.samples import read_settings

SMALL = Coding((20.0,), (40.0,), "image", 0.0, 255.0, 256)
KNOWN = (
    class_of(("cat", "dog", "a cow")),
    class_of(("red", "green"), "colour"),
    Declared("tags", "tags", ("round", "old", "wet")),
    Declared("age", "numbers", (), Coding((30.0,), (10.0,), "vector"), (1,), (3.0,), (92.0,)),
    Declared("place", "numbers", (), Coding((0.0, 1.0), (1.0, 2.0), "vector"), (2,), (-1.0, 0.0),
             (1.0, 5.0)),
    Declared("low", "picture", (), SMALL, (1, 4, 4)),
)  # fmt: skip


def told_bundle(entry: str = "add") -> Bundle:
    """A model with random weights that knows a condition of each kind."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        net = NETS["unet"](
            (1, 9, 12), {c.name: c.net for c in KNOWN}, entry, widths=[8, 16], blocks=[1, 1],
            attention=[1],
        )  # fmt: skip
        for parameter in net.parameters():
            if parameter.ndim > 1:
                torch.nn.init.normal_(parameter, std=0.2)
    return Bundle(
        model=Model(net, TARGETS["edm"]()), net="unet", target="edm", process="edm",
        coding=CODINGS["image"], shape=(1, 9, 12), conditions=KNOWN,
        sampler=Sampler("ddim", "karras", None, 3, 1.5), provenance={"condition_dropout": 0.1},
    )  # fmt: skip


BUNDLE = told_bundle()
PICTURE = np.arange(16, dtype=np.uint8).reshape(1, 4, 4) * 15


def test_what_is_said_becomes_what_the_network_takes() -> None:
    said = {"class": "dog", "tags": "wet|round", "age": "50", "place": [0, 5], "low": PICTURE}
    cond = BUNDLE.cond(2, said)
    assert cond["class"].tolist() == [1, 1]
    assert cond["tags"].tolist() == [[1, 0, 1]] * 2
    assert cond["age"].tolist() == [[2.0]] * 2  # (50 - 30)/10
    assert cond["place"].tolist() == [[0.0, 2.0]] * 2  # (5 - 1)/2
    assert cond["low"][1, 0, 2, 3].item() == pytest.approx((165 - 20) / 40)
    assert "colour" not in cond


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"tags": "old | wet"}, {"tags": ["wet", "old"]}),
        ({"tags": "|"}, {"tags": []}),
        ({"age": "3.5"}, {"age": np.float64(3.5)}),
        ({"place": "0.5,2"}, {"place": (0.5, 2)}),
        ({"age": ""}, {"age": None}),
        ({"class": "cat", "age": 4}, {"age": 4, "class": "cat"}),
    ],
)
def test_two_ways_to_say_one_thing_make_the_same(one: dict, other: dict) -> None:
    a, b = (BUNDLE.sample(2, seed=1, cond=said) for said in (one, other))
    assert (a.items == b.items).all()
    assert a.settings == b.settings


def test_classes_take_turns_unless_one_is_said_or_none_on_purpose() -> None:
    assert BUNDLE.cond(4, first=2)["class"].tolist() == [2, 0, 1, 2]
    assert BUNDLE.cond(2, {"age": 4}, first=1)["class"].tolist() == [1, 2]
    assert BUNDLE.cond(2, {"class": "cat"}, first=1)["class"].tolist() == [0, 0]
    assert BUNDLE.cond(2, {"class": ""}) == {}
    assert BUNDLE.cond(2, first=None) == {}
    made = BUNDLE.sample(2, cond={"class": ""})
    assert made.labels == (None, None)
    assert made.settings["cond"] == {"class": None}


def test_every_kind_steers_and_what_is_not_said_does_not() -> None:
    plain = BUNDLE.sample(2, seed=3, class_name="cat").items.astype(int)
    for said in ({"colour": "red"}, {"tags": "old"}, {"age": 60}, {"place": "1,1"},
                 {"low": PICTURE}):  # fmt: skip
        moved = BUNDLE.sample(2, seed=3, class_name="cat", cond=said).items.astype(int)
        assert np.abs(moved - plain).max() > 0, said


def test_the_null_condition_is_that_of_nothing_said() -> None:
    said = {"class": "dog", "tags": "wet", "age": 50, "place": [0, 5], "low": PICTURE}
    cond = BUNDLE.cond(3, said)
    null = BUNDLE.null(cond)
    assert set(null) == set(cond)
    x = torch.randn(3, 1, 9, 12, generator=torch.Generator().manual_seed(0))
    level = BUNDLE.levels()[1]
    with torch.no_grad():
        a, b = (BUNDLE.denoiser(c)(x, level).x0 for c in (null, {}))
        away = BUNDLE.denoiser(cond, Sampler(guidance=0.0))(x, level).x0
    assert torch.equal(a, b)
    torch.testing.assert_close(away, b)


def test_an_item_is_the_same_in_any_batch_whatever_is_said() -> None:
    said = {"tags": "wet", "age": 50, "low": PICTURE}
    whole = BUNDLE.sample(5, seed=2, cond=said)
    for first, n in ((0, 1), (3, 2)):
        part = BUNDLE.sample(n, seed=2, first=first, cond=said)
        assert (part.items == whole.items[first : first + n]).all()


def test_without_anything_said_guidance_asks_the_network_once() -> None:
    bundle, calls = told_bundle(), []
    forward = bundle.model.forward
    bundle.model.forward = lambda *a: calls.append(1) or forward(*a)  # type: ignore[method-assign]
    assert bundle.sample(2, cond={"class": None}).evaluations == len(calls) == 3
    assert bundle.sample(2, cond={"age": 5}).evaluations == 6


@pytest.mark.parametrize("entry", ["add", "concat", "cross-attention"])
def test_conditions_come_back_from_the_file(entry: str, tmp_path: Path) -> None:
    bundle = told_bundle(entry)
    found = load(bundle.save(tmp_path / "m.safetensors"))
    assert found.conditions == bundle.conditions
    said = {"tags": "wet", "age": 50, "low": PICTURE}
    a, b = (made.sample(2, seed=5, cond=said) for made in (bundle, found))
    assert (a.items == b.items).all()


def test_a_picture_tells_what_was_said_and_can_be_made_again(tmp_path: Path) -> None:
    said = {"tags": "old|wet", "age": "3.5", "place": "0.25,1", "colour": "red"}
    made = BUNDLE.sample(1, seed=9, class_name="dog", cond=said)
    inside = read_settings(made.save(tmp_path)[0])
    assert inside is not None
    assert inside["cond"] == {
        "tags": ["old", "wet"], "age": 3.5, "place": [0.25, 1.0], "colour": "red",
    }  # fmt: skip
    again = BUNDLE.sample(1, seed=inside["seed"], class_name=inside["class"], cond=inside["cond"])
    assert (again.items == made.items).all()


def test_a_picture_is_given_by_its_file_and_told_by_its_hash(tmp_path: Path) -> None:
    path = tmp_path / "secret.png"
    Image.fromarray(PICTURE[0]).save(path)
    made = BUNDLE.sample(1, cond={"low": path})
    assert (made.items == BUNDLE.sample(1, cond={"low": PICTURE}).items).all()
    assert made.settings["cond"]["low"].startswith("sha256:")
    assert "secret" not in json.dumps(made.settings)
    other = BUNDLE.sample(1, cond={"low": PICTURE + 1}).settings["cond"]
    assert other != made.settings["cond"]


def test_what_guidance_leads_away_from_is_told_without_its_path(tmp_path: Path) -> None:
    path = tmp_path / "secret.png"
    Image.fromarray(PICTURE[0]).save(path)
    told = []
    for picture in (path, PICTURE):  # an array could be sampled with, and not saved
        led = BUNDLE.led(negative={"low": picture, "tags": "wet|round", "age": "50"})
        made = led.sample(1, cond={"age": 40}, steps=2, guidance=2.0)
        told.append(read_settings(made.save(tmp_path / "made")[0]))
    assert told[0] == told[1]
    assert told[0] is not None
    away = told[0]["negative"]
    assert away.pop("low").startswith("sha256:")
    assert away == {"tags": ["round", "wet"], "age": 50.0}
    assert "secret" not in json.dumps(told)


@pytest.mark.parametrize(
    ("said", "words"),
    [
        ({"agee": 3}, r"no condition 'agee'\. Did you mean 'age'\? It knows: class \(class\)"),
        ({"class": "dogg"}, r"no class 'dogg'\. Did you mean 'dog'\? There are: cat, dog"),
        ({"colour": "rde"}, r"no class 'rde' of 'colour'\. Did you mean 'red'\?"),
        ({"tags": "wet|rund"}, r"no tag 'rund' of 'tags'\. Did you mean 'round'\?"),
        ({"tags": 3}, r"'tags' takes tags, such as round\|old; got 3"),
        ({"age": "old"}, r"'age' takes a number; got 'old'"),
        ({"age": "3,4"}, "'age' takes a number"),
        ({"age": np.nan}, "'age' takes a number"),
        ({"place": 3}, r"'place' takes 2 numbers, such as 1,2\.5; got '3'"),
        ({"low": "nothere.png"}, r"takes a picture, but there is no file 'nothere\.png'"),
        ({"low": PICTURE[0]}, r"an array of shape \(1, 4, 4\); got \(4, 4\)"),
        ({"low": 3}, "an array of shape"),
    ],
)
def test_what_cannot_be_said_is_refused_in_one_sentence(said: dict, words: str) -> None:
    with pytest.raises(UsageError, match=words) as caught:
        BUNDLE.sample(1, cond=said)
    assert "\n" not in str(caught.value)


def test_the_class_is_said_once_and_a_model_without_conditions_says_so() -> None:
    with pytest.raises(UsageError, match="'cat' and 'dog'; say it once"):
        BUNDLE.sample(1, class_name="cat", cond={"class": "dog"})
    bare = load(Path(__file__).with_name("first.safetensors"))
    with pytest.raises(UsageError, match=r"no condition 'age'. It knows: class \(class\)\."):
        bare.sample(1, cond={"age": 3})


def test_a_model_of_an_older_version_whose_class_is_a_number_makes_items() -> None:
    size = Declared("class", "numbers", (), Coding((3.0,), (2.0,), "vector"), (1,), (0.0,), (9.0,))
    net = NETS["mlp"]((2,), {"class": size.net}, width=8, layers=1)
    bundle = Bundle(
        Model(net, TARGETS["edm"]()), "mlp", "edm", "edm", CODINGS["vector"], (2,), (size,)
    )
    made = bundle.sample(2, cond={"class": "3"}, steps=2)
    assert made.labels == (None, None)
    assert made.settings["class"] is None
    assert made.settings["cond"] == {"class": 3.0}


def test_a_number_out_of_the_seen_range_is_warned_of_and_used() -> None:
    with pytest.warns(OrnsteinWarning, match=r"age=200 lies outside .* 3 to 92; .* a guess"):
        cond = BUNDLE.cond(1, {"age": 200})
    assert cond["age"].item() == pytest.approx(17.0)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        BUNDLE.cond(1, {"age": 92})


def test_a_file_of_the_first_format_makes_what_it_made_then() -> None:
    """The file and the numbers were written by version 0.1.0, which knew classes only."""
    bundle = load(Path(__file__).with_name("first.safetensors"))
    made = bundle.sample(3, seed=5)
    then = [[2.16037393, -6.29603243], [2.52578712, -10.21832752], [2.65559411, 3.1124413]]
    np.testing.assert_allclose(made.items, then, rtol=1e-5)
    assert made.labels == ("zero", "one", "two")
    assert bundle.fingerprint == "a0dbaddc561ef9b7"


def test_a_class_of_a_model_that_says_it_by_another_name_is_sent_there() -> None:
    """A metadata.csv has its own names, and --class is what people try first."""
    without = replace(BUNDLE, conditions=KNOWN[1:])
    with pytest.raises(UsageError, match=r"'red' is said by 'colour': use --cond 'colour=red'"):
        without.cond(2, {"class": "red"})
    with pytest.raises(UsageError, match=r"no 'cat'; its conditions are: colour \(class\), tags"):
        without.cond(2, {"class": "cat"})
