"""A real Postfix, read: its next hops, why its mail waits, how it left."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

from bot.backends.ports import MessageRef, Snapshot
from bot.backends.postfix.queue import queue_id_of
from bot.core.capabilities import Capability
from bot.core.policy import Policy
from bot.services.syncing import Syncing
from storage import connectors, messages
from storage.connection import Store
from storage.records import ConnectorKind, DomainType, MessageStatus, TlsSetting
from tests.backends.postfix.real_postfix import RealPostfix, until


def all_deferred(count: int) -> Callable[[Snapshot], bool]:
    return lambda s: len(s.messages or ()) == count and all(m.reason for m in s.messages or ())


async def test_every_next_hop_is_a_connector(postfix: RealPostfix) -> None:
    snapshot = await postfix.backend().snapshot()
    found = {c.key: c for c in snapshot.connectors or ()}
    assert set(found) == {postfix.key(name) for name in ("refused", "busy", "closes", "good", "partner")}
    refused, partner = found[postfix.key("refused")], found[postfix.key("partner")]
    assert (refused.kind, refused.recipient_domains) == (ConnectorKind.ON_PREMISES, ("refused.test",))
    assert (refused.smart_hosts, refused.port) == ((postfix.servers.servers["refused"].ip,), postfix.servers.port)
    assert (refused.use_mx, refused.enabled, refused.tls_setting) == (False, True, TlsSetting.OPPORTUNISTIC)
    assert (partner.kind, partner.tls_setting) == (ConnectorKind.PARTNER, TlsSetting.NONE)
    assert {d.name: d.type for d in snapshot.domains or ()} == dict.fromkeys(
        ("refused.test", "busy.test", "closes.test", "good.test"), DomainType.INTERNAL_RELAY
    )
    assert snapshot.notes == ()


async def test_three_kinds_of_deferral_are_told_apart(postfix: RealPostfix) -> None:
    backend = postfix.backend()
    for name in ("refused", "busy", "closes"):
        await postfix.send("games@senders.test", [f"alice@{name}.test"])
    snapshot = await until(backend.snapshot, all_deferred(3))
    found = {m.recipient: m for m in snapshot.messages or ()}
    assert {address: (m.code, m.connector_key) for address, m in found.items()} == {
        "alice@refused.test": ("4.4.316", postfix.key("refused")),
        "alice@busy.test": ("4.4.317", postfix.key("busy")),
        "alice@closes.test": ("4.4.318", postfix.key("closes")),
    }
    for m in found.values():
        assert m.sender == "games@senders.test"
        assert m.expires_at - m.received_at == timedelta(days=1)
        assert m.remote_ip is not None and m.remote_ip.startswith("127.25.")
    assert len({m.key for m in found.values()}) == 3


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        return int(listening.getsockname()[1])


async def is_open(port: int) -> bool:
    try:
        _, writer = await asyncio.open_connection("127.0.0.1", port)
    except OSError:
        return False
    writer.close()
    return True


async def blamed(postfix: RealPostfix, home: Path, count: int) -> dict[str, str | None]:
    """The connector that is stored for each recipient, once so many wait with their reasons."""
    backend = postfix.backend()
    waiting = (await until(backend.snapshot, all_deferred(count))).messages or ()
    async with await Store.open(home / "mfi.db", sole=True) as store:
        syncing = Syncing(store, {"relay": backend}, Policy(), lambda: datetime.now(UTC), default_channel="C1")
        await syncing.sync("relay")
        refs = [(m.key, m.recipient) for m in waiting]
        keys = {c.id: c.key for c in await store.read(connectors.every)}
        found = await store.read(lambda db: messages.get_refs(db, "relay", refs))
    return {m.recipient: keys.get(m.connector_id or 0) for m in found}


async def test_mail_that_fails_on_this_host_is_blamed_on_no_next_hop(postfix: RealPostfix, tmp_path: Path) -> None:
    """Mailboxes that can't be written, agents and sockets that don't exist, beside a relayhost for the rest."""
    (postfix.home / "mail").rename(postfix.home / "moved")
    (postfix.home / "mail").touch()
    etc = postfix.config_dir
    postfix.write(f"{etc}/transport", "lists.test mailman:\nstore.test lmtp:unix:private/none\n")
    postfix.command("postmap", f"hash:{etc}/transport")
    relayhost = postfix.key("refused").removeprefix("smtp:")
    postfix.command("postconf", f"relayhost = {relayhost}")
    postfix.command("postconf", "-M", "lmtp/unix=lmtp unix - - n - - lmtp")
    postfix.command("postfix", "reload")
    here = ("eve@senders.test", "all@lists.test", "eve@store.test")
    for recipient in (*here, "alice@elsewhere.test"):
        await postfix.send("games@senders.test", [recipient])
    assert await blamed(postfix, tmp_path, 4) == {**dict.fromkeys(here), "alice@elsewhere.test": postfix.key("refused")}


async def test_mail_that_waits_for_a_content_filter_is_blamed_on_no_next_hop(
    postfix: RealPostfix, tmp_path: Path
) -> None:
    """One that is down, before what comes in at a port of its own; what comes in elsewhere waits for its next hop."""
    down = f"scan:[{postfix.servers.servers['closes'].ip}]:9"
    inlet = replace(postfix, port=free_port())
    postfix.command("postconf", "-M", "scan/unix=scan unix - - n - - smtp")
    service = f"127.0.0.1:{inlet.port}"
    postfix.command("postconf", "-M", f"{service}/inet={service} inet n - n - - smtpd -o content_filter={down}")
    postfix.command("postconf", f"relayhost = {postfix.key('busy').removeprefix('smtp:')}")
    postfix.command("postfix", "reload")
    await until(lambda: is_open(inlet.port), bool)
    new = ("alice@good.test", "alice@elsewhere.test", "alice@closes.test")
    for recipient in new:
        await inlet.send("games@senders.test", [recipient])
    await postfix.send("games@senders.test", ["alice@refused.test"])
    assert await blamed(postfix, tmp_path, 4) == {**dict.fromkeys(new), "alice@refused.test": postfix.key("refused")}
    still, waiting = (await postfix.backend().snapshot()).notes
    assert still == f"content_filter: mail that waits for {down} is counted at no next hop"
    assert waiting.startswith(f"3 messages waiting for the content filter {down}, which is no next hop: connect to ")


async def test_how_mail_left_is_read_from_its_log(postfix: RealPostfix) -> None:
    backend = postfix.backend()
    await postfix.send("games@senders.test", ["alice@refused.test", "bob@refused.test"])
    waiting = (await until(backend.snapshot, all_deferred(2))).messages or ()
    await postfix.servers.set_behaviour("refused", "good_plain")
    postfix.servers.set_recipients("refused", ["alice@refused.test"])
    await backend.retry(postfix.key("refused"))
    told: dict[str, MessageStatus] = {}

    async def news() -> dict[str, MessageStatus]:
        snapshot = await backend.snapshot()
        told.update((m.recipient, m.status) for m in snapshot.ended)
        return told

    await until(news, lambda seen: len(seen) == 2)
    assert told == {"alice@refused.test": MessageStatus.DELIVERED, "bob@refused.test": MessageStatus.REJECTED}
    refs = [MessageRef(key=m.key, recipient=m.recipient) for m in waiting]
    ended = {m.recipient: m for m in await backend.messages(refs)}
    assert {m.recipient: m.status for m in ended.values()} == told
    assert "550 5.1.1" in (ended["bob@refused.test"].reason or "")
    assert (await backend.snapshot()).messages == [] or all(
        m.sender == "" for m in (await backend.snapshot()).messages or ()
    )


async def test_mail_on_hold_is_not_counted_until_it_is_released(postfix: RealPostfix) -> None:
    backend = postfix.backend()
    await postfix.send("games@senders.test", ["alice@refused.test"])
    (waiting,) = (await until(backend.snapshot, all_deferred(1))).messages or ()
    await asyncio.to_thread(postfix.command, "postsuper", "-h", queue_id_of(waiting.key))
    held = await backend.snapshot()
    assert (held.messages, held.ended) == ([], ())
    assert held.notes == ("not counted: 1 message on hold, which Postfix neither tries nor bounces",)
    await asyncio.to_thread(postfix.command, "postsuper", "-H", queue_id_of(waiting.key))
    released = await until(backend.snapshot, lambda s: len(s.messages or ()) == 1)
    assert [m.recipient for m in released.messages or ()] == ["alice@refused.test"]


async def test_an_instance_that_may_not_act_only_reads(postfix: RealPostfix) -> None:
    backend = postfix.backend(act=False)
    await backend.snapshot()
    assert backend.capabilities == {
        Capability.READ_CONNECTORS,
        Capability.READ_DOMAINS,
        Capability.READ_QUEUE,
        Capability.READ_REASONS,
    }
