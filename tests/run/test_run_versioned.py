"""The git commit in a run's record: that of the folder it was started in, or nothing."""

from __future__ import annotations

import json
import shutil
import subprocess
import time
from pathlib import Path

import pytest
from click.testing import CliRunner

import ornstein
from ornstein.cli.app import cli
from ornstein.session import versioned
from ornstein.session.versioned import commit_here

pytestmark = pytest.mark.skipif(shutil.which("git") is None, reason="git is not installed")


@pytest.fixture(autouse=True)
def apart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A current folder in no work tree, and nothing of this machine's git."""
    for name in ("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path))
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", str(tmp_path / "none"))
    monkeypatch.chdir(tmp_path)


def git(*words: str) -> str:
    who = ("-c", "user.name=A", "-c", "user.email=a@example.org")
    return subprocess.run(["git", *who, *words], capture_output=True, text=True, check=True).stdout


def project(place: Path) -> str:
    """Make a work tree of one commit, go there, and return the commit's name."""
    git("init", "-q", str(place))
    (place / "mine.py").write_text("first\n")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(place)
        git("add", "mine.py")
        git("commit", "-q", "-m", "one")
        return git("rev-parse", "HEAD").strip()


def test_the_commit_is_that_of_the_folder_and_changes_of_tracked_files_are_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    head = project(tmp_path / "work")
    (tmp_path / "work" / "runs").mkdir()
    (tmp_path / "work" / "runs" / "new.txt").write_text("not tracked\n")
    monkeypatch.chdir(tmp_path / "work" / "runs")
    assert commit_here() == {"commit": head, "dirty": False}
    (tmp_path / "work" / "mine.py").write_text("second\n")
    assert commit_here() == {"commit": head, "dirty": True}
    git("add", "../mine.py")  # changes that are staged are no commit either
    assert commit_here() == {"commit": head, "dirty": True}


def test_there_is_none_outside_of_work_trees_and_before_their_first_commit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert commit_here() is None
    git("init", "-q", "empty")
    monkeypatch.chdir("empty")
    assert commit_here() is None
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    (tmp_path / "gone").rmdir()
    assert commit_here() is None
    monkeypatch.chdir(tmp_path)


def test_a_machine_without_git_or_with_a_slow_one_trains_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    project(tmp_path / "work")
    monkeypatch.chdir(tmp_path / "work")
    monkeypatch.setattr(versioned, "SECONDS", 0.3)
    slow = tmp_path / "bin" / "git"
    slow.parent.mkdir()
    for text, mode in (("sleep 20", 0o755), ("exit 1", 0o755), ("", 0o644)):
        slow.write_text(f"#!/bin/sh\n{text}\n")
        slow.chmod(mode)
        monkeypatch.setenv("PATH", f"{slow.parent}:/bin" if mode == 0o755 else str(slow.parent))
        began = time.monotonic()
        assert commit_here() is None
        assert time.monotonic() - began < 5


def test_a_run_keeps_the_commit_and_a_comparison_of_runs_shows_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    head = project(tmp_path / "work")
    monkeypatch.chdir(tmp_path / "work")
    small = {"net.name": "mlp", "net.size": "tiny", "batch": 32, "sample.count": 4}
    ways = {"settings": small, "steps": 1, "progress": ornstein.Silent()}
    first = ornstein.train("two-moons", name="a", **ways)  # type: ignore[arg-type]
    assert first.record["git"] == {"commit": head, "dirty": False}
    Path("mine.py").write_text("second\n")
    ornstein.train("two-moons", name="b", **ways)  # type: ignore[arg-type]
    say = CliRunner()
    lines = say.invoke(cli, ["runs", "diff", "a", "b"]).output.splitlines()
    (line,) = (line for line in lines if line.startswith("git commit"))
    assert line.split(maxsplit=2)[2].split("  ") == [head[:12], f"{head[:12]} and changes"]
    told = json.loads(say.invoke(cli, ["runs", "diff", "a", "b", "--json"]).output)["git"]
    assert [one["dirty"] for one in told] == [False, True]
    for name in ("a", "b"):  # as an older version left it
        path = Path("runs", name, "run.json")
        record = json.loads(path.read_text())
        del record["git"]
        path.write_text(json.dumps(record))
    assert "git commit" not in say.invoke(cli, ["runs", "diff", "a", "b"]).output
