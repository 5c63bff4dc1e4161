"""The log of a run: torn lines are cut, resuming cuts back, a full disk loses no line."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from ornstein.errors import DiskError
from ornstein.training import journal as module
from ornstein.training.journal import Journal, note, read_log


def filled(path: Path, steps: range) -> Journal:
    journal = Journal(path)
    for step in steps:
        journal.append({"step": step, "loss": step / 7})
    return journal


def test_floats_come_back_bit_for_bit(tmp_path: Path) -> None:
    filled(tmp_path / "log.jsonl", range(1, 50))
    found = read_log(tmp_path / "log.jsonl")
    assert found == [{"step": step, "loss": step / 7} for step in range(1, 50)]


def test_resuming_cuts_back_to_the_checkpoint(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    journal = filled(path, range(1, 10))
    journal.truncate_after(6)
    assert [entry["step"] for entry in read_log(path)] == [1, 2, 3, 4, 5, 6]
    journal.append({"step": 7})
    assert [entry["step"] for entry in read_log(path)] == [1, 2, 3, 4, 5, 6, 7]
    Journal(path).truncate_after(0)
    assert read_log(path) == []


def test_a_line_torn_at_any_byte_is_left_out_and_the_next_one_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    filled(path, range(1, 4))
    whole = path.read_bytes()
    start = whole.rindex(b"\n", 0, -1) + 1
    for cut in range(start, len(whole)):
        path.write_bytes(whole[:cut])
        assert [entry["step"] for entry in read_log(path)] == [1, 2]
        Journal(path).append({"step": 9})
        assert [entry["step"] for entry in read_log(path)] == [1, 2, 9]


def test_zeros_that_a_power_cut_left_are_no_lines(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    filled(path, range(1, 4))
    path.write_bytes(path.read_bytes() + bytes(100))
    Journal(path).append({"step": 4})
    assert [entry["step"] for entry in read_log(path)] == [1, 2, 3, 4]


def test_lines_that_found_no_room_are_written_when_there_is_some(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "log.jsonl"
    journal = filled(path, range(1, 3))
    real = os.write

    def half(handle: int, data: bytes) -> int:
        if len(data) > 3:
            return real(handle, data[:3])
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(module.os, "write", half)
    for step in (3, 4):
        with pytest.raises(DiskError, match="disk is full"):
            journal.append({"step": step})
        assert [entry["step"] for entry in read_log(path)] == [1, 2]
    monkeypatch.undo()
    journal.append({"step": 5})
    assert [entry["step"] for entry in read_log(path)] == [1, 2, 3, 4, 5]


def test_a_log_whose_directory_vanished_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(DiskError):
        Journal(tmp_path / "gone" / "log.jsonl").append({"step": 1})


def test_events_are_one_line_each_with_the_time(tmp_path: Path) -> None:
    note(tmp_path, "started")
    note(tmp_path, "skipped step 812\n(NaN)")
    lines = (tmp_path / "events.log").read_text().splitlines()
    assert [line[21:] for line in lines] == ["started", "skipped step 812 (NaN)"]


def test_lines_that_wait_are_written_before_a_checkpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    path = tmp_path / "log.jsonl"
    journal = filled(path, range(1, 3))
    with monkeypatch.context() as patch:
        patch.setattr(module, "_append", full)
        with pytest.raises(DiskError):
            journal.append({"step": 3})
        with pytest.raises(DiskError):
            journal.sync()
    journal.sync()
    assert [entry["step"] for entry in read_log(path)] == [1, 2, 3]
    journal.sync()
    assert len(read_log(path)) == 3
