"""The optimisers of a training; and their memory as named tensors and JSON, bit for bit."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from ornstein.errors import ModelFileError
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


def optimizer_tensors(
    optimizer: torch.optim.Optimizer,
) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Take a torch optimiser apart: named tensors, and JSON for everything else.

    Parameters are numbered in the order of the optimiser's groups, as in its ``state_dict``.
    """
    saved = optimizer.state_dict()
    tensors: dict[str, Tensor] = {}
    values: dict[str, Any] = {}
    for index, memory in saved["state"].items():
        for name, value in memory.items():
            if isinstance(value, torch.Tensor):
                tensors[f"{index}.{name}"] = value
            else:
                values[f"{index}.{name}"] = value
    return tensors, {"groups": saved["param_groups"], "values": values}


def restore_optimizer(
    optimizer: torch.optim.Optimizer, tensors: Mapping[str, Tensor], scalars: Mapping[str, Any]
) -> None:
    """Put back what :func:`optimizer_tensors` took apart, bit for bit.

    Raises:
        ModelFileError: it was saved from an optimiser of other parameters.
    """
    groups = [
        {k: tuple(v) if k == "betas" else v for k, v in group.items()}
        for group in scalars["groups"]
    ]
    try:
        optimizer.load_state_dict({"state": {}, "param_groups": groups})
        parameters = [p for group in optimizer.param_groups for p in group["params"]]
        for label, value in (*tensors.items(), *scalars["values"].items()):
            index, name = label.split(".", 1)
            parameter = parameters[int(index)]
            if isinstance(value, torch.Tensor) and value.ndim:
                # The memory layout of the parameter, which the optimiser's kernels expect.
                value = torch.empty_like(parameter, dtype=value.dtype).copy_(value)
            elif isinstance(value, torch.Tensor):
                value = value.clone()
            optimizer.state[parameter][name] = value
    except (ValueError, KeyError, IndexError, RuntimeError) as error:
        raise ModelFileError(
            f"the optimiser in the checkpoint does not fit this network ({error}). The settings "
            f"of the "
            "network must not change within a run; start another run with --name."
        ) from error
