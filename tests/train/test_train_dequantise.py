"""Noise between the levels of 8-bit data in training (B17)."""

from __future__ import annotations

import pytest
import torch
from scipy.stats import kstest

from ornstein import build
from ornstein.config import Config
from ornstein.data import open_data
from ornstein.errors import ConfigError
from ornstein.model import Conditions

DIGITS = open_data("digits")


def config(source: str = "digits", net: str = "unet", dequantise: bool = True) -> Config:
    options = {"widths": [8], "blocks": [1], "attention": []} if net == "unet" else {"width": 8}
    return Config.model_validate(
        {
            "data": {"source": source, "dequantise": dequantise},
            "net": {"name": net, "options": options},
            "train": {"batch": 64, "learning_rate": 1e-3},
        }
    )


def seen(dequantise: bool, heldout: bool) -> torch.Tensor:
    """The clean items that the objective meets, in raw units."""
    trainer = build.trainer(config(dequantise=dequantise), DIGITS, torch.device("cpu"))
    met: list[torch.Tensor] = []
    loss = type(trainer.objective).loss

    def spy(
        self: object,
        model: torch.nn.Module,
        clean: torch.Tensor,
        eps: torch.Tensor,
        level: object,
        cond: Conditions,
    ) -> torch.Tensor:
        met.append(clean)
        return loss(self, model, clean, eps, level, cond)  # type: ignore[arg-type]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(type(trainer.objective), "loss", spy)
        if heldout:
            trainer.heldout_loss(trainer.model)
        else:
            trainer.step(10)
    (std,), (mean,) = DIGITS.coding.std, DIGITS.coding.mean
    return torch.cat(met).double() * std + mean


@pytest.mark.parametrize("heldout", [False, True])
def test_b17_noise_as_wide_as_a_level_fills_the_space_between_them(heldout: bool) -> None:
    apart = (seen(True, heldout) - seen(False, heldout)).flatten()
    assert float(apart.abs().max()) < 0.5 + 1e-4  # so that rounding gives the levels back
    assert kstest(apart.numpy(), "uniform", args=(-0.5, 1)).pvalue > 1e-3


def test_real_numbers_are_not_dequantised() -> None:
    ecg = open_data("ecg")
    with pytest.raises(ConfigError, match="real numbers"):
        build.trainer(config("ecg"), ecg, torch.device("cpu"))
