"""Settings as TOML: reading with line numbers, and writing with the meaning beside each value."""

from __future__ import annotations

import json
import re
import tomllib
from pathlib import Path
from typing import Any

from ornstein.config.about import fields
from ornstein.config.kinds import AUTO
from ornstein.config.schema import Config
from ornstein.errors import ConfigError

MAX_BYTES = 1_000_000
_SECTION = re.compile(r"""\s*\[{1,2}\s*([A-Za-z0-9_."'\- ]+?)\s*\]""")
_KEY = re.compile(r"""\s*([A-Za-z0-9_."'\- ]+?)\s*=""")


def read_toml(path: Path) -> tuple[dict[str, Any], dict[str, int]]:
    """Return the table in a TOML file, and the line of each key by its full name.

    Raises:
        ConfigError: the file cannot be read or is not TOML; the line is named.
    """
    try:
        if path.stat().st_size > MAX_BYTES:
            raise ConfigError(f"{path} is larger than 1 MB; that is not a file of settings.")
        text = path.read_bytes().decode()
    except FileNotFoundError as error:
        raise ConfigError(f"there is no file of settings {path}.") from error
    except OSError as error:
        raise ConfigError(f"cannot read {path}: {error.strerror}.") from error
    except UnicodeDecodeError as error:
        line = error.object[: error.start].count(b"\n") + 1
        raise ConfigError(f"{path.name} line {line} is not UTF-8 text.") from error
    return parse_toml(text, path.name), lines_of(text)


def parse_toml(text: str, name: str) -> dict[str, Any]:
    """Parse TOML.

    Raises:
        ConfigError: it is not TOML; line and reason are named.
    """
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        reason, _, place = str(error).partition(" (at ")
        at = re.search(r"line (\d+)", place)
        line = int(at[1]) if at else len(text.splitlines())
        raise ConfigError(f"{name} line {line} is not valid TOML: {_lower(reason)}.") from error
    except (RecursionError, ValueError) as error:
        raise ConfigError(f"{name} is not valid TOML: nested too deep or too large.") from error


def lines_of(text: str) -> dict[str, int]:
    """Return the line of each key and section of a TOML text, by full name."""
    section = ""
    lines: dict[str, int] = {}
    for number, line in enumerate(text.splitlines(), start=1):
        if found := _SECTION.match(line):
            section = _plain(found[1])
            lines.setdefault(section, number)
        elif found := _KEY.match(line):
            name = _plain(found[1])
            lines.setdefault(f"{section}.{name}" if section else name, number)
    return lines


def to_toml(config: Config) -> str:
    """Write all settings, their meaning beside them; :func:`load_config` reads them back."""
    lines = [f"recipe = {toml_value(config.recipe)}"]
    flat, section = config.flat(), ""
    for field in fields():
        if field.section != section:
            section = field.section
            lines += ["", f"[{section}]"]
        if field.section:
            lines.append(f"{field.leaf} = {toml_value(flat[field.name])}  # {field.about}")
    return "\n".join(lines) + "\n"


def toml_value(value: object) -> str:
    """One value as TOML; None is the word for what is left open.

    Raises:
        ConfigError: TOML has no form for it.
    """
    if value is None:
        return toml_value(AUTO)
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        # JSON's escapes are TOML's, but for DEL, which TOML wants escaped.
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
    if isinstance(value, (int, float)):
        return repr(value)
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(map(toml_value, value)) + "]"
    if isinstance(value, dict):
        pairs = (f"{toml_value(str(key))} = {toml_value(item)}" for key, item in value.items())
        return "{ " + ", ".join(pairs) + " }" if value else "{}"
    raise ConfigError(f"a setting cannot hold {value!r}; use numbers, text, lists and tables.")


def _plain(key: str) -> str:
    return ".".join(part.strip().strip("\"'") for part in key.split("."))


def _lower(reason: str) -> str:
    return reason[:1].lower() + reason[1:].rstrip(".")
