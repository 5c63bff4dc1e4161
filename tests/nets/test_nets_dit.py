"""DiT against references written with other parts of torch, and what its parts promise."""

from __future__ import annotations

import pytest
import torch
from test_nets_shapes import wake
from torch import Tensor, nn
from torch.nn import functional

from ornstein.nets import DiT
from ornstein.nets.dit import Layer, positions


def reference_layer(layer: Layer, y: Tensor, vector: Tensor, tokens: Tensor | None) -> Tensor:
    """One layer by nn.MultiheadAttention and the formulas of arXiv:2212.09748, figure 3."""
    width = y.shape[-1]

    def attend(part: nn.Module, seen: Tensor, others: Tensor) -> Tensor:
        known = nn.MultiheadAttention(width, part.heads, batch_first=True)
        weights, biases = [part.q.weight, part.kv.weight], [part.q.bias, part.kv.bias]
        known.load_state_dict({
            "in_proj_weight": torch.cat(weights), "in_proj_bias": torch.cat(biases),
            "out_proj.weight": part.out.weight, "out_proj.bias": part.out.bias,
        })  # fmt: skip
        return known(seen, others, others)[0]

    def norm(y: Tensor) -> Tensor:
        centred = y - y.mean(-1, keepdim=True)
        return centred / (centred.square().mean(-1, keepdim=True) + 1e-5).sqrt()

    told = vector @ layer.modulate.weight.T + layer.modulate.bias
    shift1, scale1, gate1, shift2, scale2, gate2 = (
        told[:, None, k * width : (k + 1) * width] for k in range(6)
    )
    seen = norm(y) * (1 + scale1) + shift1
    y = y + gate1 * attend(layer.attention, seen, seen)
    if tokens is not None:
        y = y + attend(layer.cross, norm(y), tokens)
    inner = functional.gelu(layer.first(norm(y) * (1 + scale2) + shift2), approximate="tanh")
    return y + gate2 * layer.second(inner)


@pytest.mark.parametrize("told", [False, True])
def test_a_layer_gives_the_numbers_of_the_papers_formulas(told: bool) -> None:
    layer = wake(Layer(24, 8, 0.0, tokens=told))
    y, vector = torch.randn(3, 10, 24), torch.randn(3, 24)
    tokens = torch.randn(3, 5, 24) if told else None
    wanted = reference_layer(layer, y, vector, tokens)
    torch.testing.assert_close(layer(y, vector, tokens), wanted, atol=2e-5, rtol=1e-4)


def test_a_new_layer_is_the_identity() -> None:
    layer, y = Layer(16, 8, 0.0, tokens=True), torch.randn(2, 6, 16)
    assert torch.equal(layer(y, torch.randn(2, 16), torch.randn(2, 3, 16)), y)


def test_the_first_map_is_a_convolution_over_patches() -> None:
    net, x = DiT((3, 6, 8), width=20, patch=2), torch.randn(2, 3, 6, 8)
    kernel = net.stem.weight.reshape(20, 3, 2, 2)
    by_convolution = functional.conv2d(x, kernel, net.stem.bias, stride=2).flatten(2).mT
    seen: list[Tensor] = []
    net.stem.register_forward_hook(lambda _, __, output: seen.append(output))
    net(x, torch.zeros(2), {})
    torch.testing.assert_close(seen[0], by_convolution, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("grid", [(9,), (4, 7), (3, 2, 4)])
def test_the_likeness_of_two_positions_is_a_function_of_how_far_apart_they_are(
    grid: tuple[int, ...],
) -> None:
    where = torch.cartesian_prod(*(torch.arange(n) for n in grid)).reshape(-1, len(grid))
    codes = positions(grid, 50, torch.zeros((), dtype=torch.float64))
    apart = (where[:, None] - where[None]).abs()
    likeness: dict[tuple[int, ...], float] = {}
    for offset, value in zip(
        apart.flatten(0, 1).tolist(), (codes @ codes.T).flatten(), strict=True
    ):
        first = likeness.setdefault(tuple(offset), value.item())
        assert value.item() == pytest.approx(first, abs=1e-4)
    alike = likeness[(0,) * len(grid)]
    assert all(value < alike - 0.1 for offset, value in likeness.items() if any(offset))


@pytest.mark.parametrize("shape", [(1, 28, 28), (2, 5, 7), (1, 1, 1), (2, 17), (1, 3, 4, 5)])
def test_every_input_number_reaches_the_output_and_every_output_number_moves(
    shape: tuple[int, ...],
) -> None:
    net = wake(DiT(shape, width=16, depth=2, patch=3))
    x = torch.randn(1, *shape, requires_grad=True)
    y = net(x, torch.zeros(1), {})
    assert y.shape == x.shape
    (grad,) = torch.autograd.grad(y.square().sum(), x)
    assert bool((grad != 0).all())
    assert bool((net(x + 1, torch.zeros(1), {}) != y).all())


def test_a_net_for_one_size_takes_another_and_tells_places_apart() -> None:
    net, noise = wake(DiT((1, 8, 8), width=16, depth=2)), torch.zeros(1)
    y = net(torch.randn(1, 1, 12, 5), noise, {})
    assert y.shape == (1, 1, 12, 5)
    flat = net(torch.zeros(1, 1, 8, 8), noise, {})[0, 0]  # patches differ in their place only
    corners = flat[::2, ::2].flatten()
    assert len(corners.unique()) == len(corners)
