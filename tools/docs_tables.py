"""Write the generated parts of the docs, settings and verbs: python tools/docs_tables.py."""

from __future__ import annotations

from pathlib import Path

import click

from ornstein.cli.app import VERBS, cli
from ornstein.config import fields

DOCS = Path(__file__).resolve().parent.parent / "docs"
MARK = "<!-- made by tools/docs_tables.py -->\n"


def settings() -> str:
    """Return the table of settings, one row each."""
    rows = ["| Setting | Default | May be | Meaning |", "|---|---|---|---|"]
    rows += [
        f"| `{field.name}` | {default_of(field.default)} | {field.kind} | {field.about} |"
        for field in fields()
    ]
    return "\n".join(rows) + "\n"


def default_of(value: object) -> str:
    """Return a default as it is written in TOML."""
    if value is None:
        return '`"auto"`'
    if isinstance(value, bool):
        return f"`{str(value).lower()}`"
    if isinstance(value, str):
        return f'`"{value}"`'
    if isinstance(value, tuple):
        return f"`{list(value)}`"
    return f"`{value}`"


def verbs() -> str:
    """Return a section for each verb, with its usage and a table of its options."""
    parts = []
    for verb in VERBS:
        command = cli.get_command(click.Context(cli), verb)
        assert command is not None
        parts.append(section(verb, command))
    return "\n".join(parts)


def section(verb: str, command: click.Command, depth: int = 3) -> str:
    """Return the section of one command, and those of its own commands."""
    context = click.Context(command, info_name=f"ornstein {verb}")
    about = (command.help or "").split("\b")[0]
    text = "\n\n".join(" ".join(part.split()) for part in about.split("\n\n"))
    lines = ["#" * depth + f" {verb}", "", f"    {usage(context)}", "", text, ""]
    options = [
        param for param in command.params if isinstance(param, click.Option) and not param.hidden
    ]
    if options:
        lines += ["| Option | Meaning |", "|---|---|"]
        lines += [f"| `{names(option)}` | {meaning(option)} |" for option in options]
        lines.append("")
    if isinstance(command, click.Group):
        for name in command.list_commands(context):
            found = command.get_command(context, name)
            assert found is not None
            lines.append(section(f"{verb} {name}", found, depth + 1))
    return "\n".join(lines)


def usage(context: click.Context) -> str:
    """Return the usage line of a command."""
    return " ".join([context.command_path, *context.command.collect_usage_pieces(context)])


def names(option: click.Option) -> str:
    """Return the names of an option and what follows it."""
    takes = "" if option.is_flag else f" {option.metavar or option.type.name.upper()}"
    return ", ".join([*option.opts, *option.secondary_opts]) + takes


def meaning(option: click.Option) -> str:
    """Return what an option means, and its default where the help shows one."""
    text = (option.help or "").replace("|", "\\|")
    return f"{text} [default: {option.default}]" if option.show_default else text


TABLES = {"settings.md": settings, "command-line.md": verbs}


def page(name: str) -> str:
    """Return a page with its generated part made afresh."""
    head = (DOCS / name).read_text("utf-8").split(MARK)[0]
    return head + MARK + "\n" + TABLES[name]()


if __name__ == "__main__":
    for name in TABLES:
        (DOCS / name).write_text(page(name), "utf-8")
