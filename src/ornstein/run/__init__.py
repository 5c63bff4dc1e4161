"""The run: a directory that holds one training, and what can be read from it afterwards."""

from __future__ import annotations

from ornstein.run.run import Progress, Run, Silent, list_runs, open_run, run_name, typed

__all__ = ["Progress", "Run", "Silent", "list_runs", "open_run", "run_name", "typed"]
