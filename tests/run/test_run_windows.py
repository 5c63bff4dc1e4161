"""Plain Windows, as far as it can be had without one: what it lacks is taken away."""

from __future__ import annotations

import json
import ntpath
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path, PureWindowsPath
from types import SimpleNamespace

import numpy as np
import pytest
from fleet import ended, losses, step, wait_for
from PIL import Image

from ornstein.data import metadata, sound
from ornstein.errors import ModelFileError
from ornstein.training import disk

SETTINGS = (
    "net.name=mlp", "batch=32", "save_every=400", "log_every=1", "sample_every=500",
    "sample.count=4", "sample.steps=4",
)  # fmt: skip
LIKE_WINDOWS = Path(__file__).with_name("windows.py")


def start(place: Path, *commands: Sequence[object]) -> subprocess.Popen[str]:
    """Start commands one after the other, with output into a pipe as on a western Windows."""
    asked = json.dumps([[str(word) for word in words] for words in commands])
    environment = {"OMP_NUM_THREADS": "1", "ORNSTEIN_CACHE": str(place / "cache")}
    return subprocess.Popen(
        [sys.executable, "-X", "warn_default_encoding", str(LIKE_WINDOWS), asked],
        env={**os.environ, **environment, "PYTHONIOENCODING": "cp1252"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        encoding="cp1252",
        cwd=place,
    )


def pictures(folder: Path) -> Path:
    """Enough grey pictures to be kept decoded, stored as coloured ones, in two classes."""
    for k in range(300):
        place = folder / ("cat", "dog")[k % 2] / f"{k:03}.png"
        place.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (8, 8), (k % 250,) * 3).save(place)
    return folder


def test_a_training_is_stopped_goes_on_and_is_used(tmp_path: Path) -> None:
    train = ["train", "two-moons", "--name", "run", "--steps", 1000, "--seed", 5]
    train += [word for setting in SETTINGS for word in ("--set", setting)]
    first = start(tmp_path, train)
    wait_for(lambda: first.poll() is not None or step(tmp_path / "runs") > 20)
    first.send_signal(signal.SIGINT)
    code, said = ended(first)
    assert code == 75, said
    stopped = step(tmp_path / "runs")
    assert 20 < stopped < 1000
    gap = tmp_path / "gap.npy"
    np.save(gap, np.array([[[0.5, np.nan]]], np.float32).reshape(2))
    code, said = ended(
        start(
            tmp_path,
            train,
            ["sample", "run", "-n", 4, "--film"],
            ["evaluate", "run", "-n", 64, "--no-likelihood"],
            ["edit", "run", gap, "-n", 2],
            ["show", "run"],
            ["runs", "run"],
            ["viz", "schedule", "--help"],
        )
    )
    assert code == 0, said
    assert sorted(losses(tmp_path / "runs")) == list(range(1, 1001))
    log = (tmp_path / "runs" / "run" / "log.jsonl").read_bytes()
    assert b"\r" not in log
    assert "0 MB" not in said


def test_a_folder_of_pictures_is_read_once_and_kept_decoded(tmp_path: Path) -> None:
    folder = pictures(tmp_path / "photos")
    code, said = ended(start(tmp_path, ["data", folder], ["data", folder, "--json"]))
    assert code == 0, said
    facts = json.loads(said.splitlines()[-1])
    assert (facts["count"], facts["shape"]) == (300, [1, 8, 8])
    assert sorted(facts["classes"]) == ["cat", "dog"]
    (kept,) = (tmp_path / "cache").iterdir()
    assert np.load(kept / "items.npy").shape == (300, 1, 8, 8)


def test_a_file_that_another_program_looks_into_is_replaced_a_moment_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tries: list[int] = []

    def replace(old: Path, new: Path) -> None:
        tries.append(1)
        if len(tries) < 3:
            raise PermissionError(13, "Access is denied")
        old.rename(new)

    monkeypatch.setattr(disk, "PATIENCE", 60.0)
    monkeypatch.setattr(os, "replace", replace)
    disk.write_atomically(tmp_path / "run.json", b"{}")
    assert [path.name for path in tmp_path.iterdir()] == ["run.json"]
    assert len(tries) == 3


def test_a_link_is_refused_also_where_opening_would_follow_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr(os, "O_NOFOLLOW")
    monkeypatch.setattr(disk, "FOLLOWS", True)
    (tmp_path / "there").write_bytes(b"secret")
    (tmp_path / "state.json").symlink_to(tmp_path / "there")
    with pytest.raises(ModelFileError, match="a link, not a file"):
        disk.read_file(tmp_path / "state.json", 100)


def test_paths_with_backslashes_are_those_that_were_found(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    there = SimpleNamespace(path=ntpath, sep=ntpath.sep, fsencode=os.fsencode)
    monkeypatch.setattr(metadata, "os", there)
    for name in ("cat/1.png", "./cat/1.png", r"cat\1.png", r"dog\..\cat\1.png"):
        assert metadata._path(name) == b"cat/1.png"


def test_folders_of_sounds_are_classes_where_paths_have_backslashes() -> None:
    class Folder(PureWindowsPath):
        def is_file(self) -> bool:
            return False

    root = Folder("C:/sounds")
    paths = [root / name / f"{k}.wav" for name in ("bell", "drum") for k in range(3)]
    labels, classes, *_ = sound._classes(root, paths, [1] * 6)  # type: ignore[arg-type]
    assert classes == ("bell", "drum")
    assert labels is not None
    assert labels.tolist() == [0, 0, 0, 1, 1, 1]
