"""The noise number enters every block, classes matter, and items do not talk to each other."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from ornstein.nets import MLP, DiT, UNet, dit
from ornstein.nets.conditions import of_classes
from ornstein.nets.layers import Block
from ornstein.nets.mlp import Layer

SMALL = {"widths": (8, 12), "blocks": (2, 1), "attention": (1,)}
MAKERS = {
    "images": lambda **k: UNet((2, 9, 6), of_classes(3), **SMALL, **k),
    "series": lambda **k: UNet((1, 21), of_classes(3), **SMALL, **k),
    "patches": lambda **k: DiT((2, 9, 6), of_classes(3), width=16, depth=2, head=8, **k),
    "vectors": lambda **k: MLP((4,), of_classes(3), width=16, layers=3, **k),
}


def trained(net: UNet | DiT | MLP, steps: int = 3) -> UNet | DiT | MLP:
    """Take a few steps towards an arbitrary aim, so that no layer is silent any more."""
    rng = torch.Generator().manual_seed(1)
    x = torch.randn(16, *net.shape, generator=rng)
    aim = torch.randn(16, *net.shape, generator=rng)
    noise, kind = torch.linspace(-2, 2, 16), torch.arange(16) % 4
    optimiser = torch.optim.AdamW(net.parameters(), 1e-2)
    for _ in range(steps):
        optimiser.zero_grad()
        (net(x, noise, {"class": kind}) - aim).square().mean().backward()
        optimiser.step()
    return net


@pytest.fixture(params=MAKERS)
def net(request: pytest.FixtureRequest) -> UNet | DiT | MLP:
    torch.manual_seed(0)
    return trained(MAKERS[request.param]())


def calls_of_blocks(net: nn.Module, *given: object) -> list[tuple[nn.Module, tuple[Tensor, ...]]]:
    """Run the net and note every block with what it was called on."""
    seen: list[tuple[nn.Module, tuple[Tensor, ...]]] = []
    hooks = [
        m.register_forward_pre_hook(lambda m, args: seen.append((m, args)))
        for m in net.modules()
        if isinstance(m, (Block, dit.Layer, Layer))
    ]
    net(*given)
    for hook in hooks:
        hook.remove()
    return seen


def test_c2_another_noise_number_changes_what_every_block_does_to_the_same_input(
    net: UNet | DiT | MLP,
) -> None:
    x = torch.randn(2, *net.shape)
    low = calls_of_blocks(net, x, torch.full((2,), -0.5), {})
    high = calls_of_blocks(net, x, torch.full((2,), 0.5), {})
    blocks = [m for m in net.modules() if isinstance(m, (Block, dit.Layer, Layer))]
    assert {m for m, _ in low} == set(blocks)
    for (block, (inside, here, *_)), (_, (_, there, *_)) in zip(low, high, strict=True):
        assert (block(inside, here) - block(inside, there)).abs().max() > 1e-4


def test_the_noise_number_is_told_apart_over_its_whole_range(net: UNet | DiT | MLP) -> None:
    steps = torch.linspace(-2.5, 2.5, 101)
    vectors = net.embed(steps, {})
    distance = (vectors[:, None] - vectors[None]).square().sum(2).sqrt()
    distance.fill_diagonal_(1.0)
    assert distance.min() > 1e-3


def test_the_class_changes_the_output_and_none_differs_from_every_class(
    net: UNet | DiT | MLP,
) -> None:
    one = torch.randn(1, *net.shape)
    x = one.expand(4, *net.shape)
    y = net(x, torch.zeros(4), {"class": torch.arange(4)})
    for a in range(4):
        for b in range(a):
            assert (y[a] - y[b]).abs().max() > 1e-4
    assert torch.allclose(net(one, torch.zeros(1), {}), y[3:], atol=1e-5)


def test_an_item_in_a_batch_equals_the_item_alone(net: UNet | DiT | MLP) -> None:
    x, noise = torch.randn(5, *net.shape), torch.randn(5)
    kind = torch.tensor([0, 1, 2, 3, 0])
    together = net(x, noise, {"class": kind})
    for k in range(5):
        alone = net(x[k : k + 1], noise[k : k + 1], {"class": kind[k : k + 1]})
        assert torch.allclose(alone[0], together[k], atol=1e-5)


@pytest.mark.parametrize("name", MAKERS)
def test_a_gradient_reaches_every_parameter(name: str) -> None:
    torch.manual_seed(0)
    net = trained(MAKERS[name](), steps=3)
    net.zero_grad()
    x, kind = torch.randn(8, *net.shape), torch.arange(8) % 4
    net(x, torch.randn(8), {"class": kind}).square().sum().backward()
    for path, parameter in net.named_parameters():
        assert parameter.grad is not None, path
        assert parameter.grad.abs().sum() > 0, path


@pytest.mark.parametrize("name", MAKERS)
def test_dropout_acts_in_training_only(name: str) -> None:
    torch.manual_seed(0)
    net = trained(MAKERS[name](dropout=0.5))
    x, noise = torch.randn(2, *net.shape), torch.zeros(2)
    assert not torch.equal(net(x, noise, {}), net(x, noise, {}))
    net.eval()
    assert torch.equal(net(x, noise, {}), net(x, noise, {}))


def test_images_in_channels_last_and_under_bfloat16_give_nearly_the_same() -> None:
    net = trained(MAKERS["images"]())
    x, noise = torch.randn(2, *net.shape), torch.zeros(2)
    y = net(x, noise, {})
    last = x.contiguous(memory_format=torch.channels_last)
    moved = net.to(memory_format=torch.channels_last)
    assert torch.allclose(moved(last, noise, {}), y, atol=1e-4)
    with torch.autocast("cpu", torch.bfloat16):
        rough = net(x, noise, {})
    assert (rough - y).abs().max() < 0.1 * y.abs().max()
