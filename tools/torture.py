"""Run the tests of reliability as often as docs/reliability.md says, and write down the figures.

python tools/torture.py              all of it, test by test; an hour or two
python tools/torture.py -k r21       a part; figures of other parts stay as they were
python tools/torture.py --write      only write docs/torture.md from the figures there are

Interrupted, the whole goes on with the same command: tests that have passed, also in a part, are
not run again until all have.
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
PASSED = ROOT / ".torture"  # tests of an unfinished run
MARK = "<!-- figures -->"
NOTHING = 5  # what pytest answers when no test is left


def run(words: list[str]) -> int:
    """Run the tests one by one; each writes a line for what it found."""
    todo, whole = collected(words), not words
    passed = PASSED.read_text().splitlines() if PASSED.exists() else []
    left = [test for test in todo if not whole or test not in passed]
    if len(left) < len(todo):
        print(f"going on: {len(todo) - len(left)} of {len(todo)} tests have passed")
    failed = []
    for number, test in enumerate(left, len(todo) - len(left) + 1):
        print(f"[{number}/{len(todo)}] {test}", flush=True)
        if one(test):
            failed.append(test)
        elif whole or PASSED.exists():
            with PASSED.open("a") as file:
                file.write(test + "\n")
        write()
    if whole and not failed:
        PASSED.unlink(missing_ok=True)
    print(f"{len(todo) - len(failed)} of {len(todo)} passed")
    print("".join(f"  failed: {test}\n" for test in failed), end="")
    return 1 if failed else 0


def collected(words: list[str]) -> list[str]:
    """Names of the tests."""
    command = [*pytest(), "--collect-only", "--no-header", *words]
    answer = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if answer.returncode not in (0, NOTHING):
        sys.exit(answer.stdout + answer.stderr)
    return [line for line in answer.stdout.splitlines() if "::" in line]


def pytest() -> list[str]:
    """The command that runs tests of this kind."""
    return [sys.executable, "-m", "pytest", "-q", "-m", "torture"]


def one(test: str) -> int:
    """Run a test; returns its exit code."""
    with tempfile.TemporaryDirectory() as folder:
        fresh = Path(folder) / "figures.jsonl"
        environment = {**os.environ, "ORNSTEIN_TORTURE": str(fresh)}
        began = time.monotonic()
        code = subprocess.run([*pytest(), test], cwd=ROOT, env=environment, check=False).returncode
        if code == 0 and fresh.exists():  # a test writes its line when all of it held
            keep(fresh.read_text().splitlines(), time.monotonic() - began)
    return code


def keep(lines: list[str], seconds: float) -> None:
    """Replace what was known of a fault by what was found now."""
    import torch

    facts = {
        "day": time.strftime("%Y-%m-%d"),
        "seconds": round(seconds),
        "load": round(os.getloadavg()[1], 1),
        "where": f"torch {torch.__version__}, Python {platform.python_version()}, "
        f"{os.cpu_count()} cores",
    }
    known = {(row["rule"], row["fault"]): row for row in read()}
    for row in map(json.loads, lines):
        known[row["rule"], row["fault"]] = {**row, **facts}
    ordered = sorted(known.values(), key=lambda row: (int(row["rule"][1:]), row["fault"]))
    FIGURES.write_text("".join(json.dumps(row) + "\n" for row in ordered))


def read() -> list[dict[str, str]]:
    """The figures there are."""
    return (
        [json.loads(line) for line in FIGURES.read_text().splitlines()] if FIGURES.exists() else []
    )


def table() -> str:
    """The figures as a table of Markdown."""
    columns = ("rule", "fault", "found", "seconds", "load", "day")
    rows = ["| " + " | ".join(str(row.get(c, "-")) for c in columns) + " |" for row in read()]
    places = sorted({row["where"] for row in read()})
    head = [
        "| Rule | Fault | Found | Seconds of the test | Load | On |",
        "|---|---|---|---|---|---|",
    ]
    return "\n".join([f"Measured with {'; '.join(places)}.", "", *head, *rows])


def write() -> None:
    """Put the table between the marks of the page."""
    before, _, rest = PAGE.read_text().partition(MARK)
    after = rest.partition(MARK)[2]
    PAGE.write_text(f"{before}{MARK}\n\n{table()}\n\n{MARK}{after}")


if __name__ == "__main__":
    given = sys.argv[1:]
    answer = 0 if given == ["--write"] else run(given)
    write()
    print(table())
    sys.exit(answer)
