"""C9: a noisy classifier learns Bayes' posterior at every level, and guides by it."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from ornstein.core import EDM, GRIDS, VP, Gaussian, Level, Mixture, generator
from ornstein.errors import ConfigError, UsageError
from ornstein.guide import classifier_guided
from ornstein.model import Classifier
from ornstein.nets.encoder import Encoder
from ornstein.solvers import SOLVERS, sample
from ornstein.training.loop import Settings, Trainer
from ornstein.training.objective import LogNormal
from ornstein.training.recognition import Recognition

SHARES = torch.tensor([0.25, 0.75])
MEANS = torch.tensor([[1.2, 0.4], [-0.4, -0.2]])
SPREADS = torch.stack([0.09 * torch.eye(2), torch.diag(torch.tensor([0.6, 0.2]))])
BOTH = Mixture(SHARES, MEANS, SPREADS)
CLASSES = [Gaussian(m, c) for m, c in zip(MEANS, SPREADS, strict=True)]


def posterior(x: Tensor, level: Level) -> Tensor:
    """Log p(class | x) by Bayes' rule, (B, 2)."""
    joint = [w.log() + law.log_prob(x, level) for w, law in zip(SHARES, CLASSES, strict=True)]
    return torch.stack(joint, dim=1).log_softmax(1)


class Drawn:
    """20,000 points of two classes."""

    def __init__(self) -> None:
        source = generator(5)
        self.labels = (torch.rand(20_000, generator=source) > SHARES[0]).long()
        eps = torch.randn(20_000, 2, generator=source)
        roots = torch.linalg.cholesky(SPREADS)[self.labels]
        self.points = MEANS[self.labels] + (roots @ eps[:, :, None])[:, :, 0]
        self.train, self.heldout = np.arange(19_500), np.arange(19_500, 20_000)

    def batch(self, indices: Tensor) -> Tensor:
        return self.points[torch.as_tensor(indices)]

    def condition_batch(self, indices: Tensor) -> dict[str, Tensor]:
        return {"class": self.labels[torch.as_tensor(indices)]}


@pytest.fixture(scope="module")
def learned() -> Classifier:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = Classifier(Encoder((2,), 2, widths=(64,), blocks=(3,), attention=()))
    what = Recognition(EDM(), LogNormal(0.5, 1.5))
    how = Settings(batch=256, learning_rate=3e-3, condition_dropout=0.0)
    trainer = Trainer(model, Drawn(), what, how, null={"class": torch.tensor([2])})
    for _ in trainer.run(lambda: 400):
        pass
    trainer.ema.copy_to(model)
    return model.eval()


@pytest.mark.parametrize("rho", [0.05, 0.3, 1.0, 3.0])
def test_c9_the_classifier_learns_bayes_rule_at_every_level(
    learned: Classifier, rho: float
) -> None:
    level = Level(torch.tensor(1.0), torch.tensor(rho))
    source = generator(9)
    drawn = Drawn()
    x = level.mix(drawn.points[:2000], torch.randn(2000, 2, generator=source))
    with torch.no_grad():
        said, true = learned(x, level), posterior(x, level)
    # The expected KL from Bayes' posterior, in nats, beside the entropy that is there to be told.
    gap = float((true.exp() * (true - said)).sum(1).mean())
    assert 0 <= gap < 0.02
    assert said.exp().sum(1).numpy() == pytest.approx(1.0, abs=1e-5)


def test_c9_guided_by_it_the_mixture_turns_into_the_class(learned: Classifier) -> None:
    levels = GRIDS["karras"](VP(), 40)
    start = torch.randn(2000, 2, generator=generator(3)) * levels.sigma[0].float()
    rare = torch.zeros(2000, dtype=torch.int64)
    denoise = classifier_guided(BOTH, learned.of(rare), 1.0)
    ends = sample(denoise, start, levels, SOLVERS["heun"]())
    free = sample(BOTH, start, levels, SOLVERS["heun"]())
    assert ends.mean(0).numpy() == pytest.approx(MEANS[0].numpy(), abs=0.08)
    assert ends.std(0).numpy() == pytest.approx([0.3, 0.3], abs=0.1)
    assert free.mean(0).numpy() != pytest.approx(MEANS[0].numpy(), abs=0.5)


def test_the_answer_depends_on_the_ratio_alone(learned: Classifier) -> None:
    x, level = torch.randn(5, 2, generator=generator(2)), VP()(0.4)
    same = Level(3 * level.alpha, 3 * level.sigma)
    torch.testing.assert_close(learned(x, level), learned(3 * x, same))


def test_a_new_classifier_knows_nothing_and_its_loss_is_the_log_of_the_classes() -> None:
    what = Recognition(EDM(), LogNormal(0.5, 1.5))
    for shape in ((4,), (2, 9), (1, 7, 6), (1, 4, 5, 3)):
        model = Classifier(Encoder(shape, 5, widths=(8, 16), blocks=(1, 1), attention=(1,)))
        level = what.levels(torch.tensor([0.2, 0.5, 0.9]))
        clean = torch.randn(3, *shape, generator=generator(0))
        loss = what.loss(model, clean, clean, level, {"class": torch.tensor([0, 2, 4])})
        assert loss.tolist() == pytest.approx([math.log(5)] * 3, rel=1e-6)
        again = Encoder(**model.net.options())  # type: ignore[operator]
        again.load_state_dict(model.net.state_dict())


def test_items_without_a_class_are_refused() -> None:
    what = Recognition(EDM(), LogNormal(0.5, 1.5))
    model = Classifier(Encoder((2,), 2, widths=(8,), blocks=(1,), attention=()))
    level = what.levels(torch.tensor([0.5]))
    with pytest.raises(UsageError, match="needs data with classes"):
        what.loss(model, torch.zeros(1, 2), torch.zeros(1, 2), level, {})
    with pytest.raises(ConfigError, match="one number per level"):
        Encoder((2,), 2, widths=(8, 8), blocks=(1,))
    with pytest.raises(ConfigError, match="an encoder takes items"):
        Encoder((2, 2, 2, 2, 2), 2)
