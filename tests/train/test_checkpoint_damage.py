"""Any fault of a saved file is seen, and the checkpoint before it is used (R14, R15, R16)."""

from __future__ import annotations

import io
import json
import os
import random
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from ornstein.errors import DiskError, DivergedError, ModelFileError
from ornstein.training import checkpoint as module
from ornstein.training.checkpoint import list_checkpoints, load_latest, save_checkpoint
from ornstein.training.manifest import MANIFEST, Damaged

FILES = ["model.safetensors", "ema.safetensors", "optim.safetensors", "state.json", MANIFEST]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for step in (11_000, 12_000):
        weights = torch.arange(6.0) + step
        tensors = {"model": {"w": weights}, "ema": {"w": weights}, "optim": {"0.m": weights}}
        save_checkpoint(tmp_path, step, tensors, {"step": step, "seed": 3})
    return tmp_path


def faults(path: Path, other: Path) -> list[tuple[str, bytes | None]]:
    """What can befall a file: cut at 20 points, 200 single bits flipped, deleted, swapped."""
    data = path.read_bytes()
    rng = random.Random(path.name)
    found: list[tuple[str, bytes | None]] = [("deleted", None), ("swapped", other.read_bytes())]
    found += [("cut", data[: len(data) * k // 20]) for k in range(20)]
    found += [("longer", data + b" ")]
    for place in rng.sample(range(8 * len(data)), 200):
        changed = bytearray(data)
        changed[place // 8] ^= 1 << place % 8
        found.append((f"bit {place}", bytes(changed)))
    return found


@pytest.mark.parametrize("name", FILES)
def test_every_fault_of_every_file_is_detected_and_the_one_before_is_used(
    name: str, folder: Path
) -> None:
    path, other = folder / "step-000012000" / name, folder / "step-000011000" / name
    whole = path.read_bytes()
    for what, data in faults(path, other):
        path.unlink()
        if data is not None:
            path.write_bytes(data)
        found = load_latest(folder)
        assert found is not None
        assert found.step == 11_000, what
        (warning,) = found.warnings
        assert "step-000012000 is damaged" in warning
        # A swapped or cut manifest lists other files: then what it lists is at fault.
        assert name in warning or name == MANIFEST
        path.write_bytes(whole)
    mended = load_latest(folder)
    assert mended is not None
    assert (mended.step, mended.warnings) == (12_000, ())


def test_the_warning_is_the_sentence_of_the_handbook(folder: Path) -> None:
    path = folder / "step-000012000" / "optim.safetensors"
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    found = load_latest(folder)
    assert found is not None
    (warning,) = found.warnings
    assert warning == (
        "checkpoint step-000012000 is damaged (optim.safetensors: hash differs). "
        "Using step-000011000 instead."
    )


def test_a_whole_checkpoint_under_another_steps_name_is_not_taken(folder: Path) -> None:
    (folder / "step-000012000").rename(folder / "step-000099000")
    found = load_latest(folder)
    assert found is not None
    assert found.step == 11_000


def test_when_all_are_damaged_training_does_not_start_over_in_silence(folder: Path) -> None:
    for path in list_checkpoints(folder):
        (path / "state.json").unlink()
    with pytest.raises(ModelFileError, match=r"step-000012000.*step-000011000.*Put a copy back"):
        load_latest(folder)


def test_no_checkpoint_at_all_is_none(tmp_path: Path) -> None:
    assert load_latest(tmp_path / "checkpoints") is None
    assert load_latest(tmp_path) is None


@pytest.mark.parametrize("more", [{}, {"files": [], "parts": 3}])
def test_a_newer_format_is_named_and_nothing_older_is_used_instead(
    more: dict[str, object], folder: Path
) -> None:
    manifest = {"format": 999, "ornstein": "9.1.0", **more}
    (folder / "step-000012000" / MANIFEST).write_text(json.dumps(manifest))
    said = r"ornstein 9\.1\.0 \(format 999\).*Install a newer version of ornstein\.$"
    with pytest.raises(ModelFileError, match=said):
        load_latest(folder)


class Canary:
    """Unpickling this would make a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Callable[..., object], tuple[str]]:
        return os.mkdir, (str(self.path),)


def pickled(canary: Path) -> bytes:
    import pickle

    return pickle.dumps(Canary(canary))


def torch_file(canary: Path) -> bytes:
    file = io.BytesIO()
    torch.save({"w": Canary(canary)}, file)
    return file.getvalue()


def npz(canary: Path) -> bytes:
    file = io.BytesIO()
    np.savez(file, w=np.array([Canary(canary)], dtype=object))
    return file.getvalue()


def bomb(canary: Path) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("w", bytes(50_000_000))
    return file.getvalue()


BYTES = {"pickle": pickled, "torch": torch_file, "npz": npz, "bomb": bomb}


def craft(kind: str, place: Path, canary: Path) -> None:
    """Turn the whole checkpoint ``place`` into a trap."""
    model = place / "model.safetensors"
    if kind.startswith("extra"):
        (place / kind.split()[1]).write_bytes(pickled(canary))
    elif kind in BYTES:
        model.write_bytes(BYTES[kind](canary))
    elif kind == "link":
        shutil.copy(model, place.parent / "elsewhere")
        model.unlink()
        model.symlink_to(place.parent / "elsewhere")
    elif kind == "fifo":
        model.unlink()
        os.mkfifo(model)
    elif kind == "directory":
        model.unlink()
        model.mkdir()
    elif kind == "linked checkpoint":
        place.rename(place.parent / "real")
        place.symlink_to(place.parent / "real")
    elif kind == "manifest link":
        (place / MANIFEST).rename(place.parent / "real.json")
        (place / MANIFEST).symlink_to(place.parent / "real.json")
    elif kind == "deep manifest":
        (place / MANIFEST).write_text("[" * 200_000)


@pytest.mark.parametrize(
    "kind",
    ["pickle", "torch", "npz", "bomb", "link", "fifo", "directory", "linked checkpoint",
     "manifest link", "deep manifest", "extra optim.pt", "extra model.ckpt", "extra data.pkl"],
)  # fmt: skip
def test_crafted_directories_are_refused_and_nothing_in_them_runs(
    kind: str, folder: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    canary = tmp_path_factory.mktemp("canary") / "made"
    craft(kind, folder / "step-000012000", canary)
    found = load_latest(folder)
    assert found is not None
    assert found.step == 11_000
    assert len(found.warnings) == 1
    assert not canary.exists()


def test_a_manifest_with_a_right_checksum_cannot_reach_outside(folder: Path) -> None:
    from ornstein.training.manifest import Listed, write_manifest

    place = folder / "step-000012000"
    for name in ["../step-000011000/model.safetensors", "model.pt", "/etc/passwd", ".safetensors"]:
        (place / MANIFEST).unlink()
        write_manifest(place, 12_000, {name: Listed(3, "0" * 64)})
        with pytest.raises(Damaged, match="lists"):
            module.load_checkpoint(place)


def test_files_that_systems_leave_behind_do_no_harm(folder: Path) -> None:
    (folder / "step-000012000" / ".DS_Store").write_bytes(b"x")
    (folder / ".DS_Store").write_bytes(b"x")
    found = load_latest(folder)
    assert found is not None
    assert found.step == 12_000


def test_what_does_not_read_back_is_not_called_saved(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = module.disk.write_file

    def rot(path: Path, data: bytes | module.disk.Pieces) -> str:
        digest = real(path, data)
        if path.name == "model.safetensors":
            path.write_bytes(path.read_bytes()[:-1] + b"!")
        return digest

    monkeypatch.setattr(module.disk, "write_file", rot)
    with pytest.raises(DiskError, match="does not read back"):
        save_checkpoint(folder, 13_000, {"model": {"w": torch.ones(3)}}, {})
    monkeypatch.undo()
    found = load_latest(folder)
    assert found is not None
    assert found.step == 12_000


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_no_checkpoint_holds_a_value_that_is_not_finite(value: float, folder: Path) -> None:
    with pytest.raises(DivergedError, match="model tensor 'w'"):
        save_checkpoint(folder, 13_000, {"model": {"w": torch.tensor([1.0, value])}}, {})
    assert [p.name for p in list_checkpoints(folder)] == ["step-000012000", "step-000011000"]


def test_two_are_kept_and_those_of_a_future_rolled_back_are_not(folder: Path) -> None:
    def save(step: int, keep: int = 2) -> list[str]:
        save_checkpoint(folder, step, {"model": {"w": torch.ones(2)}}, {}, keep)
        return [p.name for p in list_checkpoints(folder)]

    assert save(13_000) == ["step-000013000", "step-000012000"]
    assert save(12_500) == ["step-000012500", "step-000012000"]
    assert save(14_000, keep=3) == ["step-000014000", "step-000012500", "step-000012000"]


def test_tensors_of_every_layout_come_back_bit_for_bit(tmp_path: Path) -> None:
    image = torch.randn(2, 3, 4, 5).to(memory_format=torch.channels_last)
    shared = torch.randn(4)
    group = {
        "image": image,
        "a": shared,
        "b": shared[:],
        "transposed": torch.randn(3, 4).T,
        "half": torch.randn(5).bfloat16(),
        "count": torch.tensor(7.0),
        "whole": torch.arange(3),
    }
    save_checkpoint(tmp_path, 1, {"model": group}, {})
    found = load_latest(tmp_path)
    assert found is not None
    for name, value in group.items():
        assert torch.equal(found.tensors["model"][name], value)
        assert found.tensors["model"][name].dtype == value.dtype
