"""Tensor files are those of the safetensors library, made without a copy of the whole."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load, save

from ornstein.training.disk import BLOCK, write_file
from ornstein.training.tensorfile import NAMES, TensorFile

source = torch.Generator().manual_seed(3)
TENSORS = {
    **{
        f'é "{k}"': (torch.randn(3, k + 1, generator=source) * 50).to(dtype)
        for k, dtype in enumerate(reversed(NAMES))
    },
    "scalar": torch.tensor(3.0),
    "empty": torch.zeros(0, 4),
    "turned": torch.arange(6.0).reshape(2, 3).T,
    "shared": torch.arange(6.0)[1:3],
}


@pytest.mark.parametrize("metadata", [None, {"ornstein": '{"a": "ü\n\u2028"}'}])
def test_a_file_is_the_librarys_byte_for_byte(metadata: dict[str, str] | None) -> None:
    # Of several texts the library has no order of its own.
    file = TensorFile(TENSORS, metadata)
    made = b"".join(file)
    assert made == save({k: t.contiguous() for k, t in TENSORS.items()}, metadata)
    assert len(file) == len(made)
    assert b"".join(file.body()) == made[8 + int.from_bytes(made[:8], "little") :]


def test_what_was_written_reads_as_it_was(tmp_path: Path) -> None:
    large = {"a": torch.randn(BLOCK // 4 + 5), "b": torch.randn(7), "c": torch.randn(BLOCK // 2)}
    for k, tensors in enumerate((TENSORS, large, {})):
        path = tmp_path / f"{k}.safetensors"
        write_file(path, TensorFile(tensors, {"said": "x", "pt": "y"}))
        found = load(path.read_bytes())
        assert found.keys() == tensors.keys()
        for name, tensor in tensors.items():
            assert torch.equal(found[name], tensor), name
            assert found[name].dtype == tensor.dtype
        with safe_open(path, "pt") as opened:
            assert opened.metadata() == {"said": "x", "pt": "y"}


def most_held(code: str) -> float:
    """Most memory, in MB, that a process takes for ``code`` beside 256 MB of tensors."""
    begin = (
        "import resource, sys, torch\n"
        "from pathlib import Path\n"
        "from ornstein.training import checkpoint\n"
        "tensors = {'model': {f't{k}': torch.ones(1 << 22) for k in range(16)}}\n"
        "def most(): return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024\n"
        "before = most()\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", begin + code + "print(most() - before)\n"],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    return float(json.loads(done.stdout))


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere a peak is told in other units")
def test_saving_takes_no_second_copy_of_the_weights(tmp_path: Path) -> None:
    # One tensor's share of them, 16 MB, is looked at for values that are not finite.
    saving = f"checkpoint.save_checkpoint(Path({str(tmp_path)!r}), 1, tensors, {{}})\n"
    assert most_held(saving) < 80
