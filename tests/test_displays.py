from __future__ import annotations

import io
import json
import os
import pty
import select
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from ornstein import displays
from ornstein.displays import Count, Json, Lines, Live, Quiet, amount, cost, display, duration


def info(step: int, **more: Any) -> dict[str, Any]:  # noqa: ANN401
    return {
        "step": step, "steps": 20_000, "images": 64 * step, "loss": 0.41234, "heldout": None,
        "rate": 981.4, "seconds_left": 20_400.0, "elapsed": 90.0, **more,
    }  # fmt: skip


def test_without_a_terminal_there_is_a_line_every_half_minute(
    capsys: pytest.CaptureFixture[str],
) -> None:
    now = [0.0]
    lines = Lines(clock=lambda: now[0])
    for k in range(1, 131):  # a step a second
        now[0] = float(k)
        lines.step(info(k, heldout=0.5 if k > 60 else None))
    lines.step(info(20_000))
    printed = capsys.readouterr().out.splitlines()
    assert [line.split()[1] for line in printed] == [
        "1/20,000", "31/20,000", "61/20,000", "91/20,000", "121/20,000", "20,000/20,000",
    ]  # fmt: skip
    assert printed[0].startswith("step 1/20,000  loss 0.4123  981/s  left 5 h 40 min  cost ")
    assert "held out 0.5000" in printed[2]


def test_what_is_saved_is_named_at_once_and_remembered(capsys: pytest.CaptureFixture[str]) -> None:
    lines = Lines()
    lines.note("run        runs/a")
    lines.saved(Path("runs/a/samples/step-1.png"), "grid")
    lines.saved(Path("runs/a/samples/step-2.png"), "grid")
    assert capsys.readouterr().out.splitlines() == [
        "run        runs/a",
        "saved grid  runs/a/samples/step-1.png",
        "saved grid  runs/a/samples/step-2.png",
    ]
    assert lines.files == {"grid": Path("runs/a/samples/step-2.png")}


def test_json_lines_can_be_read_back(capsys: pytest.CaptureFixture[str]) -> None:
    show = Json()
    show.note('a "quoted" note\nof two lines')
    show.step(info(3))
    show.saved(Path("a.png"), "grid")
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [row["event"] for row in rows] == ["note", "step", "saved"]
    assert rows[0]["text"] == 'a "quoted" note\nof two lines'
    assert rows[1]["loss"] == 0.41234
    assert rows[2] == {"event": "saved", "path": "a.png", "kind": "grid"}


def test_quiet_prints_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    show = Quiet()
    show.note("x")
    show.step(info(1))
    show.saved(Path("a"), "model")
    show.close()
    assert capsys.readouterr() == ("", "")
    assert show.last["step"] == 1


def test_the_display_fits_where_the_output_goes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdout", io.StringIO())
    assert type(display(False, False)) is Lines
    assert type(display(True, True)) is Json
    assert type(display(False, True)) is Quiet


def read_until(master: int, *wanted: bytes, seconds: float = 20.0) -> str:
    """Read a terminal, which gives what was written in pieces, until it has shown all of this."""
    seen, end = b"", time.monotonic() + seconds
    while not all(text in seen for text in wanted) and time.monotonic() < end:
        if select.select([master], [], [], 0.1)[0]:
            seen += os.read(master, 65536)
    while select.select([master], [], [], 0.1)[0]:
        seen += os.read(master, 65536)
    return seen.decode()


@pytest.mark.skipif(sys.platform == "win32", reason="needs a pseudo-terminal")
def test_in_a_terminal_a_bar_shows_step_loss_speed_time_and_cost(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    master, slave = pty.openpty()
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "80")
    with os.fdopen(slave, "w") as terminal:
        monkeypatch.setattr(sys, "stdout", terminal)
        show = display(False, False)
        assert type(show) is Live
        show.step(info(200))
        show.note("[not markup] 100 %")
        show.step(info(201, heldout=0.5))
        show.close()
        terminal.flush()
        seen = read_until(master, b"100 %", b"201/20,000")
    os.close(master)
    assert "201/20,000" in seen
    assert "loss 0.4123" in seen
    assert "held out 0.5000" in seen
    assert "981/s" in seen
    assert "left 5 h 40 min" in seen
    assert "cost" in seen
    assert "[not markup] 100 %" in seen


def test_the_time_left_follows_from_what_is_done_since_the_first_call(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Ten minutes of other work come before, and 32 items are there from an earlier try."""
    now = [0.0]
    counted = Count("sampling", clock=lambda: now[0])
    for now[0], done in ((600.0, 48), (640.0, 64), (680.0, 80)):
        counted(done, 128)
    assert capsys.readouterr().out.splitlines() == [
        "sampling 48/128",
        "sampling 64/128  left 2 min 40 s",
        "sampling 80/128  left 2 min 0 s",
    ]


def test_a_bar_ends_with_its_work_so_that_the_next_stands_alone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    told: list[str] = []

    class Seen(Live):
        def step(self, info: Mapping[str, Any]) -> None:
            told.append(f"{info['step']} of {info['steps']}")

        def close(self) -> None:
            told.append("over")

    monkeypatch.setattr(displays, "Live", Seen)
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True, raising=False)
    with Count("sampling") as one, Count("likelihood") as two:
        one(1, 2)
        one(2, 2)
        two(1, 2)
    assert told[:4] == ["1 of 2", "2 of 2", "over", "1 of 2"]


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (0, "0 s"),
        (59.6, "1 min 0 s"),
        (200, "3 min 20 s"),
        (3599, "59 min 59 s"),
        (20_400, "5 h 40 min"),
        (183_600, "2 d 3 h"),
        (-3, "0 s"),
    ],
)
def test_times_are_said_as_one_says_them(seconds: float, said: str) -> None:
    assert duration(seconds) == said


def test_rates_keep_three_digits() -> None:
    assert [amount(v) for v in (0.98123, 12.345, 1234.5)] == ["0.981", "12.3", "1,234"]


def test_cost_counts_every_core(monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    monkeypatch.setattr(torch, "get_num_threads", lambda: 2)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert cost(100) == "cost 3 min 20 s of one core"
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert cost(100) == "cost 1 min 40 s of GPU"
