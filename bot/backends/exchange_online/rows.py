"""Reading what Microsoft's services send: JSON with oddities, bounded, each value of the type that we expect.

Pure. Raises ValueError with the field's name where a value can't be what we need; never a value in the text.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

Json = dict[str, Any]
_SPAN = re.compile(r"(?:(\d{1,3})\.)?(\d{1,2}):(\d{2}):(\d{2})(?:\.\d{1,7})?")
LONGEST_TEXT = 4000


def document(body: bytes) -> Json:
    """The object in this body. ValueError: cut off, no JSON (a proxy's page, a run of NUL bytes), no object."""
    try:
        found = json.loads(body)
    except (ValueError, RecursionError):
        raise ValueError("it is no JSON") from None
    if not isinstance(found, dict):
        raise ValueError("it is no object")
    return found


def listed(answer: Json) -> list[Json]:
    """Its rows, without OData's notes beside the fields. ValueError: an answer without a list is no empty list."""
    found = answer.get("value")
    if not isinstance(found, list) or not all(isinstance(row, dict) for row in found):
        raise ValueError("it holds no list of rows")
    return [{key: value for key, value in row.items() if "@" not in key} for row in found]


def text(row: Mapping[str, Any], name: str, longest: int = LONGEST_TEXT) -> str | None:
    """A text, cut to a sensible length; None where it is absent, null or empty."""
    found = row.get(name)
    if found is None:
        return None
    if not isinstance(found, str):
        raise ValueError(f"{name} is no text")
    return _clean(found[:longest]).strip() or None


def texts(row: Mapping[str, Any], name: str) -> tuple[str, ...]:
    """Several texts; one alone and none at all are fine, too."""
    found = row.get(name)
    if found is None:
        return ()
    every = [found] if isinstance(found, str) else found
    if not isinstance(every, list) or not all(isinstance(one, str) for one in every):
        raise ValueError(f"{name} is no list of texts")
    return tuple(_clean(one.strip()[:LONGEST_TEXT]) for one in every if one.strip())


def flag(row: Mapping[str, Any], name: str) -> bool | None:
    """A boolean; None where the row does not tell, which is not the same as false."""
    found = row.get(name)
    if found is None or isinstance(found, bool):
        return found
    if isinstance(found, str) and found.lower() in ("true", "false"):
        return found.lower() == "true"
    raise ValueError(f"{name} is no boolean")


def _clean(found: str) -> str:
    """Without halves of characters, which JSON can hold and no database takes."""
    return found if found.isascii() else found.encode("utf-8", "replace").decode("utf-8")


def number(row: Mapping[str, Any], name: str) -> int | None:
    """A whole number of at least 0; None where it is absent."""
    found = row.get(name)
    return found if isinstance(found, int) and not isinstance(found, bool) and 0 <= found < 2**53 else None


def moment(value: object, name: str) -> datetime:
    """A moment, in UTC; one without a zone is in UTC, too."""
    if not isinstance(value, str):
        raise ValueError(f"{name} is no moment")
    try:
        found = datetime.fromisoformat(value)
        found = found.replace(tzinfo=UTC) if found.tzinfo is None else found.astimezone(UTC)
    except (ValueError, OverflowError):
        raise ValueError(f"{name} is no moment") from None
    if not 2000 <= found.year < 2200:
        raise ValueError(f"{name} is no moment of our time")
    return found


def span(value: object) -> timedelta | None:
    """A .NET time span such as 1.00:00:00; None for anything else."""
    match = _SPAN.fullmatch(value.strip()) if isinstance(value, str) else None
    if match is None:
        return None
    days, hours, minutes, seconds = (int(part or 0) for part in match.groups())
    return timedelta(days=days, hours=hours, minutes=minutes, seconds=seconds)


def trace_id(value: object) -> str:
    """A message's trace id as 8-4-4-4-12 small hexadecimal digits, however it was written."""
    if not isinstance(value, str):
        raise ValueError("id is no text")
    try:
        return str(UUID(value.strip().strip("{}")))
    except ValueError:
        raise ValueError("id is no GUID") from None


def utc(at: datetime) -> str:
    """A moment as filters want it: whole seconds, Z."""
    return at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
