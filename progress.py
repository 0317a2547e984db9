"""How long work says how far it is: one way to call, whichever room works."""

from __future__ import annotations

from collections.abc import Callable

#: Called with (done, total, what): so many of so many, and what was done last.
Progress = Callable[[int, int, str], None]


def silent(done: int, total: int, what: str) -> None:
    """No progress wanted."""
