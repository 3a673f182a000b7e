"""Generated queues for Fix now: who is in the directory when, who shares a message with whom, and the bot over them."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from hypothesis import strategies as st

from bot.backends.lab import LabBackend
from bot.backends.ports import MessageRef, RecipientAnswer, Refused, Snapshot
from bot.core.capabilities import Capability
from bot.core.policy import Policy
from bot.sandbox.mail_system import DomainType, MailSystem, Status, TenantConnector, TenantDomain
from bot.services.fix import Fix
from storage import connectors, domains, incidents, messages, syncs
from storage.connection import Store
from storage.records import IncidentState, MessageFacts, MessageStatus, ProbeRecord, Severity, StepKind
from tests.chaos.site import closed_port

START = datetime(2026, 11, 24, 8, 0, tzinfo=UTC)
SENDERS = ("one@contoso.test", "two@contoso.test", "three@contoso.test")
KEY = "c1"
ELSEWHERE = "c2"
ANYTHING = Policy(actions_on=True, fixes_per_hour=1_000_000)


@dataclass(frozen=True)
class Address:
    """`place`: in our domain, below it, at the other connector, or outside. `known`: in the directory at (offer,
    execution); `told`: does the directory answer for it then? `had_mail`: something reached it here before.
    """

    place: str
    known: tuple[bool, bool]
    told: tuple[bool, bool]
    had_mail: bool


@dataclass(frozen=True)
class Letter:
    """One message: its sender, and each recipient (by number) with how it is spelled."""

    sender: str
    to: tuple[tuple[int, bool], ...]


@dataclass(frozen=True)
class Case:
    """A queue, what changes between the offer and the execution, and how the mail system is made.

    `answers_all`: the directory leaves nobody out, whatever the addresses say; `remembers`: the bot knows of earlier
    mail; `a_list`: the directory is a list that calls everything invalid that isn't on it, of whatever domain.
    """

    addresses: tuple[Address, ...]
    letters: tuple[Letter, ...]
    late: tuple[Letter, ...]
    steps: frozenset[StepKind]
    whole_messages: bool
    sub_domains: bool
    answer_lost: bool
    answers_all: bool
    remembers: bool
    a_list: bool

    def told(self, number: int, when: int) -> bool:
        """Does the directory answer for this address at the offer (0), at the execution (1)?"""
        return self.answers_all or self.addresses[number].told[when]

    def had_mail(self, number: int) -> bool:
        """Does the bot know that something reached it before?"""
        return self.remembers and self.addresses[number].had_mail


_mostly = st.sampled_from([True, True, True, False])
_address = st.builds(
    Address,
    place=st.sampled_from(["ours"] * 6 + ["below", "elsewhere", "outside"]),
    known=st.tuples(st.booleans(), st.sampled_from([None] * 6 + [True, False])).map(
        lambda two: (two[0], two[0] if two[1] is None else two[1])
    ),
    told=st.tuples(_mostly, _mostly),
    had_mail=st.sampled_from([False, False, True]),
)


def _letters(least: int, most: int) -> st.SearchStrategy[tuple[Letter, ...]]:
    to = st.lists(st.tuples(st.integers(0, 7), st.booleans()), min_size=1, max_size=4, unique_by=lambda one: one[0])
    letter = st.builds(Letter, sender=st.sampled_from(SENDERS), to=to.map(tuple))
    return st.lists(letter, min_size=least, max_size=most).map(tuple)


CASES = st.builds(
    Case,
    addresses=st.lists(_address, min_size=8, max_size=8).map(tuple),
    letters=_letters(1, 8),
    late=_letters(0, 2),
    steps=st.sets(st.sampled_from([*StepKind][:3]), min_size=1).map(frozenset),
    whole_messages=st.booleans(),
    sub_domains=st.booleans(),
    answer_lost=st.sampled_from([False] * 5 + [True]),
    answers_all=st.sampled_from([True, True, False]),
    remembers=st.sampled_from([False, False, True]),
    a_list=st.booleans(),
)


class PickyBackend(LabBackend):
    """The sandbox's mail system as others are: it spells recipients as they were written, answers in part, and may
    reject whole messages only.
    """

    def __init__(self, system: MailSystem) -> None:
        super().__init__("lab", system.api_url, timeout=5.0)
        self._system = system
        self.whole_messages = False
        self.a_list = False
        self.silent: frozenset[str] = frozenset()
        self.lost: list[tuple[str, str]] = []
        """Recipients who would have lost their mail with somebody else's."""
        self.spelled: dict[tuple[str, str], str] = {}

    @property
    def capabilities(self) -> frozenset[Capability]:
        only = {Capability.REJECT_SINGLE_RECIPIENTS} if self.whole_messages else set()
        return super().capabilities - only

    async def snapshot(self) -> Snapshot:
        seen = await super().snapshot()
        return replace(seen, messages=self._as_written(seen.messages or ()))

    async def messages(self, refs: Iterable[MessageRef]) -> Sequence[MessageFacts]:
        return self._as_written(await super().messages(refs))

    async def recipients(self, addresses: Iterable[str]) -> RecipientAnswer:
        wanted = frozenset(addresses)
        found = await super().recipients(wanted)
        invalid = wanted - found.valid if self.a_list else found.invalid
        return RecipientAnswer(valid=found.valid - self.silent, invalid=invalid - self.silent)

    async def reject(self, refs: Sequence[MessageRef], reason: str) -> None:
        asked = {(ref.key, ref.recipient.lower()) for ref in refs}
        keys = {key for key, _ in asked}
        others = [e for e in self._system.tenant.queued() if e.ref[0] in keys and e.ref not in asked]
        if self.whole_messages and others:
            self.lost += [entry.ref for entry in others]
            raise Refused("others would be lost")
        await super().reject(refs, reason)

    def _as_written(self, rows: Iterable[MessageFacts]) -> list[MessageFacts]:
        return [replace(m, recipient=self.spelled.get((m.key, m.recipient), m.recipient)) for m in rows]


@dataclass
class Counts:
    """Over all generated queues."""

    queues: int = 0
    executed: int = 0
    waiting: int = 0
    kept: int = 0
    bounced: int = 0


@dataclass
class Bench:
    """One mail system and one database for all queues; each queue has domains of its own."""

    system: MailSystem
    backend: PickyBackend
    store: Store
    counts: Counts = field(default_factory=Counts)
    now: datetime = START
    _numbers: Any = field(default_factory=lambda: itertools.count(1))
    _port: int = field(default_factory=closed_port)

    def clock(self) -> datetime:
        return self.now

    async def furnish(self, case: Case) -> tuple[int, list[str]]:
        """The queue of this case, read in, with an open incident: (its number, the addresses in lower case)."""
        number, tenant = next(self._numbers), self.system.tenant
        ours = f"d{number}.test"
        place = {"ours": ours, "below": f"sub.{ours}", "elsewhere": f"e{number}.test", "outside": f"o{number}.test"}
        names = [f"r{n}@{place[one.place]}" for n, one in enumerate(case.addresses)]
        for held in (tenant.entries, tenant.mailboxes, tenant.domains, tenant.directory, self.backend.spelled):
            held.clear()
        for key, carried in ((KEY, (ours, f"*.{ours}", place["outside"])), (ELSEWHERE, (place["elsewhere"],))):
            hosts = ("127.0.0.1",)
            tenant.add_connector(
                TenantConnector(key=key, name=key, smart_hosts=hosts, port=self._port, recipient_domains=carried)
            )
        tenant.add_domain(TenantDomain(name=ours, match_subdomains=case.sub_domains))
        tenant.add_domain(TenantDomain(name=place["elsewhere"]))
        tenant.add_domain(TenantDomain(name="contoso.test", type=DomainType.AUTHORITATIVE))
        self.backend.whole_messages = case.whole_messages
        self.know(case, names, 0)
        self.post(case.letters, names)
        await self.sync()
        return await self._open(case, names), names

    def know(self, case: Case, names: Sequence[str], when: int) -> None:
        """The directory at the offer (0) or at the execution (1). It speaks of sub-domains where those are matched."""
        tenant = self.system.tenant
        for held in tenant.directory.values():
            held.clear()
        for name, one in zip(names, case.addresses, strict=True):
            domain = name.partition("@")[2]
            if one.known[when] and (domain in tenant.domains or (case.sub_domains and one.place == "below")):
                tenant.directory.setdefault(domain, set()).add(name)
        below = {
            name.partition("@")[2] for name, one in zip(names, case.addresses, strict=True) if one.place == "below"
        }
        for domain in below if case.sub_domains else ():
            tenant.directory.setdefault(domain, set())
        self.backend.a_list = case.a_list
        self.backend.silent = frozenset(name for n, name in enumerate(names) if not case.told(n, when))

    def post(self, letters: Iterable[Letter], names: Sequence[str]) -> None:
        """Mail that has waited for hours."""
        for letter in letters:
            key = f"m{next(self._numbers)}"
            to = [names[n] for n, _ in letter.to]
            self.system.tenant.submit(
                letter.sender, to, now=self.now, received_at=self.now - timedelta(hours=5), key=key
            )
            for n, shouted in letter.to:
                self.backend.spelled[key, names[n]] = names[n].upper() if shouted else names[n]

    async def sync(self) -> None:
        """Read the mail system in, as the bot does."""
        seen = await self.backend.snapshot()
        now = self.now

        def keep(db: Any) -> None:
            connectors.sync(db, "lab", seen.connectors or (), now, complete=True)
            ids = {c.key: c.id for c in connectors.every(db)}
            domains.sync(db, "lab", seen.domains or (), now, complete=True)
            rows = [(m, ids.get(m.connector_key or "")) for m in seen.messages or ()]
            messages.sync(db, "lab", rows, now, complete=True)
            syncs.finish(db, syncs.begin(db, "lab", now), now, {})

        await self.store.write(keep)

    async def _open(self, case: Case, names: Sequence[str]) -> int:
        before = [name for n, name in enumerate(names) if case.had_mail(n)]
        old = [
            MessageFacts(
                backend="lab",
                key=f"old-{name}",
                recipient=name.upper(),
                sender=SENDERS[0],
                received_at=self.now - timedelta(days=2),
                expires_at=self.now - timedelta(days=1),
                status=MessageStatus.DELIVERED,
            )
            for name in before
        ]

        def work(db: Any) -> int:
            connector = connectors.by_key(db, "lab", KEY)
            assert connector is not None
            messages.sync(db, "lab", [(m, connector.id) for m in old], self.now, complete=False)
            facts = {"code": "4.4.316", "severity": Severity.WARNING, "channel": "C1"}
            made = incidents.insert(db, connector_id=connector.id, now=self.now, first_failure_at=self.now, **facts)
            return made.id

        return await self.store.write(work)

    async def close(self, incident_id: int) -> None:
        """The incident is over; the next queue has its own."""
        over = {"state": IncidentState.RESOLVED, "resolved_at": self.now, "resolution": "cleared"}
        await self.store.write(lambda db: incidents.change(db, incident_id, **over))

    def fix(self) -> Fix:
        return Fix(self.store, {"lab": self.backend}, _no_probe, ANYTHING, self.clock, settle=0.0)

    def bounced(self) -> list[tuple[str, str]]:
        return [e.ref for e in self.system.tenant.entries.values() if e.status is Status.REJECTED]

    def reports(self) -> list[tuple[str, str]]:
        """(mailbox, failed recipient) of every non-delivery report."""
        boxes = self.system.tenant.mailboxes.items()
        return [(owner, item.failed_recipient or "") for owner, items in boxes for item in items if item.ndr]


async def _no_probe(connector_id: int) -> ProbeRecord:
    raise AssertionError(f"connector {connector_id} is not verified here")
