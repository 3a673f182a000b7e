"""Who the error is about: destination server and address, recipient, time of the last try.

Only where the text states them. Microsoft's own sending hosts are never a destination; masked or impossible values
(xxx, 72.x.x.x, 300.1.1.1, 0.0.0.0) are none at all.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import islice

_NAME = r"[\w.\-*#]{1,253}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Destination:
    """What a text states about where its message was to go. `retry_at`: see `_tried_at`."""

    server: str | None = None
    ip: str | None = None
    recipient: str | None = None
    retry_at: str | None = None


def _rules(*rules: tuple[str, str]) -> tuple[tuple[str, re.Pattern[str]], ...]:
    """(trigger, pattern) pairs: a pattern is tried only on texts that hold its trigger."""
    return tuple((trigger, re.compile(pattern)) for trigger, pattern in rules)


_TAGGED = _rules(
    ("name", rf"last ?attempted ?server ?name\s{{0,3}}[:=]\s{{0,3}}({_NAME})"),
    ("fqdn", rf"\bfqdn\s{{0,3}}=\s{{0,3}}({_NAME})"),
    (
        "returned",
        rf"server at ({_NAME})(?: \([0-9a-fx:.*#]{{2,45}}\))? returned ['\"]{{0,2}}"
        r"(?!5[0-9]{2}[ -]5\.[47]\.3[0-9]{2}\b|5[0-9]{2}[ -][45]\.4\.7\b)",
    ),
    ("outboundproxy", rf"outboundproxytargethostname\s{{0,3}}[:=]\s{{0,3}}({_NAME})"),
    ("targethost", rf"targethost:({_NAME})"),
)
"""Server names, in the order in which they are believed. A server that says "expired" is the sending one."""

_TAGGED_IP = _rules(
    ("ip", r"last ?attempted ?ip\s{0,3}[:=]\s{0,3}\[?([0-9a-fx:.*#]{2,45})"),
    ("ip", r"[{;]ip\s{0,3}=\s{0,3}([0-9a-f:.]{2,45})"),
    ("outboundproxy", r"outboundproxytargetip\s{0,3}[:=]\s{0,3}([0-9a-f:.]{2,45})"),
    ("endpoint", r"last endpoint attempted was ([0-9a-f:.]{2,45})"),
    ("giving up on", r"giving up on ([0-9a-f:.]{2,45})"),
    ("dial tcp", r"dial tcp \[?([0-9a-f:.]{2,45}?)\]?:[0-9]{1,5}:"),
    ("econnrefused", r"econnrefused ([0-9a-f:.]{2,45})"),
    ("etimedout", r"etimedout ([0-9a-f:.]{2,45})"),
    ("connection to", r"connection to ([0-9a-f:.]{2,45})(?:[:. ]|$)"),
    ("connected to", r"connected to ([0-9a-f:.]{2,45}) but"),
    ("does not like", r"([0-9a-f:.]{2,45}) does not like"),
    ("tcp port", r"tcp port [0-9]{1,5} of ([0-9a-f:.]{2,45})"),
)

_NAMED = _rules(
    ("name service", rf"name service error for name=({_NAME})"),
    ("resolved: '", rf"resolved: '({_NAME})'"),
    ("enotfound", rf"enotfound ({_NAME})"),
    ("dial tcp: lookup", rf"dial tcp: lookup ({_NAME})"),
    ("input from", rf"input from ({_NAME})"),
    ("deferred: ", rf"deferred: ({_NAME})[.:]{{1,2}} (?:no route|connection|network)"),
    ("look up host", rf"unable to look up host ({_NAME})"),
    ("lookup of", rf"lookup of ({_NAME}) (?:responded|had|failed)"),
    ("resolution of", rf"address resolution of ({_NAME}) failed"),
    ("host named", rf"couldn't find any host named ({_NAME})"),
    ("name server:", rf"name server: ({_NAME}): "),
    ("lookup fail", rf"\(({_NAME}): host ?name lookup fail"),
    (" from ", rf"(?:read error|reset|disconnected) from ({_NAME})"),
    (" by ", rf"(?:refused|reset|closed) by ({_NAME})"),
    (" with ", rf"(?:timed out|lost|no route to host) with ({_NAME})"),
    ("connect to", rf"(?:could not|cannot|can't|unable to|failed to) connect to \[?({_NAME}?)(?:->|[\]\s:;,]|$)"),
    ("loops back", rf"mail for ({_NAME}) loops back"),
    ("remote-mta", rf"remote-mta:\s{{0,3}}dns;\s{{0,3}}({_NAME})"),
    ("host ", rf"\bhost ({_NAME})(?: (?:said|refused)|: (?:connection|timed out|no route))"),
)

_ADDRESS = re.compile(r"[\[( ]([0-9a-fx*#]{0,4}[.:][0-9a-f:.x*#]{1,41})[\]):,]")
_NAME_BEFORE = re.compile(rf"{_NAME}$")
_MOST = 100

_RECIPIENT = _rules(
    ("final-rec", r"final-recipient:\s{0,3}rfc822;\s{0,3}<?([^\s<>;,]{1,64}@[\w.\-]{1,253})"),
    ("original-rec", r"original-recipient:\s{0,3}rfc822;\s{0,3}<?([^\s<>;,]{1,64}@[\w.\-]{1,253})"),
    ("to=<", r"\bto=<([^\s<>]{1,64}@[\w.\-]{1,253})>"),
    ("recipient", r"recipient '?<?([^\s<>';]{1,64}@[\w.\-]{1,253})"),
    ("remote server", r"(?:^|[\s;])([^\s<>;:,]{1,64}@[\w.\-]{1,253})\s{1,3}remote server (?:at |returned )"),
    ("<", r"(?<!from=)<([^\s<>=]{1,64}@[\w.\-]{1,253})>(?=\.\.\.|:|,|\s|$)"),
)

_NO_NAME = re.compile(r"(?:[245][0-9]{2}-)?[245]\.[0-9]{1,3}\.[0-9]{1,3}|[245][0-9]{2}|sender|client|ip|address", re.I)
"""What stands before an address without being its server's name: a status code, or whose address it is."""

_NOT_TARGET = re.compile(
    r"\.prod\.outlook\.com|\.prod\.protection\.outlook\.com|\.prod\.exchangelabs\.com|\.prod\.partner\.outlook\.cn"
)
_MASKED = re.compile(r"[xX*#.\-_]+|[0-9]{1,3}(?:\.[0-9xX*#]{1,3}){1,3}\.?")
_MASKED_IP = re.compile(r"[0-9x*#]+(?:\.[0-9x*#]+)+\.?")

_TRIED = _rules(
    ("lrt", r"\blrt\s{0,3}=\s{0,3}([^}\]\n]{4,40})"),
    ("retry-until", r"will-retry-until:\s{0,3}([^\n]{4,60})"),
    ("server at", r"([0-9]{1,2}/[0-9]{1,2}/[0-9]{4} [0-9]{1,2}:[0-9]{2}:[0-9]{2} [ap]m) - (?:remote )?server at"),
)


def destination(text: str, low: str) -> Destination:
    """Everything that this text (`low`: the same in lower case) states about its destination."""
    beside = _beside(text, low)
    return Destination(
        server=_first(_TAGGED, text, low, _tagged) or next((name for name, _ in beside), None) or _named(text, low),
        ip=_first(_TAGGED_IP, text, low, _ip) or next((ip for _, found in beside if (ip := _ip(found))), None),
        recipient=_first(_RECIPIENT, text, low, str) if "@" in text else None,
        retry_at=_first(_TRIED, text, low, _tried_at),
    )


def _first(
    rules: tuple[tuple[str, re.Pattern[str]], ...], text: str, low: str, accept: Callable[[str], str | None]
) -> str | None:
    """The first acceptable value that a rule finds, as the text writes it."""
    for trigger, pattern in rules:
        if trigger in low:
            for match in islice(pattern.finditer(low), _MOST):
                if (value := accept(text[match.start(1) : match.end(1)])) is not None:
                    return value
    return None


def _beside(text: str, low: str) -> list[tuple[str, str]]:
    """Servers with an address beside them: host[203.0.113.9]: · host (203.0.113.9) · [host 203.0.113.9: …"""
    found = []
    for match in islice(_ADDRESS.finditer(low), _MOST):
        before = text[max(0, match.start() - 256) : match.start()]
        named = _NAME_BEFORE.search(before.rstrip(" ."))
        close = not before.endswith(" ") and low[match.start()] == "["
        name = _server(named[0], literal=True) if named else None
        if name is not None and (close or "." in name) and (_ip(match[1]) or _MASKED_IP.fullmatch(match[1])):
            found.append((name, match[1]))
    return found


def _named(text: str, low: str) -> str | None:
    """A server that only the sentence around it marks as the destination."""
    return _first(_NAMED, text, low, lambda name: _server(name) if "." in name.rstrip(".") else None)


def _tagged(name: str) -> str | None:
    """A server that a tag names, which may be an IP literal."""
    return _server(name, literal=True)


def _server(name: str, *, literal: bool = False) -> str | None:
    """The name if it can be a destination; an IP literal only where one is expected (`literal`)."""
    name = name.rstrip(".")
    if literal and _ip(name) is not None:
        return name
    if (
        not name
        or _MASKED.fullmatch(name)
        or _NO_NAME.fullmatch(name)
        or not name[0].isalnum()
        or "*" in name
        or "#" in name
    ):
        return None
    return None if _NOT_TARGET.search(name.lower()) else name


def _ip(text: str) -> str | None:
    """The address if it is one, without a port; the unspecified address (0.0.0.0) is none."""
    bare = text.rstrip(".")
    if bare.count(":") == 1:
        bare = bare.partition(":")[0]
    try:
        found = ipaddress.ip_address(bare)
    except ValueError:
        return None
    return None if found.is_unspecified else bare


def _tried_at(written: str) -> str | None:
    """When the mail system last tried, or until when it will.

    ISO 8601 where the form is the service's own, which is in UTC; other systems write local times in local forms, and
    those are passed on as they stand.
    """
    written = written.strip()
    found = _SERVICE_TIME.fullmatch(written)
    if found is None:
        return written or None
    month, day, year, hour, minute, second = (int(part) for part in found.groups()[:6])
    hour = hour % 12 + (12 if found[7] in "Pp" else 0)
    try:
        return datetime(year, month, day, hour, minute, second, tzinfo=UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    except ValueError:
        return written


_SERVICE_TIME = re.compile(r"([0-9]{1,2})/([0-9]{1,2})/([0-9]{4}) ([0-9]{1,2}):([0-9]{2}):([0-9]{2}) ([AaPp])[Mm]")
