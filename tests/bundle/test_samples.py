"""What is kept of samples: pictures with their settings inside, arrays, sheets."""

from __future__ import annotations

import getpass
import io
import json
from pathlib import Path

import numpy as np
import pytest
from makers import make_bundle
from PIL import Image

from ornstein.bundle import load
from ornstein.errors import DiskError, UsageError
from ornstein.samples import read_settings


def test_a_picture_carries_what_makes_it_again(tmp_path: Path) -> None:
    bundle = make_bundle("image")
    made = bundle.sample(5, seed=7, first=3, steps=4, solver="heun")
    paths = made.save(tmp_path / "out")
    assert [p.name for p in paths] == [f"seed7-{k:05d}.png" for k in range(3, 8)]
    for k, path in enumerate(paths):
        assert np.array_equal(np.asarray(Image.open(path)), made.items[k, 0])
        said = read_settings(path)
        assert said is not None
        assert said["model"] == bundle.fingerprint
        again = bundle.sample(
            1, seed=said["seed"], first=said["item"], steps=said["steps"], solver=said["solver"],
            grid=said["grid"], schedule=said["schedule"], class_name=said["class"],
        )  # fmt: skip
        assert np.array_equal(again.items[0], made.items[k])


def test_the_chunk_is_plain_json_of_sorted_keys_without_paths_or_users(tmp_path: Path) -> None:
    path = make_bundle("image").save(tmp_path / "secret-folder" / "m.safetensors")
    (picture,) = load(path).sample(1, steps=2).save(tmp_path / "secret-folder")
    raw = picture.read_bytes()
    assert raw.count(b"tEXtornstein\0") == 1
    info = Image.open(picture).info
    assert json.dumps(json.loads(info["ornstein"]), sort_keys=True) == info["ornstein"]
    assert len(info["ornstein"]) <= 64_000
    assert info["parameters"].startswith("zero\nSteps: 2, Sampler: dpmpp-2m, ")
    for private in (b"secret-folder", getpass.getuser().encode(), str(tmp_path).encode()):
        assert private not in raw


def test_class_names_of_any_script_fit_into_the_picture(tmp_path: Path) -> None:
    names = ("猫", "é\n", "x" * 70_000)
    made = make_bundle("image", classes=names).sample(3, steps=1)
    first, second, third = made.save(tmp_path)
    assert (read_settings(first) or {})["class"] == "猫"
    assert (read_settings(second) or {})["class"] == "é\n"
    assert read_settings(third) is None  # more than 64 kB of settings stay outside


@pytest.mark.parametrize("kind", ["series", "vector"])
def test_series_and_vectors_are_kept_as_arrays_with_their_settings(
    kind: str, tmp_path: Path
) -> None:
    made = make_bundle(kind).sample(4, seed=2, steps=2)
    (path,) = made.save(tmp_path)
    assert np.array_equal(np.load(path, allow_pickle=False), made.items)
    said = json.loads(path.with_suffix(".json").read_text())
    assert (said["seed"], said["solver"]) == (2, "dpmpp-2m")
    assert said["items"][3] == {"item": 3, "class": "zero"}
    with pytest.raises(UsageError, match="not pictures"):
        made.images()


@pytest.mark.parametrize("kind", ["image", "series", "vector"])
def test_samples_show_themselves(kind: str, tmp_path: Path) -> None:
    made = make_bundle(kind).sample(6, steps=2)
    data = made._repr_png_()
    assert Image.open(io.BytesIO(data)).size == made.grid().size
    path = made.save_sheet(tmp_path / "new" / "sheet.png")
    assert Image.open(path).size == made.grid().size
    assert (read_settings(path) or {})["items"] == [0, 5]
    assert "seed 0" in repr(made)


def test_samples_are_a_sequence_of_samples() -> None:
    made = make_bundle("image").sample(6, steps=2)
    assert len(made) == 6
    assert [part.numbers for part in made] == [(k,) for k in range(6)]
    assert (made[-1].numbers, made[1:3].numbers) == ((5,), (1, 2))
    assert np.array_equal(made[2].items[0], made.items[2])
    assert made[4].about(0)["item"] == 4
    with pytest.raises(IndexError):
        made[6]
    assert len(made.images()) == 6


def test_pictures_of_others_have_no_settings(tmp_path: Path) -> None:
    path = tmp_path / "x.png"
    Image.new("L", (3, 3)).save(path)
    assert read_settings(path) is None
    path.write_bytes(b"no picture")
    assert read_settings(path) is None
    assert read_settings(tmp_path / "gone.png") is None


def test_a_place_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(DiskError, match="saving samples"):
        make_bundle("image").sample(1, steps=1).save(tmp_path / "file" / "out")
