"""The act side of one instance. Every act asks for a state and is harmless when that state holds.

Promises: nothing is done on stale facts: configuration and queue are read right before. Only the named recipients of a
message are rejected, through our override table; without that table a message is returned as a whole, and only when
every recipient that waits is named. Rejecting entries are taken out again whatever happens; while they stand, other
mail to the same invalid addresses is returned, too. One act at a time.
"""

from __future__ import annotations

import asyncio
import re
import shlex
import time
from collections.abc import Collection, Iterable, Mapping, Sequence

from bot.backends.ports import BackendError, MessageRef, OutcomeUnknown, Refused, Unreachable
from bot.backends.postfix import overrides
from bot.backends.postfix.config import as_table, members
from bot.backends.postfix.connectors import patterns_by_key
from bot.backends.postfix.directory import Directory
from bot.backends.postfix.host import PostfixHost
from bot.backends.postfix.instance import OVERRIDES, RECIPIENTS, Instance
from bot.backends.postfix.queue import queue_id_of
from bot.backends.postfix.reading import Reader
from bot.backends.postfix.routing import ANY
from bot.core.capabilities import Family, Place
from bot.core.postfix_place import tool
from storage.records import DomainType

MOST_SINGLE = 500
"""More messages than this are tried again by one run of the whole queue."""

_EXPIRED = re.compile(r"postsuper: ([0-9A-Za-z]{5,32}): expired")
Ref = tuple[str, str]


class Acts:
    """Acts on one instance. `patience`: seconds that a rejection may take until everybody has left; `pause`: before the
    first look.
    """

    def __init__(
        self,
        host: PostfixHost,
        reader: Reader,
        directory: Directory | None,
        config_dir: str,
        *,
        patience: float = 40.0,
        pause: float = 0.2,
    ) -> None:
        self._host = host
        self._reader = reader
        self._directory = directory
        self._config_dir = config_dir
        self._patience = patience
        self._pause = pause
        self._turn = asyncio.Lock()

    async def reject(self, refs: Sequence[MessageRef], reason: str) -> None:
        """End these with a bounce. Raises Refused, Unreachable, OutcomeUnknown."""
        async with self._turn:
            instance = await self._reader.instance()
            waiting = (await self._reader.listing(instance)).messages
            wanted = {ref for ref in ((r.key, r.recipient.lower()) for r in refs) if ref in waiting}
            if not wanted:
                return
            if instance.overrides is None:
                await self._return_whole(instance, wanted, waiting.keys())
            else:
                await self._return_single(instance, instance.overrides, wanted, reason)

    async def _return_single(
        self, instance: Instance, current: Mapping[str, str], wanted: set[Ref], reason: str
    ) -> None:
        """1. Entries for these recipients. 2. Try their messages until they have left. 3. The entries go again."""
        entries = overrides.with_rejections(current, (recipient for _, recipient in wanted), reason)
        begun = True
        try:
            try:
                await self._put(OVERRIDES, entries)
            except (Refused, Unreachable):
                begun = False
                raise
            await self._try_until_gone(instance, wanted)
        finally:
            if begun:
                await self._clear(instance, current)

    async def _clear(self, instance: Instance, current: Mapping[str, str]) -> None:
        try:
            await self._put(OVERRIDES, overrides.lasting(current))
        except BackendError as error:
            raise OutcomeUnknown(
                f"the rejecting entries could not be taken out of {self._config_dir}/{OVERRIDES} ({error}): "
                f"take its error: lines out, then {rebuilt(instance, self._config_dir)}"
            ) from None

    async def _return_whole(self, instance: Instance, wanted: set[Ref], waiting: Collection[Ref]) -> None:
        """Only messages of which nobody else waits."""
        keys = {key for key, _ in wanted}
        if others := {key for key, recipient in waiting if key in keys and (key, recipient) not in wanted}:
            raise Refused(
                f"{len(others)} of the messages also wait for other recipients, and Postfix can only return them "
                f"whole: {setup(instance, self._config_dir)}"
            )
        ids = {queue_id_of(key) for key in keys}
        answer = await self._host.act("expire", _lines(ids))
        expired = set(_EXPIRED.findall(answer.errors))
        left = (await self._reader.listing(instance)).messages
        if refused := {i for i in ids - expired if any(queue_id_of(key) == i for key, _ in left)}:
            raise OutcomeUnknown(f"postsuper did not expire {len(refused)} of {len(ids)} messages")
        await self._try_until_gone(instance, wanted)

    async def _try_until_gone(self, instance: Instance, wanted: set[Ref]) -> None:
        """Have these messages tried until none of them waits for these recipients."""
        until, pause, left = time.monotonic() + self._patience, self._pause, set(wanted)
        try:
            while left:
                if time.monotonic() > until:
                    raise OutcomeUnknown(f"{len(left)} of {len(wanted)} still wait {self._patience:g} s later")
                await self._try_again({queue_id_of(key) for key, _ in left})
                for _ in range(4):
                    await asyncio.sleep(pause)
                    left &= (await self._reader.listing(instance)).messages.keys()
                    if not left:
                        return
                pause = min(pause * 2, 3.0)
        except (Refused, Unreachable) as error:
            raise OutcomeUnknown(f"what became of {len(left)} messages is not known: {error}") from None

    async def _try_again(self, ids: Collection[str]) -> None:
        await self._host.act("retry", b"all\n" if len(ids) > MOST_SINGLE else _lines(ids))

    async def retry(self, connector_key: str) -> None:
        """Have everything tried again that waits for this next hop."""
        async with self._turn:
            instance = await self._reader.instance()
            waiting = (await self._reader.listing(instance)).messages
            ids = {queue_id_of(m.key) for m in waiting.values() if m.connector_key == connector_key}
            if ids:
                await self._try_again(ids)

    async def set_connector_enabled(self, key: str, *, enabled: bool) -> None:
        """Hold or release the domains of this next hop."""
        async with self._turn:
            instance = await self._reader.instance()
            if instance.overrides is None:
                raise Refused(f"a next hop is disabled by entries in {OVERRIDES}: {setup(instance, self._config_dir)}")
            _, patterns = patterns_by_key(instance.routing).get(key, (None, []))
            if not patterns:
                raise Refused(f"this Postfix has no next hop {key[:200]}")
            if ANY in patterns:
                raise Refused("it carries all mail that nothing else names, bounces too: stop it by hand if you must")
            wanted = overrides.with_held(instance.overrides, patterns, held=not enabled)
            if wanted != instance.overrides:
                await self._put(OVERRIDES, wanted)

    async def set_domain_type(self, name: str, to: DomainType) -> None:
        """Authoritative: only the directory's addresses are accepted. Internal relay: all are."""
        async with self._turn:
            instance, domain = await self._reader.instance(), name.lower()
            if domain not in instance.routing.relay:
                raise Refused(f"{domain} is no relay domain of this Postfix")
            if to not in (DomainType.AUTHORITATIVE, DomainType.INTERNAL_RELAY):
                raise Refused("Postfix knows authoritative and internal relay only")
            if instance.recipients is None:
                raise Refused(f"a domain's addresses stand in {RECIPIENTS}: {setup_recipients(self._config_dir)}")
            addresses = await self._whole_directory(instance, domain) if to is DomainType.AUTHORITATIVE else []
            wanted = overrides.with_domain(instance.recipients, domain, to, addresses)
            if wanted.keys() != instance.recipients.keys():
                await self._put(RECIPIENTS, wanted)

    async def _whole_directory(self, instance: Instance, domain: str) -> list[str]:
        """Every address of the domain, or Refused: a part of it would turn valid mail away."""
        if any(entries is None or f"@{domain}" in entries for entries in instance.other_recipients):
            raise Refused(f"another table of relay_recipient_maps may accept all of {domain}: leave {RECIPIENTS} alone")
        if self._directory is None:
            raise Refused("nobody says which addresses exist: set RECIPIENTS")
        listed = await self._directory.listed()
        if domain not in listed.complete:
            raise Refused(f"the recipients list doesn't claim to be whole: add a line `# complete: {domain}` if it is")
        return listed.of(domain)

    async def _put(self, table: str, entries: Mapping[str, str]) -> None:
        verb = "override-put" if table == OVERRIDES else "recipients-put"
        await self._host.act(verb, overrides.text(entries))


def _lines(ids: Iterable[str]) -> bytes:
    return "".join(f"{i}\n" for i in sorted(ids)).encode()


def setup(instance: Instance, config_dir: str) -> str:
    """How to give us the override table. The other tables stay as they are written."""
    ours, place = _ours(instance, config_dir), _place(config_dir)
    kind = instance.settings.get("default_database_type", "hash")
    others = [m for m in members(instance.settings.get("transport_maps", "")) if as_table(m, kind).ref != ours]
    setting = shlex.quote(f"transport_maps = {', '.join([ours, *others])}")
    return (
        f"touch {config_dir}/{OVERRIDES} && {tool(place, 'postmap')} {ours} && "
        f"{tool(place, 'postconf')} -e {setting} && {tool(place, 'postfix')} reload"
    )


def rebuilt(instance: Instance, config_dir: str) -> str:
    """How a change of the override table's text takes effect."""
    place = _place(config_dir)
    return f"{tool(place, 'postmap')} {_ours(instance, config_dir)} && {tool(place, 'postfix')} reload"


def setup_recipients(config_dir: str) -> str:
    """How to give us the table of recipients."""
    return (
        f"write one line `@domain OK` for each relay domain into {config_dir}/{RECIPIENTS}, run "
        f"{tool(_place(config_dir), 'postmap')} on it, and add it to relay_recipient_maps"
    )


def _ours(instance: Instance, config_dir: str) -> str:
    return f"{instance.settings.get('default_database_type', 'hash')}:{config_dir}/{OVERRIDES}"


def _place(config_dir: str) -> Place:
    return Place(family=Family.POSTFIX, config_dir=config_dir)
