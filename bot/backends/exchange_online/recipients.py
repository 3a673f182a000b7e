"""Which addresses exist in the tenant's directory. Only a complete answer makes an address invalid.

An address outside the accepted domains is unknown, never invalid: the directory doesn't speak for it. So is every
address of a chunk whose question failed or whose answer may lack something.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterable, Sequence

from bot.backends.exchange_online.invoke import CmdletError, Invoker
from bot.backends.exchange_online.rows import Json, text, texts
from bot.backends.ports import RecipientAnswer, Unreachable
from storage.records import DomainFacts

CHUNK = 20
DEADLINE = 25.0
"""Seconds; then what is known so far has to do."""
GIVE_UP_AFTER = 3
"""So many chunks in a row without an answer: nobody waits for the others."""
ENOUGH = 1000
"""More rows than 20 addresses can have: an answer of this size was cut."""


async def look_up(invoker: Invoker, addresses: Iterable[str], domains: Sequence[DomainFacts]) -> RecipientAnswer:
    """Ask for these addresses, for DEADLINE at most. Raises Refused where the reader may not ask."""
    wanted = sorted({address.strip().lower() for address in addresses})
    ours = [address for address in wanted if _is_plain(address) and accepted(address, domains)]
    valid: set[str] = set()
    invalid: set[str] = set()
    silent = 0
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(DEADLINE):
            for start in range(0, len(ours), CHUNK):
                chunk = ours[start : start + CHUNK]
                answer = await _asked(invoker, chunk)
                silent = silent + 1 if answer is None else 0
                if silent >= GIVE_UP_AFTER:
                    break
                if answer is not None:
                    held, whole = answer
                    valid |= held.intersection(chunk)
                    invalid |= set(chunk) - held if whole else set()
    return RecipientAnswer(valid=frozenset(valid), invalid=frozenset(invalid - valid))


async def _asked(invoker: Invoker, chunk: Sequence[str]) -> tuple[set[str], bool] | None:
    """(the addresses that the directory holds, is that answer whole?); None: no answer."""
    try:
        found = await invoker.read("Get-Recipient", {"Filter": _filter(chunk), "ResultSize": ENOUGH})
        return _held(found.rows), not found.warnings and len(found.rows) < ENOUGH
    except (CmdletError, Unreachable, ValueError):
        return None


def accepted(address: str, domains: Sequence[DomainFacts]) -> bool:
    """Does an accepted domain hold this address?"""
    domain = address.rpartition("@")[2]
    return any(domain == d.name or (d.match_subdomains and domain.endswith(f".{d.name}")) for d in domains)


def _filter(chunk: Sequence[str]) -> str:
    quoted = (address.replace("'", "''") for address in chunk)
    return " -or ".join(f"EmailAddresses -eq 'smtp:{address}'" for address in quoted)


def _held(rows: Iterable[Json]) -> set[str]:
    """Every address of these recipients. Raises ValueError for a row without any: then the answer says nothing."""
    held: set[str] = set()
    for row in rows:
        mine = {one[5:].lower() for one in texts(row, "EmailAddresses") if one[:5].lower() == "smtp:"}
        primary = text(row, "PrimarySmtpAddress", 500)
        mine |= {primary.lower()} if primary else set()
        if not mine:
            raise ValueError("a recipient without an address")
        held |= mine
    return held


def _is_plain(address: str) -> bool:
    """Can it stand in a filter? Wildcards and control characters can't; quotes can."""
    return (
        3 <= len(address) <= 254 and "@" in address and not any(c in '*?`"$' or c < " " or c == "\x7f" for c in address)
    )
