"""A small grammar of JSON shapes: each shape lists, as data, everything that is wrong with a value.

Promises: a shape never raises, whatever it is given; it changes nothing. Unknown properties and unknown `type`s are
problems, because the platform that these shapes describe refuses them too. Pointers are JSON pointers.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """One thing that would be refused: where (JSON pointer), why (a stable word) and what to do (one line)."""

    pointer: str
    code: str
    message: str


Shape = Callable[[object, str], Iterator[Problem]]
"""Given a value and its pointer, yields the problems."""


def at(pointer: str, code: str, message: str) -> Problem:
    """Shorthand for a Problem."""
    return Problem(pointer=pointer, code=code, message=message)


def string(lo: int = 1, hi: int | None = None) -> Shape:
    """A string of lo to hi characters."""

    def check(value: object, pointer: str) -> Iterator[Problem]:
        if not isinstance(value, str):
            yield at(pointer, "invalid_type", "must be a string")
        elif len(value) < lo:
            yield at(pointer, "too_short", f"must have at least {lo} characters")
        elif hi is not None and len(value) > hi:
            yield at(pointer, "too_long", f"must have at most {hi} characters, has {len(value)}")

    return check


def link(hi: int = 3000) -> Shape:
    """An absolute address with one of the schemes that a chat client opens."""
    schemes = ("https://", "http://", "mailto:", "slack://")
    text = string(1, hi)

    def check(value: object, pointer: str) -> Iterator[Problem]:
        yield from text(value, pointer)
        if isinstance(value, str) and (not value.startswith(schemes) or any(c.isspace() or c in "<>" for c in value)):
            yield at(pointer, "invalid_value", "must be an absolute http(s) address without spaces")

    return check


def flag() -> Shape:
    """True or false."""

    def check(value: object, pointer: str) -> Iterator[Problem]:
        if not isinstance(value, bool):
            yield at(pointer, "invalid_type", "must be true or false")

    return check


def number(lo: float | None = None, hi: float | None = None, *, whole: bool = True) -> Shape:
    """A number from lo to hi, without a fraction unless `whole` is false."""

    def check(value: object, pointer: str) -> Iterator[Problem]:
        if isinstance(value, bool) or not isinstance(value, int | float) or (whole and not isinstance(value, int)):
            yield at(pointer, "invalid_type", "must be a whole number" if whole else "must be a number")
        elif (lo is not None and not value >= lo) or (hi is not None and not value <= hi):
            yield at(pointer, "invalid_value", f"must lie between {lo} and {hi}")

    return check


def choice(*allowed: str) -> Shape:
    """One of the words."""

    def check(value: object, pointer: str) -> Iterator[Problem]:
        if not isinstance(value, str) or value not in allowed:
            yield at(pointer, "invalid_value", f"must be one of {', '.join(allowed)}")

    return check


def array(item: Shape, lo: int = 1, hi: int | None = None) -> Shape:
    """A list of lo to hi items."""

    def check(value: object, pointer: str) -> Iterator[Problem]:
        if not isinstance(value, list | tuple):
            yield at(pointer, "invalid_type", "must be a list")
            return
        if len(value) < lo:
            yield at(pointer, "too_few", f"must have at least {lo} items")
        if hi is not None and len(value) > hi:
            yield at(pointer, "too_many", f"must have at most {hi} items, has {len(value)}")
        for index, element in enumerate(value[:hi]):
            yield from item(element, f"{pointer}/{index}")

    return check


def record(required: Mapping[str, Shape], optional: Mapping[str, Shape] | None = None) -> Shape:
    """An object with all of the required properties, perhaps the optional ones, and no other."""
    known = {**required, **(optional or {})}

    def check(value: object, pointer: str) -> Iterator[Problem]:
        if not isinstance(value, Mapping):
            yield at(pointer, "invalid_type", "must be an object")
            return
        for name in required:
            if name not in value:
                yield at(f"{pointer}/{name}", "missing_field", f"{name} is required")
        for name, inner in value.items():
            if name in known:
                yield from known[name](inner, f"{pointer}/{name}")
            else:
                yield at(f"{pointer}/{name}", "unknown_field", "is not a property of this object")

    return check


def tagged(kinds: Mapping[str, Shape]) -> Shape:
    """An object whose `type` chooses its shape."""

    def check(value: object, pointer: str) -> Iterator[Problem]:
        if not isinstance(value, Mapping):
            yield at(pointer, "invalid_type", "must be an object")
            return
        kind = value.get("type")
        if isinstance(kind, str) and kind in kinds:
            yield from kinds[kind](value, pointer)
        else:
            shown = kind[:40] if isinstance(kind, str) else type(kind).__name__
            yield at(f"{pointer}/type", "unknown_type", f"{shown!r} can't stand here")

    return check


def both(*shapes: Shape) -> Shape:
    """Every one of the shapes at once."""

    def check(value: object, pointer: str) -> Iterator[Problem]:
        for shape in shapes:
            yield from shape(value, pointer)

    return check


def one_of_fields(*names: str) -> Shape:
    """An object that has exactly one of the properties."""

    def check(value: object, pointer: str) -> Iterator[Problem]:
        if isinstance(value, Mapping) and sum(name in value for name in names) != 1:
            yield at(pointer, "missing_field", f"needs exactly one of {', '.join(names)}")

    return check


def some_of_fields(*names: str) -> Shape:
    """An object that has at least one of the properties."""

    def check(value: object, pointer: str) -> Iterator[Problem]:
        if isinstance(value, Mapping) and not any(name in value for name in names):
            yield at(pointer, "missing_field", f"needs at least one of {', '.join(names)}")

    return check
