"""Questions about recipients are counted for all programs that share the database, and partners are known."""

from __future__ import annotations

from datetime import timedelta

import pytest

from bot.core.recipient import RCPT_LIMIT
from bot.services.asking import KEY, claim, partner_of
from storage import connectors, meta
from storage.records import ConnectorFacts, ConnectorKind


async def test_the_sixth_question_within_a_minute_waits_for_whoever_asks(store, clock) -> None:
    spellings = ["Mail.Contoso.TEST.", "mail.contoso.test", "MAIL.contoso.test"] * 2
    waits = [await store.write(lambda db, host=host: claim(db, [host], clock())) for host in spellings[:RCPT_LIMIT]]
    assert waits == [timedelta(0)] * RCPT_LIMIT
    clock.advance(seconds=20)
    assert await store.write(lambda db: claim(db, ["mail.contoso.test", "other.test"], clock())) == timedelta(
        seconds=40
    )
    assert await store.write(lambda db: claim(db, ["other.test"], clock())) == timedelta(0)
    clock.advance(seconds=40)
    assert await store.write(lambda db: claim(db, ["mail.contoso.test"], clock())) == timedelta(0)


@pytest.mark.parametrize("kept", ["", "[]", "{", '{"a": 7}', '{"a": ["yesterday"]}', "null"])
async def test_what_cannot_be_read_counts_as_never_asked(store, clock, kept: str) -> None:
    await store.write(lambda db: meta.put(db, KEY, kept))
    assert await store.write(lambda db: claim(db, ["a"], clock())) == timedelta(0)


@pytest.mark.parametrize(
    ("hosts", "mx", "partner"),
    [
        (["MX.Fabrikam.test."], None, True),
        (["192.0.2.9"], None, True),
        (["mx.contoso.test"], None, False),
        ([], "fabrikam.test", True),
        ([], "eu.fabrikam.test", True),
        ([], "woodgrove.test", True),
        ([], "eu.woodgrove.test", False),
        ([], "notfabrikam.test", False),
        ([], None, False),
    ],
)
async def test_a_partners_server_is_known_by_host_and_by_domain(store, clock, hosts, mx, partner: bool) -> None:
    facts = [
        ConnectorFacts(backend="files", key=name, name=name, kind=kind, smart_hosts=smart, recipient_domains=domains)
        for kind, name, smart, domains in (
            (ConnectorKind.PARTNER, "To Fabrikam", ("mx.fabrikam.test", "[192.0.2.9]"), ("*.fabrikam.test",)),
            (ConnectorKind.PARTNER, "To Woodgrove", (), ("*", "woodgrove.test")),
            (ConnectorKind.ON_PREMISES, "To us", ("mx.contoso.test",), ("contoso.test",)),
        )
    ]
    await store.write(lambda db: connectors.sync(db, "files", facts, clock(), complete=True))
    found = await store.read(lambda db: partner_of(db, hosts, mx))
    assert (found is not None) == partner
