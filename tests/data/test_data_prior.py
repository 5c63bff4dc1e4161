"""What a process leaves of these data in its noisiest level (A9)."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from ornstein.cli.app import cli
from ornstein.cli.faults import guarded
from ornstein.core import DDPM, PROCESSES
from ornstein.data import left_in_noise, open_data, prior_report


def run(*args: str) -> None:
    assert guarded(cli, args) == 0


@pytest.mark.parametrize("name", ["linear", "scaled-linear", "ve", "edm", "cosine"])
def test_what_is_left_is_the_mean_kl_over_the_items_themselves(name: str) -> None:
    data, last = open_data("two-moons"), PROCESSES[name]()(1.0)
    x0 = data.batch(data.train).double()
    prior = torch.distributions.Normal(0.0, float(last.sigma))
    kernel = torch.distributions.Normal(last.alpha * x0, last.sigma.expand_as(x0))
    want = float(torch.distributions.kl_divergence(kernel, prior).mean())
    assert left_in_noise(data, PROCESSES[name]()) == pytest.approx(want, rel=1e-4, abs=1e-12)


def test_a_constant_channel_tells_nothing_and_counts(tmp_path: Path) -> None:
    # Standardised data have second moment 1, except where there is nothing to standardise.
    x = np.stack([np.random.default_rng(0).normal(size=500), np.full(500, 3.0)], 1)
    np.save(tmp_path / "x.npy", x)
    one = left_in_noise(open_data("two-moons"), DDPM.linear())
    assert left_in_noise(open_data(tmp_path / "x.npy"), DDPM.linear()) == pytest.approx(one / 2)


def test_pure_noise_keeps_nothing() -> None:
    data = open_data("digits")
    assert [left_in_noise(data, PROCESSES[n]()) for n in ("flow", "trig", "zero-snr")] == [0, 0, 0]


def test_a_process_that_keeps_too_much_is_warned_of(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, warned in (("linear", False), ("scaled-linear", True)):
        run("data", "digits", "--limit", "200", "--schedule", name, "--out", str(tmp_path))
        printed = capsys.readouterr().out
        assert f"at its noisiest '{name}' keeps" in printed
        assert ("warning: samples start without these bits" in printed) is warned
    run("data", "digits", "--schedule", "scaled-linear", "--out", str(tmp_path), "--json")
    left = json.loads(capsys.readouterr().out)["left_in_noise"]
    # Half the terminal SNR of Stable Diffusion (arXiv:2305.08891, table 1), for unit data.
    assert left["nats_per_dimension"] == pytest.approx(0.004682 / 2, rel=1e-3)


def test_bits_per_dimension_are_nats_over_log_2_and_add_up() -> None:
    (said,) = prior_report("linear", 6.931e-4, 100)
    assert "keeps 0.001 bits per dimension of an item, 0.1 in all" in said
    assert len(prior_report("linear", 1.1e-3, 100)) == 2


def test_a_training_says_it_at_its_start(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    where = ("--runs", str(tmp_path), "--steps", "1", "--dry-run")
    run("train", "two-moons", *where, "process=scaled-linear", "net.size=tiny", "log_every=1")
    printed = capsys.readouterr()
    assert "at its noisiest 'scaled-linear' keeps 0.0034 bits" in printed.out + printed.err
    assert "warning: samples start without" in printed.out + printed.err


class Large:
    """Ten items of five million values each, all of unit variance."""

    dims, train = 5_000_000, np.arange(10)

    def batch(self, indices: np.ndarray) -> torch.Tensor:
        assert len(indices)
        return torch.ones(1).expand(len(indices), self.dims)


def test_items_larger_than_what_is_read_at_once_are_read_one_by_one() -> None:
    """They were cut into more parts than there are items: the mean of none is NaN."""
    want = left_in_noise(open_data("two-moons"), DDPM.linear())
    assert left_in_noise(Large(), DDPM.linear()) == pytest.approx(want, rel=1e-4)  # type: ignore[arg-type]
