"""The documentation is run: its Python, and the options of its command lines."""

from __future__ import annotations

import re
import shlex
import sys
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).resolve().parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]

# A block that cannot run here is preceded by <!-- not run: and the reason -->.
BLOCK = re.compile(r"(<!-- not run: [^>]+-->\n+)?^```(\w+)\n(.*?)^```$", re.M | re.S)


def blocks(page: Path, *languages: str) -> list[str]:
    """Return the code blocks of a page that are to be run."""
    found = BLOCK.findall(page.read_text("utf-8"))
    return [code for skipped, language, code in found if language in languages and not skipped]


def with_code(*languages: str) -> list[Path]:
    """Return the pages that have such blocks."""
    return [page for page in PAGES if blocks(page, *languages)]


@pytest.mark.parametrize("page", with_code("python"), ids=lambda page: page.name)
def test_the_python_of_a_page_runs(
    page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    module = ModuleType("page")
    monkeypatch.setitem(sys.modules, "page", module)
    for number, code in enumerate(blocks(page, "python"), 1):
        place = f"{page.name}, block {number}"
        exec(compile(code, place, "exec", dont_inherit=True), module.__dict__)


def command_lines(page: Path) -> list[str]:
    """Return every command line of a page that calls ornstein."""
    lines = [
        line.removeprefix("$ ").split("  #")[0].strip()
        for code in blocks(page, "sh", "console")
        for line in code.replace("\\\n", " ").splitlines()
    ]
    return [line for line in lines if line.startswith("ornstein ")]


@pytest.mark.parametrize("page", with_code("sh", "console"), ids=lambda page: page.name)
def test_every_command_line_of_a_page_uses_options_that_exist(page: Path) -> None:
    import click

    from ornstein.cli.app import cli

    unknown = []
    for line in command_lines(page):
        command: click.Command = cli
        for word in shlex.split(line)[1:]:
            if isinstance(command, click.Group) and not word.startswith("-"):
                context = click.Context(command)
                found = command.get_command(context, word)
                if found is None:
                    unknown.append(line)
                    break
                command = found
            elif word.startswith("-") and not re.fullmatch(r"-\d.*", word):
                options = {name for option in command.params for name in option.opts}
                options |= {name for option in command.params for name in option.secondary_opts}
                if word.split("=")[0] not in options | {"--help"}:
                    unknown.append(f"{line}: {word}")
    assert unknown == []


def trainings(page: Path) -> list[list[str]]:
    """The words after ``ornstein train`` of every line and every cell of a page that has them."""
    cells = re.findall(r"`ornstein (train [^`]+)`", page.read_text("utf-8"))
    words = [shlex.split(line)[1:] for line in command_lines(page)]
    words += [shlex.split(cell) for cell in cells]
    # The map of the seed names what to add to a training.
    words += [["train", "DATA", *shlex.split(cell)] for cell in _added(page)]
    return [line[1:] for line in words if line[:1] == ["train"] and len(line) > 1]


def _added(page: Path) -> list[str]:
    return re.findall(r"`(--set [^`]+)`", page.read_text("utf-8"))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_the_settings_of_every_training_of_a_page_fit_each_other(page: Path) -> None:
    from ornstein.cli.train import command, tasked
    from ornstein.config import resolve

    for words in trainings(page):
        if "--help" in words or any(
            word.isupper() for word in words[1:]
        ):  # what to say, in general
            continue
        given = command.make_context("train", list(words)).params
        recipe, _ = tasked(
            given["task"], given["factor"], given["preset"], given["name"], given["source"]
        )
        flags = {"data.upscale": given["factor"], "train.minutes": given["minutes"]}
        resolve(recipe=recipe, sets=(*given["settings"], *given["sets"]), flags=flags)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_relative_link_of_a_page_leads_somewhere(page: Path) -> None:
    prose = re.sub(r"^```.*?^```$|`[^`\n]+`", "", page.read_text("utf-8"), flags=re.M | re.S)
    links = re.findall(r"\]\((?![a-z]+:|#)([^)#\s]+)", prose)
    assert [link for link in links if not (page.parent / link).exists()] == []


@pytest.mark.parametrize("name", ["settings.md", "command-line.md"])
def test_the_tables_of_a_page_are_those_of_the_code(name: str) -> None:
    """Put right by ``python tools/docs_tables.py``."""
    spec = spec_from_file_location("docs_tables", ROOT / "tools" / "docs_tables.py")
    assert spec is not None
    assert spec.loader is not None
    tool = module_from_spec(spec)
    spec.loader.exec_module(tool)
    assert (ROOT / "docs" / name).read_text("utf-8") == tool.page(name)


def test_the_notation_lists_every_name_of_every_table() -> None:
    from ornstein.core import GRIDS, PROCESSES, TARGETS
    from ornstein.solvers import SOLVERS

    text = (ROOT / "docs" / "notation.md").read_text("utf-8")
    rows = [line.split("|")[1] for line in text.splitlines() if line.startswith("| `")]
    named = set(re.findall(r"`([^`]+)`", "".join(rows)))
    assert {*PROCESSES, *TARGETS, *SOLVERS, *GRIDS} - named == set()


def test_every_exit_code_is_explained() -> None:
    from ornstein import errors

    kinds = [kind for kind in vars(errors).values() if isinstance(kind, type)]
    codes = {kind.exit_code for kind in kinds if issubclass(kind, errors.OrnsteinError)}
    text = (ROOT / "docs" / "reliability.md").read_text("utf-8")
    assert codes - {int(code) for code in re.findall(r"^\| (\d+) \|", text, re.M)} == set()
