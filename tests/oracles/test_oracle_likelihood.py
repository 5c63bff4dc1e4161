"""Log-likelihoods by the probability flow against the numbers of score_sde (B17)."""

from __future__ import annotations

import math

import laws
import pytest
import torch
from reader import Record, records

from ornstein.core import VE, VP, Gaussian, Process, SubVP
from ornstein.likelihood import log_density

SDES: dict[str, Process] = {"vp": VP(), "subvp": SubVP(), "ve": VE(0.01, 50.0)}


@pytest.mark.parametrize("record", records("terms", "likelihood."), ids=lambda r: str(r["id"]))
def test_b17_the_likelihood_is_that_of_the_peer(record: Record) -> None:
    given = record["input"]
    assert (given["data"], given["law"]) == ("0.5 * pseudo (4, 1, 2, 2) key 12", "N(0, 0.25 I)")
    process = SDES[given["sde"]]
    x = torch.tensor(0.5 * laws.pseudo((4, 4), 12))
    law = Gaussian(torch.zeros(4), 0.25 * torch.eye(4, dtype=torch.float64))
    found = log_density(law, x, process(given["eps"]), process(1.0), check=False)
    # Their offset of 7 is for 256 levels of width 2/256 on [-1, 1].
    bits = 7 - found.value / (4 * math.log(2))
    assert bits.tolist() == pytest.approx(record["expect"], abs=record["tol"])
