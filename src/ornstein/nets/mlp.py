"""A residual multilayer perceptron for vectors: toys in the plane, table rows, features."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from ornstein.errors import ConfigError
from ornstein.nets.base import Embedding, fraction, whole, wholes
from ornstein.nets.conditions import Conditions, pictures
from ornstein.nets.dropout import Dropout


class Layer(nn.Module):
    """A residual layer whose inside is scaled and shifted by the embedding vector."""

    def __init__(self, width: int, embedding: int, dropout: float) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.modulate = nn.Linear(embedding, 2 * width)
        self.first = nn.Linear(width, 2 * width)
        self.dropout = Dropout(dropout)
        self.second = nn.Linear(2 * width, width)
        nn.init.zeros_(self.second.weight)
        nn.init.zeros_(self.second.bias)

    def forward(self, x: Tensor, vector: Tensor) -> Tensor:
        """Map x (B, width) given the embedding ``vector`` (B, embedding)."""
        scale, shift = self.modulate(vector).chunk(2, dim=1)
        y = torch.addcmul(shift, self.norm(x), scale + 1)
        y = self.second(self.dropout(functional.silu(self.first(y))))
        out: Tensor = x + y
        return out


class MLP(nn.Module):
    """A residual MLP for vectors (D,). The output starts at exactly zero.

    Args:
        shape: Shape of one item, (D,).
        conditions: What the network may be told, see ``ornstein.nets.conditions``; no pictures.
        entry: "add" or "concat": how conditions join the noise.
        width: Length of the inner vectors.
        layers: Number of residual layers.
        dropout: Share of inner activations dropped in training.
        outputs: Vectors in the answer, one after another; 2 for a learned variance.

    Raises:
        ConfigError: An option that cannot be.
    """

    def __init__(
        self,
        shape: Sequence[int],
        conditions: Conditions | None = None,
        entry: str = "add",
        *,
        width: int = 128,
        layers: int = 4,
        dropout: float = 0.0,
        outputs: int = 1,
    ) -> None:
        super().__init__()
        self.shape = wholes("shape", shape)
        if len(self.shape) != 1:
            raise ConfigError(
                f"an MLP takes items of shape (D,), not {self.shape}; use the net 'unet'."
            )
        self.width = whole("width", width)
        self.dropout = fraction("dropout", dropout)
        self.outputs = whole("outputs", outputs)
        self.embed = Embedding(self.width, conditions, entry)
        self._refuse()
        self.stem = nn.Linear(self.shape[0], self.width)
        self.layers = nn.ModuleList(
            Layer(self.width, self.width, self.dropout) for _ in range(whole("layers", layers))
        )
        self.norm = nn.LayerNorm(self.width)
        self.out = nn.Linear(self.width, self.outputs * self.shape[0])
        nn.init.zeros_(self.out.weight)
        nn.init.zeros_(self.out.bias)

    def _refuse(self) -> None:
        if self.embed.entry == "cross-attention":
            raise ConfigError(
                "an MLP has no places that could attend to conditions; take entry 'add' or "
                "'concat'."
            )
        for name in pictures(self.embed.conditions):
            raise ConfigError(
                f"an MLP has no place for the picture '{name}'; declare its values as numbers."
            )

    def forward(self, x: Tensor, noise: Tensor, cond: Mapping[str, Tensor]) -> Tensor:
        """Map x (B, D), with the noise number (B,) and the condition, to (B, outputs·D)."""
        vector = self.embed(noise, cond)
        y = self.stem(x)
        for layer in self.layers:
            y = layer(y, vector)
        out: Tensor = self.out(self.norm(y))
        return out

    def options(self) -> dict[str, Any]:
        """Return the arguments that build this network again, fit for JSON."""
        return {
            "shape": list(self.shape),
            "conditions": self.embed.conditions,
            "entry": self.embed.entry,
            "width": self.width,
            "layers": len(self.layers),
            "dropout": self.dropout,
            "outputs": self.outputs,
        }
