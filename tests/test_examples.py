"""Each example runs, shortened, and does what it says."""

from __future__ import annotations

from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType

import pytest

EXAMPLES = Path(__file__).resolve().parent.parent / "examples"


def opened(name: str) -> ModuleType:
    """Import an example from its file."""
    spec = spec_from_file_location(name, EXAMPLES / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_every_example_is_tried_here() -> None:
    assert {path.stem for path in EXAMPLES.glob("*.py")} == {"own_loop", "score_matching"}


@pytest.mark.slow
def test_a_loop_of_ones_own_learns_the_ring() -> None:
    radius = opened("own_loop").main(steps=250).norm(dim=1)
    assert float(radius.mean()) == pytest.approx(2**0.5, abs=0.15)


def test_four_objectives_of_score_matching_meet_at_the_score() -> None:
    """B14: a constant score would leave about 1; so would the gradient of the wrong sign, 4."""
    errors = opened("score_matching").main(steps=150)
    assert len(errors) == 4
    assert max(errors.values()) < 0.15
