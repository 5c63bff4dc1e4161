"""The group norm of rows and the attention of few places, against torch's own."""

from __future__ import annotations

import math
from unittest.mock import patch

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from ornstein.core import generator
from ornstein.nets import UNet
from ornstein.nets.attention import FEW, attend
from ornstein.nets.norms import GroupNorm, Normalised

SHAPES = [(2, 8, 4, 3, 4), (3, 6, 3, 1, 1), (1, 4, 1, 3, 2), (2, 8, 8, 4, 4), (2, 6, 2, 1, 7)]


def made(
    batch: int, channels: int, groups: int, height: int, width: int, kind: torch.dtype
) -> tuple[GroupNorm, Tensor, Tensor]:
    source = generator(channels)
    norm = GroupNorm(groups, channels).to(kind)
    with torch.no_grad():
        norm.weight.copy_(torch.randn(channels, generator=source))
        norm.bias.copy_(torch.randn(channels, generator=source))
    x = 1 + 2 * torch.randn(batch, channels, height, width, generator=source)
    told = torch.randn(batch, 2 * channels, generator=source)
    return norm, x.to(kind).contiguous(memory_format=torch.channels_last), told.to(kind)


def by_torch(norm: GroupNorm, x: Tensor, told: Tensor | None = None) -> Tensor:
    y = functional.group_norm(x.contiguous(), norm.num_groups, norm.weight, norm.bias, norm.eps)
    if told is None:
        return y
    scale, shift = told[..., None, None].chunk(2, dim=1)
    return y * (1 + scale) + shift


@pytest.mark.parametrize("shape", SHAPES)
def test_it_is_the_norm_that_torch_has_with_and_without_what_is_told(
    shape: tuple[int, int, int, int, int],
) -> None:
    norm, x, told = made(*shape, torch.float64)
    torch.testing.assert_close(norm(x), by_torch(norm, x))
    torch.testing.assert_close(norm(x, told), by_torch(norm, x, told))
    contiguous = x.clone(memory_format=torch.contiguous_format)  # the way of torch's own kernel
    torch.testing.assert_close(norm(contiguous, told), by_torch(norm, x, told))


@pytest.mark.parametrize("shape", [shape for shape in SHAPES if math.prod(shape[3:]) > 1])
def test_derivatives_of_the_first_and_second_order_are_right_in_both_directions(
    shape: tuple[int, int, int, int, int],
) -> None:
    norm, x, told = made(*shape, torch.float64)
    inputs = (x.requires_grad_(), told.requires_grad_())
    assert torch.autograd.gradcheck(norm, inputs, check_forward_ad=True)
    assert torch.autograd.gradgradcheck(norm, inputs)
    found = torch.autograd.grad(norm(x, told).square().sum(), list(norm.parameters()))
    expected = torch.autograd.grad(by_torch(norm, x, told).square().sum(), list(norm.parameters()))
    torch.testing.assert_close(found, expected)


def test_gradients_of_each_item_can_be_had_at_once() -> None:
    norm, x, told = made(3, 8, 4, 4, 5, torch.float64)

    def loss(one: Tensor, said: Tensor) -> Tensor:
        return norm(one[None], said[None]).pow(3).sum()

    found = torch.func.vmap(torch.func.grad(loss))(x, told)
    expected = [torch.func.grad(loss)(x[k], told[k]) for k in range(3)]
    torch.testing.assert_close(found, torch.stack(expected))


def test_single_precision_bears_a_mean_of_a_hundred_deviations() -> None:
    norm, x, told = made(2, 16, 8, 14, 14, torch.float32)
    x = x / 2 + 100
    expected = by_torch(norm.double(), x.double(), told.double())
    torch.testing.assert_close(norm.float()(x, told).double(), expected, atol=2e-2, rtol=2e-3)


def test_half_precision_is_as_near_as_torch_has_it() -> None:
    norm, x, told = made(4, 32, 8, 14, 14, torch.float32)
    x, told = x.bfloat16(), told.bfloat16()
    grad = torch.randn(x.shape, generator=generator(3)).bfloat16()
    exact = by_torch(norm, x.float(), told.float()).detach()
    errors = []
    for way in (norm, by_torch):
        at = x.clone().requires_grad_()
        with torch.autocast("cpu", dtype=torch.bfloat16):
            y = norm(at, told) if way is norm else by_torch(norm.bfloat16(), at, told)
        (pull,) = torch.autograd.grad(y, at, grad.to(y.dtype))
        at = x.float().requires_grad_()
        (expected,) = torch.autograd.grad(
            by_torch(norm.float(), at, told.float()), at, grad.float()
        )
        errors.append((
            float((y.detach() - exact).abs().mean()), float((pull - expected).abs().mean()),
        ))  # fmt: skip
    (forward, backward), (theirs, back) = errors
    assert forward < 1.5 * theirs
    assert backward < 1.5 * back


def test_every_norm_of_a_u_net_on_a_processor_goes_by_rows() -> None:
    net = UNet((1, 12, 12), widths=(8, 16), blocks=(1, 1), attention=(1,))
    with patch.object(Normalised, "apply", wraps=Normalised.apply) as taken:
        net(torch.randn(2, 1, 12, 12), torch.zeros(2), {})
    assert taken.call_count == sum(isinstance(m, nn.GroupNorm) for m in net.modules())


@pytest.mark.parametrize("places", [(5, 5), (FEW, 7), (FEW + 1, 3)])
def test_attention_is_torchs_own(places: tuple[int, int]) -> None:
    source = generator(5)
    mine, others = places
    q, k, v = (
        torch.randn(2, 3, n, 4, dtype=torch.float64, generator=source, requires_grad=True)
        for n in (mine, others, others)
    )
    found, expected = attend(q, k, v), functional.scaled_dot_product_attention(q, k, v)
    torch.testing.assert_close(found, expected)
    weight = torch.randn(found.shape, dtype=torch.float64, generator=source)
    torch.testing.assert_close(
        torch.autograd.grad(found, (q, k, v), weight),
        torch.autograd.grad(expected, (q, k, v), weight),
    )
