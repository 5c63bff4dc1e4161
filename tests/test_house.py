"""House rules: what is tracked, what is shipped, and that the seed map tells the truth."""

from __future__ import annotations

import ast
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import NamedTuple

import pytest

import ornstein

# Written so that this file does not find itself.
MACHINE_PATHS = re.compile(rb"(?<![\w.])/(?:home|root|work|tmp/w)/")
REGISTRIES = re.compile(rb"https?://[^\s\"')]*(pypi|pythonhosted|npmjs|pytorch\.org/whl)")
LEFT_OVERS = re.compile(r"\b(TO" + r"DO|FIX" + r"ME)\b")

MISSION = [
    f"{letter}{number}"
    for letter, count in {"A": 13, "B": 20, "C": 9, "D": 13, "E": 8}.items()
    for number in range(1, count + 1)
]


def is_text(content: bytes) -> bool:
    """Say whether the content of a file is text."""
    return b"\0" not in content[:8192]


def test_no_tracked_file_names_a_path_of_one_machine(root: Path, tracked: list[Path]) -> None:
    found = [str(path) for path in tracked if MACHINE_PATHS.search((root / path).read_bytes())]
    assert found == []


def test_no_tracked_file_names_a_package_registry(root: Path, tracked: list[Path]) -> None:
    found = [str(path) for path in tracked if REGISTRIES.search((root / path).read_bytes())]
    assert found == []


def test_no_tracked_text_leaves_work_for_later(root: Path, tracked: list[Path]) -> None:
    contents = {path: (root / path).read_bytes() for path in tracked}
    found = [
        f"{path}: {match.group()}"
        for path, content in contents.items()
        if is_text(content) and (match := LEFT_OVERS.search(content.decode()))
    ]
    assert found == []


@pytest.mark.parametrize("place", ["/home", "/root", "/work", "/tmp/w"])
def test_the_path_check_sees_a_planted_path(place: str) -> None:
    assert MACHINE_PATHS.search(f"see {place}/photos".encode())
    assert not MACHINE_PATHS.search(b"photos/home, /tmp/walk, framework/x, a/work/x")


def test_the_wheel_holds_the_tracked_package_and_nothing_else(
    root: Path, tracked: list[Path], tmp_path: Path
) -> None:
    """S20: what is shipped is what is in git."""
    tree = tmp_path / "tree"
    for path in tracked:
        (tree / path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(root / path, tree / path)
    stray = tree / "src" / "stray.py"  # a file beside the package must not travel with it
    stray.write_text("")
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)],
        cwd=tree, check=True, capture_output=True,
    )  # fmt: skip
    (wheel,) = tmp_path.glob("*.whl")
    names = {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}
    package = Path("src") / "ornstein"
    assert names == {
        path.relative_to("src").as_posix() for path in tracked if path.is_relative_to(package)
    }


def test_no_message_says_to_install_from_an_index_what_may_be_a_clone(root: Path) -> None:
    found = [
        f"{path.name}: {line.strip()}"
        for path in sorted((root / "src").rglob("*.py"))
        for line in path.read_text("utf-8").splitlines()
        if re.search(r"pip install.*ornstein", line)
    ]
    assert found == []


def test_the_changelog_describes_this_version(root: Path) -> None:
    headings = re.findall(r"^## \[([^\]]+)\]", (root / "CHANGELOG.md").read_text("utf-8"), re.M)
    assert ornstein.__version__ in headings


def test_every_direct_dependency_is_pinned_in_the_constraints(root: Path) -> None:
    project = tomllib.loads((root / "pyproject.toml").read_text("utf-8"))["project"]
    asked = list(project["dependencies"])
    for extra in project["optional-dependencies"].values():
        asked += extra
    pinned = re.findall(r"^([\w.-]+)==", (root / "constraints.txt").read_text("utf-8"), re.M)
    plain = {name.lower().replace("_", "-") for name in pinned}
    names = {re.split(r"[\[<>=~ ]", line)[0].lower() for line in asked} - {"ornstein"}
    assert names <= plain


class Entry(NamedTuple):
    """One row of the seed map."""

    id: str
    row: str
    built: bool


def seed_map(root: Path) -> list[Entry]:
    """Return the rows of docs/seed-map.md that carry an id of the mission."""
    built, entries = True, []
    for line in (root / "docs" / "seed-map.md").read_text("utf-8").splitlines():
        if line.startswith("## "):
            built = "not built" not in line.lower()
        if found := re.match(r"\| *([A-E]\d+) *\|", line):
            entries.append(Entry(found.group(1), line, built))
    return entries


def named_tests(text: str) -> list[tuple[str, str]]:
    """Return (file, test) for each ``tests/...::test_...`` in a text."""
    return re.findall(r"(tests/[\w/]+\.py)::(test_\w+)", text)


def test_the_seed_map_lists_every_id_of_the_mission_exactly_once(root: Path) -> None:
    assert sorted(entry.id for entry in seed_map(root)) == sorted(MISSION)


def test_every_built_id_of_the_seed_map_names_a_test(root: Path) -> None:
    assert [e.id for e in seed_map(root) if e.built and not named_tests(e.row)] == []


def test_no_id_that_is_not_built_claims_a_test(root: Path) -> None:
    assert [e.id for e in seed_map(root) if not e.built and named_tests(e.row)] == []


def test_every_test_named_in_the_docs_exists(root: Path) -> None:
    missing = []
    for page in sorted((root / "docs").rglob("*.md")):
        for file, test in named_tests(page.read_text("utf-8")):
            path = root / file
            tree = ast.parse(path.read_text("utf-8")) if path.is_file() else ast.Module([], [])
            names = {n.name for n in ast.walk(tree) if isinstance(n, ast.FunctionDef)}
            if test not in names:
                missing.append(f"{page.name}: {file}::{test}")
    assert missing == []


def test_every_mistake_that_can_be_planted_still_has_its_line(root: Path) -> None:
    spec = spec_from_file_location("plant", root / "tools" / "plant.py")
    assert spec is not None
    assert spec.loader is not None
    tool = module_from_spec(spec)
    sys.modules["plant"] = tool
    spec.loader.exec_module(tool)
    assert len(tool.MISTAKES) > 100
    assert tool.misplaced() == []
