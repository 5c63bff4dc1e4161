"""The command line. Only click is imported before a command runs, so that help answers at once."""

from ornstein.cli.app import main

__all__ = ["main"]
