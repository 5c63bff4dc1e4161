"""Networks take any shape, rebuild from their options, and refuse what cannot be (C1)."""

from __future__ import annotations

import json

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ornstein.errors import ConfigError
from ornstein.nets import MLP, NETS, DiT, UNet
from ornstein.nets.conditions import of_classes
from ornstein.nets.patches import from_patches, to_patches, with_waves

SMALL = {"widths": (8, 12), "blocks": (1, 1), "attention": (1,)}


def wake(net: torch.nn.Module, seed: int = 0) -> torch.nn.Module:
    """Move every parameter off its start, where many layers are silent on purpose."""
    rng = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for p in net.parameters():
            p.add_(0.3 * torch.randn(p.shape, generator=rng) / max(p[0].numel(), 1) ** 0.5)
    return net


@settings(max_examples=25, deadline=None)
@given(
    channels=st.integers(1, 5),
    space=st.lists(st.integers(1, 31), min_size=1, max_size=2),
    patch=st.integers(1, 3),
    levels=st.integers(1, 4),
    waves=st.integers(0, 2),
)
def test_c1_the_unet_takes_any_channels_and_size_and_returns_the_same_shape(
    channels: int, space: list[int], patch: int, levels: int, waves: int
) -> None:
    shape = (channels, *space)
    each = [8] * levels, [1] * levels, [levels - 1]
    net = UNet(shape, widths=each[0], blocks=each[1], attention=each[2], patch=patch, waves=waves)
    x = torch.randn(2, *shape)
    y = wake(net)(x, torch.zeros(2), {})
    assert y.shape == x.shape
    assert bool(y.isfinite().all())


def test_the_waves_are_half_a_wave_a_unit_and_one_octave_higher_each() -> None:
    x = torch.tensor([0.5, 1.0]).reshape(1, 2, 1)
    seen = with_waves(x, 2)[0, :, 0].tolist()
    both = [[1, 0], [0, -1], [0, 0], [-1, 1]]  # sin, cos of pi·x, then of 2·pi·x
    assert seen == pytest.approx([0.5, 1.0, *(v for pair in both for v in pair)], abs=1e-6)


@pytest.mark.parametrize("shape", [(1, 28, 28), (5, 27, 31), (3, 8, 8), (2, 17), (1, 3, 4, 5)])
def test_every_input_number_reaches_the_output_and_every_output_number_moves(
    shape: tuple[int, ...],
) -> None:
    net = wake(UNet(shape, **SMALL))
    x = torch.randn(1, *shape, requires_grad=True)
    y = net(x, torch.zeros(1), {})
    (grad,) = torch.autograd.grad(y.square().sum(), x)
    assert bool((grad != 0).all())
    assert bool((net(x + 1, torch.zeros(1), {}) != y).all())


@pytest.mark.parametrize("rank", [1, 2, 3])
def test_patches_fold_neighbours_into_channels_and_unfold_exactly(rank: int) -> None:
    x = torch.arange(2 * 3 * 6**rank).reshape(2, 3, *[6] * rank)
    folded = to_patches(x, 2)
    assert folded.shape == (2, 3 * 2**rank, *[3] * rank)
    # The channels of one place are the 2^rank neighbours of one corner of the array.
    corner = x[(0, 0, *[slice(0, 2)] * rank)].flatten()
    assert folded[(0, slice(0, 2**rank), *[0] * rank)].tolist() == corner.tolist()
    assert torch.equal(from_patches(folded, 2), x)


def test_images_fold_as_torch_itself_folds_them() -> None:
    x = torch.randn(2, 3, 6, 9)
    assert torch.equal(to_patches(x, 3), torch.nn.functional.pixel_unshuffle(x, 3))
    folded = torch.randn(2, 18, 2, 3)
    assert torch.equal(from_patches(folded, 3), torch.nn.functional.pixel_shuffle(folded, 3))


@pytest.mark.parametrize(
    "net",
    [
        UNet((3, 9, 7), of_classes(4), **SMALL, patch=3, head=4, dropout=0.25),
        UNet((2, 33), None, **SMALL, patch=1, waves=2),
        DiT((3, 9, 7), of_classes(4), width=16, depth=2, patch=3, head=4, dropout=0.25),
        MLP((5,), of_classes(3), width=16, layers=2, dropout=0.1),
    ],
)
def test_options_through_json_rebuild_the_same_net(net: UNet | DiT | MLP) -> None:
    name = next(n for n, kind in NETS.items() if isinstance(net, kind))
    twin = NETS[name](**json.loads(json.dumps(net.options())))
    assert twin.options() == net.options()
    wake(net)
    twin.load_state_dict(net.state_dict())
    assert str(twin) == str(net)
    x, noise = torch.randn(2, *net.shape), torch.randn(2)
    net.eval(), twin.eval()
    assert torch.equal(net(x, noise, {}), twin(x, noise, {}))


@pytest.mark.parametrize(
    "net", [UNet((1, 8, 8), **SMALL), DiT((1, 8, 8)), MLP((2,), width=16, layers=2)]
)
def test_a_new_net_answers_zero(net: UNet | DiT | MLP) -> None:
    assert bool((net(torch.randn(2, *net.shape), torch.randn(2), {}) == 0).all())


@pytest.mark.parametrize(
    ("kind", "options", "word"),
    [
        (UNet, {"shape": (3,)}, "mlp"),
        (UNet, {"shape": (1, 8, 8, 8, 8)}, "shape"),
        (UNet, {"shape": (1, 0, 8)}, "shape"),
        (UNet, {"shape": (1, 8, 8), "conditions": of_classes(-1)}, "count"),
        (UNet, {"shape": (1, 8, 8), "widths": (8,), "blocks": (1, 1)}, "widths"),
        (UNet, {"shape": (1, 8, 8), "widths": (), "blocks": (), "attention": ()}, "widths"),
        (UNet, {"shape": (1, 8, 8), "attention": (3,)}, "attention"),
        (UNet, {"shape": (1, 8, 8), "widths": "88"}, "widths"),
        (UNet, {"shape": (1, 8, 8), "patch": 0}, "patch"),
        (UNet, {"shape": (1, 8, 8), "patch": True}, "patch"),
        (UNet, {"shape": (1, 8, 8), "dropout": 1.0}, "dropout"),
        (DiT, {"shape": (3,)}, "mlp"),
        (DiT, {"shape": (1, 8, 8), "depth": 0}, "depth"),
        (DiT, {"shape": (1, 8, 8), "entry": "sum"}, "entry"),
        (MLP, {"shape": (1, 8, 8)}, "unet"),
        (MLP, {"shape": (2,), "width": 0.5}, "width"),
        (MLP, {"shape": (2,), "layers": 0}, "layers"),
    ],
)
def test_an_impossible_option_is_refused_in_one_sentence_that_names_it(
    kind: type[UNet] | type[MLP], options: dict[str, object], word: str
) -> None:
    with pytest.raises(ConfigError, match=word) as caught:
        kind(**options)
    assert "\n" not in str(caught.value)


def test_a_size_that_the_patch_does_not_divide_equals_one_filled_up_by_hand() -> None:
    options = {"widths": (8, 8), "blocks": (1, 1), "attention": (), "patch": 4}
    short, full = wake(UNet((1, 5, 7), **options)), UNet((1, 8, 8), **options)
    full.load_state_dict(short.state_dict())
    x = torch.randn(2, 1, 5, 7)
    by_hand = x[:, :, [0, 1, 2, 3, 4, 4, 4, 4]][..., [0, 1, 2, 3, 4, 5, 6, 6]]
    noise = torch.zeros(2)
    assert torch.equal(short(x, noise, {}), full(by_hand, noise, {})[:, :, :5, :7])


@pytest.mark.parametrize("lost", ["down", "grow"])
def test_c1_each_of_the_skip_and_the_path_below_alone_carries_the_input_to_the_output(
    lost: str,
) -> None:
    net = wake(UNet((1, 8, 8), **SMALL))
    with torch.no_grad():
        if lost == "grow":  # nothing comes up from below
            for parameter in net.grow.parameters():
                parameter.zero_()
        else:  # the second half of the joined channels, the skip, is not listened to
            for stage in net.up:
                stage.join.weight[:, stage.join.weight.shape[1] // 2 :] = 0
    a, b = net(torch.randn(2, 1, 8, 8), torch.zeros(2), {})
    assert (a - b).abs().max() > 1e-3
