from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ornstein.errors import UsageError
from ornstein.viz import film, grid, limits_of, sheet, strip, strip_rows
from ornstein.viz.pictures import TEXT_HEIGHT, as_tiles, thin

RNG = np.random.default_rng(5)


def noise(*shape: int) -> np.ndarray:
    return RNG.integers(0, 256, shape, dtype=np.uint8)


def numbered(count: int, side: int = 32) -> list[Image.Image]:
    """Frames that differ, so that no writer joins two of them."""
    blank = np.full((side, side, 3), 255, dtype=np.uint8)
    frames = []
    for k in range(count):
        frame = blank.copy()
        frame[k % side, k // side * 8 : k // side * 8 + 8] = 0
        frames.append(Image.fromarray(frame))
    return frames


def test_every_pixel_of_a_picture_fills_its_square_in_the_grid() -> None:
    images = noise(5, 3, 4, 6)
    drawn = np.asarray(grid(images, columns=3, scale=3, gap=2))
    assert drawn.shape == (2 * (12 + 2) + 2, 3 * (18 + 2) + 2, 3)
    for k in range(5):
        top, left = 2 + k // 3 * 14, 2 + k % 3 * 20
        for y in range(12):
            for x in range(18):
                assert tuple(drawn[top + y, left + x]) == tuple(images[k, :, y // 3, x // 3])
    assert (drawn[:2] == 255).all()
    assert (drawn[:, :2] == 255).all()
    assert (drawn[16:, 42:] == 255).all()  # the sixth place is empty


def test_channels_first_and_last_give_the_same_grid() -> None:
    images = noise(4, 3, 8, 8)
    assert grid(images).tobytes() == grid(np.moveaxis(images, 1, -1)).tobytes()


def test_grey_transparent_and_many_channels_are_shown_as_a_viewer_would() -> None:
    grey = noise(2, 1, 4, 4)
    assert (as_tiles(grey)[..., 1] == grey[:, 0]).all()
    assert (as_tiles(grey[:, 0]) == as_tiles(grey)).all()
    seen = as_tiles(np.concatenate([np.full((1, 3, 1, 1), 40), np.full((1, 1, 1, 1), 51)], 1)
                    .astype(np.uint8))  # fmt: skip
    assert seen[0, 0, 0].tolist() == [212, 212, 212]  # 40·0.2 + 255·0.8
    many = noise(2, 5, 4, 6)
    assert as_tiles(many).shape == (2, 4, 30, 3)
    assert (as_tiles(many)[1, :, 12:18, 0] == many[1, 2]).all()


def test_small_pictures_are_enlarged_and_large_ones_left() -> None:
    assert grid(noise(64, 1, 8, 8)).size == (8 * (64 + 2) + 2,) * 2
    assert grid(noise(1, 3, 128, 96)).size == (96 + 4, 128 + 4)


def test_labels_stand_under_their_pictures() -> None:
    plain, labelled = grid(noise(2, 1, 64, 64)), grid(noise(2, 1, 64, 64), labels=["a", "b"])
    assert labelled.height == plain.height + TEXT_HEIGHT
    under = np.asarray(labelled)[66:, :, 0]
    assert under[:, 2:66].min() < 128
    assert under[:, 68:132].min() < 128


@pytest.mark.parametrize(
    ("images", "labels"),
    [
        (np.zeros((2, 3, 4, 4)), None),
        (np.zeros((4, 4), np.uint8), None),
        (np.zeros((0, 3, 4, 4), np.uint8), None),
        (np.zeros((2, 3, 4, 4), np.uint8), ["one"]),
    ],
)
def test_a_grid_of_anything_else_is_refused(images: np.ndarray, labels: list[str] | None) -> None:
    with pytest.raises(UsageError):
        grid(images, labels=labels)


@pytest.mark.parametrize("suffix", [".webp", ".gif"])
@pytest.mark.parametrize(("count", "kept"), [(1, 1), (13, 13), (60, 60), (101, 60)])
def test_a_film_opens_with_at_most_sixty_frames(
    tmp_path: Path, suffix: str, count: int, kept: int
) -> None:
    path = film(numbered(count), tmp_path / f"a{suffix}")
    with Image.open(path) as opened:
        assert getattr(opened, "n_frames", 1) == kept


def test_the_first_and_last_frame_of_a_long_film_are_kept() -> None:
    assert thin(101, 60)[0] == 0
    assert thin(101, 60)[-1] == 100
    assert len(set(thin(101, 60))) == 60
    assert thin(5, 60) == [0, 1, 2, 3, 4]


@pytest.mark.parametrize("suffix", [".webp", ".gif"])
def test_a_film_of_noise_is_made_to_fit(tmp_path: Path, suffix: str) -> None:
    frames = [Image.fromarray(noise(96, 96, 3)) for _ in range(24)]
    path = film(frames, tmp_path / f"noise{suffix}", most_bytes=60_000)
    assert path.stat().st_size <= 60_000
    with Image.open(path) as opened:
        assert getattr(opened, "n_frames", 1) >= 12


def test_a_film_of_another_kind_or_without_frames_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"webp or \.gif"):
        film(numbered(2), tmp_path / "a.mp4")
    with pytest.raises(UsageError, match="at least one"):
        film([], tmp_path / "a.gif")


def test_a_curve_passes_through_its_values() -> None:
    flat = np.array([[[0.5] * 40], [[-1.0] * 40]])
    drawn = np.asarray(sheet(flat, "series", columns=1, limits=np.array([-1.5, 1.5])))
    inked = (drawn.min(axis=-1) < 120).nonzero()[0]
    # Tiles of 96 with a gap of 4: 0.5 lies a third below the top, -1 five sixths.
    first, second = inked[inked < 100], inked[inked > 100]
    assert first.mean() == pytest.approx(4 + 96 / 3, abs=1)
    assert second.mean() == pytest.approx(104 + 96 * 5 / 6, abs=1)


def test_a_point_is_drawn_where_it_lies_with_the_second_coordinate_upwards() -> None:
    drawn = np.asarray(
        sheet(np.array([[0.75, 0.9]]), "vector", limits=np.array([[0.0, 1.0], [0.0, 1.0]]))
    )
    row, column = np.unravel_index(drawn[2:-2, 2:-2, 0].argmin(), (416, 416))
    assert column + 2 == pytest.approx(0.75 * 419, abs=1)
    assert row + 2 == pytest.approx(0.1 * 419, abs=1)


def test_a_histogram_is_highest_where_most_values_are() -> None:
    values = np.concatenate([RNG.normal(3, 0.1, 900), RNG.normal(-3, 0.1, 100)])[:, None]
    drawn = np.asarray(sheet(values, "vector", limits=np.array([[-4.0, 4.0]])))[5:-5, 5:-5, 0]
    inked = (drawn < 128).sum(axis=0)
    assert inked.argmax() == pytest.approx(7 / 8 * 410, abs=12)
    assert 0 < inked[:205].max() < 0.3 * inked.max()


def test_longer_vectors_show_pairs_of_their_first_coordinates() -> None:
    drawn = sheet(RNG.normal(size=(50, 9)), "vector")
    assert drawn.size == (420, 420)


def test_shared_limits_hold_all_frames_and_keep_round_things_round() -> None:
    wide, narrow = RNG.normal(size=(4000, 2)) * [3, 1], RNG.normal(size=(4000, 2)) * 0.1
    limits = limits_of([narrow, wide], "vector")
    assert (limits[:, 0] < -3).all()
    assert (limits[:, 1] > 3).all()
    width = limits[:, 1] - limits[:, 0]
    assert width[0] == pytest.approx(width[1])
    low, high = limits_of([np.zeros((3, 1, 8)), np.ones((3, 1, 8))], "series")
    assert low < 0
    assert high > 1
    flat_low, flat_high = limits_of([np.full((3, 1, 8), 2.0)], "series")
    assert flat_low < 2 < flat_high


def test_rows_of_a_strip_follow_one_item_each() -> None:
    frames = [noise(3, 1, 64, 64) for _ in range(4)]
    rows = strip_rows(frames, "image")
    assert len(rows) == 3
    for b, row in enumerate(rows):
        for k in range(4):
            assert (row[k, :, :, 0] == frames[k][b, 0]).all()
    picture = np.asarray(strip(rows, gap=2))
    assert picture.shape == (3 * 66 + 2, 4 * 66 + 2, 3)
    assert (picture[68:132, 134:198, 0] == frames[2][1, 0]).all()


def test_a_strip_of_vectors_is_one_row_of_clouds_and_of_series_one_row_each() -> None:
    assert [r.shape for r in strip_rows([RNG.normal(size=(9, 2))] * 3, "vector")] == [
        (3, 150, 150, 3)
    ]
    assert [r.shape for r in strip_rows([RNG.normal(size=(2, 1, 20))] * 3, "series")] == [
        (3, 80, 120, 3)
    ] * 2


@pytest.mark.parametrize(
    ("items", "kind"),
    [
        (np.zeros((3, 2)), "cloud"),
        (np.zeros((3, 2)), "series"),
        (np.zeros((0, 2)), "vector"),
        (np.zeros((2, 1, 4, 4)), "image"),
    ],
)
def test_a_sheet_of_the_wrong_kind_is_refused(items: np.ndarray, kind: str) -> None:
    with pytest.raises(UsageError):
        sheet(items, kind)


def test_texts_of_several_lines_and_of_any_length_are_drawn_on_one_line() -> None:
    """Names of columns come from CSV files, where a quoted one may hold the end of a line."""
    tiles = noise(2, 1, 64, 64)
    plain = grid(tiles, labels=["a b", "c" * 30])
    assert grid(tiles, labels=["a\n b", "c" * 5_000]).tobytes() == plain.tobytes()
    rows = [as_tiles(tiles)]
    assert strip(rows, ["a\r\nb"], ["c\n", "d"]).tobytes() == strip(
        rows, ["a b"], ["c", "d"]
    ).tobytes()  # fmt: skip
