"""Importance-sampled levels: how much less the gradient of the bound varies, measured and drawn.

A small network learns the digits by the variational bound alone (L_vlb), with levels drawn by
their losses. Now and then the weights are held, and the gradient of a batch is taken many times,
over items, noise and levels: with even levels, and with important ones. The ratio of the two
variances is the fall (arXiv:2102.09672, section 3.3 and figure 4).
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from ornstein import build
from ornstein.config import resolve
from ornstein.data import open_data
from ornstein.training.loop import Trainer
from ornstein.viz.schedule import dress, new_figure

SETTINGS = (
    "net.name=unet",
    "net.size=tiny",
    "model.process=cosine",
    "model.target=v",
    "model.variance=learned",
    "objective.loss=vlb",
    "objective.law=steps",
    "objective.importance=true",
    "train.batch=64",
    "train.learning_rate=1e-3",
    "train.optimizer=adamw",
)


class Noise(NamedTuple):
    """Spread of the gradient of one batch at the weights of a step.

    Attributes:
        step: Steps done.
        even: Sum of the variances of all its numbers, levels drawn evenly.
        important: The same, levels drawn by their losses.
        apart: Distance of the two means, in standard errors of that distance.
    """

    step: int
    even: float
    important: float
    apart: float


def measure(steps: int, marks: int, draws: int, out: Path) -> str:
    """Train, measure at ``marks`` moments, draw the figure and return the table."""
    asked = resolve(sets=(*SETTINGS, f"train.steps={steps}")).config
    made = build.trainer(asked, open_data("digits"), torch.device("cpu"))
    losses, seen = [], []
    for mark in range(1, marks + 1):
        while made.done < mark * steps // marks:
            losses.append(made.step(steps).loss)
        seen.append(_noise(made, draws))
        print(_row(seen[-1]), flush=True)
    out.mkdir(parents=True, exist_ok=True)
    figure = _draw(np.array(losses), seen, made, out / "times.png")
    head = (
        "| step | variance, even levels | important levels | fall | means apart |\n" + "|---" * 5
    )
    return "\n".join([f"{head}|", *map(_row, seen), f"figure: {figure}"])


def _row(n: Noise) -> str:
    return (
        f"| {n.step:,} | {n.even:.3g} | {n.important:.3g} | {n.even / n.important:.1f} times | "
        f"{n.apart:.1f} s.e. |"
    )


def _noise(made: Trainer, draws: int) -> Noise:
    """Variance of a batch's gradient with and without importance, at the same weights."""
    important = made.objective
    gradients = []
    for objective in (replace(important, times=None), important):
        made.objective = objective
        gradients.append(torch.stack([_gradient(made, 10**6 + k) for k in range(draws)]))
    even, drawn = (float(each.var(0).sum()) for each in gradients)
    apart = float((gradients[0].mean(0) - gradients[1].mean(0)).norm())
    return Noise(made.done, even, drawn, apart / ((even + drawn) / draws) ** 0.5)


def _gradient(made: Trainer, step: int) -> Tensor:
    """The whole gradient of one batch as a vector."""
    made.model.zero_grad(set_to_none=True)
    made.backward(step)
    parts = [p.grad.flatten() for p in made.model.parameters() if p.grad is not None]
    return torch.cat(parts).double()


def _draw(losses: np.ndarray, seen: list[Noise], made: Trainer, path: Path) -> Path:
    """The loss of each step, the two variances, and how often the levels are met."""
    figure = new_figure((11, 3.2))
    left, middle, right = figure.subplots(1, 3)
    left.plot(np.arange(1, len(losses) + 1), losses, color="#9db7d5", linewidth=0.8)
    left.set_yscale("log")
    steps = [n.step for n in seen]
    middle.plot(steps, [n.even for n in seen], "o-", color="#c84830", label="even levels")
    middle.plot(steps, [n.important for n in seen], "o-", color="#1f5aa6", label="by their losses")
    middle.set_yscale("log")
    middle.legend(frameon=False, fontsize=8)
    assert made.objective.times is not None
    share = made.objective.times.shares().numpy() * len(made.objective.times.counts)
    right.step((np.arange(len(share)) + 0.5) / len(share), share, where="mid", color="#288654")
    right.axhline(1, color="#c84830", linewidth=0.8)
    right.set_yscale("log")
    dress(left, "L_vlb, nats/dim", "step")
    dress(middle, "variance of a batch's gradient", "step")
    dress(right, "how often a level is met, times even", "quantile of the level, 0 is clean")
    for axis in (left, middle, right):
        axis.tick_params(which="minor", labelsize=7)
    figure.savefig(path, dpi=120)
    return path
