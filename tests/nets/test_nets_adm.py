"""C4: blocks and attention compute what ADM's published layers compute, on random weights.

The references are written with torch's functions alone, from arXiv:2105.05233 (section 3 and
appendix) and the names and shapes of the published files; none of our layers is used in them.
"""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from ornstein.errors import ConfigError
from ornstein.nets import UNet
from ornstein.nets.attention import Attention
from ornstein.nets.conditions import of_classes
from ornstein.nets.layers import Block, Style, halved
from ornstein.nets.published import from_adm

Layer = dict[str, Tensor]
EMBEDDING = 24


def random_layer(shapes: dict[str, tuple[int, ...]]) -> Layer:
    """Weights and biases of published shapes; each norm has weights near one."""
    rng = torch.Generator().manual_seed(4)
    layer = {}
    for name, shape in shapes.items():
        fan = math.prod(shape[1:])
        layer[f"{name}.weight"] = torch.randn(shape, generator=rng) / fan**0.5
        layer[f"{name}.bias"] = torch.randn(shape[:1], generator=rng)
    return layer


def published_block(layer: Layer, x: Tensor, vector: Tensor, resized: str | None) -> Tensor:
    """ADM's residual block: 32 groups, scale before shift, both ways resized."""

    def norm(y: Tensor, name: str) -> Tensor:
        return functional.group_norm(y, 32, layer[f"{name}.weight"], layer[f"{name}.bias"], 1e-5)

    def conv(y: Tensor, name: str) -> Tensor:
        weight = layer[f"{name}.weight"]
        return functional.conv2d(y, weight, layer[f"{name}.bias"], padding=weight.shape[-1] // 2)

    h = norm(x, "in_layers.0") * norm(x, "in_layers.0").sigmoid()
    if resized == "up":
        h, x = (v.repeat_interleave(2, dim=2).repeat_interleave(2, dim=3) for v in (h, x))
    if resized == "down":
        h, x = (v.unfold(2, 2, 2).unfold(3, 2, 2).mean((-1, -2)) for v in (h, x))
    h = conv(h, "in_layers.2")
    told = functional.silu(vector) @ layer["emb_layers.1.weight"].T + layer["emb_layers.1.bias"]
    if told.shape[1] == 2 * h.shape[1]:
        scale, shift = told[:, : h.shape[1], None, None], told[:, h.shape[1] :, None, None]
        h = norm(h, "out_layers.0") * (1 + scale) + shift
    else:
        h = norm(h + told[..., None, None], "out_layers.0")
    h = conv(h * h.sigmoid(), "out_layers.3")
    return (conv(x, "skip_connection") if "skip_connection.weight" in layer else x) + h


def published_attention(layer: Layer, x: Tensor, heads: int) -> Tensor:
    """ADM's attention, head by head: its queries, keys and values lie side by side."""
    flat = x.flatten(2)
    y = functional.group_norm(flat, 32, layer["norm.weight"], layer["norm.bias"], 1e-5)
    qkv = functional.conv1d(y, layer["qkv.weight"], layer["qkv.bias"])
    made = []
    for part in qkv.chunk(heads, dim=1):
        q, k, v = part.chunk(3, dim=1)  # (B, channels per head, places) each
        weights = torch.softmax(torch.einsum("bct,bcs->bts", q, k) / q.shape[1] ** 0.5, dim=-1)
        made.append(torch.einsum("bts,bcs->bct", weights, v))
    y = functional.conv1d(torch.cat(made, 1), layer["proj_out.weight"], layer["proj_out.bias"])
    return (flat + y).reshape(x.shape)


@pytest.mark.parametrize("modulation", ["adagn", "add"])
@pytest.mark.parametrize("outside", [64, 96])
@pytest.mark.parametrize("resized", [None, "down", "up"])
def test_c4_a_residual_block_with_adms_weights_gives_adms_numbers(
    resized: str | None, outside: int, modulation: str
) -> None:
    shapes = {
        "in_layers.0": (64,),
        "in_layers.2": (outside, 64, 3, 3),
        "emb_layers.1": ((2 if modulation == "adagn" else 1) * outside, EMBEDDING),
        "out_layers.0": (outside,),
        "out_layers.3": (outside, outside, 3, 3),
    }
    if outside != 64:
        shapes["skip_connection"] = (outside, 64, 1, 1)
    layer = random_layer(shapes)
    block = Block(Style(2, EMBEDDING, modulation, groups=32), 64, outside, resized)
    block.load_state_dict(from_adm(layer, rank=2))
    x, vector = torch.randn(2, 64, 8, 6), torch.randn(2, EMBEDDING)
    wanted = published_block(layer, x, vector, resized)
    torch.testing.assert_close(block(x, functional.silu(vector)), wanted, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("heads", [1, 4])
def test_c4_attention_with_adms_weights_gives_adms_numbers(heads: int) -> None:
    layer = random_layer({"norm": (64,), "qkv": (192, 64, 1), "proj_out": (64, 64, 1)})
    attention = Attention(Style(2, EMBEDDING, groups=32, head=64 // heads), 64)
    attention.load_state_dict(from_adm(layer, rank=2, heads=heads))
    x = torch.randn(2, 64, 5, 7)
    wanted = published_attention(layer, x, heads)
    torch.testing.assert_close(attention(x), wanted, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("shape", [(4, 7), (4, 5, 6), (4, 1, 3), (4, 3, 5, 2)])
def test_halving_averages_what_there_is_at_an_odd_edge(shape: tuple[int, ...]) -> None:
    x = torch.randn(1, *shape, dtype=torch.float64)
    y = halved(x)
    assert y.shape[2:] == tuple(-(-size // 2) for size in shape[1:])
    corner = x[(0, 0, *[slice(-1 if size % 2 else -2, None) for size in shape[1:]])]
    assert y[(0, 0, *[-1] * (len(shape) - 1))].item() == pytest.approx(corner.mean().item())


SMALL = {"widths": (8, 16), "blocks": (1, 1), "attention": ()}
VARIANTS: dict[str, dict[str, object]] = {
    "biggan": {"resample": "biggan"},
    "added": {"modulation": "add"},
    "rescaled": {"rescale": True, "resample": "biggan", "attention": (1,)},
    "grouped": {"groups": 4},
}


def wake(net: torch.nn.Module) -> torch.nn.Module:
    """Move every parameter off its start, where many layers are silent on purpose."""
    rng = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for p in net.parameters():
            p.add_(0.3 * torch.randn(p.shape, generator=rng) / max(p[0].numel(), 1) ** 0.5)
    return net


@pytest.mark.parametrize("shape", [(1, 9, 6), (2, 13), (1, 3, 5, 4)])
@pytest.mark.parametrize("name", VARIANTS)
def test_c4_every_option_of_the_unet_serves_odd_sizes_and_tells_every_parameter(
    name: str, shape: tuple[int, ...]
) -> None:
    net = wake(UNet(shape, of_classes(2), **{**SMALL, **VARIANTS[name]}))
    assert UNet(**net.options()).options() == net.options()
    x, kind = torch.randn(3, *shape), torch.tensor([0, 1, 2])
    y = net(x, torch.tensor([-1.0, 0.0, 1.0]), {"class": kind})
    assert y.shape == x.shape
    y.square().sum().backward()
    assert [n for n, p in net.named_parameters() if not p.grad.abs().sum() > 0] == []


def test_c2_a_blind_unet_is_deaf_to_the_noise_level_and_not_to_the_class() -> None:
    first, second = {"class": torch.tensor([0])}, {"class": torch.tensor([1])}
    x, low, high = torch.randn(1, 1, 8, 8), torch.tensor([-1.0]), torch.tensor([1.0])
    for blind in (True, False):
        net = wake(UNet((1, 8, 8), of_classes(2), **SMALL, blind=blind))
        assert torch.equal(net(x, low, first), net(x, high, first)) is blind
        assert not torch.equal(net(x, low, first), net(x, low, second))


def test_c3_attention_is_placed_by_level_or_by_the_size_seen_there() -> None:
    options = {"widths": (8, 8, 8), "blocks": (1, 1, 1)}
    by_level = UNet((1, 28, 20), **options, attention=(1, 2))
    by_size = UNet((1, 28, 20), **options, attention=(), attention_at=(14, 7))
    assert [s.attention is None for s in by_size.down] == [True, False, False]
    assert [s.attention is None for s in by_size.up] == [False, False, True]
    assert by_size.state_dict().keys() == by_level.state_dict().keys()
    with pytest.raises(ConfigError, match=r"size 10.*28, 14, 7"):
        UNet((1, 28, 20), **options, attention_at=(10,))


def test_rescaled_sums_keep_the_variance_of_independent_parts() -> None:
    x, y = torch.randn(2, 100_000)
    assert Style(1, 1, rescale=True).joined(x, y).var() == pytest.approx(1, abs=0.03)
    assert Style(1, 1).joined(x, y).var() == pytest.approx(2, abs=0.06)


@pytest.mark.parametrize(
    ("options", "word"),
    [
        ({"resample": "bicubic"}, "resample must be one of strided, biggan"),
        ({"modulation": "none"}, "modulation must be one of adagn, add"),
        ({"groups": 0}, "groups"),
        ({"rescale": 1}, "rescale must be true or false"),
    ],
)
def test_a_wrong_option_of_the_blocks_is_refused(options: dict[str, object], word: str) -> None:
    with pytest.raises(ConfigError, match=word):
        UNet((1, 8, 8), **SMALL, **options)
