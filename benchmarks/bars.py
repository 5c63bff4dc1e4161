"""The best of all peers' settings for each cell: RMS error per dimension of a walk's end.

Measured once on two exact mixtures with diffusers 0.42.1, k-diffusion 0.1.1 and azula 0.11.1: 130
deterministic settings of solver and grid on each VP cell, 41 on EDM's; the table keeps the best of
each cell, as one would choose them by hindsight. 1,000 starts; the truth by RK45 at rtol 1e-8.
"""

from __future__ import annotations

from typing import NamedTuple


class Bar(NamedTuple):
    """The least error of all peers, and whose it is."""

    error: float
    peer: str


EVALUATIONS = (5, 8, 10, 15, 20)

BARS: dict[tuple[str, str], tuple[Bar, ...]] = {
    ("gmm2", "linear"): (
        Bar(4.0e-2, "azula zEAB-3 log-snr"),
        Bar(2.0e-2, "azula zEAB-3 log-snr"),
        Bar(1.2e-2, "diffusers DEIS-3 exponential"),
        Bar(6.8e-3, "diffusers UniPC-2 exponential"),
        Bar(3.8e-3, "diffusers UniPC-2 exponential"),
    ),
    ("gmm2", "cosine"): (
        Bar(9.3e-2, "azula REAB log-snr"),
        Bar(5.3e-2, "diffusers DEIS-3 trailing"),
        Bar(3.4e-2, "azula zEAB-3 log-snr"),
        Bar(1.5e-2, "azula zEAB-3 log-snr"),
        Bar(9.3e-3, "azula zEAB-3 log-snr"),
    ),
    ("gmm2", "edm"): (
        Bar(6.6e-2, "azula zEAB-2 karras"),
        Bar(3.0e-2, "azula zEAB-3 log-snr"),
        Bar(1.8e-2, "azula zEAB-3 log-snr"),
        Bar(8.4e-3, "azula zEAB-3 karras"),
        Bar(5.1e-3, "diffusers DPM++3M exponential"),
    ),
    ("gmm16", "linear"): (
        Bar(2.0e-1, "diffusers UniPC-3 trailing"),
        Bar(1.4e-1, "diffusers DPM++3M trailing"),
        Bar(1.1e-1, "diffusers DPM++3M log-snr"),
        Bar(5.9e-2, "diffusers UniPC-3 trailing"),
        Bar(3.4e-2, "diffusers UniPC-2 exponential"),
    ),
    ("gmm16", "cosine"): (
        Bar(4.1e-1, "diffusers UniPC-3 trailing"),
        Bar(2.0e-1, "diffusers UniPC-3 trailing"),
        Bar(1.2e-1, "diffusers UniPC-3 trailing"),
        Bar(7.6e-2, "diffusers UniPC-3 trailing"),
        Bar(4.4e-2, "diffusers UniPC-3 trailing"),
    ),
    ("gmm16", "edm"): (
        Bar(3.2e-1, "azula vAB-2 log-snr"),
        Bar(1.9e-1, "azula zEAB-3 karras"),
        Bar(1.1e-1, "diffusers DPM++3M exponential"),
        Bar(6.0e-2, "diffusers DPM++3M exponential"),
        Bar(5.3e-2, "diffusers DPM++3M karras"),
    ),
}
