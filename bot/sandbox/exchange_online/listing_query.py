"""What a Graph trace listing may be asked: `$filter`, `$top`, and the rules that the service binds them to. Pure.

As on the real service only the last value per property counts: `or`, `in`, `ne` and `not` are read, then ignored.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from bot.sandbox.exchange_online.trace import REACH, STATUSES, USUAL, WINDOW

MAX_PAGE = 5000
USUAL_PAGE = 1000
_PROPERTIES = ("id", "messageId", "senderAddress", "recipientAddress", "status", "fromIP", "toIP", "subject")
_STRING = r"'((?:[^']|'')*)'"
_COMPARISON = re.compile(rf"(\w+)\s+(eq|ne)\s+{_STRING}", re.IGNORECASE)
_MEMBERSHIP = re.compile(rf"(\w+)\s+in\s*\(\s*((?:{_STRING}\s*,?\s*)+)\)", re.IGNORECASE)
_FUNCTION = re.compile(rf"(contains|startswith|endswith)\s*\(\s*(\w+)\s*,\s*{_STRING}\s*\)", re.IGNORECASE)
_BOUND = re.compile(r"receivedDateTime\s+(\w\w)\s+([^\s()]+)", re.IGNORECASE)
_MOMENT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ")
_REST = re.compile(r"\s+|\band\b|\bor\b|\bnot\b|[()]", re.IGNORECASE)


class BadQuery(ValueError):
    """The service would answer 400; the text says why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ListingQuery:
    """What is left of a query: one wanted value per property, the window, the page size.

    `subject`: (how, text), how being contains, startswith, endswith or eq.
    """

    since: datetime
    until: datetime
    equals: Mapping[str, str]
    subject: tuple[str, str] | None
    top: int

    def matches(self, row: Mapping[str, str]) -> bool:
        """Does a row (its texts) belong to the answer?"""
        return all(_equal(name, row[name], value) for name, value in self.equals.items()) and self._named(
            row["subject"].lower()
        )

    def _named(self, subject: str) -> bool:
        how, text = self.subject or ("contains", "")
        if how == "startswith":
            return subject.startswith(text)
        if how == "endswith":
            return subject.endswith(text)
        return subject == text if how == "eq" else text in subject


def parse(query: Mapping[str, str], now: datetime) -> ListingQuery:
    """The query behind an address; BadQuery if the service refused it."""
    text = query.get("$filter", "")
    bounds, left = _bounds(text)
    equals, subject, left = _values(left)
    if _REST.sub("", left):
        raise BadQuery(f"Invalid filter clause: {_REST.sub(' ', left).strip()[:100]}")
    since, until = _window(bounds, now)
    if "status" in equals and equals["status"] not in STATUSES:
        raise BadQuery(f"Invalid filter clause: '{equals['status'][:40]}' is not a status.")
    return ListingQuery(since=since, until=until, equals=equals, subject=subject, top=_top(query.get("$top")))


def _bounds(text: str) -> tuple[dict[str, datetime], str]:
    found: dict[str, datetime] = {}
    for operator, value in _BOUND.findall(text):
        if operator.lower() not in ("ge", "le"):
            raise BadQuery("receivedDateTime supports ge and le only.")
        if not _MOMENT.fullmatch(value):
            raise BadQuery("receivedDateTime has to be written as YYYY-MM-DDThh:mm:ssZ.")
        try:
            found[operator.lower()] = datetime.fromisoformat(value).astimezone(UTC)
        except ValueError:
            raise BadQuery("receivedDateTime is no moment.") from None
    return found, _BOUND.sub("", text)


def _values(text: str) -> tuple[dict[str, str], tuple[str, str] | None, str]:
    """The last value per property, in the order of the text."""
    found: list[tuple[int, str, str, str]] = []
    for match in _FUNCTION.finditer(text):
        found.append((match.start(), match[2], match[1].lower(), match[3]))
    for match in _COMPARISON.finditer(text):
        found.append((match.start(), match[1], "eq", match[3]))
    for match in _MEMBERSHIP.finditer(text):
        found.append((match.start(), match[1], "eq", match[3]))
    equals: dict[str, str] = {}
    subject: tuple[str, str] | None = None
    for _, name, how, quoted in sorted(found):
        if name not in _PROPERTIES or (how != "eq" and name != "subject"):
            raise BadQuery(f"The property '{name[:40]}' does not support {how}.")
        value = quoted.replace("''", "'")
        if name == "subject":
            subject = (how, value.lower())
        else:
            equals[name] = value
    for pattern in (_FUNCTION, _MEMBERSHIP, _COMPARISON):
        text = pattern.sub("", text)
    return equals, subject, text


def _window(bounds: Mapping[str, datetime], now: datetime) -> tuple[datetime, datetime]:
    if not bounds:
        return now - USUAL, now
    if len(bounds) != 2:
        raise BadQuery("Give both a start and an end for receivedDateTime, or neither.")
    since, until = bounds["ge"], bounds["le"]
    if until > now:
        raise BadQuery("The end of receivedDateTime can't be in the future.")
    if since > until:
        raise BadQuery("The start of receivedDateTime is after its end.")
    if until - since > WINDOW:
        raise BadQuery("The range of receivedDateTime can't be longer than 10 days.")
    if since < now - REACH - timedelta(minutes=1):
        raise BadQuery("The start of receivedDateTime is more than 90 days ago.")
    return since, until


def _top(text: str | None) -> int:
    if text is None:
        return USUAL_PAGE
    if not text.isascii() or not text.isdigit() or not 1 <= int(text[:9]) <= MAX_PAGE:
        raise BadQuery(f"$top has to be from 1 to {MAX_PAGE}.")
    return int(text)


def _equal(name: str, found: str, wanted: str) -> bool:
    if "*" not in wanted:
        return found.lower() == wanted.lower()
    domain = wanted.removeprefix("*@")
    return name == "recipientAddress" and domain != wanted and found.lower().rpartition("@")[2] == domain.lower()
