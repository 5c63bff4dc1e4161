"""One sitting of a training: the loop, and what goes on around it."""

from ornstein.session.sitting import Session

__all__ = ["Session"]
