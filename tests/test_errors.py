"""The small helpers of error messages."""

from __future__ import annotations

import pytest

from ornstein.errors import near


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
