"""How far the noisiest level is from the law that sampling starts from."""

from __future__ import annotations

from torch import Tensor

from ornstein.core.level import Level


def prior_kl(level: Level, second_moment: Tensor, std: Tensor | None = None) -> Tensor:
    """KL of q(x_T | x0) from the prior N(0, std²) in nats per dimension, averaged over the data.

    The term L_T of the variational bound (arXiv:2006.11239, eq. 5): what a sample loses by
    starting from noise that carries no trace of the data.

    Args:
        level: The noisiest level, ().
        second_moment: Mean of x0² over the data and its dimensions, ().
        std: Standard deviation of the prior, default that of x_T for data of unit variance.

    Returns:
        Nats per dimension, ().
    """
    prior2 = (level.norm if std is None else std) ** 2
    share = level.sigma**2 / prior2
    return 0.5 * (share - 1 - share.log() + level.alpha**2 * second_moment / prior2)
