"""Which addresses exist in the tenant's directory. Only a complete answer makes an address invalid.

An address outside the accepted domains is unknown, never invalid: the directory doesn't speak for it. So is every
address of a chunk whose question failed or whose answer may lack something. So is, too, an address that somebody may
receive mail at although no recipient has it among its own: with a tag behind a plus sign, as a contact's or mail user's
external address, or in one of the forms that Exchange makes and resolves by itself.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterable, Sequence

from bot.backends.exchange_online.invoke import CmdletError, Found, Invoker
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
RESOLVED_OTHERWISE = (
    "imcea",  # an address of another kind inside an SMTP address, such as the X.500 one of an old reply
    *("srs0", "srs1", "bounces+srs="),  # a rewritten sender, to which a bounce comes back
    # mailboxes of Exchange's own, which Get-Recipient doesn't show
    *("systemmailbox{", "discoverysearchmailbox{", "federatedemail.", "healthmailbox", "migration.8f3e7716-"),
    "microsoftexchange329e71ec88ae4615bbc36ab6ce41109e",
)
"""How local parts begin that say nothing of whether Exchange finds somebody for them."""


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
                found = await _asked(invoker, [_has(address) for address in chunk])
                silent = silent + 1 if found is None else 0
                if silent >= GIVE_UP_AFTER:
                    break
                if found is not None:
                    held = set(chunk) & _held(found.rows)
                    valid |= held
                    invalid |= await _missed_by_all(invoker, set(chunk) - held) if _whole(found) else set()
    return RecipientAnswer(valid=frozenset(valid), invalid=frozenset(invalid - valid))


async def _asked(invoker: Invoker, clauses: Sequence[str]) -> Found | None:
    """Recipients that fit one of these; None: no answer. Each is sure to tell its addresses."""
    try:
        found = await invoker.read("Get-Recipient", {"Filter": " -or ".join(clauses), "ResultSize": ENOUGH})
        _held(found.rows)
    except (CmdletError, Unreachable, ValueError):
        return None
    return found


def _whole(found: Found) -> bool:
    """May one conclude something from a recipient not being in it?"""
    return not found.warnings and len(found.rows) < ENOUGH


async def _missed_by_all(invoker: Invoker, missing: set[str]) -> set[str]:
    """Those among these addresses, which nobody has as a proxy address, by which nothing else is reached, either.

    Asked only of who would be called invalid: mostly nobody.
    """
    if not missing:
        return set()
    untagged = {address: _without_tag(address) for address in missing}
    clauses = [f"ExternalEmailAddress -eq '{_quoted(address)}'" for address in sorted(missing)]
    clauses += [_has(base) for base in sorted(set().union(*untagged.values()))]
    found = await _asked(invoker, clauses)
    if found is None or not _whole(found):
        return set()
    sure = set(missing)
    for row in found.rows:
        try:
            names = _own(row) | {one.lower().removeprefix("smtp:") for one in texts(row, "ExternalEmailAddress")}
        except ValueError:
            return set()
        reached = {address for address in missing if not names.isdisjoint((address, *untagged[address]))}
        if not reached:
            # It fits, and nobody can tell which address.
            return set()
        sure -= reached
    return sure


def _without_tag(address: str) -> tuple[str, ...]:
    """Who receives bob+a+b@contoso.test where plus addressing is on: bob@ or bob+a@."""
    local, _, domain = address.rpartition("@")
    return tuple(f"{local[:end]}@{domain}" for end, c in enumerate(local) if c == "+" and end)


def accepted(address: str, domains: Sequence[DomainFacts]) -> bool:
    """Does an accepted domain hold this address?"""
    domain = address.rpartition("@")[2]
    return any(domain == d.name or (d.match_subdomains and domain.endswith(f".{d.name}")) for d in domains)


def _has(address: str) -> str:
    return f"EmailAddresses -eq 'smtp:{_quoted(address)}'"


def _quoted(address: str) -> str:
    return address.replace("'", "''")


def _held(rows: Iterable[Json]) -> set[str]:
    """Every address of these recipients. Raises ValueError for a row without any: then the answer says nothing."""
    return set[str]().union(*map(_own, rows))


def _own(row: Json) -> set[str]:
    primary = text(row, "PrimarySmtpAddress", 500)
    mine = _addresses(texts(row, "EmailAddresses")) | ({primary.lower()} if primary else set())
    if not mine:
        raise ValueError("a recipient without an address")
    return mine


def _addresses(proxies: Iterable[str]) -> set[str]:
    return {one[5:].lower() for one in proxies if one[:5].lower() == "smtp:"}


def _is_plain(address: str) -> bool:
    """Can it stand in a filter, and does that tell? Wildcards and control characters can't; quotes can."""
    if address.startswith(RESOLVED_OTHERWISE):
        return False
    return (
        3 <= len(address) <= 254 and "@" in address and not any(c in '*?`"$' or c < " " or c == "\x7f" for c in address)
    )
