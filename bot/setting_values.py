"""How the value of a setting is read: one function per kind of value.

Each raises ValueError with what it wants, and never names the value: it may be a secret.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path

from bot.secret import Secret


@dataclass(frozen=True, slots=True)
class BackendSpec:
    """One mail system to read: `MFI_BACKENDS=name=kind`; its own settings are `MFI_<NAME>_…` (here without prefix)."""

    name: str
    kind: str
    options: Mapping[str, str] = field(default_factory=dict, repr=False)

    @property
    def interval(self) -> timedelta | None:
        """`MFI_<NAME>_INTERVAL`: how often it is read, if not as often as the others; `load` has checked it."""
        return seconds(self.options["INTERVAL"]) if self.options.get("INTERVAL") else None


def seconds(text: str) -> timedelta:
    match = re.fullmatch(r"(\d{1,9}(?:\.\d{1,3})?)\s*([smhd]?)", text.strip().lower())
    seconds = float(match[1]) * {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86400}[match[2]] if match else 0
    if not 0 < seconds <= 366 * 86400:
        raise ValueError("wants seconds, or a number with s, m, h or d, such as 300 or 4h; at most 366d")
    return timedelta(seconds=seconds)


def durations(text: str) -> tuple[timedelta, ...]:
    return tuple(sorted(seconds(part) for part in words(text)))


def count(text: str) -> int:
    if not re.fullmatch(r"\d{1,7}", text.strip()) or int(text) < 1:
        raise ValueError("wants a whole number of at least 1")
    return int(text)


def count_or_0(text: str) -> int:
    if not re.fullmatch(r"\d{1,7}", text.strip()):
        raise ValueError("wants a whole number, 0 for never")
    return int(text)


def port(text: str) -> int:
    if not re.fullmatch(r"\d{1,5}", text.strip()) or not 0 < int(text) < 65536:
        raise ValueError("wants a port from 1 to 65535")
    return int(text)


def switch(text: str) -> bool:
    if text.strip().lower() not in ("on", "off"):
        raise ValueError("wants on or off")
    return text.strip().lower() == "on"


def words(text: str) -> tuple[str, ...]:
    return tuple(word for word in re.split(r"[,\s]+", text.strip()) if word)


def admins(text: str) -> tuple[str, ...]:
    if not all(re.fullmatch(r"[UWS][A-Z0-9]{1,30}", word) for word in words(text)):
        raise ValueError("wants Slack ids separated by commas: U… or W… for people, S… for user groups")
    return words(text)


def channel(text: str) -> str:
    if not re.fullmatch(r"[CG][A-Z0-9]{1,30}", text.strip()):
        raise ValueError("wants a channel id such as C0123456789 (channel name → View channel details → bottom)")
    return text.strip()


def url(text: str) -> str:
    if not re.fullmatch(r"https?://[^\s/?#@]+(/[^\s?#]*)?", text.strip()):
        raise ValueError("wants a base URL such as https://slack.com/api/")
    return text.strip().rstrip("/") + "/"


def list_address(text: str) -> str:
    if text.strip().lower() != "off" and not re.fullmatch(r"https://[^\s/?#@]+/[^\s?#]*", text.strip()):
        raise ValueError("wants an https address without a query, or off")
    return "" if text.strip().lower() == "off" else text.strip()


def approvals(text: str) -> int:
    if text.strip() not in ("1", "2"):
        raise ValueError("wants 1 or 2")
    return int(text)


def token(prefix: str) -> Callable[[str], Secret]:
    def read(text: str) -> Secret:
        if not re.fullmatch(re.escape(prefix) + r"[A-Za-z0-9-]{1,400}", text.strip()):
            raise ValueError(f"wants a token that starts with {prefix}")
        return Secret(text.strip())

    return read


def read_addresses(text: str) -> tuple[tuple[str, int], ...]:
    """Name servers: ip[:port], separated by commas."""

    def one(word: str) -> tuple[str, int]:
        host, _, number = word.rpartition(":") if re.search(r"^[^:]+:\d+$|\]:\d+$", word) else (word, "", "53")
        host = host.strip("[]")
        try:
            ipaddress.ip_address(host)
        except ValueError:
            raise ValueError("wants IP addresses, each with an optional :port, separated by commas") from None
        return host, port(number)

    return tuple(one(word) for word in words(text))


def host_ports(text: str) -> tuple[tuple[str, int], ...]:
    def one(word: str) -> tuple[str, int]:
        match = re.fullmatch(r"\[?([A-Za-z0-9._:-]+?)\]?:(\d{1,5})", word)
        if not match:
            raise ValueError("wants host:port, separated by commas")
        return match[1], port(match[2])

    return tuple(one(word) for word in words(text))


def networks(text: str) -> tuple[str, ...]:
    for word in words(text):
        try:
            ipaddress.ip_network(word)
        except ValueError:
            raise ValueError("wants networks such as 10.0.0.0/8, separated by commas") from None
    return words(text)


def file(text: str) -> Path:
    with suppress(OSError):  # too long for a name: most likely what should be in the file, and not to be told
        if (path := Path(text.strip())).is_file():
            return path
    raise ValueError("wants a file that exists and can be read")


def backends(text: str) -> tuple[BackendSpec, ...]:
    pairs = [re.fullmatch(r"([a-z][a-z0-9_]{0,30})=([a-z_]+)", word) for word in words(text)]
    if not all(pairs) or len({p[1] for p in pairs if p}) != len(pairs):
        raise ValueError("wants name=kind pairs separated by commas, each name once: small letters, digits, _")
    return tuple(BackendSpec(p[1], p[2]) for p in pairs if p)


def level(text: str) -> str:
    if text.strip().lower() not in ("debug", "info", "warning", "error"):
        raise ValueError("wants debug, info, warning or error")
    return text.strip().lower()
