"""A compiled network: the same training, compiled once, and a clear word where it cannot be."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from test_train_loop import OBJECTIVE, Points
from torch import Tensor, nn
from torch._dynamo.testing import CompileCounter

from ornstein.core import EDMTarget
from ornstein.errors import ConfigError
from ornstein.model import Model
from ornstein.nets.dropout import Dropout
from ornstein.run import Run
from ornstein.training.compiling import explained
from ornstein.training.loop import Settings, Trainer


class Dropping(nn.Module):
    """A network with dropout that knows its rows."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Linear(3, 32), nn.SiLU(), Dropout(0.3), nn.Linear(32, 2))

    def forward(self, x: Tensor, noise: Tensor, cond: object) -> Tensor:
        return self.body(torch.cat([x, noise[:, None]], 1))


def trainer(*, compile: bool = False) -> Trainer:  # noqa: A002 - the name of the setting
    torch.manual_seed(0)
    how = Settings(batch=30, compile=compile)
    return Trainer(Model(Dropping(), EDMTarget()), Points(), OBJECTIVE, how)


def test_the_option_compiles_the_network_and_nothing_else(monkeypatch: pytest.MonkeyPatch) -> None:
    """Dropout draws by the keys of its rows, other ones at each step: not a graph for each."""
    torch.compiler.reset()
    counter, compiled = CompileCounter(), nn.Module.compile
    monkeypatch.setattr(nn.Module, "compile", lambda net: compiled(net, backend=counter))
    plain, made = trainer(), trainer(compile=True)
    assert not counter.frame_count
    losses, after = [], []
    for _ in range(12):
        losses.append((plain.step(20).loss, made.step(20).loss))
        after.append(counter.frame_count)
    assert after[0] > 0
    assert after[-1] == after[1]
    assert all(loss == pytest.approx(same, rel=1e-6) for same, loss in losses)


def broken(*graph: object) -> None:
    raise RuntimeError("no compiler\nand a page of details")


def test_what_cannot_be_compiled_is_said_in_a_sentence() -> None:
    net = Dropping()
    net.compile(backend=broken)
    with pytest.raises(ConfigError, match=r"compiled here: .*no compiler"), explained():
        net(torch.zeros(1, 2), torch.zeros(1), {})
    with pytest.raises(ValueError, match="another"), explained():
        raise ValueError("another")


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("g++") is None, reason="needs a C++ compiler")
def test_a_compiled_training_loses_as_much_as_a_plain_one_and_keeps_what_was_compiled(
    tmp_path: Path,
) -> None:
    losses, said = {}, {}
    # Torch has written its own place into the environment of this process, when it was imported.
    around = {k: v for k, v in os.environ.items() if k != "TORCHINDUCTOR_CACHE_DIR"}
    for way in ("false", "true"):
        words = ["two-moons", "--name", way, "--runs", str(tmp_path), "--steps", "20"]
        words += ["batch=64", "log_every=1", "sample.count=4", f"compile={way}"]
        done = subprocess.run(
            [sys.executable, "-m", "ornstein", "train", *words],
            env={**around, "ORNSTEIN_CACHE": str(tmp_path / "cache")},
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        said[way] = done.stdout + done.stderr
        losses[way] = {r["step"]: r["loss"] for r in Run(tmp_path / way).log if "loss" in r}
    assert losses["true"][20] == pytest.approx(losses["false"][20], rel=1e-4)
    assert "its first step took" in said["true"]
    assert "its first step took" not in said["false"]
    assert any((tmp_path / "cache" / "compiled").rglob("*.cpp"))
