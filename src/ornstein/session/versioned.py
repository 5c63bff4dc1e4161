"""Which code a training was started among: the commit of the folder it was started in."""

from __future__ import annotations

import re
import subprocess
from typing import Any

SECONDS = 2.0  # for git; a training does not wait longer to know it
# One call that reads what git tracks and writes nothing: no lock, no daemon that watches files.
ASKED = (
    "git", "--no-optional-locks", "-c", "core.fsmonitor=false", "status", "--porcelain=v2",
    "--branch", "--untracked-files=no", "--ignore-submodules=dirty",
)  # fmt: skip


def commit_here() -> dict[str, Any] | None:
    """The commit of the current folder, and whether files that git tracks differ from it.

    Files that git does not track are not looked at: runs and data lie among the code, and to list
    them may take long. None without git, outside of its work trees, before their first commit,
    and where git takes longer than ``SECONDS``.
    """
    try:
        answer = subprocess.run(
            ASKED, stdin=subprocess.DEVNULL, capture_output=True, timeout=SECONDS, check=False
        )
    except (OSError, subprocess.SubprocessError):
        return None
    found = re.search(rb"^# branch\.oid ([0-9a-f]{40,64})$", answer.stdout, re.MULTILINE)
    if answer.returncode or found is None:
        return None
    changed = any(not line.startswith(b"#") for line in answer.stdout.splitlines())
    return {"commit": found[1].decode(), "dirty": changed}
