"""A real Postfix, acted on: exactly the invalid recipients get a bounce, and everything else can be taken back."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

import pytest

from bot.backends.ports import MessageRef, Refused
from bot.backends.postfix import PostfixBackend
from bot.core.capabilities import Capability
from bot.core.fix_plan import REJECT_REASON
from storage.records import DomainType, MessageFacts, MessageStatus
from tests.backends.postfix.real_postfix import RealPostfix, bounces, until


async def queued(backend: PostfixBackend) -> list[MessageFacts]:
    """What waits, senders' own bounces aside."""
    return [m for m in (await backend.snapshot()).messages or () if m.sender]


async def deferred(backend: PostfixBackend, count: int) -> list[MessageFacts]:
    """So many wait, each with its reason."""
    return await until(lambda: queued(backend), lambda found: len(found) == count and all(m.reason for m in found))


def refs(messages: list[MessageFacts]) -> list[MessageRef]:
    return [MessageRef(key=m.key, recipient=m.recipient) for m in messages]


def directory(home: Path, *lines: str) -> str:
    file = home / "recipients.txt"
    file.write_text("".join(f"{line}\n" for line in lines))
    return str(file)


async def test_exactly_the_invalid_ones_of_forty_bounce_and_the_rest_is_delivered_later(postfix: RealPostfix) -> None:
    valid = [f"valid{n}@refused.test" for n in range(10)]
    backend = postfix.backend(RECIPIENTS=directory(postfix.home, "# complete: refused.test", *valid))
    for n in range(40):
        good, bad = valid[n % 10], f"gone{n % 7}@refused.test"
        await postfix.send(f"sender{n}@senders.test", [[good], [bad], [good, bad], [bad, good]][n % 4])
    waiting = await deferred(backend, 60)

    answer = await backend.recipients({m.recipient for m in waiting})
    invalid = [m for m in waiting if m.recipient in answer.invalid]
    kept = {(m.key, m.recipient) for m in waiting if m.recipient in answer.valid}
    assert (len(invalid), len(kept)) == (30, 30)
    started = time.monotonic()
    await backend.reject(refs(invalid), REJECT_REASON)
    assert time.monotonic() - started < 40
    assert {(m.key, m.recipient) for m in await queued(backend)} == kept
    assert {m.status for m in await backend.messages(refs(invalid))} == {MessageStatus.REJECTED}

    async def reports() -> list[tuple[str, str]]:
        return bounces(postfix.mailbox())

    told = await until(reports, lambda found: len(found) >= 30)
    assert sorted(told) == sorted((m.recipient, "5.1.1") for m in invalid)
    assert (postfix.home / "etc" / "mfi_overrides").read_text() == ""
    await backend.reject(refs(invalid), REJECT_REASON)
    assert len(await queued(backend)) == 30

    await postfix.servers.set_behaviour("refused", "good_plain")
    await backend.retry(postfix.key("refused"))
    await until(lambda: queued(backend), lambda found: not found)
    delivered = [r for mail in postfix.servers.accepted for r in mail.recipients]
    assert sorted(delivered) == sorted(recipient for _, recipient in kept)
    assert len(bounces(postfix.mailbox())) == 30


async def test_a_disabled_next_hop_keeps_its_mail_until_it_is_enabled(postfix: RealPostfix) -> None:
    backend = postfix.backend()
    key = postfix.key("refused")
    await postfix.send("games@senders.test", ["alice@refused.test"])
    await deferred(backend, 1)
    for _ in range(2):
        await backend.set_connector_enabled(key, enabled=False)
    found = await backend.connector(key)
    assert found is not None and not found.enabled
    await postfix.servers.set_behaviour("refused", "good_plain")
    await backend.retry(key)
    (waiting,) = await until(lambda: queued(backend), lambda seen: "disabled" in (seen[0].reason or ""))
    assert (waiting.connector_key, waiting.status) == (key, MessageStatus.QUEUED)
    assert (await turned_away(postfix, "bob@refused.test")).startswith("450 4.3.2"), "its sender keeps it, and retries"
    for _ in range(2):
        await backend.set_connector_enabled(key, enabled=True)
    found = await backend.connector(key)
    assert found is not None and found.enabled
    await backend.retry(key)
    await until(lambda: queued(backend), lambda left: not left)
    assert [mail.recipients for mail in postfix.servers.accepted] == [("alice@refused.test",)]
    assert postfix.mailbox() == []


async def test_an_authoritative_domain_turns_unknown_addresses_away(postfix: RealPostfix) -> None:
    listed = directory(postfix.home, "# complete: good.test", "alice@good.test", "bob@busy.test")
    backend = postfix.backend(RECIPIENTS=listed)
    await backend.set_domain_type("good.test", DomainType.AUTHORITATIVE)
    assert [(d.name, d.type) for d in (await backend.snapshot()).domains or () if d.type != "internal_relay"] == [
        ("good.test", DomainType.AUTHORITATIVE)
    ]
    refused = await until(lambda: turned_away(postfix, "nobody@good.test"), bool)
    assert "5.1.1" in refused
    assert await turned_away(postfix, "alice@good.test") == ""
    assert await turned_away(postfix, "anybody@refused.test") == ""
    with pytest.raises(Refused, match=r"# complete: busy\.test"):
        await backend.set_domain_type("busy.test", DomainType.AUTHORITATIVE)
    for _ in range(2):
        await backend.set_domain_type("good.test", DomainType.INTERNAL_RELAY)
    domain = await backend.domain("good.test")
    assert domain is not None and domain.type is DomainType.INTERNAL_RELAY


async def turned_away(postfix: RealPostfix, address: str) -> str:
    """What it says of a recipient when asked; empty: it takes it."""
    reader, writer = await asyncio.open_connection("127.0.0.1", postfix.port)
    answer = ""
    for line in ("", "EHLO client.test", "MAIL FROM:<games@senders.test>", f"RCPT TO:<{address}>", "QUIT"):
        writer.write(f"{line}\r\n".encode() if line else b"")
        answer = "" if line == "QUIT" else await _reply(reader)
        if line.startswith("RCPT"):
            kept = answer
    writer.close()
    await writer.wait_closed()
    return "" if kept.startswith("250") else kept


async def _reply(reader: asyncio.StreamReader) -> str:
    while (line := (await reader.readline()).decode()) and line[3:4] == "-":
        pass
    return line


async def test_without_the_override_table_only_whole_messages_are_returned(postfix: RealPostfix) -> None:
    backend = postfix.backend()
    postfix.command("postconf", f"transport_maps = hash:{postfix.config_dir}/transport")
    await postfix.send("one@senders.test", ["gone@refused.test", "valid@refused.test"])
    await postfix.send("two@senders.test", ["gone@refused.test"])
    waiting = await deferred(backend, 3)
    assert Capability.REJECT_MESSAGES in backend.capabilities
    assert Capability.REJECT_SINGLE_RECIPIENTS not in backend.capabilities
    assert Capability.SET_CONNECTOR_ENABLED not in backend.capabilities
    mixed = [m for m in waiting if m.sender == "one@senders.test"]
    alone = [m for m in waiting if m.sender == "two@senders.test"]
    with pytest.raises(Refused, match="also wait for other recipients"):
        await backend.reject(refs([m for m in waiting if m.recipient.startswith("gone")]), REJECT_REASON)
    assert len(await queued(backend)) == 3
    await backend.reject(refs(alone), REJECT_REASON)
    assert {m.key for m in await queued(backend)} == {m.key for m in mixed}
    ended = await backend.messages(refs(alone))
    assert [m.status for m in ended] == [MessageStatus.REJECTED]
    with pytest.raises(Refused, match="mfi_overrides"):
        await backend.set_connector_enabled(postfix.key("refused"), enabled=False)


async def test_an_instance_without_act_refuses_every_act(postfix: RealPostfix) -> None:
    backend = postfix.backend(act=False)
    await postfix.send("two@senders.test", ["gone@refused.test"])
    waiting = await deferred(backend, 1)
    with pytest.raises(Refused, match="read only"):
        await backend.reject(refs(waiting), REJECT_REASON)
    with pytest.raises(Refused, match="read only"):
        await backend.set_connector_enabled(postfix.key("good"), enabled=False)
    with pytest.raises(Refused, match="read only"):
        await backend.retry(postfix.key("refused"))
    assert len(await queued(backend)) == 1
