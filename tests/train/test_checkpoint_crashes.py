"""A save cut short anywhere leaves the old state or the new one (R2, R3, R4, R6)."""

from __future__ import annotations

import errno
import itertools
import os
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from shim import Recorder, Shim, die_at, fail_at

from figures import figure
from ornstein.errors import DiskError
from ornstein.training import disk
from ornstein.training.checkpoint import load_latest, save_checkpoint


def save(folder: Path, step: int, keep: int = 2) -> Path:
    value = torch.full((3,), float(step))
    tensors = {"model": {"w": value}, "ema": {"w": value / 2}, "optim": {"0.m": value / 3}}
    return save_checkpoint(folder, step, tensors, {"step": step, "loss": step / 7}, keep)


def loaded(folder: Path) -> int:
    """Step of the newest whole checkpoint, after looking at every value in it."""
    found = load_latest(folder)
    assert found is not None
    value = torch.full((3,), float(found.step))
    assert torch.equal(found.tensors["model"]["w"], value)
    assert torch.equal(found.tensors["ema"]["w"], value / 2)
    assert torch.equal(found.tensors["optim"]["0.m"], value / 3)
    assert found.state == {"step": found.step, "loss": found.step / 7}
    assert found.warnings == ()  # a checkpoint that is being deleted is nobody's damage
    return found.step


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    place = tmp_path / "run" / "checkpoints"
    place.parent.mkdir()
    save(place, 1000)
    save(place, 2000)
    return place


def operations(folder: Path, monkeypatch: pytest.MonkeyPatch, step: int) -> int:
    """Number of file operations of one save, counted on a copy."""
    copy = folder.parent.parent / "counted" / "checkpoints"
    shutil.copytree(folder, copy)
    shim = Shim(lambda *_: None)
    monkeypatch.setattr(disk, "os", shim)
    save(copy, step)
    monkeypatch.setattr(disk, "os", os)
    return shim.count


@pytest.mark.torture
@pytest.mark.parametrize(
    "step", [3000, 2000, 1500], ids=["a-new-step", "the-same-step-again", "after-a-roll-back"]
)
def test_death_at_every_file_operation_leaves_the_old_or_the_new_state(
    step: int, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    total = operations(folder, monkeypatch, step)
    assert total > 30
    found = set()
    for k in range(1, total + 1):
        place = tmp_path / str(k) / "checkpoints"
        shutil.copytree(folder, place)
        child = os.fork()
        if child == 0:
            disk.os = die_at(k)  # type: ignore[assignment]
            save(place, step)
            os._exit(0)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 9
        found.add(loaded(place))
        save(place, 4000)
        assert loaded(place) == 4000
        assert [p.name for p in place.iterdir() if p.name.startswith(".")] == []
    assert found == {2000, step}
    figure(
        "R2",
        f"death at every file operation of saving {step} after 2000",
        f"{total}/{total} load old or new",
    )


class Disk:
    """A file system in which names and data are lost unless they were synced."""

    def __init__(self, root: Path) -> None:
        self.files: dict[int, tuple[bytes, bytes]] = {}  # data, data that is synced
        self.tree: dict[int, dict[str, tuple[str, int]]] = {}  # what is durable, by directory
        self.waiting: dict[int, list[tuple[str, str, tuple[str, int] | None]]] = {}
        self.numbers = itertools.count(10**6)
        self.root = self._take(root)

    def _take(self, path: Path) -> int:
        number = next(self.numbers)
        self.tree[number], self.waiting[number] = {}, []
        for entry in path.iterdir():
            if entry.is_dir():
                self.tree[number][entry.name] = ("dir", self._take(entry))
            else:
                file = next(self.numbers)
                self.files[file] = (entry.read_bytes(),) * 2
                self.tree[number][entry.name] = ("file", file)
        return number

    def names(
        self, number: int, keep: tuple[bool, ...] | None = None
    ) -> dict[str, tuple[str, int]]:
        """Entries of a directory with those of its waiting changes done that ``keep`` says."""
        names = dict(self.tree[number])
        waiting = self.waiting[number]
        for done, (change, name, entry) in zip(
            keep or (True,) * len(waiting), waiting, strict=True
        ):
            if not done:
                continue
            if change == "gone":
                names.pop(name, None)
            elif entry is not None:
                names[name] = entry
                if change != "new":  # a rename takes the old name away in the same change
                    names.pop(change, None)
        return names

    def find(self, path: str) -> tuple[int, str]:
        number = self.root
        *folders, name = Path(path).parts or ("",)
        for folder in folders:
            number = self.names(number)[folder][1]
        return number, name

    def do(self, entry: tuple[Any, ...]) -> None:
        kind, *rest = entry
        if kind == "write":
            data, synced = self.files[rest[0]]
            self.files[rest[0]] = (data + rest[1], synced)
        elif kind == "sync":
            self.files[rest[0]] = (self.files[rest[0]][0],) * 2
        elif kind == "syncdir":
            number, name = self.find(rest[0]) if rest[0] != "." else (self.root, "")
            number = self.names(number)[name][1] if name else number
            self.tree[number], self.waiting[number] = self.names(number), []
        else:
            self._rename_things(kind, rest)

    def _rename_things(self, kind: str, rest: list[Any]) -> None:
        number, name = self.find(rest[0])
        if kind == "create":
            self.files[rest[1]] = (b"", b"")
            self.waiting[number].append(("new", name, ("file", rest[1])))
        elif kind == "mkdir":
            fresh = next(self.numbers)
            self.tree[fresh], self.waiting[fresh] = {}, []
            self.waiting[number].append(("new", name, ("dir", fresh)))
        elif kind == "rename":
            new = self.find(rest[1])[1]
            self.waiting[number].append((name, new, self.names(number)[name]))
        else:
            self.waiting[number].append(("gone", name, None))

    def after_power_cut(self) -> set[frozenset[tuple[str, bytes | None]]]:
        """All states the disk may be in: any of the unsynced names there, the last write torn."""
        states = set()
        busy = [number for number, changes in self.waiting.items() if changes]
        subsets = [itertools.product((False, True), repeat=len(self.waiting[n])) for n in busy]
        for kept in itertools.product(*subsets):
            keep = dict(zip(busy, kept, strict=True))
            for fate in ("lost", "half", "zeros", "whole"):
                states.add(frozenset(self._state(self.root, "", keep, fate)))
        return states

    def _state(
        self, number: int, prefix: str, keep: dict[int, tuple[bool, ...]], fate: str
    ) -> list[tuple[str, bytes | None]]:
        found: list[tuple[str, bytes | None]] = []
        for name, (kind, inode) in self.names(number, keep.get(number)).items():
            if kind == "dir":
                found.append((f"{prefix}{name}/", None))
                found += self._state(inode, f"{prefix}{name}/", keep, fate)
            else:
                found.append((f"{prefix}{name}", self._data(inode, fate)))
        return found

    def _data(self, file: int, fate: str) -> bytes:
        data, synced = self.files[file]
        rest = data[len(synced) :]
        tail = {"lost": b"", "half": rest[: len(rest) // 2], "zeros": bytes(len(rest))}
        return synced + tail.get(fate, rest)


def build(state: frozenset[tuple[str, bytes | None]], root: Path) -> None:
    for name, data in sorted(state, key=lambda entry: entry[0]):
        if data is None:
            (root / name).mkdir(parents=True, exist_ok=True)
        else:
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            (root / name).write_bytes(data)


@pytest.mark.torture
@pytest.mark.parametrize(
    ("step", "block", "least"),
    [
        pytest.param(3000, 256, 200, id="a-new-step"),
        pytest.param(2000, 256, 200, id="the-same-step-again"),
        pytest.param(1500, 256, 200, id="after-a-roll-back", marks=pytest.mark.slow),
        pytest.param(3000, 12, 2000, id="in-small-pieces", marks=pytest.mark.slow),
    ],
)
def test_power_cut_after_every_operation_leaves_the_old_or_the_new_state(
    step: int,
    block: int,
    least: int,
    folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(disk, "BLOCK", block)  # a file takes several writes
    modelled = Disk(folder)
    recorder = Recorder(folder)
    monkeypatch.setattr(disk, "os", recorder)
    save(folder, step)
    monkeypatch.setattr(disk, "os", os)
    states = modelled.after_power_cut()
    for entry in recorder.log:
        modelled.do(entry)
        states |= modelled.after_power_cut()
    found = set()
    for k, state in enumerate(states):
        place = tmp_path / f"cut{k}"
        build(state, place)
        found.add(loaded(place))
        shutil.rmtree(place)
    assert found == {2000, step}
    assert len(states) >= least
    figure(
        "R3",
        f"power cut while saving {step} after 2000, blocks of {block}",
        f"{len(states):,} states load old or new",
    )
    for k, state in enumerate(modelled.after_power_cut()):  # once saved, never the old one
        build(state, tmp_path / f"end{k}")
        assert loaded(tmp_path / f"end{k}") == step


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO])
def test_a_disk_that_fails_at_any_operation_keeps_the_old_state_and_says_so(
    number: int, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(disk, "BLOCK", 64)  # a file takes several writes
    full = number in {errno.ENOSPC, errno.EDQUOT}
    before = loaded(folder)
    for k in itertools.count(1):
        shim = fail_at(k, number)
        monkeypatch.setattr(disk, "os", shim)
        try:
            save(folder, before + 1)
        except DiskError as error:
            text = str(error)
        else:
            text = ""
        monkeypatch.setattr(disk, "os", os)
        if not text:
            break
        assert str(folder) in text
        assert "MB free in" in text if full else "failed" in text
        assert loaded(folder) in {before, before + 1}
        if loaded(folder) == before:
            assert f"step {before:,}" in text
            continue
        # The new one had its name already; only tidying up failed. Go on from it.
        before += 1
    assert k > 30
    assert [p.name for p in folder.iterdir() if p.name.startswith(".")] == []


def test_full_disk_names_path_need_and_room_in_one_sentence(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(disk, "os", fail_at(1, names=frozenset({"write"})))
    monkeypatch.setattr(disk, "free_bytes", lambda _: 96_000_000)
    with pytest.raises(DiskError) as caught:
        save_checkpoint(folder, 11_000, {"model": {"w": torch.zeros(1).expand(103_000_000)}}, {})
    assert str(caught.value) == (
        f"disk is full: saving needs 412 MB, 96 MB free in {folder}. "
        "Your last good checkpoint (step 2,000) is safe."
    )
    assert caught.value.exit_code == 74


def test_a_vanished_run_directory_is_an_error_and_is_not_made_anew(folder: Path) -> None:
    shutil.rmtree(folder.parent)
    with pytest.raises(DiskError, match="No such file or directory"):
        save(folder, 3000)
    assert not folder.parent.exists()


def test_too_little_space_is_refused_before_the_start(tmp_path: Path) -> None:
    with pytest.raises(DiskError, match="MB free in"):
        disk.check_space(tmp_path / "not" / "made", 10**18)
