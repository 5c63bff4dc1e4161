from __future__ import annotations

import json
import shlex
import statistics
import subprocess
import sys
import time
from pathlib import Path

import pytest

from ornstein.cli.app import VERBS

HEAVY = ("torch", "numpy", "PIL", "pydantic", "rich", "matplotlib")


def ornstein(*args: str, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "ornstein", *args],
        capture_output=True,
        text=True,
        check=False,
        cwd=cwd,
    )


def heavy(args: list[str], cwd: Path) -> set[str]:
    """What a command imports of the libraries that take long."""
    code = (
        "import sys\nfrom ornstein.cli import main\n"
        "try: main(sys.argv[1:])\nexcept SystemExit as stop: assert not stop.code\n"
        f"print(*[m for m in {HEAVY!r} if m in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, *args],
        capture_output=True,
        text=True,
        check=False,
        cwd=cwd,
    )
    assert done.stderr == ""
    return set(done.stdout.splitlines()[-1].split())


@pytest.mark.parametrize("args", [[], ["--help"], ["--version"], ["train", "--help"], ["runs"]])
def test_help_and_lists_import_nothing_heavy(args: list[str], tmp_path: Path) -> None:
    assert heavy(args, tmp_path) == set()


def test_comparing_two_runs_reads_their_settings_without_torch(tmp_path: Path) -> None:
    for name in ("a", "b"):
        write_run(tmp_path / "runs" / name, '[data]\nsource = "digits"\n', 20, {10: 0.5})
    assert heavy(["runs", "diff", "a", "b"], tmp_path) <= {"pydantic", "numpy"}


def test_help_answers_in_half_a_second() -> None:
    times = []
    for _ in range(3):
        start = time.perf_counter()
        assert ornstein("--help").returncode == 0
        times.append(time.perf_counter() - start)
    bare = time.perf_counter()
    subprocess.run([sys.executable, "-c", "pass"], check=True)
    # A machine under load is slow with everything: what counts is what is ours.
    slack = 10 * (time.perf_counter() - bare)
    assert statistics.median(times) < 0.5 + slack


def test_alone_it_names_every_verb_and_where_to_start() -> None:
    done = ornstein()
    assert done.returncode == 0
    for verb, line in VERBS.items():
        assert verb in done.stdout
        assert line in done.stdout
    assert "Start here:" in done.stdout


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_explains_itself(verb: str) -> None:
    done = ornstein(verb, "--help")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith(f"Usage: ornstein {verb}")


FLOOD = """
import click
from ornstein.cli import app
@click.command()
def flood():
    while True: click.echo('x' * 1000)
app.Verbs.get_command = lambda self, ctx, name: flood
app.main(['runs'])
"""


def test_a_reader_that_leaves_early_gets_no_traceback(tmp_path: Path) -> None:
    script = tmp_path / "flood.py"
    script.write_text(FLOOD)
    done = subprocess.run(
        f"{shlex.quote(sys.executable)} {shlex.quote(str(script))} | head -c 5",
        shell=True,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert (done.stdout, done.stderr) == ("xxxxx", "")


def test_json_of_an_empty_directory_of_runs_is_empty(tmp_path: Path) -> None:
    done = ornstein("runs", "--json", cwd=tmp_path)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_runs_lists_state_and_progress_and_survives_a_torn_record(tmp_path: Path) -> None:
    for name, record in (
        ("a", json.dumps({"state": "stopped", "step": 1213, "steps": 20000, "seconds": 75})),
        ("b", '{"state": "fini'),
    ):
        folder = tmp_path / "runs" / name
        folder.mkdir(parents=True)
        (folder / "config.toml").write_text("")
        (folder / "run.json").write_text(record)
    done = ornstein("runs", cwd=tmp_path)
    assert done.stdout.splitlines() == [
        "a  stopped  step 1,213 of 20,000  in 1 min 15 s",
        "b  new",
    ]
    rows = [
        json.loads(line) for line in ornstein("runs", "--json", cwd=tmp_path).stdout.splitlines()
    ]
    assert [row["state"] for row in rows] == ["stopped", "new"]


def write_run(folder: Path, config: str, step: int, heldout: dict[int, float]) -> None:
    folder.mkdir(parents=True)
    (folder / "config.toml").write_text(config)
    (folder / "run.json").write_text(json.dumps({"state": "finished", "step": step}))
    lines = [json.dumps({"step": at, "heldout": loss}) for at, loss in heldout.items()]
    (folder / "log.jsonl").write_text("\n".join(lines) + "\n")


def test_two_runs_are_compared_by_settings_and_by_losses_where_these_mean_the_same(
    tmp_path: Path,
) -> None:
    base = '[data]\nsource = "digits"\n'
    write_run(tmp_path / "runs/a", base, 20, {10: 0.5, 20: 0.4})
    write_run(tmp_path / "runs/b", base + "[train]\nbatch = 32\n", 10, {10: 0.25})
    write_run(tmp_path / "runs/c", '[data]\nsource = "ecg"\n', 10, {10: 0.1})
    rows = ornstein("runs", "diff", "a", "b", cwd=tmp_path).stdout.splitlines()
    assert [row.split() for row in rows] == [
        ["a", "b"],
        ["train.batch", "-", "32"],
        ["steps", "done", "20", "10"],
        ["held-out", "loss", "0.4", "0.25"],
        ["held-out", "loss", "at", "step", "10", "0.5", "0.25"],
    ]
    other = ornstein("runs", "diff", "a", "c", "--json", cwd=tmp_path).stdout
    facts = json.loads(other)
    assert facts["settings"] == {"data.source": ["digits", "ecg"]}
    assert facts["comparable"] is False
    assert facts["heldout_at_common_step"] is None
    wrong = ornstein("runs", "diff", "a", "d", cwd=tmp_path)
    assert (wrong.returncode, wrong.stdout) == (2, "")
    assert "no run 'd'" in wrong.stderr
