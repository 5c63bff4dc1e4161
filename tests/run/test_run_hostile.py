"""Odd machines and bad moments: R5, R7-R9, R17, R24, R25."""

from __future__ import annotations

import json
import os
import random
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from fleet import ended, losses, start, step, wait_for

import ornstein as orn
import ornstein.launch
from figures import figure, quiet, times
from ornstein.errors import DiskError, StoppedEarly
from ornstein.run import Silent
from ornstein.training.loop import Report, Trainer
from ornstein.training.signals import StopRequest


def saved(runs: Path) -> int:
    """Step of the newest checkpoint."""
    names = [p.name for p in (runs / "run" / "checkpoints").glob("step-*")]
    return max((int(name.removeprefix("step-")) for name in names), default=0)


def listens(process: subprocess.Popen[str]) -> bool:
    """Whether a process has a handler for SIGTERM."""
    for line in Path(f"/proc/{process.pid}/status").read_text().splitlines():
        if line.startswith("SigCgt:"):
            return bool(int(line.split()[1], 16) >> (signal.SIGTERM - 1) & 1)
    return False


def moment(kind: str, runs: Path, process: subprocess.Popen[str], chance: random.Random) -> None:
    """Wait for a moment of a kind, and then some."""
    wait_for(lambda: listens(process))
    begun, folder = step(runs), runs / "run" / "checkpoints"
    happened: dict[str, Callable[[], bool]] = {
        "start-up": lambda: True,
        "steps": lambda: step(runs) > begun,
        "preview": lambda: any((runs / "run").glob("samples/*.png")),
        "save": lambda: folder.exists() and any(folder.glob(".tmp-*")),
    }
    wait_for(lambda: happened[kind]() or process.poll() is not None)
    time.sleep(chance.random() * {"start-up": 6.0, "steps": 0.3}.get(kind, 0.01))


def of(process: subprocess.Popen[str]) -> float:
    """Seconds of the processor that a running process has used."""
    words = Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()
    return (int(words[11]) + int(words[12])) / os.sysconf("SC_CLK_TCK")


def of_children() -> float:
    """The same of all processes that were started here and have ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


@pytest.mark.torture
def test_r7_a_stop_at_any_moment_saves_the_step_it_stopped_at(tmp_path: Path) -> None:
    chance, took, spent = random.Random(7), [], []
    kinds, total, alone = ("steps", "start-up", "save", "preview"), times(2, 20), quiet()
    for k in range(total):
        runs, before = tmp_path / str(k), of_children()
        kind = kinds[k % 4]
        # Only where a save is waited for may one come by itself: no other is there but the stop's.
        every = 3 if kind == "save" else 100_000
        training = start(runs, "sample_every=5", f"save_every={every}", steps=100_000)
        moment(kind, runs, training, chance)
        asked, used = time.monotonic(), of(training)
        training.terminate()
        code, said = ended(training)
        took.append(time.monotonic() - asked)
        spent.append(of_children() - before - used)
        assert code == 75, (kind, said)
        assert "Run the same command to go on." in said
        assert saved(runs) == step(runs) if step(runs) else "before a step was done" in said
    # A machine that does other things too tells nothing by the clock.
    assert max(spent) < 2
    assert max(took) < (2 if alone else 60)
    figure(
        "R7", "SIGTERM in start-up, save, preview, steps",
        f"{total}/{total} saved and exit 75; after at most {max(took):.1f} s, "
        f"{max(spent):.1f} s of the processor",
    )  # fmt: skip


@pytest.mark.slow
@pytest.mark.torture
def test_r8_usr1_saves_and_goes_on_and_a_second_interrupt_ends_at_once(tmp_path: Path) -> None:
    training = start(tmp_path, "save_every=1000000", steps=100_000)
    wait_for(lambda: step(tmp_path) > 3)
    training.send_signal(signal.SIGUSR1)
    wait_for(lambda: saved(tmp_path) > 0)
    wait_for(lambda: step(tmp_path) > saved(tmp_path) + 3)
    # Frozen, so that both come before the step after the first.
    training.send_signal(signal.SIGSTOP)
    training.send_signal(signal.SIGINT)
    training.send_signal(signal.SIGCONT)
    training.send_signal(signal.SIGINT)
    code, said = ended(training)
    assert code in (75, 130)  # two signals in one moment are one
    assert "Traceback" not in said
    figure("R8", "SIGUSR1; then Ctrl-C twice", f"saved and went on; exit {code}")


def test_r8_the_second_interrupt_is_130(tmp_path: Path) -> None:
    code = (
        "import os, signal, time\n"
        "from ornstein.training.signals import StopRequest\n"
        "with StopRequest() as stop:\n"
        "    os.kill(os.getpid(), signal.SIGINT); time.sleep(0.01)\n"
        "    print(stop.asked, flush=True)\n"
        "    os.kill(os.getpid(), signal.SIGINT); time.sleep(5); print('still here')\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (130, "SIGINT\n")


@pytest.mark.parametrize(("rank", "said"), [("0", "stopped before a step was done"), ("1", "")])
def test_r7_while_libraries_load_a_signal_ends_it_at_once(rank: str, said: str) -> None:
    code = (
        "import os, signal, time\n"
        "from ornstein.training.signals import StopRequest\n"
        "with StopRequest(ours=True) as stop:\n"
        "    os.kill(os.getpid(), signal.SIGTERM); time.sleep(5); print('still here')\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False,
        env={**os.environ, "RANK": rank},
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (75, "")
    assert done.stderr.startswith(said)
    assert bool(done.stderr) == bool(said)


@pytest.mark.torture
def test_r9_a_signal_to_the_whole_group_saves_once(tmp_path: Path) -> None:
    tries = times(1, 10)
    for k in range(tries):
        runs = tmp_path / str(k)
        training = start(runs, "--nproc", "2", steps=100_000)
        wait_for(lambda runs=runs: step(runs) > 2 + 3 * k)  # noqa: B023
        os.killpg(training.pid, signal.SIGTERM)
        code, said = ended(training)
        assert code == 75, said
        assert saved(runs) == step(runs)
    figure("R9", "SIGTERM to the process group of 2 ranks", f"{tries}/{tries} saved")


TINY = {"net.name": "mlp", "net.size": "tiny", "batch": 32, "log_every": 1, "sample.count": 4}


@pytest.mark.torture
def test_r5_too_little_space_is_refused_before_the_first_step(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ornstein.training.disk.free_bytes", lambda folder: 1_000_000)
    began = time.process_time()  # other processes may use the cores too
    with pytest.raises(DiskError, match=r"the disk is too full: training needs \d") as caught:
        orn.train("two-moons", name="run", runs=tmp_path, steps=5, settings=TINY)
    took = time.process_time() - began
    assert caught.value.exit_code == 74
    assert took < 5
    figure("R5", "a start with 1 MB of space", f"exit 74 after {took:.1f} s of the processor")
    assert not (tmp_path / "run" / "log.jsonl").exists()


class StopAt(Silent):
    """Asks to stop at a step."""

    def __init__(self, stop: StopRequest, at: int) -> None:
        self.stop, self.at, self.first = stop, at, 0.0

    def step(self, info: object) -> None:
        self.first = self.first or time.process_time()
        assert isinstance(info, dict)
        if info["step"] >= self.at:
            self.stop.asked = "the test"


@pytest.mark.torture
def test_r17_going_on_takes_no_time_and_repeats_at_most_the_steps_since_the_save(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    how, whole = {**TINY, "save_every": 10}, Trainer.step

    def power_cut(trainer: Trainer, total: int) -> Report:
        if trainer.done == 27:
            raise RuntimeError("the power is gone")
        return whole(trainer, total)

    def train(stop: StopRequest, watch: Silent) -> None:
        orn.train(
            "two-moons", name="run", runs=tmp_path, steps=40, seed=1, settings=how,
            progress=watch, stop=stop,
        )  # fmt: skip

    stop = StopRequest()
    with pytest.raises(StoppedEarly):
        train(stop, StopAt(stop, 1))
    stopped = saved(tmp_path)
    assert 0 < stopped < 10
    with monkeypatch.context() as patch:
        patch.setattr(Trainer, "step", power_cut)
        with pytest.raises(RuntimeError, match="power"):
            train(StopRequest(), Silent())
    assert f"resumed at step {stopped}\n" in (tmp_path / "run" / "events.log").read_text()
    began, watch = time.process_time(), StopAt(StopRequest(), 99)
    train(StopRequest(), watch)
    took = watch.first - began
    assert took < 5
    assert "resumed at step 20\n" in (tmp_path / "run" / "events.log").read_text()
    figure("R17", "resumed, over the imports", f"first step after {took:.1f} s of the processor")


JUMPS = """
import random, time
real, chance = time.time, random.Random(3)
time.time = lambda: real() + chance.uniform(-1e6, 1e6)
"""
ODD: dict[str, dict[str, str]] = {
    "clock jumps": {"PYTHONPATH": "{jumps}"},
    "locale": {"LC_ALL": "tr_TR.UTF-8", "LANG": "tr_TR.UTF-8"},
    "time zone": {"TZ": "Asia/Kathmandu"},
    "hash seed": {"PYTHONHASHSEED": "123"},
    "no home": {"HOME": "/nowhere"},
    "no room in TMPDIR": {"TMPDIR": "/proc"},
    "optimised": {"PYTHONOPTIMIZE": "1"},
    "umask 077": {"UMASK": "077"},
    "umask 000": {"UMASK": "000"},
}


def files(runs: Path) -> list[str]:
    return sorted(str(p.relative_to(runs)) for p in runs.rglob("*"))


@pytest.mark.slow
@pytest.mark.torture
def test_r24_an_odd_environment_changes_no_loss_and_no_file(tmp_path: Path) -> None:
    (tmp_path / "jumps").mkdir()
    (tmp_path / "jumps" / "sitecustomize.py").write_text(JUMPS)
    every = {key: value for odd in ODD.values() for key, value in odd.items()}
    cases = {"plain": {}, **(ODD if times(0, 1) else {"all at once": every})}
    cases.setdefault("all at once", every)
    for name, odd in cases.items():
        here = {k: v.format(jumps=tmp_path / "jumps") for k, v in odd.items()}
        if "PYTHONPATH" in here:
            here["PYTHONPATH"] += os.pathsep + os.environ.get("PYTHONPATH", "")
        before = os.umask(int(here.pop("UMASK", "022"), 8))
        try:
            code, said = ended(start(tmp_path / name, steps=25, **here))
        finally:
            os.umask(before)
        assert code == 0, (name, said)
        assert losses(tmp_path / name) == losses(tmp_path / "plain"), name
        assert files(tmp_path / name) == files(tmp_path / "plain"), name
    figure("R24", ", ".join(ODD), f"{len(cases) - 1} ways, same losses, same files")


@pytest.mark.slow
@pytest.mark.torture
def test_r25_a_long_training_takes_no_more_memory_and_no_more_files(tmp_path: Path) -> None:
    """``R25_SECONDS=14400 make torture ARGS="-k r25"`` is the rule's four hours."""
    seconds = times(45, int(os.environ.get("R25_SECONDS", "240")))
    training = start(tmp_path, "sample_every=100", "save_every=50", steps=10**7)
    wait_for(lambda: step(tmp_path) > 250, 300)
    log = tmp_path / "run" / "log.jsonl"
    began, first, marks = time.monotonic(), log.stat().st_size, []
    least = first * times(1, 4)  # a busy machine has made but few sheets by then
    while time.monotonic() - began < seconds or log.stat().st_size - first < least:
        status = Path(f"/proc/{training.pid}/status").read_text()
        rss = int(status.partition("VmRSS:")[2].split()[0]) / 1024
        handles = len(list(Path(f"/proc/{training.pid}/fd").iterdir()))
        threads = int(status.partition("Threads:")[2].split()[0])
        marks.append((time.monotonic() - began, log.stat().st_size, rss, handles, threads))
        time.sleep(0.2)
    training.terminate()
    assert ended(training)[0] == 75
    clock, done, rss, handles, threads = (np.array(column) for column in zip(*marks, strict=True))
    # A sheet takes memory for a moment; what would leak is the floor between sheets.
    parts = np.minimum(16 * (done - first) / (done[-1] + 1 - first), 15).astype(int)
    floors = [rss[parts == k].min() if (parts == k).any() else np.inf for k in range(16)]
    grown, half = min(floors[12:]) - min(floors[4:8]), parts > 7
    assert grown < 10
    slope = np.polyfit(np.arange(4, 16), floors[4:], 1)[0] * 16 * 3600 / clock[-1]
    assert slope < 1 or seconds < 3600  # in minutes it is all noise
    for count in (handles, threads):
        assert np.median(count[half]) <= np.median(count[~half])
    hourly = f" ({slope:+.2f} MB an hour)" if seconds >= 3600 else ""
    figure(
        "R25", f"{seconds} s of steps, saves and sheets",
        f"{step(tmp_path):,} steps: {grown:+.1f} MB between the second and the last quarter"
        f"{hourly}; {handles.min()}-{handles.max()} files, "
        f"{threads.min()}-{threads.max()} threads",
    )  # fmt: skip


def test_a_stop_before_anything_is_done_is_no_error_and_leaves_nothing(tmp_path: Path) -> None:
    stop = StopRequest()
    stop.asked = "SIGTERM"
    with pytest.raises(StoppedEarly, match="before a step was done") as caught:
        orn.train("two-moons", runs=tmp_path, steps=5, settings=TINY, stop=stop)
    assert caught.value.exit_code == 75
    assert list(tmp_path.iterdir()) == []


def test_the_record_of_a_stopped_run_says_so(tmp_path: Path) -> None:
    stop = StopRequest()
    with pytest.raises(StoppedEarly):
        orn.train(
            "two-moons", name="run", runs=tmp_path, steps=5000, settings=TINY,
            progress=StopAt(stop, 1), stop=stop,
        )  # fmt: skip
    record = json.loads((tmp_path / "run" / "run.json").read_text())
    assert record["state"] == "stopped"
    assert record["step"] == saved(tmp_path)
