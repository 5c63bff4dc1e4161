"""The judge, the report, and that the numbers rank what they should (digits of scikit-learn)."""

from __future__ import annotations

import importlib
import json
import re
import tracemalloc
from dataclasses import replace
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits

from ornstein.data.dataset import Dataset, Source, make_dataset
from ornstein.errors import DataError, ModelFileError, OrnsteinWarning, UsageError
from ornstein.evaluate import (
    LearnedFeatures,
    Quality,
    Reference,
    Row,
    cached_features,
    load_features,
    reference_of,
    save_features,
    score,
    train_features,
)
from ornstein.evaluate.classifier import Classifier, channel_statistics, train_classifier
from ornstein.evaluate.extractors import untrained
from ornstein.evaluate.neighbours import precision_recall, radii

Digits = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]


@pytest.fixture(scope="module")
def data() -> Dataset:
    raw = load_digits()
    return make_dataset(
        "digits",
        "image",
        raw.images[:, None].astype(np.uint8),
        source=Source("scikit-learn"),
        labels=raw.target,
        classes=tuple("0123456789"),
        heldout=np.random.default_rng(1).permutation(len(raw.target))[:600],
    )


@pytest.fixture(scope="module")
def digits(data: Dataset) -> Digits:
    assert data.labels is not None
    mixed = np.random.default_rng(2).permutation(data.train)
    return data.items, data.labels, mixed, data.heldout


@pytest.fixture(scope="module")
def reference(data: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Reference:
    return reference_of(data, folder=tmp_path_factory.mktemp("cache"))


@pytest.fixture(scope="module")
def judge(reference: Reference) -> LearnedFeatures:
    assert isinstance(reference.features, LearnedFeatures)
    return reference.features


def test_the_classifier_of_digits_recognises_97_percent_of_unseen_ones(
    judge: LearnedFeatures,
) -> None:
    assert judge.accuracy >= 0.97
    assert judge.heldout == 600


def test_training_twice_gives_the_same_judge_and_another_seed_another(digits: Digits) -> None:
    items, labels, train, _ = digits
    small = train[:200]
    one, two, other = (
        train_classifier(items[small], labels[small], 10, seed=s, passes=2) for s in (3, 3, 4)
    )
    probe = torch.from_numpy(items[:50])
    with torch.inference_mode():
        assert torch.equal(one(probe), two(probe))
        assert not torch.equal(one(probe), other(probe))


def test_training_the_judge_leaves_the_global_random_state_alone(digits: Digits) -> None:
    items, labels, train, _ = digits
    torch.manual_seed(5)
    truth = torch.rand(3)
    torch.manual_seed(5)
    train_classifier(items[train[:64]], labels[train[:64]], 10, passes=1)
    assert torch.equal(torch.rand(3), truth)


@pytest.mark.parametrize(
    "shape", [(1, 8, 8), (3, 9, 14), (1, 28, 28), (3, 130, 97), (2, 50), (5,)]
)
def test_the_classifier_takes_any_shape_of_item(shape: tuple[int, ...]) -> None:
    net = Classifier(shape, 3).eval()
    items = torch.zeros(2, *shape, dtype=torch.uint8)
    assert net(items).shape == (2, 3)
    assert net.features(items).shape == (2, 128)


def test_a_judge_is_the_same_after_saving_and_loading(
    judge: LearnedFeatures, digits: Digits, tmp_path: Path
) -> None:
    items = digits[0][:40]
    save_features(judge, tmp_path / "judge.safetensors")
    back = load_features(tmp_path / "judge.safetensors")
    assert back.digest == judge.digest
    assert (back.accuracy, back.heldout, back.trained_on) == (
        judge.accuracy,
        600,
        judge.trained_on,
    )
    assert torch.equal(back.read(items).features, judge.read(items).features)


def test_a_damaged_or_foreign_judge_is_refused_with_what_to_do(
    judge: LearnedFeatures, tmp_path: Path
) -> None:
    path = tmp_path / "judge.safetensors"
    save_features(judge, path)
    raw = bytearray(path.read_bytes())
    raw[-1000] ^= 0x55
    path.write_bytes(raw)
    with pytest.raises(ModelFileError, match="damaged"):
        load_features(path)
    path.write_bytes(b"not a file of tensors")
    with pytest.raises(ModelFileError, match="delete it"):
        load_features(path)


def test_the_judge_is_trained_once_for_the_same_data(data: Dataset, tmp_path: Path) -> None:
    few = replace(data, train=data.train[:80], heldout=data.heldout[:40])
    batches: list[tuple[int, int]] = []
    made = [
        cached_features(
            few, folder=tmp_path, progress=lambda done, whole: batches.append((done, whole))
        )
        for _ in range(2)
    ]
    assert made[0].digest == made[1].digest
    assert batches == [(i + 1, len(batches)) for i in range(len(batches))]


def test_a_judge_that_cannot_be_kept_is_not_thrown_away(
    data: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    few = replace(data, train=data.train[:40], heldout=data.heldout[:20])
    (tmp_path / "file").touch()
    with pytest.warns(OrnsteinWarning, match="could not be kept.*ORNSTEIN_CACHE"):
        judge = cached_features(few, folder=tmp_path / "file")
    assert judge.trained_on == few.fingerprint

    def homeless() -> Path:
        raise RuntimeError("Could not determine home directory.")

    for name in ("ORNSTEIN_CACHE", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(Path, "home", homeless)
    assert untrained(few, "classifier")
    with pytest.warns(OrnsteinWarning, match="no home directory"):
        assert cached_features(few).digest == judge.digest


def test_a_classifier_without_labels_is_refused_with_what_to_do(data: Dataset) -> None:
    with pytest.raises(DataError, match="sub-folder per class, or take --features encoder"):
        train_features(replace(data, conditions=()))


def test_real_data_score_at_the_floor_and_every_fault_scores_worse(
    digits: Digits, reference: Reference
) -> None:
    """DATA.md's ranking: fresh data, then noise, lost classes, repeats and plain noise."""
    items, _, train, _ = digits
    labels = digits[1][train]
    rng = np.random.default_rng(0)
    real = items[train][:600]

    def distance(samples: np.ndarray) -> Row:
        return score(samples, reference, metrics=("frechet_heldout",)).rows["frechet_heldout"]

    fresh = distance(real)
    noisy = np.clip(real + rng.normal(0, 4, real.shape), 0, 16).astype(np.uint8)
    three = items[train][labels < 3][:300]
    repeated = np.repeat(real[:12], 50, axis=0)
    noise = rng.integers(0, 17, real.shape).astype(np.uint8)
    assert distance(noisy).value > 2 * fresh.floor
    for fault in (repeated, three, noise):
        assert distance(fault).value > 10 * fresh.floor
    assert fresh.value < 1.5 * fresh.floor


def test_each_distance_is_zero_for_the_very_data_it_is_measured_against(
    digits: Digits, reference: Reference
) -> None:
    items, _, train, heldout = digits
    for side, name, other in (
        (train, "frechet_train", "frechet_heldout"),
        (heldout, "frechet_heldout", "frechet_train"),
    ):
        rows = score(items[side], reference).rows
        assert rows[name].value == pytest.approx(0, abs=1e-6)
        assert rows[other].value == pytest.approx(rows[name].floor, rel=0.5)
        assert rows[other].value > 0.1


def test_accuracy_counts_the_classes_asked_for(digits: Digits, reference: Reference) -> None:
    items, labels, _, heldout = digits
    asked = labels[heldout].copy()
    right = score(items[heldout], reference, asked=asked)
    assert right.accuracy == pytest.approx(right.judge_accuracy)
    assert sum(right.found) == right.stamp.n == 600
    asked[:200] = (asked[:200] + 1) % 10
    wrong = score(items[heldout], reference, asked=asked)
    assert wrong.accuracy == pytest.approx(right.accuracy - 200 / 600, abs=0.02)
    assert wrong.asked == tuple(np.bincount(asked).tolist())


def test_numbers_of_unlike_protocols_refuse_to_be_compared(
    digits: Digits, reference: Reference
) -> None:
    items, _, train, _ = digits
    one = score(items[train[:300]], reference)
    two = score(items[train[300:600]], reference, made={"by": "another"})
    assert one.ratio(two) == pytest.approx(
        one.rows["frechet_train"].value / two.rows["frechet_train"].value
    )
    fewer = score(items[train[:200]], reference)
    with pytest.raises(UsageError, match="n 300 and 200"):
        one.ratio(fewer)
    other = replace(two, stamp=replace(two.stamp, digest="0" * 16))
    with pytest.raises(UsageError, match="digest"):
        one.ratio(other)
    slow = score(items[train[300:600]], reference, made={"solver": "ddim", "steps": 50})
    with pytest.raises(UsageError, match="solver None and ddim; steps None and 50"):
        one.ratio(slow)
    assert one.ratio(slow, free=("solver", "steps")) == pytest.approx(one.ratio(two))
    with pytest.raises(UsageError, match="Did you mean 'precision'"):
        one.ratio(two, "precison")


def test_numbers_of_samples_of_other_classes_refuse_to_be_compared(
    digits: Digits, reference: Reference
) -> None:
    items, labels, train, _ = digits
    some = train[:300]

    def asked(of: np.ndarray | None, **made: object) -> Quality:
        return score(items[some], reference, asked=of, made=made, metrics=("frechet_train",))

    ways = {
        "None": asked(None),
        "none": asked(None, classes="none"),
        "each alike": asked(np.arange(300) % 10),
        "as in the data": asked(labels[some], classes="as in the data"),
        " ".join(map(str, np.bincount(labels[some]))): asked(labels[some]),
        "only 3": asked(np.full(300, 3)),
        "only 4": asked(None, **{"class": "4"}),
    }
    for one, other in combinations(ways, 2):
        with pytest.raises(UsageError, match=f"classes {one} and {other}[.;]"):
            ways[one].ratio(ways[other], "frechet_train")
    free = ("class", "classes")
    first, *rest = ways.values()
    assert [each.ratio(first, "frechet_train", free) for each in rest] == [1] * 6
    assert ways["only 3"].ratio(asked(np.full(300, 3)), "frechet_train") == 1


def test_a_report_survives_json_and_prints_its_numbers(
    digits: Digits, reference: Reference
) -> None:
    items, labels, _, heldout = digits
    made = {"solver": "ddim", "steps": 50, "seed": 7}
    whole = score(items[heldout], reference, asked=labels[heldout], made=made)
    assert Quality.from_json(whole.to_json()) == whole
    text = str(whole)
    assert "solver ddim, steps 50, seed 7" in text
    assert whole.stamp.digest in text
    with pytest.raises(DataError, match="not a quality report"):
        Quality.from_json("[]")


def test_a_floor_of_fewer_real_items_than_samples_says_so(
    digits: Digits, reference: Reference
) -> None:
    items, _, train, _ = digits
    text = str(score(items[train], reference, metrics=("frechet_train", "frechet_heldout")))
    to_train, to_heldout = text.splitlines()[2:4]
    assert re.search(r"less  n 600; as many samples: 0\.\d+$", to_train)
    assert to_heldout.endswith("less")


def test_samples_unlike_the_data_are_refused(digits: Digits, reference: Reference) -> None:
    items = digits[0][:20]
    with pytest.raises(UsageError, match=r"\(n, 1, 8, 8\)"):
        score(items[:, :, :7], reference)
    with pytest.raises(UsageError, match="float32 and the data uint8"):
        score(items.astype(np.float32), reference)
    with pytest.raises(UsageError, match="asked classes"):
        score(items, reference, asked=np.full(20, 10))
    with pytest.raises(UsageError, match="unknown metric 'recal'"):
        score(items, reference, metrics=("recal",))


def test_overlapping_training_and_heldout_items_are_refused(
    digits: Digits, judge: LearnedFeatures
) -> None:
    items, _, train, heldout = digits
    with pytest.raises(DataError, match="overlap"):
        Reference.of(judge, items, train, np.append(heldout, train[0]), fingerprint="d")


def test_the_radius_reaches_to_the_third_neighbour() -> None:
    line = torch.arange(7.0).unsqueeze(1)
    assert radii(line, 3).tolist() == [3, 2, 2, 2, 2, 2, 3]


def test_precision_and_recall_of_half_a_support_are_one_and_a_half() -> None:
    """Samples from one of two far clusters: all are plausible, half of the data is missing."""
    rng = np.random.default_rng(0)
    left, right, own = (torch.from_numpy(rng.normal(m, 1, (400, 3))) for m in (0, 100, 0))
    precision, recall = precision_recall(own, torch.cat([left, right]))
    assert precision > 0.9
    assert recall == pytest.approx(0.5, abs=0.05)
    backward = precision_recall(torch.cat([left, right]), own)
    assert backward == pytest.approx((0.5, 1.0), abs=0.1)


def test_the_benchmark_scores_everybody_at_the_least_number_that_all_have(
    data: Dataset, reference: Reference, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(Path(__file__).parents[2])
    quality = importlib.import_module("benchmarks.quality")
    monkeypatch.setattr(quality, "reference_of", lambda *_, **__: reference)
    clean = data.items[data.train[:400]]
    noise = np.random.default_rng(0).normal(0, 5, clean.shape)
    noisy = np.clip(clean + noise, 0, 16).astype(np.uint8)
    for name, items in {"ornstein": clean, "diffusers": noisy[:300]}.items():
        (tmp_path / name).mkdir()
        for part, block in enumerate(np.array_split(items, 2)):
            np.save(tmp_path / name / f"samples-{part:04d}.npy", block)
    (tmp_path / "ornstein" / "record.json").write_text('{"steps": 7, "seconds": 90}')
    table = quality.report(data, tmp_path, ("ornstein", "diffusers"))
    results = json.loads((tmp_path / "results.json").read_text())
    ours, peer = results["ornstein"][1], results["diffusers"][1]
    assert ours["stamp"] == peer["stamp"]
    assert ours["stamp"]["n"] == 300
    assert peer["rows"]["frechet_train"]["value"] > 2 * ours["rows"]["frechet_train"]["value"]
    assert "| ornstein, defaults | 7 | 1.5 min | 300 |" in table
    assert "the floor: real images" in table
    assert (tmp_path / "diffusers.png").stat().st_size > 1000


def test_means_and_deviations_of_large_items_take_little_memory() -> None:
    """In float64, 20,000 pictures of 3x16x16 would be 123 MB, twice."""
    random = np.random.default_rng(0)
    items = random.integers(0, 256, (20_000, 3, 16, 16), dtype=np.uint8)
    items[:, 2] = 7
    index = random.permutation(20_000)[:19_000]
    tracemalloc.start()
    mean, std = channel_statistics(items, index, limit=19_000)
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert most < 40e6
    counts = [
        np.bincount(items[index][:, c].ravel(), minlength=256) / 19_000 / 256 for c in (0, 1)
    ]
    middles = [float(share @ np.arange(256)) for share in counts]
    spreads = [
        float(share @ (np.arange(256) - middle) ** 2) ** 0.5
        for share, middle in zip(counts, middles, strict=True)
    ]
    np.testing.assert_allclose(mean.numpy(), [*middles, 7], rtol=1e-6)
    np.testing.assert_allclose(std.numpy(), [*spreads, 1], rtol=1e-6)  # 1 for a constant


def test_a_small_deviation_far_from_zero_keeps_its_digits() -> None:
    series = np.tile([1e9 - 2, 1e9 + 2], 500).reshape(20, 1, 50)
    mean, std = channel_statistics(series, np.arange(20))
    assert (float(mean), float(std)) == (1e9, 2.0)


def test_large_items_are_read_a_few_at_a_time_to_the_same_features(
    judge: LearnedFeatures, digits: Digits, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Five hundred pictures of 1024x1024 in three colours are 6 GB as numbers."""
    items, seen = digits[0], []
    whole = judge.read(items[:300])

    def watched(self: Classifier, some: torch.Tensor) -> torch.Tensor:
        seen.append(some.numel())
        return features(self, some)

    features = Classifier.features
    monkeypatch.setattr(Classifier, "features", watched)
    monkeypatch.setattr("ornstein.evaluate.features.TOGETHER", 70 * 64)
    parts = judge.read(items[:300])
    assert max(seen) == 70 * 64
    torch.testing.assert_close(parts.features, whole.features)


def test_no_number_is_a_multiple_of_nothing(digits: Digits, reference: Reference) -> None:
    """The very data that is measured against has a distance of 0, on the nose or nearly."""
    items = digits[0]
    found = score(items[:60], reference, metrics=("frechet_train",))
    none = replace(found, rows={"frechet_train": replace(found.rows["frechet_train"], value=0.0)})
    with pytest.raises(UsageError, match="multiple of a frechet_train of 0"):
        found.ratio(none)
