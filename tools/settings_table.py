"""Write the table of settings into docs/settings.md: python tools/settings_table.py."""

from __future__ import annotations

from pathlib import Path

from ornstein.config import fields

PAGE = Path(__file__).resolve().parent.parent / "docs" / "settings.md"
MARK = "<!-- made by tools/settings_table.py -->\n"


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


def table() -> str:
    """Return one row per setting."""
    rows = ["| Setting | Default | May be | Meaning |", "|---|---|---|---|"]
    rows += [
        f"| `{field.name}` | {default_of(field.default)} | {field.kind} | {field.about} |"
        for field in fields()
    ]
    return "\n".join(rows) + "\n"


def page() -> str:
    """Return the page with a fresh table."""
    return PAGE.read_text("utf-8").split(MARK)[0] + MARK + "\n" + table()


if __name__ == "__main__":
    PAGE.write_text(page(), "utf-8")
