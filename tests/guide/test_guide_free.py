"""C8: classifier-free guidance of two Gaussian classes against Bayes' rule."""

from __future__ import annotations

from collections.abc import Mapping

import pytest
import torch
from torch import Tensor

from ornstein.core import VP, Estimate, Gaussian, Level, Mixture, generator
from ornstein.errors import UsageError
from ornstein.guide import TOGETHER, classifier_free

MEANS = torch.tensor([[1.0, 0.5], [-1.0, 0.2]], dtype=torch.float64)
COVARIANCES = torch.tensor(
    [[[0.5, 0.2], [0.2, 0.4]], [[0.3, -0.1], [-0.1, 0.6]]], dtype=torch.float64
)
CLASSES = [Gaussian(m, c) for m, c in zip(MEANS, COVARIANCES, strict=True)]
BOTH = Mixture(torch.tensor([0.3, 0.7], dtype=torch.float64), MEANS, COVARIANCES)


def model(x: Tensor, level: Level, cond: Mapping[str, Tensor]) -> Estimate:
    """Exact answers; class 2 stands for no class."""
    answers = [law(x, level) for law in (*CLASSES, BOTH)]
    row = torch.arange(len(x))
    x0, eps = (torch.stack([a[k] for a in answers])[cond["class"], row] for k in (0, 1))
    return Estimate(x0, eps)


def given(label: int, count: int) -> dict[str, Tensor]:
    return {"class": torch.full((count,), label)}


@pytest.mark.parametrize("count", [5, TOGETHER + 1])
@pytest.mark.parametrize("scale", [0.0, 1.0, 2.5])
def test_c8_guided_eps_follows_the_gradient_of_the_class_posterior(
    scale: float, count: int
) -> None:
    level = VP()(0.4)
    x = torch.randn(count, 2, dtype=torch.float64, generator=generator(1)).requires_grad_()
    # p(class 0 | x) by Bayes' rule at this level, differentiated by autograd.
    prior = torch.log(torch.tensor(0.3, dtype=torch.float64))
    posterior = prior + CLASSES[0].log_prob(x, level) - BOTH.log_prob(x, level)
    total = (BOTH.log_prob(x, level) + scale * posterior).sum()
    (pull,) = torch.autograd.grad(total, x)
    guided = classifier_free(model, given(0, count), given(2, count), scale)(x.detach(), level)
    torch.testing.assert_close(guided.eps, -level.sigma * pull, rtol=1e-9, atol=1e-11)
    torch.testing.assert_close(level.mix(guided.x0, guided.eps), x.detach())


def test_scale_one_asks_once() -> None:
    asked = []

    def counted(x: Tensor, level: Level, cond: Mapping[str, Tensor]) -> Estimate:
        asked.append(len(x))
        return model(x, level, cond)

    x = torch.zeros(3, 2, dtype=torch.float64)
    classifier_free(counted, given(0, 3), given(2, 3), 1.0)(x, VP()(0.5))
    assert asked == [3]


def test_conditions_of_other_names_are_refused() -> None:
    with pytest.raises(UsageError, match="same names"):
        classifier_free(model, given(0, 1), {}, 2.0)
