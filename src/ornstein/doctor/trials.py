"""Checks by trying: overfit one batch, an exact denoiser for the sampler, half precision."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator

import torch
from torch import Tensor

from ornstein import build
from ornstein.core import Gaussian, ItemNoise, Level, Principal
from ornstein.doctor.patient import Finding, Patient
from ornstein.solvers import SOLVERS, sample
from ornstein.training.loop import Trainer
from ornstein.training.settings import slower

OVERFIT_STEPS, OVERFIT_SECONDS, OVERFIT_RATE = 60, 10.0, 1e-3
FALLEN = 0.9
RATE_STEPS, RATE_SECONDS = 60, 15.0
LOWER, TOO_HIGH = 0.03, 0.05  # share of the rate; what may be lost by the whole, of the loss
POINTS, AXES, OFF = 4096, 16, 0.1
HALVES = {"bfloat16": torch.bfloat16, "float16": torch.float16}
ROUGH = 0.05
STRONG = 5.0


def one_batch(patient: Patient) -> Iterator[Finding]:
    """Whether a copy of the model can learn one batch: else gradients do not reach its weights."""
    config, data = patient.config, patient.data
    if config is None or data is None:
        return
    few = min(16, config.train.batch or 16, len(data.train))
    trial = build.trainer(config.changed("train", batch=few), data, patient.device)
    if patient.checkpoint is not None:
        trial.model.load_state_dict(patient.checkpoint.tensors["model"])
    weights = [p for p in trial.model.parameters() if p.requires_grad]
    if not weights:
        return
    optimizer = torch.optim.Adam(weights, lr=OVERFIT_RATE)
    batch = trial.batches(0)
    seen: list[float] = []
    end = time.monotonic() + min(OVERFIT_SECONDS, patient.left)
    while len(seen) < OVERFIT_STEPS and (len(seen) < 10 or time.monotonic() < end):
        optimizer.zero_grad()
        torch.manual_seed(0)
        loss = trial.loss(batch.clean, batch.eps, batch.u, batch.cond).mean()
        if loss.requires_grad:
            loss.backward()
            optimizer.step()
        seen.append(float(loss.detach()))
    fallen = min(seen[1:]) / seen[0] if seen[0] > 0 else 0.0
    if not fallen < FALLEN:
        yield Finding(
            f"{len(seen)} steps on one batch of {few} bring its loss from {seen[0]:.4g} to "
            f"{min(seen[1:]):.4g} only",
            f"below {FALLEN:g} of where it began",
            "look for layers whose output does not matter (zeros, a wrong scale) or whose weights "
            "get no gradient: 'ornstein show' lists them",
        )


def rate(patient: Patient) -> Iterator[Finding]:
    """Whether a short training from the start does better with a small part of the rate."""
    if patient.config is None or patient.data is None:
        return
    trials = [_from_the_start(patient, share) for share in (1.0, LOWER)]
    end, seen = time.monotonic() + min(RATE_SECONDS, patient.left), list[list[float]]()
    while len(seen) < RATE_STEPS and (len(seen) < 8 or time.monotonic() < end):
        seen.append([trial.step(10**6).loss for trial in trials])
    last = seen[-len(seen) // 4 :]
    own, less = (sum(each) / len(last) for each in zip(*last, strict=True))
    if not own < less + TOO_HIGH * abs(less):  # a bound in nats may be below 0
        peak = patient.config.train.learning_rate or 0.0
        yield Finding(
            f"a short training from the start ends at a loss of {own:.4g} with its rate of "
            f"{peak:.2g}, and at {less:.4g} with {LOWER:.2g} of it",
            "lower with its own rate",
            f"in a new run: {slower(patient.config.train, LOWER)}",
        )


def _from_the_start(patient: Patient, share: float) -> Trainer:
    """A training with a share of its rate; items and noise are the same at any rate."""
    assert patient.config is not None
    assert patient.data is not None
    train = patient.config.train
    config = patient.config.changed(
        "train",
        learning_rate=share * (train.learning_rate or 1e-3),
        matrix_rate=share * train.matrix_rate,
        warmup=0.0,
        decay=0.0,
    )
    return build.trainer(config, patient.data, patient.device)


def sampler(patient: Patient) -> Iterator[Finding]:
    """The way of sampling on a law whose denoiser is exact: what is off is the sampler's own."""
    bundle = patient.bundle
    if bundle is None:
        return
    way = bundle.how()
    levels = bundle.levels(way)
    variances = _variances(patient)
    law = Gaussian(torch.zeros(len(variances)), variances.diag())
    noise = ItemNoise(0, range(POINTS))
    start = noise.start((law.dim,)).double() * levels.sigma[0]
    made = sample(law, start, levels, SOLVERS[way.solver](), noise)
    off = made.std(0) / variances.sqrt() - 1
    worst = float(off[off.abs().argmax()])
    if not abs(worst) < OFF:
        yield Finding(
            f"{way.solver} in {way.steps} steps on '{way.grid}' makes an exact Gaussian of these "
            f"data {abs(worst):.0%} too {'wide' if worst > 0 else 'narrow'}",
            f"within {OFF:.0%}",
            "--steps 20 or more, or 'ornstein tune' to find solver and levels for so few",
        )


def _variances(patient: Patient) -> Tensor:
    """Variances of the data along their largest axes; 1 where there are no data."""
    if patient.data is None:
        return torch.ones(2, dtype=torch.float64)
    found = Principal.fit(patient.items[:2048], AXES).variances
    if len(found) == 0:  # all items are the same
        return torch.ones(2, dtype=torch.float64)
    return found[found > 1e-6 * found[0]]


def half(patient: Patient) -> Iterator[Finding]:
    """The network's answers in half precision against those in float32."""
    bundle = patient.bundle
    if bundle is None:
        return
    marks = torch.linspace(*bundle.make_process().span, 4, dtype=torch.float64)
    noise = ItemNoise(0, range(8))
    eps = noise.start(bundle.shape).to(bundle.device)
    clean = eps.flip(0) if patient.data is None else patient.items[:8].to(eps)
    eps = eps[: len(clean)]
    told = bundle.cond(len(clean)).items()
    denoise = bundle.denoiser({name: value.to(eps.device) for name, value in told})
    for name, kind in HALVES.items():
        worst = 0.0
        for mark in marks:
            level = Level.from_log_snr(mark)
            x = level.mix(clean, eps)
            with torch.no_grad():
                whole = denoise(x, level).x0
                with torch.autocast(x.device.type, dtype=kind):
                    less = denoise(x, level).x0.float()
            off = float((less - whole).square().mean() / whole.square().mean().clamp(min=1e-12))
            worst = max(worst, math.sqrt(off)) if math.isfinite(off) else math.inf
        if worst > ROUGH:
            said = "not finite" if math.isinf(worst) else f"{worst:.1%} off"
            yield Finding(
                f"in {name} the answers of the network are {said}",
                f"within {ROUGH:.0%} of those in float32",
                "--set precision=float32, or --set weight_decay=0.01 against large weights",
            )


def guidance(patient: Patient) -> Iterator[Finding]:
    """Guidance that is too strong, or that was never learned."""
    config = patient.config
    scale = patient.bundle.sampler.guidance if patient.bundle else 1.0
    if scale > STRONG:
        yield Finding(
            f"samples are guided with scale {scale:g}",
            f"1 (off) to {STRONG:g}; 2 at sigma/alpha from 0.3 to 3 is the default",
            "--guidance 2, or sample.guidance=2 in the training",
        )
    asked = (config.sample.guidance or 1.0) if config else 1.0
    told = patient.data is not None and bool(patient.data.conditions)
    if config and told and asked != 1 and config.train.condition_dropout == 0:
        yield Finding(
            f"guidance of {asked:g} is asked for, but no condition was ever hidden in training",
            "condition_dropout of about 0.1, or guidance 1",
            "in a new run: --set condition_dropout=0.1 --name NAME, or --set sample.guidance=1 "
            "--name NAME",
        )
