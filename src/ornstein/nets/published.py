"""Layers of published networks, by the names of their files, as layers of ours."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

# What the parts of a residual block and of an attention layer are called in the published files
# of ADM (arXiv:2105.05233), and here.
ADM = {
    "in_layers.0": "norm1",
    "in_layers.2": "conv1",
    "emb_layers.1": "modulate",
    "out_layers.0": "norm2",
    "out_layers.3": "conv2",
    "skip_connection": "around",
    "norm": "norm",
    "qkv": "qkv",
    "proj_out": "out",
}


def from_adm(layer: Mapping[str, Tensor], rank: int, heads: int = 1) -> dict[str, Tensor]:
    """Return a published layer's weights by the names of our Block or Attention.

    Args:
        layer: Names within the layer, such as "in_layers.2.weight", to tensors.
        rank: Number of spatial axes.
        heads: Heads of an attention layer. The published files have the queries, keys and values
            of one head side by side; here the queries of all heads come first.
    """
    found = {}
    for name, tensor in layer.items():
        part, _, kind = name.rpartition(".")
        if part == "qkv":
            tensor = tensor.unflatten(0, (heads, 3, -1)).transpose(0, 1).flatten(0, 2)
        if part in ("qkv", "proj_out") and kind == "weight":  # over places in a row
            tensor = tensor.reshape(*tensor.shape[:2], *[1] * rank)
        found[f"{ADM[part]}.{kind}"] = tensor
    return found
