"""Reading a mail system's settings (`MFI_<NAME>_…`): every problem is told, not only the first.

A problem names the setting (without its prefix) and what it wants, never its value: that may be a secret.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TypeVar

T = TypeVar("T")


class BadOptions(ValueError):
    """Settings are missing or senseless. `problems`: (setting without its prefix, what it wants), at least one."""

    def __init__(self, *problems: tuple[str, str]) -> None:
        super().__init__("; ".join(f"{option} {problem}" for option, problem in problems))
        self.problems = problems


class Problems:
    """Gathers what is wrong with the settings of one mail system while they are read one by one."""

    def __init__(self) -> None:
        self._found: list[tuple[str, str]] = []

    def add(self, option: str, problem: str) -> None:
        """Note one; a second one of the same setting adds nothing."""
        if option not in (known for known, _ in self._found):
            self._found.append((option, problem))

    def caught(self, read: Callable[[], T], otherwise: T) -> T:
        """What `read` returns; where it raises BadOptions, that is noted, and `otherwise` stands in."""
        try:
            return read()
        except BadOptions as bad:
            for option, problem in bad.problems:
                self.add(option, problem)
            return otherwise

    def told(self) -> None:
        """Raise BadOptions with all of them, if there are any."""
        if self._found:
            raise BadOptions(*self._found)


def number(given: Mapping[str, str], name: str, default: float, limits: tuple[float, float], what: str = "") -> float:
    """A number within `limits`, both included. `what`: its unit, such as " of seconds". Raises BadOptions."""
    least, most = limits
    try:
        found = float(given.get(name) or default)
    except ValueError:
        found = least - 1
    if not least <= found <= most:
        raise BadOptions((name, f"has to be a number{what} from {least:g} to {most:g}"))
    return found
