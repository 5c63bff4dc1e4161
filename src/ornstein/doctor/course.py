"""Checks of a training by what it wrote: losses, steps left out, memory, disk, average, floors."""

from __future__ import annotations

from collections.abc import Iterator
from statistics import median

import torch

from ornstein import build
from ornstein.doctor.patient import Finding, Patient
from ornstein.training.checkpoint import list_checkpoints
from ornstein.training.disk import free_bytes, megabytes
from ornstein.training.memory import total_mb
from ornstein.training.panel import memorises
from ornstein.training.settings import Settings, slower

LEFT_OUT = 0.01
SPIKE, SPIKES = 3.0, 0.02  # times the median around it; share of the steps
RISEN = 1.3
LAG = 0.5
FULL = 0.9
SLOWED = 0.4
ABOVE, FAR_ABOVE = 1.3, 4.0  # times the linear error, where training goes and anywhere
STEPS = 200  # before that, nothing of the loss is judged
CHECKPOINTS = 3


def divergence(patient: Patient) -> Iterator[Finding]:
    """Steps that were left out because they were not finite."""
    lines = patient.events.splitlines()
    out = sum("left out step" in line for line in lines)
    back = sum("back to step" in line for line in lines)
    done = int(patient.log[-1]["step"]) if patient.log else 0
    if back or out > max(3, LEFT_OUT * done):
        cause = next(line for line in lines if "left out step" in line).split("step ", 1)[1]
        yield Finding(
            f"{out} steps were not finite and the training went back {back} times; the first: "
            f"step {cause}",
            f"below {LEFT_OUT:.0%} of the steps, never back",
            f"look at the item it names; or in a new run: {_slower(patient, 1 / 3)}",
        )


def losses(patient: Patient) -> Iterator[Finding]:
    """A loss that jumps or rises: the rate is too high.

    A bound in nats goes below 0, where "times" has no meaning: then nothing is judged.
    """
    told = [line for line in patient.log if line.get("loss") is not None]
    seen = [(line["step"], float(line["loss"])) for line in told]
    values = [loss for step, loss in seen if step > 0.05 * seen[-1][0]]
    if not seen or seen[-1][0] < STEPS or len(values) < 20 or min(values) <= 0:
        return
    around = max(5, len(values) // 20)
    middles = [median(values[max(0, k - around) : k + around]) for k in range(len(values))]
    spikes = sum(v > SPIKE * m for v, m in zip(values, middles, strict=True)) / len(values)
    risen = median(middles[-around:]) / min(middles)
    mend = f"in a new run: {_slower(patient, 0.1)}"
    if spikes > SPIKES:
        yield Finding(
            f"{spikes:.1%} of the losses are above {SPIKE:g} times those around them",
            f"below {SPIKES:.0%}",
            mend,
        )
    elif risen > RISEN:
        yield Finding(
            f"the loss has risen to {risen:.2f} times its least", f"below {RISEN:g}", mend
        )


def memorising(patient: Patient) -> Iterator[Finding]:
    """Training items are known better than held-out ones."""
    if patient.readings and memorises(patient.readings[-1]):
        memory = patient.readings[-1].memory or 0.0
        pictures = patient.data is not None and patient.data.kind == "image"
        yield Finding(
            f"training items are denoised better than held-out ones: {memory:.0%} of the way to "
            "perfect memory",
            "below 15 %",
            f"stop earlier, or train on more items{', with --set flip=true' if pictures else ''} "
            "or with a smaller net.size",
        )


def floors(patient: Patient) -> Iterator[Finding]:
    """Levels where the model errs more than the best linear denoiser."""
    log, config = patient.log, patient.config
    if not patient.readings or not log or log[-1]["step"] < STEPS or config is None:
        return
    found = patient.readings[-1]
    weights = build.objective(config).shares(torch.tensor(found.log_snr, dtype=torch.float64))
    ratio = found.ratio("train")
    bad = [
        (snr, r)
        for snr, r, w in zip(found.log_snr, ratio, weights.tolist(), strict=True)
        if r > FAR_ABOVE or (w > 0.02 and r > ABOVE)
    ]
    if bad:
        listed = ", ".join(f"{snr:.1f} ({r:.2f} times)" for snr, r in bad)
        yield Finding(
            "on training items the model errs more than the best linear denoiser at log-SNR "
            f"{listed}",
            f"below {ABOVE:g} times where training goes, below {FAR_ABOVE:g} anywhere",
            "train longer; if it stays, another model.target, or objective.law=log-snr to train "
            "these levels",
        )


def average(patient: Patient) -> Iterator[Finding]:
    """An average of the weights that hardly moved, or a model file older than the training."""
    found, config = patient.checkpoint, patient.config
    if found is None or config is None or patient.data is None:
        return
    start = dict(build.model(config, patient.data).named_parameters())
    moved = behind = 0.0
    for name, mean in found.tensors["ema"].items():
        now = found.tensors["model"][name].double()
        moved += float((now - start[name].detach()).square().sum())
        behind += float((now - mean).square().sum())
    lag = (behind / max(moved, 1e-30)) ** 0.5
    if moved > 0 and lag > LAG:
        yield Finding(
            f"the average of the weights is {lag:.0%} of the whole way behind them",
            f"below {LAG:.0%}; about the relative width of {config.train.ema:g}",
            "a narrower average: --set ema=0.02; or train longer",
        )
    made = patient.bundle.provenance.get("steps") if patient.bundle else None
    if made is not None and made < found.step:
        yield Finding(
            f"model.safetensors is of step {made:,}, the checkpoint of step {found.step:,}",
            "the same step",
            "run the same 'ornstein train' again: it saves both",
        )


def disk(patient: Patient) -> Iterator[Finding]:
    """Room for the next checkpoints."""
    if patient.run is None or patient.run.state == "finished":
        return
    newest = list_checkpoints(patient.run.folder / "checkpoints")
    if not newest:
        return
    size = sum(path.stat().st_size for path in newest[0].iterdir())
    free = free_bytes(patient.run.folder)
    if free < CHECKPOINTS * size:
        yield Finding(
            f"{megabytes(free)} are free, a checkpoint takes {megabytes(size)}",
            f"room for {CHECKPOINTS} of them",
            f"make room on the disk of {patient.run.folder}",
        )


def memory(patient: Patient) -> Iterator[Finding]:
    """Memory almost used up."""
    used = max((line.get("memory_mb") or 0 for line in patient.log), default=0)
    total = total_mb(patient.device)
    if total and used > FULL * total:
        yield Finding(
            f"{used:,} of {total:,} MB were in use", f"below {FULL:.0%}", "--set accumulate=2"
        )


def pace(patient: Patient) -> Iterator[Finding]:
    """A training that became slow."""
    told = [line for line in patient.log if line.get("items_per_s") is not None]
    speeds = [line["items_per_s"] for line in told][1:]
    if len(speeds) < 20:
        return
    before, now = median(speeds), median(speeds[-max(5, len(speeds) // 10) :])
    if now < SLOWED * before:
        yield Finding(
            f"{now:,.0f} items a second at last, {before:,.0f} before",
            f"above {SLOWED:.0%} of the median",
            "see what else runs on this machine, and whether the data lie on a slow disk",
        )


def _slower(patient: Patient, share: float) -> str:
    return slower(patient.config.train if patient.config else Settings(), share)
