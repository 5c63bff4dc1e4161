"""Run the tests of reliability as often as docs/reliability.md says, and write down the figures.

python tools/torture.py              all of it; an hour or two
python tools/torture.py -k r21       a part; figures of other parts stay as they were
python tools/torture.py --write      only write docs/torture.md from the figures there are
"""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
FIGURES = ROOT / "docs" / "torture.jsonl"
PAGE = ROOT / "docs" / "torture.md"
MARK = "<!-- figures -->"


def run(words: list[str]) -> int:
    """Run the tests; each writes a line for what it found."""
    with tempfile.TemporaryDirectory() as folder:
        return _run(words, Path(folder) / "figures.jsonl")


def _run(words: list[str], fresh: Path) -> int:
    command = [sys.executable, "-m", "pytest", "-q", "-m", "torture", *words]
    code = subprocess.run(
        command, cwd=ROOT, env={**os.environ, "ORNSTEIN_TORTURE": str(fresh)}, check=False
    ).returncode
    if fresh.exists():  # a test writes its line when all of it held
        keep(fresh.read_text().splitlines())
    return code


def keep(lines: list[str]) -> None:
    """Replace what was known of a fault by what was found now."""
    import torch

    day = time.strftime("%Y-%m-%d")
    where = (
        f"torch {torch.__version__}, Python {platform.python_version()}, {os.cpu_count()} cores"
    )
    known = {(row["rule"], row["fault"]): row for row in read()}
    for row in map(json.loads, lines):
        known[row["rule"], row["fault"]] = {**row, "day": day, "where": where}
    ordered = sorted(known.values(), key=lambda row: (int(row["rule"][1:]), row["fault"]))
    FIGURES.write_text("".join(json.dumps(row) + "\n" for row in ordered))


def read() -> list[dict[str, str]]:
    """The figures there are."""
    return (
        [json.loads(line) for line in FIGURES.read_text().splitlines()] if FIGURES.exists() else []
    )


def table() -> str:
    """The figures as a table of Markdown."""
    rows = [f"| {r['rule']} | {r['fault']} | {r['found']} | {r['day']} |" for r in read()]
    places = sorted({row["where"] for row in read()})
    head = ["| Rule | Fault | Found | On |", "|---|---|---|---|"]
    return "\n".join([f"Measured with {'; '.join(places)}.", "", *head, *rows])


def write() -> None:
    """Put the table between the marks of the page, and print it."""
    before, _, rest = PAGE.read_text().partition(MARK)
    after = rest.partition(MARK)[2]
    PAGE.write_text(f"{before}{MARK}\n\n{table()}\n\n{MARK}{after}")
    print(table())


if __name__ == "__main__":
    given = sys.argv[1:]
    answer = 0 if given == ["--write"] else run(given)
    write()
    sys.exit(answer)
