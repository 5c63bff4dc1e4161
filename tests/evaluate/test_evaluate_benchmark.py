"""The quality benchmark's table, from samples that are real images in disguise."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np

from ornstein.data import open_data

ROOT = Path(__file__).parents[2]


def test_the_table_ranks_noisy_copies_behind_clean_ones_at_equal_numbers(tmp_path: Path) -> None:
    data = open_data("digits")
    clean = data.items[data.train[:400]]
    rng = np.random.default_rng(0)
    spread = 0.3 * float(data.items.max())
    noisy = np.clip(clean + rng.normal(0, spread, clean.shape), 0, data.items.max())
    for name, items in {"ornstein": clean, "diffusers": noisy[:300]}.items():
        (tmp_path / name).mkdir()
        for part, block in enumerate(np.array_split(items.astype(clean.dtype), 2)):
            np.save(tmp_path / name / f"samples-{part:04d}.npy", block)
    (tmp_path / "ornstein" / "record.json").write_text('{"steps": 7, "seconds": 90}')
    command = [sys.executable, "-m", "benchmarks", "quality", "--score-only", "--data", "digits"]
    command += ["--peers", "diffusers", "--out", str(tmp_path)]
    env = os.environ | {"ORNSTEIN_CACHE": str(tmp_path / "cache"), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, check=True)
    results = json.loads((tmp_path / "results.json").read_text())
    ours, peer = results["ornstein"][1], results["diffusers"][1]
    assert ours["stamp"] == peer["stamp"]
    assert ours["stamp"]["n"] == 300
    assert peer["rows"]["frechet_train"]["value"] > 3 * ours["rows"]["frechet_train"]["value"]
    assert "| ornstein, defaults | 7 | 1.5 min | 300 |" in done.stdout
    assert "the floor: real images" in done.stdout
    assert (tmp_path / "diffusers.png").stat().st_size > 1000
