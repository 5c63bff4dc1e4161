"""Reads the oracle records: numbers from other people's programs, and closed forms.

The JSON files beside this one say where each number comes from.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import laws
import numpy as np

Record = dict[str, Any]
HERE = Path(__file__).resolve().parent


def records(name: str, *starts: str) -> list[Record]:
    """The records of a file, those whose id starts with one of ``starts`` if any are given."""
    everything: list[Record] = json.loads((HERE / f"{name}_public.json").read_text())["records"]
    return [r for r in everything if not starts or r["id"].startswith(starts)]


def _denoiser(spec: Record) -> laws.Denoise:
    kind = spec["kind"]
    if kind in ("gmm1", "gmm3"):
        return laws.mixture(laws.GMM1 if kind == "gmm1" else laws.GMM3)
    if kind == "gauss3":
        return laws.gauss3
    if kind == "dummy_edm":
        return laws.preconditioned(spec["sigma_data"])
    labels = [(r, t) for r, t in spec.get("labels") or spec.get("extra_labels", [])]
    if "train" in spec:
        train = spec["train"]
        betas = np.linspace(train["beta_start"], train["beta_end"], train["T"])
        for t, alpha2 in enumerate(np.cumprod(1 - betas)):
            labels.append((math.sqrt((1 - alpha2) / alpha2), t))
    denoise = laws.labelled(spec["prediction"], labels)
    if "clip" not in spec:
        return denoise
    return lambda x, a, s: np.clip(denoise(x, a, s), -spec["clip"], spec["clip"])


def _start(spec: Record) -> np.ndarray:
    if spec["kind"] == "pseudo":
        return laws.pseudo(spec["shape"], spec["key"]) * spec.get("scale", 1.0)
    x = laws.ramp() * spec.get("scale", 1.0)
    if spec["kind"] == "dummy_noised":
        return spec["alpha"] * x + spec["sigma"] * laws.ramp(reverse=True)
    return x


def _noise(spec: Record | None, shape: tuple[int, ...]) -> Callable[[int], np.ndarray] | None:
    if spec is None:
        return None
    if spec["kind"] == "pseudo":
        return lambda k: laws.pseudo(shape, 1000 * (spec["key"] + 1) + k)
    import torch

    stream = torch.manual_seed(spec["seed"])
    return lambda k: torch.randn(shape, generator=stream).double().numpy()


def error(record: Record, solve: Callable[..., np.ndarray]) -> float:
    """How far ``solve`` is from what the record expects, in the measure of its tolerance."""
    x = _start(record["x_T"])
    options = dict(record["kw"])
    noise = _noise(record["noise"], x.shape)
    if noise is not None:
        options["noise"] = noise
    grid = [tuple(pair) for pair in record["grid"]]
    got = solve(_denoiser(record["denoiser"]), x, grid, record["solver"], **options)
    expect = record["expect"]
    if "vector" in expect:
        want = np.array(expect["vector"]).reshape(got.shape)
        return float(np.abs(got - want).max() / max(1.0, np.abs(want).max()))
    size = np.abs(got)
    gaps = [abs(size.sum() - expect["sum_abs"])] if "sum_abs" in expect else []
    return float(max([*gaps, abs(size.mean() - expect["mean_abs"])]))
