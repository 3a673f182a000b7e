"""Who the error is about: destination server and address, recipient, time of the last try.

Only where the text states them. Microsoft's own sending hosts are never a destination; masked or impossible values
(xxx, 72.x.x.x, 300.1.1.1, 0.0.0.0) are none at all.
"""

from __future__ import annotations

import ipaddress
import re
from datetime import datetime

_HOST = r"[\w.\-*#]{1,253}"
_ADDRESS = r"[0-9A-Fa-f:.xX*#]{2,45}"

_TAGGED = tuple(
    re.compile(pattern, re.I)
    for pattern in (
        rf"last ?attempted ?server ?name\s{{0,3}}=\s{{0,3}}({_HOST})",
        rf"\bfqdn\s{{0,3}}=\s{{0,3}}({_HOST})",
        rf"server at ({_HOST})(?: \({_ADDRESS}\))? returned ['\"]{{0,2}}"
        r"(?!5[0-9]{2}[ -]5\.[47]\.3[0-9]{2}\b|5[0-9]{2}[ -][45]\.4\.7\b)",
        rf"outboundproxytargethostname\s{{0,3}}[:=]\s{{0,3}}({_HOST})",
        rf"targethost:({_HOST})",
    )
)
"""In the order in which they are believed."""

_TAGGED_IP = tuple(
    re.compile(pattern, re.I)
    for pattern in (
        r"last ?attempted ?ip\s{0,3}=\s{0,3}\[?([0-9a-fx:.*#]{2,45})",
        r"[{;]ip\s{0,3}=\s{0,3}([0-9a-f:.]{2,45})",
        r"outboundproxytargetip\s{0,3}[:=]\s{0,3}([0-9a-f:.]{2,45})",
        r"last endpoint attempted was ([0-9a-f:.]{2,45})",
        r"tcp port [0-9]{1,5} of ([0-9a-f:.]{2,45})",
    )
)

_WITH_ADDRESS = re.compile(
    rf"(?<![\w.\-*#])({_HOST})(?: \. )?(?:\[| \[|\. \[| \(|(?<=[\w]) (?=[0-9a-f]{{1,4}}[.:]))({_ADDRESS})[\]):]", re.I
)
"""mail.example.test[203.0.113.9]: · mail.example.test (203.0.113.9) · [mail.example.test 203.0.113.9: …"""

_NAMED = tuple(
    re.compile(pattern, re.I)
    for pattern in (
        rf"name service error for name=({_HOST})",
        rf"unable to look up host ({_HOST})",
        rf"lookup of ({_HOST}) (?:responded|had|failed)",
        rf"address resolution of ({_HOST}) failed",
        rf"name server: ({_HOST}): ",
        rf"\(({_HOST}): host ?name lookup fail",
        rf"(?:refused|reset|closed) by ({_HOST})",
        rf"(?:timed out|lost) with ({_HOST})",
        rf"no route to host with ({_HOST})",
        rf"(?:could not|cannot|can't|unable to|failed to) connect to \[?({_HOST}?)(?:->|[\]\s:;,]|$)",
        rf"mail for ({_HOST}) loops back",
        rf"remote-mta:\s{{0,3}}dns;\s{{0,3}}({_HOST})",
        rf"\bhost ({_HOST}) (?:said|refused)",
    )
)

_NOT_TARGET = re.compile(
    r"(?:\.prod\.outlook\.com|\.prod\.protection\.outlook\.com|\.prod\.exchangelabs\.com|\.prod\.partner\.outlook\.cn)\.?$",
    re.I,
)
_MASKED = re.compile(r"[xX*#.\-_]+|[0-9]{1,3}(?:\.[0-9xX*#]{1,3}){1,3}\.?")
_RECIPIENT = tuple(
    re.compile(pattern, re.I)
    for pattern in (
        r"final-recipient:\s{0,3}rfc822;\s{0,3}<?([^\s<>;,]{1,64}@[\w.\-]{1,253})",
        r"original-recipient:\s{0,3}rfc822;\s{0,3}<?([^\s<>;,]{1,64}@[\w.\-]{1,253})",
        r"\bto=<([^\s<>]{1,64}@[\w.\-]{1,253})>",
        r"recipient '?<?([^\s<>';]{1,64}@[\w.\-]{1,253})",
        r"(?<!from=)<([^\s<>=]{1,64}@[\w.\-]{1,253})>(?=\.\.\.|:|,|\s|$)",
    )
)
_LRT = re.compile(r"\blrt\s{0,3}=\s{0,3}([^}\]\n]{4,40})", re.I)
_UNTIL = re.compile(r"will-retry-until:\s{0,3}([^\r\n]{4,60})", re.I)
_TRIED = re.compile(
    r"([0-9]{1,2}/[0-9]{1,2}/[0-9]{4} [0-9]{1,2}:[0-9]{2}:[0-9]{2} [AP]M) - (?:remote )?server at", re.I
)


def server(text: str) -> str | None:
    """The destination server as the text writes it, without a trailing dot."""
    for pattern in _TAGGED:
        for match in pattern.finditer(text):
            if (name := _host(match[1])) is not None:
                return name
    for match in _WITH_ADDRESS.finditer(text):
        if _beside(match) and _plausible_address(match[2]):
            return match[1].rstrip(".")
    for pattern in _NAMED:
        for match in pattern.finditer(text):
            if "." in match[1].rstrip(".") and (name := _host(match[1])) is not None:
                return name
    return None


def address(text: str) -> str | None:
    """The destination server's IP address."""
    for pattern in _TAGGED_IP:
        for match in pattern.finditer(text):
            if (ip := _ip(match[1])) is not None:
                return ip
    for match in _WITH_ADDRESS.finditer(text):
        if _beside(match) and (ip := _ip(match[2])) is not None:
            return ip
    return None


def recipient(text: str) -> str | None:
    """The address that could not be reached."""
    if "@" not in text:
        return None
    found = (match for pattern in _RECIPIENT if (match := pattern.search(text)) is not None)
    return next((match[1].rstrip(".") for match in found), None)


def retry_at(text: str) -> str | None:
    """When the mail system last tried, or until when it will: ISO 8601 where the form is the service's own, which is in
    UTC; other systems write local times in local forms, and those are passed on as they stand."""
    found = _LRT.search(text) or _UNTIL.search(text) or _TRIED.search(text)
    if found is None:
        return None
    written = found[1].strip()
    try:
        return datetime.strptime(written, "%m/%d/%Y %I:%M:%S %p").isoformat() + "Z"  # noqa: DTZ007
    except ValueError:
        return written


def _beside(match: re.Match[str]) -> bool:
    """Is it a host with its address, and not some word before an address in brackets?"""
    name = match[1].rstrip(".")
    return _host(name, literal=True) is not None and ("." in name or match[0][len(match[1])] == "[")


def _host(name: str, *, literal: bool = False) -> str | None:
    """The name if it can be a destination; an IP literal only where one is expected (`literal`)."""
    name = name.rstrip(".")
    if literal and _ip(name) is not None:
        return name
    if not name or _MASKED.fullmatch(name) or not name[0].isalnum() or "*" in name or "#" in name:
        return None
    return None if _NOT_TARGET.search(name) else name


def _ip(text: str) -> str | None:
    """The address if it is one, without a port."""
    bare = text.rstrip(".")
    if bare.count(".") == 3 and bare.count(":") == 1:
        bare = bare.partition(":")[0]
    try:
        found = ipaddress.ip_address(bare.rstrip(":") if bare.count(":") == 1 else bare)
    except ValueError:
        return None
    return None if found.is_unspecified else bare


def _plausible_address(text: str) -> bool:
    """An address, or one that somebody masked (x.x.x.x)."""
    return _ip(text) is not None or ("." in text and re.fullmatch(r"[0-9xX*#.]+", text) is not None)
