"""The floors of the house: imports point downwards; heavy ones wait; dangerous ones stay out."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator, Mapping
from graphlib import CycleError, TopologicalSorter
from pathlib import Path
from typing import NamedTuple

import pytest

PACKAGE = Path(__file__).resolve().parent.parent / "src" / "ornstein"

FLOORS = {
    "errors": -1, "caches": -1, "jsons": -1,
    "core": 0,
    "solvers": 1, "guide": 1, "edit": 1, "bound": 1, "likelihood": 1, "tune": 1, "testing": 1,
    "model": 1, "nets": 1,
    "training": 2, "data": 2, "evaluate": 2, "viz": 2,
    "bundle": 3, "config": 3, "recipes": 3, "run": 3,
    "build": 3, "planning": 3, "session": 3, "launch": 3, "samples": 3, "editing": 3,
    "judging": 3, "doctor": 3, "gaussians": 3, "recognising": 3, "comparing": 3, "benching": 3,
    "displays": 3,
    "cli": 4,
}  # fmt: skip

# A room that may use less than all that lies below it, or something beside it.
ALLOWED = {
    "core": {"errors"},
    "nets": {"errors"},
    "solvers": {"errors", "core"},
    "guide": {"errors", "core"},
    "model": {"errors", "core"},
    "bound": {"errors", "core"},
    "likelihood": {"errors", "core", "solvers", "bound"},
    "edit": {"errors", "core", "solvers"},
    "tune": {"errors", "core", "solvers"},
    "testing": {"errors", "core", "solvers"},
    "training": {"errors", "jsons", "core", "model", "bound", "solvers", "likelihood"},
    "data": {"errors", "caches", "core"},
    "evaluate": {"errors", "caches", "jsons"},
    "viz": {"errors", "core", "solvers"},
}
OUTSIDE = {"core": {"torch"}, "nets": {"torch"}, "solvers": {"torch"}, "model": {"torch"}}
BANNED = {
    "pickle",
    "dill",
    "cloudpickle",
    "joblib",
    "marshal",
    "shelve",
    "requests",
    "urllib3",
    "httpx",
}


class Import(NamedTuple):
    """One imported module, by its full dotted name, and where."""

    name: str
    line: int


def imports_of(source: str, package: list[str]) -> Iterator[Import]:
    """Yield every import of a module of ``package``, also inside functions and type checks."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield Import(alias.name, node.lineno)
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) + 1 - node.level] if node.level else []
            parts = base + (node.module.split(".") if node.module else [])
            if parts == ["ornstein"]:  # from ornstein import core
                for alias in node.names:
                    yield Import(f"ornstein.{alias.name}", node.lineno)
            else:
                yield Import(".".join(parts), node.lineno)


def room_of(path: Path) -> str:
    """Return the room a file of the package belongs to; "" for the package's own front door."""
    first = path.relative_to(PACKAGE).parts[0].removesuffix(".py")
    return "" if first in {"__init__", "__main__"} else first


def complaints_about(source: str, room: str, package: list[str]) -> list[str]:
    """Return what breaks the rules among the imports of a file in ``room``."""
    found = []
    for name, line in imports_of(source, package):
        head, _, rest = name.partition(".")
        if head == "ornstein":
            other = rest.split(".")[0]
            if other in {"", room} or other.startswith("__"):
                continue
            if other not in FLOORS:
                continue  # a name of the package's front door, such as ornstein.load
            allowed = ALLOWED.get(room)
            if FLOORS[other] > FLOORS[room] or (allowed is not None and other not in allowed):
                found.append(f"line {line}: {room} must not import {other}")
        elif head not in sys.stdlib_module_names | OUTSIDE.get(room, {head}):
            found.append(f"line {line}: {room} must not import {head}")
        if head in BANNED or name.startswith(("urllib.request", "http.client")):
            found.append(f"line {line}: {name} is banned from the package")
    return found


def dangers_in(source: str) -> list[str]:
    """Return calls that could run code hidden in a file: fault S20 of docs/reliability.md."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if not isinstance(node, ast.Call):
            continue
        called = ast.unparse(node.func)
        if called in {
            "eval",
            "exec",
            "compile",
            "__import__",
            "torch.load",
            "yaml.load",
            "yaml.unsafe_load",
        }:
            found.append(f"line {node.lineno}: {called}()")
        for keyword in node.keywords:
            if (
                keyword.arg == "allow_pickle"
                and getattr(keyword.value, "value", None) is not False
            ):
                found.append(f"line {node.lineno}: {called}(allow_pickle=...)")
            if keyword.arg == "shell" and getattr(keyword.value, "value", None) is not False:
                found.append(f"line {node.lineno}: {called}(shell=...)")
    return found


MODULES = sorted(PACKAGE.rglob("*.py"))


def rooms_used() -> dict[str, set[str]]:
    """Return the rooms that each room imports, also inside functions and type checks."""
    used: dict[str, set[str]] = {room: set() for room in FLOORS}
    for path in MODULES:
        package = ["ornstein", *path.relative_to(PACKAGE).parts[:-1]]
        if room := room_of(path):
            names = (name.split(".") for name, _ in imports_of(path.read_text("utf-8"), package))
            others = {parts[1] for parts in names if parts[0] == "ornstein" and len(parts) > 1}
            used[room] |= others & FLOORS.keys() - {room}
    return used


def circle_in(used: Mapping[str, set[str]]) -> list[str]:
    """Return rooms that import each other in a circle; none where there is no circle."""
    try:
        TopologicalSorter(used).prepare()
    except CycleError as error:
        return list(error.args[1])
    return []


def test_no_rooms_import_each_other_in_a_circle() -> None:
    assert circle_in(rooms_used()) == []


@pytest.mark.parametrize(
    ("room", "other"), [("bundle", "editing"), ("session", "launch"), ("planning", "session")]
)
def test_the_circle_check_sees_a_planted_import(room: str, other: str) -> None:
    used = rooms_used()
    used[room].add(other)
    assert {room, other} <= set(circle_in(used))


def test_every_room_has_a_floor() -> None:
    assert {room_of(path) for path in MODULES} - {""} <= set(FLOORS)


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_point_downwards_only(path: Path) -> None:
    package = ["ornstein", *path.relative_to(PACKAGE).parts[:-1]]
    if room_of(path):  # the front door may open every room
        assert complaints_about(path.read_text("utf-8"), room_of(path), package) == []


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_no_call_can_run_code_from_a_file(path: Path) -> None:
    """S20."""
    assert dangers_in(path.read_text("utf-8")) == []


@pytest.mark.parametrize(
    ("room", "line"),
    [
        ("core", "from ornstein.solvers import DDIM"),
        ("core", "import numpy as np"),
        ("core", "def f():\n    import numpy"),
        ("nets", "from ornstein.core import Level"),
        ("nets", "from ..core.level import Level"),
        ("nets", "from ornstein import core"),
        ("training", "from ornstein.data import open_data"),
        ("training", "import ornstein.viz.sheets"),
        ("data", "from ornstein.model import Model"),
        ("evaluate", "from ornstein.model import Model"),
        ("viz", "from ornstein.training import loop"),
        ("run", "from ornstein.cli import main"),
        ("cli", "import pickle"),
        ("cli", "from urllib.request import urlopen"),
    ],
)
def test_the_floor_check_sees_a_planted_import(room: str, line: str) -> None:
    assert complaints_about(line, room, ["ornstein", room])


@pytest.mark.parametrize(
    "line",
    [
        "eval('1')",
        "torch.load(path)",
        "np.load(path, allow_pickle=True)",
        "np.load(path, allow_pickle=flag)",
        "subprocess.run(line, shell=True)",
    ],
)
def test_the_danger_check_sees_a_planted_call(line: str) -> None:
    assert dangers_in(line)


HEAVY = ("torch", "numpy", "PIL", "pydantic", "matplotlib", "safetensors", "scipy", "sklearn")


@pytest.mark.parametrize("statement", ["import ornstein", "import ornstein.cli"])
def test_starting_up_imports_nothing_heavy(statement: str) -> None:
    """So that ``ornstein --help`` answers at once."""
    code = f"{statement}; import sys; print([m for m in {HEAVY!r} if m in sys.modules])"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False
    )
    assert (done.stderr, done.stdout.strip()) == ("", "[]")


def test_what_compiles_networks_is_imported_only_where_it_is_asked_for() -> None:
    """It takes as long as torch itself."""
    code = (
        "import sys, ornstein.launch, ornstein.bundle\n"
        "print([m for m in ('torch._dynamo', 'torch._inductor') if m in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False
    )
    assert (done.stderr, done.stdout.strip()) == ("", "[]")
