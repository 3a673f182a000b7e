"""A text that must not be seen: tokens and passwords among the settings."""

from __future__ import annotations


class Secret(str):
    """A string that does not show itself in logs and tracebacks; `.reveal()` gives the value."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "'***'"

    def __str__(self) -> str:
        return "***"

    def __format__(self, spec: str) -> str:
        return format("***", spec)

    def reveal(self) -> str:
        """The value itself: pass it on, never print it."""
        return str.__str__(self)
