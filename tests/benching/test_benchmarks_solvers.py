"""The peers' solvers on an exact law: what they are told, and which of them is the bar."""

from __future__ import annotations

import sys
from itertools import pairwise
from pathlib import Path

import pytest
import torch
from benchmarks import solvers
from benchmarks.peers.solver_walks import Cell
from benchmarks.solvers import TARGETS, walked

from ornstein.core import Level
from ornstein.errors import OrnsteinError

SAYS = """
import json
for error, name, n in [(0.3, "a", 5), (0.1, "b", 5), (0.2, "c", 5), (0.05, "d", 10)]:
    print(json.dumps({"setting": name, "evaluations": n, "error": error}))
"""


@pytest.mark.parametrize("process", ["linear", "edm"])
def test_peers_are_told_the_law_of_the_cell_and_where_it_leads(
    process: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(solvers, "TRUTH_STEPS", 64)
    solvers.truth.cache_clear()
    solvers._hand_over("gmm16", process, tmp_path / "cell.npz")
    solvers.truth.cache_clear()
    cell, law = Cell.read(tmp_path / "cell.npz"), TARGETS["gmm16"]()
    level = Level(torch.tensor(0.8), torch.tensor(0.5))
    x = law.sample(50)
    torch.testing.assert_close(cell.x0(x, 0.8, 0.5), law(x, level).x0)
    assert cell.asked == 1
    # Euler in rho with alpha 1, written out: many small steps lead to the ends.
    rhos = torch.logspace(*torch.tensor(cell.rhos).log10().tolist(), 1500, dtype=torch.float64)
    y = cell.start / cell.alpha
    for t, s in pairwise(rhos):
        y = y + (s - t) / t * (y - cell.x0(y, 1.0, float(t)))
    assert cell.error(cell.x0(y, 1.0, cell.rhos[1])) < 0.03


def test_the_bar_is_the_least_error_at_so_many_evaluations(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "says.py").write_text(SAYS)
    monkeypatch.setattr(solvers, "WALKS", tmp_path / "says.py")
    monkeypatch.setattr(solvers, "_hand_over", lambda *_: None)
    best = walked("gmm2", "linear", (5, 10), Path(sys.executable))
    assert best == {5: (0.1, "b"), 10: (0.05, "d")}
    with pytest.raises(OrnsteinError, match="walked none of diffusers, k-diffusion and azula"):
        walked("gmm2", "linear", (5, 20), Path(sys.executable))
