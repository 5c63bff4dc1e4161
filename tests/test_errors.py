"""The small helpers of error messages."""

from __future__ import annotations

import pytest
import torch

from ornstein.errors import RankError, lacks_memory, near
from ornstein.training.ranks import lost_ranks


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("hein", " Did you mean 'heun'?"),
        ("Bagg", " Did you mean 'Bag'?"),
        ("bag", " Did you mean 'Bag'?"),
        ("xyz", ""),
    ],
)
def test_the_near_name_is_found_whatever_its_case(name: str, hint: str) -> None:
    assert near(name, ["heun", "ddim", "Bag", "Ankle boot"]) == hint


LACKING = [
    torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB."),
    torch.AcceleratorError("CUDA error: out of memory"),
    RuntimeError("MPS backend out of memory (MPS allocated: 8.00 GB)"),
    RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
    RuntimeError("cuDNN error: CUDNN_STATUS_ALLOC_FAILED"),
    RuntimeError("[enforce fail at alloc_cpu.cpp:121] DefaultCPUAllocator: can't allocate"),
    MemoryError(),
]
OTHER = [RuntimeError("CUDA error: an illegal memory access"), ValueError("out of memory")]


@pytest.mark.parametrize("fault", LACKING, ids=str)
def test_a_lack_of_memory_is_known_whoever_says_it_and_is_no_lost_rank(fault: Exception) -> None:
    assert lacks_memory(fault)
    with pytest.raises(type(fault)) as caught, lost_ranks():
        raise fault
    assert caught.value is fault


def test_other_faults_are_no_lack_of_memory() -> None:
    assert not any(map(lacks_memory, OTHER))
    with pytest.raises(RankError, match="another rank is gone"), lost_ranks():
        raise OTHER[0]
