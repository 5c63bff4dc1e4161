"""The optimisers of a training."""

from __future__ import annotations

import torch
from torch import nn

from ornstein.training.muon import Muon, matrices
from ornstein.training.settings import Settings


def optimizers(
    model: nn.Module, settings: Settings, device: torch.device
) -> list[torch.optim.Optimizer]:
    """AdamW for all, or Muon for inner matrices and AdamW for the rest; ``peak`` is the rate."""
    inner = matrices(model) if settings.optimizer == "muon" else []
    taken = {id(p) for p in inner}
    made: list[torch.optim.Optimizer] = [
        torch.optim.AdamW(
            [{"params": [p for p in model.parameters() if id(p) not in taken]}],
            lr=settings.learning_rate,
            betas=settings.betas,
            weight_decay=settings.weight_decay,
            fused=device.type in ("cpu", "cuda"),
        )
    ]
    if inner:
        made.append(Muon(inner, settings.matrix_rate, weight_decay=settings.weight_decay))
    for optimizer in made:
        for group in optimizer.param_groups:
            group["peak"] = group["lr"]
    return made
