"""The project against numbers that nobody here wrote (figures, terms and closed forms)."""

from __future__ import annotations

import math

import laws
import numpy as np
import pytest
import torch
from adapter import solve
from reader import Record, error, records

from ornstein.core import DDPM, GRIDS, Gaussian, Level, Mixture, bridge, prior_kl
from ornstein.solvers import DDIM, sample

CHAINS = {"linear": DDPM.linear, "cosine": DDPM.cosine}
GAUSS3 = Gaussian(torch.tensor(laws.GAUSS3_MEAN), torch.tensor(laws.GAUSS3_COVARIANCE))
LAWS = {
    "gmm1": Mixture(*(torch.tensor(part, dtype=torch.float64) for part in laws.GMM1)),
    "gmm3": Mixture(*(torch.tensor(part, dtype=torch.float64) for part in laws.GMM3)),
    "gauss3": GAUSS3,
}


def named(record: Record) -> str:
    return str(record["id"])


def level(pair: list[float]) -> Level:
    return Level(*torch.tensor(pair, dtype=torch.float64))


@pytest.mark.parametrize("record", records("figures") + records("peers"), ids=named)
def test_a_whole_run_gives_the_figures_of_the_peer(record: Record) -> None:
    assert error(record, solve) <= record["tol"]


@pytest.mark.parametrize(
    "record", records("terms", "schedule.linear", "schedule.cosine"), ids=named
)
def test_the_table_of_alpha2_is_the_peers(record: Record) -> None:
    chain = CHAINS[record["input"]["schedule"]](record["input"]["T"])
    # Their index 0 is the paper's step 1.
    k = torch.tensor(record["input"]["index"], dtype=torch.float64) + 1
    alpha2 = chain(k / chain.steps).alpha ** 2
    assert alpha2.tolist() == pytest.approx(record["expect"], rel=1e-9, abs=record["tol"])


@pytest.mark.parametrize("record", records("terms", "respace."), ids=named)
def test_a_chain_of_the_peers_kept_steps_keeps_their_levels(record: Record) -> None:
    chain = DDPM.linear(record["input"]["T"])
    kept = torch.tensor(record["expect"], dtype=torch.float64) + 1
    short = chain.keep(kept.long()).levels[:-1]
    torch.testing.assert_close(short.log_snr, chain(kept / chain.steps).log_snr.flip(0))
    if record["input"]["sections"] == [25]:  # the even choice with both ends is ours too
        torch.testing.assert_close(GRIDS["subchain"](chain, 25)[:-1].log_snr, short.log_snr)


@pytest.mark.parametrize("record", records("terms", "posterior."), ids=named)
def test_the_bridge_is_the_posterior_of_the_peer(record: Record) -> None:
    # At their t = 0 the mean is x0 itself, which tells the pixels of the first record.
    first = next(r for r in records("terms", "posterior.") if r["input"]["t"] == 0)["expect"][:6]
    x0 = torch.tensor(np.round((np.array(first) + 1) * 127.5) / 127.5 - 1)
    eps = torch.tensor(laws.pseudo((6,), 2))
    chain = DDPM.linear(1000)
    k = record["input"]["t"] + 1
    t, s = chain(k / 1000), chain((k - 1) / 1000)
    law = bridge(t.mix(x0, eps), x0, t, s)
    # Their log-variance of the first step is that of the second.
    shown = law if k > 1 else bridge(x0, x0, chain(2 / 1000), chain(1 / 1000))
    got = [*law.mean.tolist(), float(law.lower), float(shown.lower.log())]
    assert got == pytest.approx(record["expect"], abs=record["tol"])


@pytest.mark.parametrize("record", records("closed", "vlb."), ids=named)
def test_the_prior_term_of_the_bound_is_the_closed_form(record: Record) -> None:
    chain = CHAINS[record["input"]["schedule"]](record["input"]["T"])
    c = torch.tensor(record["input"]["c"], dtype=torch.float64)
    assert float(prior_kl(chain(1.0), c)) == pytest.approx(record["expect"][0], abs=record["tol"])


@pytest.mark.parametrize("record", records("closed", "flow."), ids=named)
def test_the_exact_flow_map_is_the_closed_form(record: Record) -> None:
    law = LAWS[record["id"].split(".")[1]]
    x = torch.tensor(record["input"]["x"], dtype=torch.float64)
    t, s = level(record["input"]["frm"]), level(record["input"]["to"])
    got = law.flow(x, t, s) if isinstance(law, Gaussian) else law.transport(x, t, s)
    want = torch.tensor(record["expect"], dtype=torch.float64)
    torch.testing.assert_close(got, want, rtol=0, atol=record["tol"])


@pytest.mark.parametrize("record", records("closed", "logp.", "score.", "D."), ids=named)
def test_density_score_and_denoiser_are_the_closed_forms(record: Record) -> None:
    what, name, _ = record["id"].split(".")
    law = LAWS[name]
    x = torch.tensor(record["input"]["x"], dtype=torch.float64)
    at = level([record["input"]["alpha"], record["input"]["sigma"]])
    got = {"logp": law.log_prob, "score": law.score, "D": lambda x, at: law(x, at).x0}[what](x, at)
    want = torch.tensor(record["expect"], dtype=torch.float64)
    torch.testing.assert_close(got, want, rtol=0, atol=record["tol"])


@pytest.mark.parametrize("record", records("closed", "ddim.factor."), ids=named)
def test_ddim_shrinks_a_gaussian_by_the_closed_factor(record: Record) -> None:
    c = torch.tensor([[record["input"]["c"]]], dtype=torch.float64)
    pairs = torch.tensor(record["input"]["grid"], dtype=torch.float64)
    x = torch.ones(1, 1, dtype=torch.float64)
    got = sample(Gaussian(torch.zeros(1), c), x, Level(pairs[:, 0], pairs[:, 1]), DDIM())
    assert float(got) == pytest.approx(record["expect"][0], abs=record["tol"])


def test_consistency_factor_of_a_gaussian_is_the_closed_form() -> None:
    (record,) = records("closed", "consistency.gauss")
    c = record["input"]["c"]
    law = Gaussian(torch.zeros(1), torch.tensor([[c]]))
    one = torch.ones(1, 1, dtype=torch.float64)
    got = [float(law.flow(one, level([1, s]), level([1, 0.002]))) for s in (80, 1, 0.002)]
    assert got == pytest.approx(record["expect"], abs=record["tol"])


def test_continuous_vp_and_the_discrete_chain_are_two_processes() -> None:
    from ornstein.core import VP

    assert float(VP()(1.0).alpha ** 2) == pytest.approx(4.32e-5, rel=2e-3)
    assert float(DDPM.linear()(1.0).alpha ** 2) == pytest.approx(4.04e-5, rel=2e-3)
    assert math.exp(-(0.1 + 20) / 2) == pytest.approx(float(VP()(1.0).alpha ** 2))
