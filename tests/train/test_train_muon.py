"""Muon against the singular value decomposition, and on a problem with a known answer."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from ornstein.core import generator
from ornstein.nets import UNet
from ornstein.training.muon import Muon, matrices, orthogonal


@pytest.mark.parametrize("shape", [(24, 24), (16, 40), (40, 16)])
def test_the_step_keeps_singular_vectors_and_levels_singular_values(
    shape: tuple[int, int],
) -> None:
    update = torch.randn(3, *shape, generator=generator(1))
    left, _, right = torch.linalg.svd(update, full_matrices=False)
    # In the basis of its singular vectors the step is diagonal, with values the quintic keeps
    # within 0.7 to 1.2 unless they began below a hundredth of the largest.
    inside = left.mT @ orthogonal([update])[0] @ right.mT
    values = inside.diagonal(dim1=-2, dim2=-1)
    torch.testing.assert_close(inside, torch.diag_embed(values), atol=2e-4, rtol=0)
    assert float(values.max()) < 1.25
    assert float(values.median()) > 0.65


def test_many_matrices_at_once_are_as_the_published_iteration_has_each() -> None:
    source = generator(3)
    shapes = [(1, 16, 40), (2, 40, 16), (3, 16, 16), (1, 16, 144), (2, 32, 16), (1, 32, 48)]
    updates = [torch.randn(shape, generator=source) for shape in shapes]
    updates.append(1e-3 * updates[3] + updates[3][:, :1] * torch.ones(16, 1))  # nearly rank one
    for update, found in zip(updates, orthogonal(updates), strict=True):
        x = update.double() / (update.double().norm(dim=(-2, -1), keepdim=True) + 1e-7)
        for _ in range(5):  # as published: X <- a X + (b A + c A A) X with A = X X'
            square = x @ x.mT
            x = 3.4445 * x + (-4.7750 * square + 2.0315 * square @ square) @ x
        torch.testing.assert_close(found.double(), x, atol=2e-4, rtol=0)


def test_only_inner_matrices_are_chosen() -> None:
    net = nn.Sequential(
        nn.Conv2d(1, 16, 3), nn.GroupNorm(4, 16), nn.Conv2d(16, 32, 3), nn.Conv2d(32, 1, 3)
    )
    table = nn.Embedding(64, 64)
    chosen = matrices(nn.ModuleList([net, table]))
    assert [id(p) for p in chosen] == [id(net[2].weight)]


@pytest.mark.parametrize("kind", ["class", "tags"])
def test_a_table_of_names_is_no_matrix_however_many_there_are(kind: str) -> None:
    net = UNet(
        (1, 8, 8), {"said": {"kind": kind, "count": 200}}, widths=(16,), blocks=(1,), attention=()
    )
    taken = {id(p) for p in matrices(net)}
    names = {name for name, p in net.named_parameters() if id(p) in taken}
    assert not [name for name in names if "said" in name]
    assert "embed.second.weight" in names


def test_muon_solves_an_ill_conditioned_least_squares_problem_faster_than_plain_descent() -> None:
    source = generator(2)
    inputs = torch.randn(512, 32, generator=source) * torch.logspace(0, -2, 32)
    truth = torch.randn(16, 32, generator=source)

    def left(make: object, steps: int = 200) -> float:
        layer = nn.Linear(32, 16, bias=False)
        nn.init.zeros_(layer.weight)
        optimizer = make(layer.parameters())
        for step in range(steps):
            for group in optimizer.param_groups:
                group["lr"] = group["initial"] * (1 - step / steps)
            optimizer.zero_grad()
            (layer(inputs) - inputs @ truth.mT).square().mean().backward()
            optimizer.step()
        return float((layer.weight.detach() - truth).square().mean())

    def with_rate(kind: type, rate: float) -> object:
        def make(parameters: object) -> torch.optim.Optimizer:
            made = kind(parameters, lr=rate)
            for group in made.param_groups:
                group["initial"] = rate
            return made

        return make

    plain = min(left(with_rate(torch.optim.SGD, rate)) for rate in (0.3, 1.0, 3.0))
    assert left(with_rate(Muon, 0.1)) < 0.5 * plain
