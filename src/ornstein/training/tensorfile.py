"""Safetensors files that are laid out tensor by tensor, while they are written.

The library's own ``save`` makes the whole file in memory, twice, beside the tensors: a training
that just fits would end at its first checkpoint. What comes of it is the same, byte for byte.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping

import torch
from torch import Tensor

NAMES = {
    torch.int64: "I64",
    torch.float64: "F64",
    torch.float32: "F32",
    torch.int32: "I32",
    torch.bfloat16: "BF16",
    torch.float16: "F16",
    torch.int16: "I16",
    torch.int8: "I8",
    torch.uint8: "U8",
    torch.bool: "BOOL",
}
"""The format's names of types, in the order in which the library lays tensors out: wide first."""


class TensorFile:
    """The bytes of a file of named tensors: its length in bytes, and its pieces one by one.

    Args:
        tensors: On any device, with any strides.
        metadata: Texts for the header.
    """

    def __init__(
        self, tensors: Mapping[str, Tensor], metadata: Mapping[str, str] | None = None
    ) -> None:
        order = list(NAMES)
        names = sorted(tensors, key=lambda name: (order.index(tensors[name].dtype), name))
        self._tensors = [tensors[name] for name in names]
        header: dict[str, object] = {"__metadata__": dict(metadata)} if metadata else {}
        end = 0
        for name, tensor in zip(names, self._tensors, strict=True):
            start, end = end, end + tensor.nbytes
            header[name] = {
                "dtype": NAMES[tensor.dtype],
                "shape": list(tensor.shape),
                "data_offsets": [start, end],
            }
        head = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
        head += b" " * (-len(head) % 8)
        self._head = len(head).to_bytes(8, "little") + head
        self._size = len(self._head) + end

    def __len__(self) -> int:
        return self._size

    def __iter__(self) -> Iterator[memoryview]:
        yield memoryview(self._head)
        yield from self.body()

    def body(self) -> Iterator[memoryview]:
        """The values of all tensors, as they follow the header."""
        for tensor in self._tensors:
            flat = tensor.detach().cpu().contiguous().flatten()
            yield flat.view(torch.uint8).numpy().data
