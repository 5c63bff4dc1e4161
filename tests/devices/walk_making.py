"""Sampling, guidance, editing and likelihood on a foreign device; started by test_devices.py."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from foreign import HERE, agree
from walk_models import POINTS, mixture, shaken

from ornstein.bound import bound, decoder_of, measure_uncertainty, path_bound
from ornstein.bundle import Bundle, Sampler
from ornstein.core import (
    EDM,
    GRIDS,
    VARIANCES,
    EDMTarget,
    FiniteData,
    FreshNoise,
    ItemNoise,
    Level,
)  # fmt: skip
from ornstein.data.coding import Coding
from ornstein.data.conditions import class_of
from ornstein.edit import Blur, Grey, Linear, Shrink, slerp
from ornstein.editing import METHODS, Ask, fill, invert, restore, vary
from ornstein.guide import GUIDES, Guide
from ornstein.likelihood import bounded, cost, likelihood, log_density
from ornstein.model import Model
from ornstein.nets import MLP, UNet
from ornstein.nets.conditions import of_classes
from ornstein.solvers import SOLVERS, sample
from ornstein.solvers.adaptive import flow

PICTURES = Coding((120.0, 90.0), (60.0, 50.0), "image", 0.0, 255.0, 256)
ROW = Coding((5.0, -3.0, 0.5), (2.0, 0.1, 1.0), "vector")
WAY = Sampler("dpmpp-2m", "karras", None, 3)
LEVELS = GRIDS["karras"](EDM(), 5)[:-1]


def pictures(where: torch.device, learned: bool = False) -> Bundle:
    """A model of small pictures of three classes."""
    net = shaken(
        lambda: UNet(
            (2, 4, 6), of_classes(3), widths=[8], blocks=[1], attention=[0], outputs=1 + learned
        )
    )
    model = Model(net, EDMTarget(), learned=learned)
    known = (class_of(("a", "b", "c")),)
    return Bundle(model, "unet", "edm", "edm", PICTURES, (2, 4, 6), known, sampler=WAY).to(where)


def rows(where: torch.device) -> Bundle:
    """A model of three numbers."""
    model = Model(shaken(lambda: MLP((3,), width=8, layers=1)), EDMTarget())
    return Bundle(model, "mlp", "edm", "edm", ROW, (3,), sampler=WAY).to(where)


def picture(seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (2, 4, 6)).astype(np.uint8)


@pytest.mark.parametrize("name", SOLVERS)
def test_every_solver_walks_alike(name: str) -> None:
    """Levels on the CPU, as grids are, and for some on the device of x."""

    def work(where: torch.device) -> object:
        law, x = FiniteData(POINTS.to(where)), POINTS.to(where) * float(LEVELS.sigma[0])
        grids = (LEVELS, LEVELS.to(where)) if name in ("unipc-3", "sa-solver", "pc") else (LEVELS,)
        return [
            sample(law, x, levels, SOLVERS[name](), ItemNoise(0, range(3))) for levels in grids
        ]

    agree(work, 1e-9)


def test_noise_that_nobody_asked_to_be_repeatable_is_of_the_device() -> None:
    """So that the comparisons above say something: the device's own numbers are others."""
    x = torch.zeros(4, device=HERE)
    torch.manual_seed(0)
    here = FreshNoise().at(0)(x)
    torch.manual_seed(0)
    assert not torch.equal(here.cpu(), FreshNoise().at(0)(x.cpu()))


def test_the_flow_is_followed_to_a_tolerance_alike() -> None:
    def work(where: torch.device) -> object:
        law, t = (
            mixture(where),
            Level(torch.tensor([0.5, 0.6, 0.7]), torch.tensor([1.0, 0.9, 2.0])),
        )
        s = Level(torch.ones(3), torch.tensor([0.1, 0.2, 0.3]))
        near = [
            flow(law, POINTS.to(where), *ends, rtol=1e-3, atol=1e-3)
            for ends in ((t, s), (t.to(where), s.to(where)))
        ]
        return [part for end in near for part in (*end.parts, *end.errors, end.evaluations)]

    agree(work, 1e-9)


@pytest.mark.parametrize("kind", GUIDES)
def test_guided_samples_are_alike(kind: str) -> None:
    def work(where: torch.device) -> object:
        scale = 0.6 if kind == "cfg++" else 2.0
        way = replace(WAY, guidance=scale, guide=Guide(kind, 0.1, 20.0, rescale=0.5))
        made = replace(pictures(where), sampler=way).sample(3)
        return np.asarray(made.items, np.float64)

    agree(work, 1.0)


def test_a_learned_variance_walks_alike() -> None:
    def work(where: torch.device) -> object:
        made = pictures(where, learned=True).sample(2, solver="ddpm")
        return np.asarray(made.items, np.float64)

    agree(work, 1.0)


@pytest.mark.parametrize("method", METHODS)
def test_every_method_fills_alike(method: str) -> None:
    def work(where: torch.device) -> object:
        seen = np.arange(6) < 4
        done = fill(pictures(where), picture(), seen, Ask(2, method=method, sampler=WAY))
        return np.asarray(done.samples.items, np.float64), done.figures

    agree(work, 1.0)


@pytest.mark.parametrize(
    ("operator", "method"), [(Shrink(2), "project"), (Blur(1.0), "mmps"), (Grey(), "pigdm")]
)
def test_operators_are_undone_alike(operator: Linear, method: str) -> None:
    def work(where: torch.device) -> object:
        y = operator(torch.as_tensor(picture().astype(np.float32))[None])[0].numpy()
        done = restore(pictures(where), y, operator, Ask(2, method=method, sampler=WAY))
        return np.asarray(done.samples.items, np.float64), done.figures

    agree(work, 1.0)


def test_an_operator_may_hold_a_tensor_of_the_models_device() -> None:
    def work(where: torch.device) -> object:
        weight = torch.tensor([0.3, 0.7], device=where).reshape(1, 2, 1, 1)
        y = np.full((1, 4, 6), 100.0, np.float32)
        done = restore(pictures(where), y, lambda x: (x * weight).sum(1, keepdim=True), Ask(1))
        return done.figures

    agree(work, 1.0)


def test_items_are_varied_and_inverted_alike() -> None:
    def work(where: torch.device) -> object:
        bundle, ask = rows(where), Ask(2, sampler=WAY)
        item = np.array([6.25, -3.1, 0.75], np.float32)
        done = vary(bundle, item, 0.5, ask), invert(bundle, item, ask)
        x = POINTS.to(where)
        return [(d.samples.items, d.figures) for d in done], slerp(x, x.flip(0), 0.3)

    agree(work, 1e-3)


def test_likelihoods_are_alike() -> None:
    def work(where: torch.device) -> object:
        items = np.array([[6.25, -3.1, 0.75], [4.0, -2.9, 1.5]], np.float32)
        probed = likelihood(rows(where), items, probes=2, tolerance=0.1)
        assert cost(rows(where), 2).seconds >= 0
        return probed.items, probed.probe_errors, probed.solver

    agree(work, 1e-3)


def test_the_density_of_an_exact_law_is_alike() -> None:
    def work(where: torch.device) -> object:
        ends = Level(1.0, 0.05), Level(1.0, 20.0)
        return tuple(log_density(mixture(where), POINTS[:1].to(where), *ends, tolerance=0.1))

    agree(work, 1e-6)


def test_bounds_are_alike() -> None:
    def work(where: torch.device) -> object:
        raw = bounded(rows(where), np.array([[6.25, -3.1, 0.75]], np.float32), steps=8)
        levels = bounded(pictures(where), picture()[None], steps=6)
        dequantised = bounded(pictures(where), picture()[None], steps=6, dequantised=True)
        return raw.items, levels.items, dequantised.items

    agree(work, 1e-3)


@pytest.mark.parametrize("variance", VARIANCES)
def test_the_bound_of_every_variance_is_alike(variance: str) -> None:
    def work(where: torch.device) -> object:
        bundle = pictures(where, learned=variance == "learned")
        x0 = PICTURES.encode(torch.as_tensor(picture())[None].double()).to(where)
        if variance == "analytic":
            model = bundle.model
            model.uncertainty = measure_uncertainty(model.given({}), x0, [-4.0, 0.0, 4.0])
        levels, ask = GRIDS["log-snr"](EDM(), 3), {"variance": variance}
        found = bound(bundle.denoiser(), x0, levels, decoder=decoder_of(PICTURES), **ask)
        some = bound(bundle.denoiser(), x0, levels, draws=2, **ask)
        path = path_bound(bundle.denoiser(), x0, levels, **ask)
        return found.items, found.terms, some.items, path.items

    agree(work, 1e-3)
