"""``--quiet``: every verb takes it, and what it prints then is the result alone."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from ornstein.cli.app import VERBS, cli
from ornstein.planning import trying
from ornstein.training.budget import pace


def say(*words: str) -> list[str]:
    answer = CliRunner().invoke(cli, list(words), catch_exceptions=False)
    assert answer.exit_code == 0, answer.output
    return answer.output.splitlines()


def commands() -> Iterator[tuple[str, click.Command]]:
    """All that can be typed, by what is typed; ``runs`` does something by itself."""
    context = click.Context(cli)
    for verb in VERBS:
        command = cli.get_command(context, verb)
        assert command is not None
        if not isinstance(command, click.Group) or command.invoke_without_command:
            yield verb, command
        if isinstance(command, click.Group):
            yield from ((f"{verb} {name}", own) for name, own in command.commands.items())


@pytest.mark.parametrize("option", ["--quiet", "--json"])
def test_every_command_can_be_quiet_and_talk_to_programs(option: str) -> None:
    found = {name: [o for param in one.params for o in param.opts] for name, one in commands()}
    assert {"show", "runs", "runs diff", "viz forward"} <= set(found)
    assert [name for name, options in found.items() if option not in options] == []


def test_where_there_is_nothing_quiet_commands_print_nothing(tmp_path: Path) -> None:
    place = ("--runs", str(tmp_path))
    for verb in ("runs", "leaderboard"):
        assert len(say(verb, *place)) == 1
        assert say(verb, "--quiet", *place) == []


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str]:
    """Where a run of two moons is, barely trained, as options of a command."""
    runs = str(tmp_path_factory.mktemp("quiet"))
    say("train", "two-moons", "net.size=tiny", "--steps", "2", "--quiet", "--runs", runs)
    return "--runs", runs


def test_a_quiet_show_tells_of_the_model_and_not_of_the_files_it_wrote(
    place: tuple[str, str], tmp_path: Path
) -> None:
    drawn = str(tmp_path / "net.svg")
    words = ["show", "two-moons", "--diagram", drawn, *place]
    whole, few = say(*words), say(*words, "--quiet")
    assert [*few, f"diagram    {drawn}"] == whole
    assert few[0].startswith("run ")


def test_quiet_lists_and_differences_are_what_was_asked_for(place: tuple[str, str]) -> None:
    for words in (("runs",), ("runs", "two-moons"), ("runs", "diff", "two-moons", "two-moons")):
        assert say(*words, *place, "--quiet") == say(*words, *place) != []
    assert say("runs", "--quiet", *place, "show", "two-moons")


def test_a_quiet_board_has_its_tables_alone(place: tuple[str, str]) -> None:
    assert any(line.startswith("not here") for line in say("leaderboard", *place))
    assert say("leaderboard", "--quiet", *place) == []


def test_a_quiet_bench_prints_measurements_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trying, "pace", lambda step, seconds: pace(step, 0.01))
    words = ["bench", "two-moons", "--seconds", "1"]
    few = say(*words, "--quiet")
    assert few
    assert not any(line.startswith("measuring") for line in few)


def test_no_folder_or_file_is_called_as_the_standard_output_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A folder of the name "-" was made, which no other command takes for one."""
    writes = [name for name, one in commands() if any("--out" in p.opts for p in one.params)]
    assert {"sample", "edit", "evaluate", "compare", "data", "tune", "ema"} <= set(writes)
    monkeypatch.chdir(tmp_path)
    for name in writes:
        answer = CliRunner().invoke(cli, [*name.split(), "a", "b", "c", "--out", "-"])
        assert answer.exit_code == 2, name
        assert "nothing is written to the standard output. Name one" in answer.output, name
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_is_called_so_can_be_written_as_a_path(
    place: tuple[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    say("sample", "two-moons", "-n", "2", "--out", "./-", *place)
    assert (tmp_path / "-" / "grid.png").is_file()
