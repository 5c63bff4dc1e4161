"""C8, C9: a trained model led by a negative condition, by a weaker model, by a classifier."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from makers import CODINGS, make_bundle
from torch import Tensor

from ornstein.bundle import Bundle, Recogniser, Sampler, load, load_any
from ornstein.bundle.tuning import tuned
from ornstein.core import EDM, EDMTarget, Level, generator
from ornstein.data.coding import Coding
from ornstein.data.conditions import Declared
from ornstein.editing import Ask, restore
from ornstein.errors import ModelFileError, UsageError
from ornstein.guide import Guide
from ornstein.model import Classifier, Model
from ornstein.nets import NETS
from ornstein.nets.encoder import Encoder

LEVEL = EDM()(0.5)
X = torch.randn(4, 2, generator=generator(0))
ZERO, ONE, OPEN = (torch.full((4,), k) for k in (0, 1, 3))


def recogniser(
    classes: tuple[str, ...] = ("zero", "one", "two"), kind: str = "vector", seed: int = 5
) -> Recogniser:
    shape = make_bundle(kind).shape
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        net = Encoder(shape, len(classes), widths=(8,), blocks=(1,), attention=())
        for parameter in net.parameters():
            if parameter.ndim > 1:
                torch.nn.init.normal_(parameter, std=0.4)
    return Recogniser(Classifier(net), CODINGS[kind], shape, classes, "raw", {"data": "toy"})


def way(scale: float, **manner: object) -> Sampler:
    return Sampler(guidance=scale, guide=Guide(**manner))  # type: ignore[arg-type]


def x0(bundle: Bundle, cond: dict[str, Tensor] | None, sampler: Sampler | None) -> Tensor:
    return bundle.denoiser(cond, sampler)(X, LEVEL).x0


def bare(bundle: Bundle, cond: dict[str, Tensor]) -> Tensor:
    """The model's own answer, asked without anything between."""
    return bundle.model(X, LEVEL, cond).x0


def test_c8_a_negative_condition_is_what_the_answer_moves_away_from() -> None:
    bundle = make_bundle("vector")
    away = bundle.led(negative={"class": "one"})
    expected = bare(bundle, {"class": ONE}).lerp(bare(bundle, {"class": ZERO}), 1.7)
    torch.testing.assert_close(x0(away, {"class": ZERO}, way(1.7)), expected)
    usual = bare(bundle, {"class": OPEN}).lerp(bare(bundle, {"class": ZERO}), 1.7)
    torch.testing.assert_close(x0(bundle, {"class": ZERO}, way(1.7)), usual)


def test_c8_away_from_something_where_nothing_else_is_said() -> None:
    """The answer goes from the negative condition to "nothing said" and beyond."""
    bundle = make_bundle("vector")
    away = bundle.led(negative={"class": "one"})
    expected = bare(bundle, {"class": ONE}).lerp(bare(bundle, {"class": OPEN}), 1.7)
    torch.testing.assert_close(x0(away, {}, way(1.7)), expected)
    free, made = (b.sample(3, cond={"class": ""}, steps=4, guidance=2.0) for b in (bundle, away))
    assert (free.evaluations, made.evaluations) == (4, 8)
    assert abs(made.items - free.items).min() > 1e-4
    # An edit differentiates the answer, and asks for rows of its own number.
    ask = Ask(3, method="mmps", sampler=bundle.how(steps=4, guidance=2.0))
    y = np.array([0.3], np.float32)
    free, made = (
        restore(b, y, lambda x: x.sum(1, keepdim=True), ask).samples for b in (bundle, away)
    )
    assert (free.settings["guidance"], made.settings["guidance"]) == (1.0, 2.0)
    assert abs(made.items - free.items).min() > 1e-4


def test_c8_autoguidance_moves_away_from_a_weaker_model_under_the_same_condition() -> None:
    bundle, weak = make_bundle("vector"), make_bundle("vector", seed=9)
    expected = bare(weak, {"class": ZERO}).lerp(bare(bundle, {"class": ZERO}), 2.0)
    torch.testing.assert_close(x0(bundle.led(by=weak), {"class": ZERO}, way(2.0)), expected)
    # It asks for no conditions at all.
    plain, poor = (make_bundle("vector", classes=(), seed=k) for k in (1, 2))
    expected = bare(poor, {}).lerp(bare(plain, {}), 2.0)
    torch.testing.assert_close(x0(plain.led(by=poor), {}, way(2.0)), expected)
    assert plain.led(by=poor).sample(2, steps=3, guidance=2.0).evaluations == 6


def pull(judge: Recogniser, labels: Tensor) -> Tensor:
    x = X.clone().requires_grad_()
    chosen = judge.model(x, LEVEL)[torch.arange(4), labels].sum()
    (gradient,) = torch.autograd.grad(chosen, x)
    return gradient * (LEVEL.sigma**2 / LEVEL.alpha).float()


def test_c9_a_classifier_gives_classes_to_a_model_that_has_none() -> None:
    judge, bundle = recogniser(), make_bundle("vector", classes=())
    led = bundle.led(by=judge)
    assert led.classes == ("zero", "one", "two")
    expected = bare(bundle, {}) + 1.5 * pull(judge, ONE)
    torch.testing.assert_close(x0(led, {"class": ONE}, way(1.5)), expected)
    made = led.sample(4, class_name="two", steps=3, guidance=2.0)
    assert made.labels == ("two",) * 4
    assert made.settings["guided_by"] == judge.fingerprint
    assert made.evaluations == 3
    # What only the classifier knows is no condition of the network.
    torch.testing.assert_close(x0(led, {"class": ONE}, None), bare(bundle, {}))


def test_what_a_classifier_lends_stays_out_of_the_model(tmp_path: Path) -> None:
    """Its classes were taken for the model's own, by the file and by the next leader."""
    judge, bundle = recogniser(), make_bundle("vector", classes=())
    led = bundle.led(by=judge)
    assert load(led.save(tmp_path / "m.safetensors")).conditions == ()
    assert led.led().classes == ()
    away = led.led(by=make_bundle("vector", classes=(), seed=1))
    assert (away.classes, away.leads.judge) == ((), None)
    twice = led.led(by=judge)
    expected = x0(led, {"class": ONE}, way(1.5))
    torch.testing.assert_close(x0(twice, {"class": ONE}, way(1.5)), expected)
    assert twice.sample(2, class_name="two", steps=2, guidance=2.0).labels == ("two", "two")


def test_conditions_of_its_own_are_heard_beside_lent_classes() -> None:
    size = Declared("size", "numbers", (), Coding((0.0,), (1.0,), "vector"), (1,), (0.0,), (9.0,))
    plain = make_bundle("vector", classes=())
    net = NETS["mlp"]((2,), {"size": size.net}, width=16, layers=2)
    for parameter in net.parameters():
        torch.nn.init.normal_(parameter, std=0.3, generator=generator(3))
    model = Model(net, EDMTarget())
    led = dataclasses.replace(plain, model=model, conditions=(size,)).led(by=recogniser())
    cond = {"size": torch.full((4, 1), 2.0)}
    assert (bare(led, cond) - bare(led, {})).abs().max() > 1e-2
    torch.testing.assert_close(x0(led, {**cond, "class": ONE}, None), bare(led, cond))


@pytest.mark.parametrize("method", ["mmps", "pigdm", "dps"])
def test_c9_a_classifier_leads_an_edit(method: str) -> None:
    bundle = make_bundle("image", classes=())
    y = np.full((1, 9, 12), 60.0, np.float32)

    def made(model: Bundle, n: int, name: str | None) -> np.ndarray:
        ask = Ask(n, 0, name, model.how(steps=3, guidance=50.0), method)
        if model is bundle:
            ask = dataclasses.replace(ask, sampler=model.how(steps=3))
        return restore(model, y, lambda x: x / 2, ask, std=20.0).samples.items

    led = bundle.led(by=recogniser(kind="image"))
    one = made(led, 2, "one")
    assert (one != made(bundle, 2, None)).any()
    assert (one != made(led, 2, "two")).any()
    assert (one[:1] == made(led, 1, "one")).all()


def test_c9_a_model_that_knows_the_class_is_led_beyond_it() -> None:
    judge, bundle = recogniser(), make_bundle("vector")
    led = bundle.led(by=judge)
    own = bare(bundle, {"class": ONE})
    torch.testing.assert_close(x0(led, {"class": ONE}, way(1.0)), own)
    torch.testing.assert_close(x0(led, {"class": ONE}, way(3.0)), own + 2 * pull(judge, ONE))
    outside = way(3.0, low=2 * float(LEVEL.rho))
    torch.testing.assert_close(x0(led, {"class": ONE}, outside), own)


def test_c9_a_classifier_leaves_items_alone_whose_class_is_not_said() -> None:
    led = make_bundle("vector").led(by=recogniser())
    torch.testing.assert_close(x0(led, {"class": OPEN}, way(3.0)), bare(led, {"class": OPEN}))
    some = torch.tensor([0, 3, 1, 3])
    said, unsaid = x0(led, {"class": some % 3}, way(3.0)), bare(led, {"class": OPEN})
    expected = torch.where(some[:, None] < 3, said, unsaid)
    torch.testing.assert_close(x0(led, {"class": some}, way(3.0)), expected)


def test_the_classifier_goes_where_the_model_is() -> None:
    led = make_bundle("vector", classes=()).led(by=recogniser()).to("meta")
    assert led.leads.judge is not None
    led.denoiser({"class": ONE}, way(1.5))
    assert next(led.leads.judge.model.parameters()).device == led.device


def test_the_manner_of_guidance_reaches_the_denoiser_and_the_settings() -> None:
    bundle = make_bundle("vector")
    plain = bundle.sample(3, steps=4, guidance=3.0)
    assert "guide" not in plain.settings
    for guide in (Guide("apg"), Guide("cfg++"), Guide(high=1.0), Guide(rescale=0.7)):
        made = bundle.sample(
            3, steps=4, guidance=0.9 if guide.kind == "cfg++" else 3.0, guide=guide
        )
        assert abs(made.items - plain.items).max() > 1e-3
        kept = made.settings["guide"]
        assert kept == {**dataclasses.asdict(guide), "high": None if guide.high > 9 else 1.0}
    off = bundle.sample(3, steps=4, guidance=3.0, guide=Guide(low=1e3, high=1e4))
    one = bundle.sample(3, steps=4, guidance=1.0)
    assert abs(off.items - one.items).max() < 1e-5


def test_cfg_plus_plus_is_refused_where_it_cannot_lead() -> None:
    """Its scale of 1 is not off, which is what was asked before it was refused."""
    guide, bundle = Guide("cfg++"), make_bundle("vector")
    alone = make_bundle("vector", classes=())
    never = dataclasses.replace(bundle, provenance={"condition_dropout": 0.0})
    for model, scale, words in (
        (never, 1.0, "never saw an item without its class"),
        (alone, 1.0, r"no classes to be guided to.*leave cfg\+\+ out"),
        (bundle, 7.0, r"cfg\+\+ is a number from 0 to 1, such as 0\.6; got 7"),
    ):
        with pytest.raises(UsageError, match=words):
            model.sample(1, steps=2, guidance=scale, guide=guide)
    assert never.sample(1, steps=2, guidance=1.0).settings["guidance"] == 1
    weak = alone.led(by=make_bundle("vector", classes=(), seed=1))
    assert weak.sample(1, steps=2, guidance=1.0, guide=guide).evaluations == 4


def test_other_data_other_classes_or_two_leaders_are_refused() -> None:
    bundle = make_bundle("vector")
    with pytest.raises(UsageError, match="a model of 2 cannot be guided by one of 1x21"):
        bundle.led(by=make_bundle("series"))
    with pytest.raises(UsageError, match="they must be the same"):
        bundle.led(by=recogniser(("a", "b", "c")))
    with pytest.raises(UsageError, match="ask for one of the two"):
        bundle.led(negative={"class": "one"}, by=recogniser())
    with pytest.raises(UsageError, match="no class 'tow'"):
        bundle.led(negative={"class": "tow"})
    with pytest.raises(UsageError, match="no classes to be guided to"):
        make_bundle("vector", classes=()).sample(1, steps=2, guidance=2.0)
    with pytest.raises(UsageError, match=r"cfg\+\+ follows from the grid"):
        tuned(bundle, [way(0.5, kind="cfg++")])


@pytest.mark.parametrize("kind", CODINGS)
def test_a_classifier_comes_back_whole_from_its_file_and_is_no_model(
    kind: str, tmp_path: object
) -> None:
    judge = recogniser(kind=kind)
    path = judge.save(f"{tmp_path}/judge.safetensors")
    again = load_any(path)
    assert isinstance(again, Recogniser)
    assert (again.classes, again.shape, again.coding) == (
        judge.classes, judge.shape, judge.coding,
    )  # fmt: skip
    assert again.fingerprint == judge.fingerprint
    x = torch.randn(3, *judge.shape, generator=generator(1))
    level = Level(torch.tensor(1.0), torch.tensor(0.7))
    torch.testing.assert_close(again.model(x, level), judge.model(x, level))
    with pytest.raises(UsageError, match="is a classifier of noisy items and makes nothing"):
        load(path)
    damaged = bytearray(path.read_bytes())
    damaged[-3] ^= 4
    path.write_bytes(damaged)
    with pytest.raises(ModelFileError, match="is damaged"):
        load_any(path)


@pytest.mark.parametrize("solver", ["ddim", "heun", "dpm-3", "dpm-2-ancestral", "pc"])
def test_the_evaluations_told_are_those_that_were_made(
    solver: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[int] = []
    bundle = make_bundle("vector", sampler=Sampler(guide=Guide(low=0.3, high=3.0)))
    walk = bundle.walk(16, sampler=bundle.how(solver=solver, steps=12, guidance=2.0))
    monkeypatch.setattr(bundle.model.net, "forward", counted(bundle.model.net.forward, calls))
    for _ in walk.steps:
        pass
    # Two answers are one call of twice the rows. A step to clean data asks once.
    assert walk.evaluations == sum(calls) / 16
    assert 12 < walk.evaluations < 72


def counted(forward: Callable[..., Tensor], calls: list[int]) -> Callable[..., Tensor]:
    def call(x: Tensor, *rest: Any) -> Tensor:  # noqa: ANN401 - handed on
        calls.append(len(x))
        return forward(x, *rest)

    return call


def test_an_edited_picture_says_what_led_it_as_a_sample_does() -> None:
    bundle, weak = make_bundle("vector"), make_bundle("vector", seed=1)
    y = np.zeros((1,), np.float32)
    for led, key in ((bundle.led(negative={"class": "one"}), "negative"),
                     (bundle.led(by=weak), "guided_by")):  # fmt: skip
        ask = Ask(1, sampler=led.how(steps=2, guidance=2.0))
        edited = restore(led, y, lambda x: x.sum(1, keepdim=True), ask).samples.settings
        drawn = led.sample(1, steps=2, guidance=2.0).settings
        assert edited[key] == drawn[key]
