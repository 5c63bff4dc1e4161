"""What a training says before it starts: on what, how, and what it will cost."""

from __future__ import annotations

import torch

from ornstein import build
from ornstein.data import Dataset, left_in_noise, prior_report
from ornstein.data.conditions import CLASS
from ornstein.planning import Plan
from ornstein.run import Progress, Run
from ornstein.training.memory import total_mb
from ornstein.training.ranks import Share

TIGHT = 0.8  # of the memory there is: from there on it is said what helps


def introduce(
    say: Progress, run: Run, data: Dataset, plan: Plan, device: torch.device, ranks: Share
) -> None:
    """Say what will be trained on what, and what it will cost."""
    config, net = plan.config, plan.config.net
    shape = "x".join(map(str, data.shape))
    labels = f", {len(data.classes)} classes" if data.labels is not None else ""
    say.note(
        f"run        {run.folder}; Ctrl-C saves and stops, the same command later goes on with it"
    )
    say.note(
        f"data       {data.name}: {len(data.train):,} {data.coding.noun} of {shape}{labels}, "
        f"{len(data.heldout):,} held out"
    )
    for remark in data.notes:
        say.note(f"           {remark}")
    told = [f"{c.name} ({c.kind})" for c in data.conditions if c.name != CLASS]
    if told:
        say.note(f"conditions {', '.join(told)}; choose with --set data.conditions=[...]")
    size = f" {net.size}" if net.size else ""
    aim = f"predicts {config.model.target}"
    if build.recognises(config):
        aim = f"tells the {len(data.classes)} classes of noisy items"
    say.note(
        f"model      {net.name}{size}, {plan.parameters / 1e6:.2f} M weights; {aim}, levels of "
        f"{config.model.process}"
    )
    left = left_in_noise(data, config.model.make_process())
    prior, *warning = prior_report(config.model.process, left, data.dims)
    for line in (f"prior      {prior}", *warning):
        say.note(line)
    machine = torch.cuda.get_device_name() if device.type == "cuda" else _cpu(device)
    pace = f", {plan.step_seconds:.3g} s/step" if plan.step_seconds else ""
    many = f"{ranks.count} ranks, each of " if ranks.count > 1 else ""
    half = ", bfloat16" if config.train.precision == "bfloat16" else ""
    say.note(f"machine    {many}{machine}{half}; batch {config.train.batch}{pace}")
    if plan.compile_seconds:
        say.note(
            f"compiled   its first step took {plan.compile_seconds:.0f} s; what torch compiled is "
            "kept, so it takes less from now on"
        )
    if plan.memory_mb:
        say.note(_memory(plan.memory_mb, device))
    if plan.seconds:
        steps = f", about {plan.steps:,} steps" if plan.step_seconds else ""
        say.note(f"budget     {plan.seconds / 60:g} min{steps}; change it with --minutes")
    else:
        say.note(f"budget     {plan.steps:,} steps" + _duration(plan))


def _memory(expected: int, device: torch.device) -> str:
    """What a trial took beside what there is, and what helps where that is nearly all."""
    there = total_mb(device)
    told = f"memory     about {expected:,} MB, as a trial took"
    if not there:
        return told
    tight = "; if it runs out, add accumulate=2" if expected > TIGHT * there else ""
    return f"{told}; there are {there:,} MB{tight}"


def _cpu(device: torch.device) -> str:
    return f"{torch.get_num_threads()} CPU threads" if device.type == "cpu" else device.type


def _duration(plan: Plan) -> str:
    if not plan.step_seconds:
        return ""
    minutes = plan.steps * plan.step_seconds / 60
    return f", about {minutes:.0f} min" if minutes >= 1.5 else f", about {60 * minutes:.0f} s"
