"""Fields of the script's documents: text, numbers, booleans and ISO moments. Nothing else passes."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

Json = dict[str, Any]


def text(row: Mapping[str, Any], name: str, limit: int = 1000) -> str:
    """Text, stripped; "" where there is none. Raises ValueError for anything else, or where it is far too long."""
    found = row.get(name)
    if found is None:
        return ""
    if not isinstance(found, str):
        raise ValueError(f"{name} is no text")
    return _storable(found.strip()[:limit])


def _storable(found: str) -> str:
    """Without halves of characters, which JSON can hold and no database takes."""
    return found if found.isascii() else found.encode("utf-8", "replace").decode("utf-8")


def needed(row: Mapping[str, Any], name: str, limit: int = 1000) -> str:
    """Text that has to be there."""
    found = text(row, name, limit)
    if not found:
        raise ValueError(f"{name} is empty")
    return found


def flag(row: Mapping[str, Any], name: str) -> bool:
    """True or false."""
    found = row.get(name)
    if not isinstance(found, bool):
        raise ValueError(f"{name} is neither true nor false")
    return found


def whole(row: Mapping[str, Any], name: str) -> int | None:
    """A whole number, also as text (sizes come as "12,345 bytes" or "4.5 KB (4,617 bytes)"); None for what is none."""
    found = row.get(name)
    if isinstance(found, bool) or not isinstance(found, int | str):
        return None
    if isinstance(found, str):
        words = found.replace(",", "")[:80]
        inner = words.partition("(")[2] or words
        found = inner.split(" ")[0].strip()
    return int(found) if str(found).isdecimal() and len(str(found)) <= 15 else None


def moment(row: Mapping[str, Any], name: str) -> datetime | None:
    """A moment in UTC; None where there is none."""
    found = text(row, name, 60)
    if not found:
        return None
    try:
        at = datetime.fromisoformat(found)
    except ValueError:
        raise ValueError(f"{name} is no ISO moment") from None
    if at.tzinfo is None:
        raise ValueError(f"{name} has no time zone")
    try:
        at = at.astimezone(UTC)
    except OverflowError:
        raise ValueError(f"{name} is out of any sensible range") from None
    if not 1990 <= at.year <= 2200:
        raise ValueError(f"{name} is out of any sensible range")
    return at


def needed_moment(row: Mapping[str, Any], name: str) -> datetime:
    """A moment that has to be there."""
    found = moment(row, name)
    if found is None:
        raise ValueError(f"{name} is empty")
    return found


def rows(row: Mapping[str, Any], name: str) -> list[Json]:
    """A list of objects that has to be there."""
    found = row.get(name)
    if not isinstance(found, list) or not all(isinstance(one, dict) for one in found):
        raise ValueError(f"{name} is no list of objects")
    return found


def texts(row: Mapping[str, Any], name: str) -> tuple[str, ...]:
    """A list of texts; () where there is none."""
    found = row.get(name)
    if found is None:
        return ()
    if not isinstance(found, list) or not all(isinstance(one, str) for one in found):
        raise ValueError(f"{name} is no list of texts")
    return tuple(_storable(one.strip()) for one in found if one.strip())
