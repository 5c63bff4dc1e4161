"""Learned and measured variances travel with the model and are what it samples by (B3, B10)."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from makers import CODINGS, make_bundle
from test_model_file import rewritten, set_at
from torch import Tensor, nn

from ornstein import build
from ornstein.bundle import Bundle, Sampler, load
from ornstein.config import resolve
from ornstein.core import TARGETS, Level, Uncertainty
from ornstein.data import open_data
from ornstein.errors import ConfigError, ModelFileError, UsageError
from ornstein.model import Model
from ornstein.nets import NETS
from ornstein.solvers import SOLVERS

LEVEL = Level(torch.tensor(0.6), torch.tensor(0.8))


def learned(kind: str) -> Bundle:
    """The bundle of ``make_bundle`` whose network has a second output."""
    plain = make_bundle(kind)
    options = {**plain.model.net.options(), "outputs": 2}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        net = NETS[plain.net](**options)
        for parameter in net.parameters():
            if parameter.ndim > 1:
                nn.init.normal_(parameter, std=0.2)
    return replace(plain, model=Model(net, TARGETS["edm"](), learned=True))


@pytest.mark.parametrize("kind", CODINGS)
def test_b10_a_learned_variance_of_any_shape_survives_the_file_and_is_used(
    kind: str, tmp_path: Path
) -> None:
    bundle = learned(kind)
    found = load(bundle.save(tmp_path / "m.safetensors"))
    x = torch.randn(3, *bundle.shape, generator=torch.Generator().manual_seed(0))
    one, other = (b.model(x, LEVEL) for b in (bundle, found))
    assert one.interpolation is not None
    assert one.interpolation.shape == x.shape == one.x0.shape
    assert bool(((one.interpolation > 0) & (one.interpolation < 1)).all())
    assert float(one.interpolation.detach().std()) > 0.01
    assert torch.equal(one.interpolation, other.interpolation)
    own, large = (
        found.sample(2, solver=name, grid="uniform", steps=5).items
        for name in ("ddpm", "ddpm-large")
    )
    assert not (own == large).all()


class FirstHalf(nn.Module):
    """A network without its second output."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net

    def forward(self, *asked: Any) -> Tensor:  # noqa: ANN401 - x, noise and conditions
        answer: Tensor = self.net(*asked)
        return answer.chunk(2, dim=1)[0]


@pytest.mark.parametrize("solver", SOLVERS)
def test_b10_a_model_of_learned_variance_is_walked_by_every_solver(solver: str) -> None:
    """A peer's class for it ends in a NameError with DDIM. The variance is ddpm's alone."""
    bundle = learned("vector")
    plain = replace(bundle, model=Model(FirstHalf(bundle.model.net), TARGETS["edm"]()))
    both = [b.sample(3, solver=solver, grid="log-snr", steps=4).items for b in (bundle, plain)]
    assert np.isfinite(both[0]).all()
    assert np.array_equal(*both) == (solver != "ddpm")


def test_b3_a_measured_variance_survives_the_file_and_is_used(tmp_path: Path) -> None:
    bundle = make_bundle("vector")
    before = bundle.sample(3, solver="ddpm", steps=5).items
    bundle.model.uncertainty = Uncertainty((-9.0, 1.5, 9.0), (1.0, 0.5, 0.25))
    found = load(bundle.save(tmp_path / "m.safetensors"))
    assert found.model.uncertainty == bundle.model.uncertainty
    after = found.sample(3, solver="ddpm", steps=5).items
    assert (after == bundle.sample(3, solver="ddpm", steps=5).items).all()
    assert not (after == before).any()
    for change in (
        set_at("uncertainty", "ratio", to=[1.0]),
        set_at("uncertainty", "log_snr", to=[1.0, 0.0, 2.0]),
        set_at("learned", to=True),
    ):
        with pytest.raises(ModelFileError):
            load(rewritten(tmp_path / "m.safetensors", change))


def test_guidance_keeps_the_variance_of_the_conditional_answer() -> None:
    bundle = learned("image")
    x = torch.randn(3, *bundle.shape, generator=torch.Generator().manual_seed(0))
    labels = torch.tensor([0, 1, 2])
    sure, guided = (
        bundle.denoiser({"class": labels}, Sampler(guidance=g))(x, LEVEL) for g in (1.0, 2.0)
    )
    torch.testing.assert_close(guided.interpolation, sure.interpolation)


class Own(nn.Module):
    """Anybody's network, with as many channels in its answer as told."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.body = nn.Conv2d(3, channels, 3, padding=1)

    def forward(self, x: Tensor, noise: Tensor, cond: object) -> Tensor:
        return self.body(x)


def test_any_network_of_twice_the_channels_learns_a_variance_and_others_are_refused() -> None:
    x = torch.randn(2, 3, 5, 7)
    answer = Model(Own(6), TARGETS["v"](), learned=True)(x, LEVEL)
    assert answer.interpolation is not None
    assert answer.interpolation.shape == answer.x0.shape == x.shape
    for channels, asked in ((3, True), (6, False), (4, True)):
        with pytest.raises(UsageError, match="channels"):
            Model(Own(channels), TARGETS["v"](), learned=asked)(x, LEVEL)


@pytest.mark.parametrize("outputs", [1, 2])
@pytest.mark.parametrize(
    ("name", "shape", "options"),
    [
        ("unet", (2, 9, 12), {"widths": [8, 16], "blocks": [1, 1], "attention": [1], "patch": 2}),
        ("unet", (1, 21), {"widths": [8], "blocks": [1], "attention": []}),
        ("mlp", (5,), {"width": 8, "layers": 1}),
    ],
)
def test_a_network_answers_as_many_arrays_as_it_is_told(
    name: str, shape: tuple[int, ...], options: dict[str, object], outputs: int
) -> None:
    net = NETS[name](shape, **options, outputs=outputs)
    again = NETS[name](**json.loads(json.dumps(net.options())))
    answer = again(torch.randn(2, *shape), torch.zeros(2), {})
    assert answer.shape == (2, outputs * shape[0], *shape[1:])


def test_settings_build_a_model_that_learns_its_variance() -> None:
    data = open_data("two-moons", limit=200)
    asked = resolve(
        recipe="iddpm",
        sets=("net.name=mlp", "net.size=tiny", "train.batch=32", "train.learning_rate=1e-3"),
    ).config
    made = build.trainer(asked, data, torch.device("cpu"))
    assert made.model.learned
    assert made.objective.bound is not None
    assert made.objective.bound.chain.steps == 4000
    head = made.model.net.out.weight
    for _ in range(3):
        made.step(10)
    assert bool((head[:2] != 0).any())
    assert bool((head[2:] != 0).any())  # the half that says the variance is trained too


@pytest.mark.parametrize(
    ("sets", "words"),
    [
        (("model.variance=learned",), "objective.loss = 'hybrid' too"),
        (("objective.loss=vlb",), "objective.law = 'steps'"),
        (("model.variance=lerned",), "Did you mean 'learned'"),
        (("net.name=mlp", "net.options.outputs=2"), "outputs"),
    ],
)
def test_settings_that_would_not_train_the_variance_are_refused(
    sets: tuple[str, ...], words: str
) -> None:
    with pytest.raises(ConfigError, match=words):
        resolve(sets=sets)


@pytest.mark.parametrize("sets", [("train.batch=50",), ("train.batch=200", "train.accumulate=4")])
def test_the_error_is_measured_on_no_more_items_at_a_time_than_training_has(
    sets: tuple[str, ...],
) -> None:
    data = open_data("two-moons", limit=600)
    how = ("net.name=mlp", "net.size=tiny", "model.variance=analytic")
    whole, some = (resolve(sets=(*how, *more)).config for more in ((), sets))
    fresh, rows = build.denoiser(whole, data), []
    torch.nn.init.normal_(list(fresh.parameters())[-2])
    truth = build.uncertainty(whole, fresh, data)
    fresh.net.register_forward_hook(lambda net, args, out: rows.append(len(out)))
    found = build.uncertainty(some, fresh, data)
    assert max(rows) == 50
    assert sum(rows) == 25 * 256
    assert found.log_snr == truth.log_snr
    assert found.ratio == pytest.approx(truth.ratio, rel=1e-6)
    assert truth.ratio != pytest.approx([1] * 25, rel=0.2)


def test_the_measured_error_of_a_model_is_near_that_of_its_loss() -> None:
    data = open_data("two-moons", limit=600)
    asked = resolve(sets=("net.name=mlp", "net.size=tiny", "model.variance=analytic")).config
    fresh = build.model(asked, data)  # its network answers 0: x0 is alpha·x/(alpha² + sigma²)
    known = build.uncertainty(asked, fresh, data)
    # For standardised data, whatever their law, that estimate errs by sigma²/(alpha² + sigma²).
    torch.testing.assert_close(torch.tensor(known.ratio), torch.ones(25), rtol=0.15, atol=0)
