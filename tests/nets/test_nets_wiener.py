"""What a Gaussian fitted to the data makes of a noisy item, against the exact denoiser."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from ornstein import build
from ornstein.bundle import load
from ornstein.config import resolve
from ornstein.core import Gaussian, Level, Mixture, Principal, generator
from ornstein.data import Dataset, Source, make_dataset, open_data
from ornstein.gaussians import EACH, clusters, fit, fit_gaussians
from ornstein.model import seen
from ornstein.nets import UNet
from ornstein.nets.wiener import Wiener, fold_of
from ornstein.planning import plan, planning
from ornstein.training.ranks import Ranks
from ornstein.viz.anatomy import examine

CPU = torch.device("cpu")


def items(count: int, seed: int, dims: int = 12) -> Tensor:
    """Items (count, 1, 3, 4) of a Gaussian that fills a few directions more than the others."""
    source = generator(seed)
    mixing = torch.randn(dims, dims, generator=source) * torch.linspace(1, 0.2, dims)
    shift = torch.randn(dims, generator=source)
    return (shift + torch.randn(count, dims, generator=source) @ mixing.mT).view(-1, 1, 3, 4)


@pytest.mark.parametrize("log_snr", [-12.0, -2.0, 0.5, 6.0])
def test_with_all_directions_it_is_the_exact_denoiser_of_each_classs_gaussian(
    log_snr: float,
) -> None:
    clean = torch.cat([items(400, 1), items(300, 2)])
    group = torch.arange(700).ge(400).long()
    wiener = Wiener((1, 3, 4), 3, 99).double()
    fit(wiener, clean, group)
    level = Level(
        *(torch.tensor(s * log_snr, dtype=torch.float64).sigmoid().sqrt() for s in (1, -1))
    )
    x = torch.randn(6, 1, 3, 4, dtype=torch.float64, generator=generator(3))
    scaled, noise = seen(x, level)
    torch.testing.assert_close(scaled, x)  # the scale that preserves variance
    said = torch.tensor([0, 1, 2, 1, 0, 2])
    found = wiener(x, noise, said)
    for k, rows in enumerate((clean[:400], clean[400:], clean)):
        flat = rows.flatten(1).double()
        law = Gaussian(flat.mean(0), (flat - flat.mean(0)).mT @ (flat - flat.mean(0)) / len(flat))
        expected = law(x.flatten(1), level).x0.view_as(x)
        torch.testing.assert_close(found[said == k], expected[said == k], atol=1e-6, rtol=1e-6)
    torch.testing.assert_close(wiener(x, noise)[0], wiener(x, noise, torch.full((6,), 2))[0])


def test_on_shapes_alone_it_tells_its_shape() -> None:
    """``ornstein show`` of a trained U-Net ended in "unsupported scalarType" by torch 2.13."""
    wiener = Wiener((1, 3, 4), 1, 3).to("meta")
    for shape in ((5, 1, 3, 4), (5, 1, 6, 8)):
        x = torch.empty(shape, device="meta")
        assert wiener(x, x.new_empty(5)).shape == shape


def test_few_directions_leave_one_variance_for_all_others() -> None:
    clean = items(500, 4)
    wiener = Wiener((1, 3, 4), 1, 3).double()
    fit(wiener, clean)
    flat = clean.flatten(1).double()
    values, axes = torch.linalg.eigh((flat - flat.mean(0)).mT @ (flat - flat.mean(0)) / 500)
    values[:9] = values[:9].mean()
    law = Gaussian(flat.mean(0), axes @ values.diag() @ axes.mT)
    x = torch.randn(5, 1, 3, 4, dtype=torch.float64, generator=generator(5))
    level = Level(torch.tensor(0.6).double(), torch.tensor(0.8).double())
    found = wiener(*seen(x, level))
    torch.testing.assert_close(found.flatten(1), law(x.flatten(1), level).x0, atol=1e-6, rtol=1e-6)


def test_a_class_of_few_items_has_few_directions_or_the_gaussian_of_all() -> None:
    clean = items(300, 6)
    group = torch.zeros(300, dtype=torch.long)
    group[: 3 * EACH + 1], group[-EACH + 1 :] = 1, 2
    wiener = Wiener((1, 3, 4), 4, 8)
    fit(wiener, clean, group)
    assert [int(b.norm(dim=0).gt(0.5).sum()) for b in wiener.basis] == [8, 3, 8, 8]
    torch.testing.assert_close(wiener.mean[2], wiener.mean[3])
    assert not torch.allclose(wiener.mean[1], wiener.mean[3])


def two_clusters() -> Tensor:
    """Items (700, 1, 3, 4) of two Gaussians that lie apart, mixed."""
    clean = torch.cat([items(400, 1) + 9, items(300, 2) - 9])
    return clean[torch.randperm(700, generator=generator(8))]


def mixture_of(parts: list[Tensor]) -> Mixture:
    """The law whose Gaussians have mean and covariance of each part (N, D), as often as these."""
    flat = [part.flatten(1).double() for part in parts]
    return Mixture(
        torch.tensor([len(part) for part in flat]) / sum(map(len, flat)),
        torch.stack([part.mean(0) for part in flat]),
        torch.stack([part.mT.cov(correction=0) for part in flat]),
    )


@pytest.mark.parametrize("log_snr", [-12.0, -2.0, 0.5, 6.0])
def test_without_classes_it_is_the_exact_denoiser_of_a_mixture_of_clusters(log_snr: float) -> None:
    clean = two_clusters()
    wiener = Wiener((1, 3, 4), 1, 99, 2).double()
    fit(wiener, clean)
    upper = clean.flatten(1).mean(1) > 0
    law = mixture_of([clean[upper], clean[~upper]])
    level = Level(
        *(torch.tensor(s * log_snr, dtype=torch.float64).sigmoid().sqrt() for s in (1, -1))
    )
    x = torch.randn(6, 1, 3, 4, dtype=torch.float64, generator=generator(3))
    found = wiener(*seen(x, level)).flatten(1)
    torch.testing.assert_close(found, law(x.flatten(1), level).x0, atol=1e-6, rtol=1e-6)


def test_each_class_has_clusters_of_its_own_and_nothing_said_is_one_gaussian_of_all() -> None:
    first, second, other = two_clusters(), two_clusters() * 0.5, items(600, 9)
    clean = torch.cat([first, second, other])
    group = torch.tensor([0] * 700 + [1] * 700 + [2] * 600)
    wiener = Wiener((1, 3, 4), 5, 99, 2).double()  # of class 3 there is no item
    fit(wiener, clean, group)
    level = Level(torch.tensor(0.3).double(), torch.tensor(0.91).double().sqrt())
    x = torch.randn(4, 1, 3, 4, dtype=torch.float64, generator=generator(3))
    halves = [
        part
        for one in (first, second)
        for part in (one[one.flatten(1).mean(1) > 0], one[one.flatten(1).mean(1) <= 0])
    ]
    for said, parts in ((0, halves[:2]), (1, halves[2:])):
        found = wiener(*seen(x, level), torch.full((4,), said)).flatten(1)
        expected = mixture_of(parts)(x.flatten(1), level).x0
        torch.testing.assert_close(found, expected, atol=1e-6, rtol=1e-6)
    every = mixture_of([clean])(x.flatten(1), level).x0
    for group in (torch.full((4,), 4), None, torch.full((4,), 3)):
        found = wiener(*seen(x, level), group).flatten(1)
        torch.testing.assert_close(found, every, atol=1e-6, rtol=1e-6)


def test_many_classes_of_one_gaussian_each_take_no_table_of_pairs() -> None:
    wiener = Wiener((1, 2), 3001, 1)
    assert sum(buffer.numel() for buffer in wiener.buffers()) < 10 * 3001
    made = wiener(torch.ones(2, 1, 2), torch.zeros(2), torch.tensor([5, 3000]))
    torch.testing.assert_close(made, torch.full((2, 1, 2), 0.5**0.5))  # of standard normal data


def test_clusters_are_the_same_for_the_same_items_and_few_where_items_repeat() -> None:
    clean = two_clusters()
    label = clusters(clean, 2)
    assert torch.equal(label, clusters(clean, 2))
    upper = clean.flatten(1).mean(1) > 0
    assert torch.equal(label == label[upper.nonzero()[0, 0]], upper)
    repeated = clean[:3].repeat(50, 1, 1, 1)
    assert torch.equal(clusters(repeated, 5).view(50, 3).unique(dim=0).unique(), torch.arange(3))


def test_large_items_are_seen_smaller_where_a_mean_of_places_has_less_noise() -> None:
    small = torch.rand(300, 1, 30, 25, generator=generator(1)) * 4
    shape = (1, 60, 50)
    clean = functional.interpolate(small, scale_factor=2)
    wiener = Wiener(shape, 1, 60, 1).double()
    assert (wiener.fold, wiener.dims) == (2, 750)
    fit(wiener, wiener.seen(clean))
    whole = Principal.fit(small, 25)
    level = Level(torch.tensor(0.6).double(), torch.tensor(0.8).double())
    x = torch.randn(3, *shape, dtype=torch.float64, generator=generator(5))
    means = x.view(3, 1, 30, 2, 25, 2).mean((3, 5))
    guess = whole(means, Level(level.alpha, level.sigma / 2)).x0
    expected = functional.interpolate(guess, (60, 50), mode="bilinear")
    torch.testing.assert_close(wiener(*seen(x, level)), expected, atol=1e-6, rtol=1e-6)
    assert [fold_of(shape) for shape in ((3, 32, 32), (1, 33, 32), (1, 1024), (2, 8, 16, 16))] == [
        1, 2, 1, 2,
    ]  # fmt: skip
    long = torch.zeros(2, 1, 3000)
    assert Wiener((1, 3000), 1, 5, 2)(long, torch.zeros(2)).shape == long.shape


def test_blocks_that_the_edge_cuts_are_means_of_fewer_places_with_more_noise() -> None:
    """33x33 are seen as 17x17: means of 4 places, of 2 along the far edges, of 1 in the corner."""
    shape, level = (1, 33, 33), Level(torch.tensor(0.6).double(), torch.tensor(0.8).double())
    wiener = Wiener(shape, 1, 1).double()
    white = torch.randn(4000, *shape, generator=generator(1))
    variance = wiener.seen(white).var(0)
    torch.testing.assert_close(variance, torch.full((1, 17, 17), 0.25), atol=0.04, rtol=0)
    wiener.learn(0, torch.zeros(289), torch.zeros(0, 289), torch.zeros(0), 0.25)  # that law
    x = torch.randn(3, *shape, dtype=torch.float64, generator=generator(5))
    sums, places = (
        functional.pad(v, (0, 1, 0, 1)).view(-1, 1, 17, 2, 17, 2).sum((3, 5))
        for v in (x, torch.ones(1, *shape))
    )
    # Of white data the mean of any places is expected to be alpha times their noisy mean.
    guess = 0.6 * sums / places
    expected = functional.interpolate(guess, (34, 34), mode="bilinear")[..., :33, :33]
    torch.testing.assert_close(wiener(*seen(x, level)), expected, atol=1e-6, rtol=1e-6)


def test_items_of_another_size_are_taken_for_standard_normal_ones() -> None:
    wiener = Wiener((1, 3, 4), 1, 5)
    fit(wiener, items(200, 7))
    x = torch.randn(2, 1, 6, 8)
    torch.testing.assert_close(wiener(x, torch.zeros(2)), x * 0.5**0.5)
    net = UNet((1, 3, 4), {"class": {"kind": "class", "count": 2}}, widths=(8,), blocks=(1,),
               attention=(), wiener=5)  # fmt: skip
    assert net(x, torch.zeros(2), {}).shape == x.shape


@pytest.fixture
def shapes(tmp_path: Path) -> Dataset:
    source = np.random.default_rng(0)
    labels = np.arange(400) % 2
    base = np.where(labels[:, None, None, None] > 0, 200, 40)
    pixels = (base + source.integers(0, 30, (400, 1, 8, 8))).astype(np.uint8)
    np.savez(tmp_path / "shapes.npz", x=pixels, y=labels)
    return open_data(str(tmp_path / "shapes.npz"))


def planned(data: Dataset, *sets: str, recipe: str | None = None) -> dict[str, object]:
    config = resolve(sets=("train.steps=4", "net.size=tiny", *sets), recipe=recipe).config
    return plan(config, data, CPU).config.net.options


def test_it_is_planned_for_pictures_with_classes_where_no_recipe_follows_a_paper(
    shapes: Dataset,
) -> None:
    assert planned(shapes) == {"wiener": 64, "gaussians": 1}  # as many as dimensions
    assert planned(shapes, "net.name=unet", "net.options={wiener=0}") == {"wiener": 0}
    assert "wiener" not in planned(shapes, recipe="ddpm")
    assert "wiener" not in planned(shapes, "net.name=dit")


def test_so_many_clusters_are_planned_as_items_and_numbers_allow(tmp_path: Path) -> None:
    def options(
        count: int, classes: int, side: int, *sets: str, channels: int = 1
    ) -> dict[str, object]:
        source, path = np.random.default_rng(0), tmp_path / f"{count}-{classes}-{side}.npz"
        pixels = source.integers(0, 256, (count, channels, side, side), dtype=np.uint8)
        labels = {"y": np.arange(count) % classes} if classes else {}
        np.savez(path, x=pixels, **labels)
        config = resolve(sets=("train.steps=4", *sets)).config
        return planning._from_data(config, open_data(str(path)), False).net.options

    assert options(400, 0, 8) == {}  # one of all items is worth nothing
    assert options(1500, 0, 8) == {"wiener": 64, "gaussians": 7}  # of 1,425 training items
    assert options(1500, 0, 8, "data.upscale=2") == {}
    assert options(1500, 0, 8, "net.name=unet", "net.options={wiener=5}") == {"wiener": 5}
    assert options(1500, 2, 8) == {"wiener": 64, "gaussians": 1}
    assert options(4000, 2, 8) == {"wiener": 64, "gaussians": 2}  # of 768 items or more
    # 2^21 numbers: 21 clusters of 32 directions of 3x32x32, where 22 would have 31.
    assert options(4500, 0, 32, channels=3) == {"wiener": 32, "gaussians": 21}


def test_ranks_take_the_gaussians_of_the_first(shapes: Dataset) -> None:
    told = []

    class First(Ranks):
        def tell(self, tensor: Tensor) -> Tensor:
            told.append(tensor.clone())
            return tensor

    class Second(Ranks):
        def tell(self, tensor: Tensor) -> Tensor:
            return tensor.copy_(told.pop(0))

    def net() -> UNet:
        kinds = {"class": {"kind": "class", "count": 2}}
        few = {"widths": (8,), "blocks": (1,), "attention": ()}
        return UNet((1, 8, 8), kinds, **few, wiener=5, gaussians=2)  # type: ignore[arg-type]

    alone, first, second = net(), net(), net()
    fit_gaussians(alone, shapes)
    fit_gaussians(first, shapes, First(0, 2))
    other = replace(shapes, items=shapes.items[::-1].copy())  # as if it had found others
    fit_gaussians(second, other, Second(1, 2))
    for one in (first, second):
        for own, expected in zip(one.guess.buffers(), alone.guess.buffers(), strict=True):
            torch.testing.assert_close(own, expected, rtol=0, atol=0)


def test_its_gaussians_are_in_checkpoints_averages_and_the_model_file(
    shapes: Dataset, tmp_path: Path
) -> None:
    sets = ("train.steps=2", "net.name=unet", "net.size=tiny", "net.options={wiener=9}",
            "train.batch=8", "learning_rate=1e-3", "optimizer=adamw")  # fmt: skip
    config = resolve(sets=sets).config
    trainer = build.trainer(config, shapes, CPU)
    guess = trainer.model.net.guess
    index = torch.as_tensor(shapes.train)
    ones = shapes.batch(index)[shapes.condition_batch(index)["class"] == 1]
    torch.testing.assert_close(guess.mean[1], ones.mean(0).flatten(), atol=1e-5, rtol=1e-5)
    assert float((guess.mean[0] - guess.mean[1]).abs().mean()) > 1
    trainer.step(2)
    other = build.trainer(config, shapes, CPU)
    other.model.net.guess.mean.zero_()
    other.restore(trainer.tensors(), 1)
    torch.testing.assert_close(other.model.net.guess.mean, guess.mean, atol=0, rtol=0)
    average = build.model(config, shapes)
    trainer.average_to(average)
    build.bundle(config, average, shapes, {}).save(tmp_path / "m.safetensors")
    kept = load(tmp_path / "m.safetensors").model.net.guess
    for name, value in guess.state_dict().items():
        torch.testing.assert_close(kept.state_dict()[name], value, atol=0, rtol=0)


def test_a_class_of_copies_is_answered_by_its_items_and_spoils_no_other() -> None:
    """Its axes were 0/0, and a NaN that counts zero is still one: every item was lost."""
    source = generator(8)
    clean = torch.randn(272, 1, 8, 8, generator=source)
    clean[200:224] = clean[200]
    clean[224:] = clean[224:226].repeat(24, 1, 1, 1)
    group = torch.tensor([0] * 200 + [1] * 24 + [2] * 48)
    wiener, alone = Wiener((1, 8, 8), 4, 16), Wiener((1, 8, 8), 4, 16)
    fit(wiener, clean, group)
    fit(alone, clean[:200], group[:200])
    x, noise = torch.randn(4, 1, 8, 8, generator=source), torch.full((4,), -0.25)
    found = wiener(x, noise, torch.tensor([0, 1, 2, 3]))
    torch.testing.assert_close(found[:1], alone(x, noise, torch.zeros(4, dtype=torch.long))[:1])
    torch.testing.assert_close(found[1], clean[200], atol=1e-4, rtol=1e-4)
    # Between two items a Gaussian answers with a point of their line.
    along = (clean[225] - clean[224]).flatten()
    off = found[2].flatten() - clean[224].flatten()
    across = off - along * (off @ along) / (along @ along)
    assert float(across.norm() / along.norm()) < 1e-4
    assert bool(found.isfinite().all())


def test_large_items_are_read_a_few_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """1,024 pictures of 3x512x512 took 3.2 GB."""
    read: list[int] = []
    whole = Dataset.batch

    def batch(self: Dataset, indices: Tensor) -> Tensor:
        read.append(len(indices))
        return whole(self, indices)

    class Seeing(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.guess = Wiener((3, 512, 512), 1, 2)

    monkeypatch.setattr(Dataset, "batch", batch)
    pictures = np.random.default_rng(0).integers(0, 256, (40, 3, 1, 1), dtype=np.uint8)
    large = np.broadcast_to(pictures, (40, 3, 512, 512))
    data = make_dataset("p", "image", large, source=Source("made here"), heldout=np.arange(4))
    fit_gaussians(Seeing(), data)
    assert sum(read) == 36
    assert max(read) * 3 * 512**2 <= 1 << 24


def test_what_a_network_that_sees_it_costs_is_counted() -> None:
    kinds = {"class": {"kind": "class", "count": 2}}
    small: Any = {"widths": (8, 8), "blocks": (1, 1), "attention": (1,)}
    net = UNet((1, 8, 8), kinds, **small, wiener=5, gaussians=2)
    rows = {row.name: row for row in examine(net, net.shape, kinds).rows}
    assert rows["guess"].shape == (1, 8, 8)
    assert rows["guess"].flops > 0


@pytest.mark.parametrize("half", [False, True])
def test_half_precision_around_it_is_left_out_of_it(half: bool) -> None:
    wiener = Wiener((1, 3, 4), 1, 99)
    fit(wiener, items(400, 1), torch.zeros(400, dtype=torch.long))
    x, noise = items(5, 2), torch.linspace(-1, 1, 5)
    with torch.autocast("cpu", torch.bfloat16, enabled=half):
        torch.testing.assert_close(wiener(x, noise), wiener.double()(x.double(), noise).float())


def test_its_numbers_count_in_the_size_of_a_network_and_not_among_the_learned() -> None:
    """``ornstein show`` told 1.5 MB of a model file of 10."""
    net = UNet((1, 8, 8), {}, widths=(8,), blocks=(1,), attention=(), wiener=16, gaussians=2)
    found = examine(net, net.shape, {})
    whole = sum(tensor.numel() for tensor in net.state_dict().values())
    assert found.parameters == sum(p.numel() for p in net.parameters())
    assert found.weights_bytes() == 4 * whole
    assert found.fitted == whole - found.parameters > 2 * 64 * 16
    held = 4 * (4 * found.parameters + 2 * found.fitted)
    assert found.training_bytes(3, moments=0) == held + 3 * found.kept_bytes
