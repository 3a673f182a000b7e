"""What the backend makes of the script's documents: which one it takes, and what of it is whole."""

from __future__ import annotations

import json
from datetime import timedelta

import pytest

from bot.backends.ports import MessageRef, Refused, Unreachable
from bot.core.capabilities import Capability, Family
from storage.records import DomainType
from tests.backends.exchange_server.conftest import INVALID, SENDER, VALID, Site, now, write_ahead


async def test_a_whole_organisation_is_read(reading: Site) -> None:
    message = reading.waiting(VALID, INVALID)
    reading.server.run_once()
    backend = reading.backend()
    before = now()
    found = await backend.snapshot()
    assert found.routed, "mail of no send connector is none's"
    assert backend.place.family is Family.EXCHANGE_SERVER
    assert {(m.key, m.recipient, m.code) for m in found.messages or ()} == {
        (reading.key_of(message), VALID, "4.4.316"),
        (reading.key_of(message), INVALID, "4.4.316"),
    }
    assert {m.connector_key for m in found.messages or ()} == {reading.server.names.guid("onprem")}
    assert [c.name for c in found.connectors or ()] == ["To on-prem", "To Internet"]
    assert {d.name: d.type for d in found.domains or ()} == {
        "contoso.test": DomainType.AUTHORITATIVE,
        "onprem.contoso.test": DomainType.INTERNAL_RELAY,
    }
    assert found.true_at is not None
    assert timedelta(0) <= before - found.true_at < timedelta(minutes=1)
    assert (found.notes, tuple(found.ended)) == ((), ())


async def test_without_a_key_it_only_reads_and_says_so(reading: Site) -> None:
    reading.server.run_once()
    backend = reading.backend()
    await backend.snapshot()
    assert backend.capabilities == {
        Capability.READ_CONNECTORS,
        Capability.READ_DOMAINS,
        Capability.READ_QUEUE,
        Capability.READ_REASONS,
        Capability.READ_RECIPIENTS,
    }
    with pytest.raises(Refused, match="MFI_HUB_KEY_FILE"):
        await backend.retry(reading.server.names.guid("onprem"))


async def test_the_directory_answers_for_its_domains_only(reading: Site) -> None:
    reading.server.run_once()
    answer = await reading.backend().recipients([VALID.upper(), INVALID, SENDER, "someone@fabrikam.test"])
    assert answer.valid == {VALID, SENDER}
    assert answer.invalid == {INVALID}
    assert answer.true_at is not None


async def test_a_directory_that_is_not_whole_answers_nothing(reading: Site) -> None:
    reading.server.faults.unreadable["directory"] = "timed out"
    reading.server.run_once()
    backend = reading.backend()
    answer = await backend.recipients([INVALID])
    assert (answer.valid, answer.invalid) == (frozenset(), frozenset())
    assert Capability.READ_RECIPIENTS not in backend.capabilities
    assert (await backend.snapshot()).notes == ("the script could not read the directory: timed out",)


async def test_messages_that_left_are_absent_and_the_same_document_is_read_once(reading: Site) -> None:
    message = reading.waiting(VALID)
    reading.server.run_once()
    backend = reading.backend()
    refs = [MessageRef(key=reading.key_of(message), recipient=VALID), MessageRef(key="EX01\\9\\9", recipient=VALID)]
    assert [m.key for m in await backend.messages(refs)] == [refs[0].key]
    assert (await backend.snapshot()).messages == (await backend.snapshot()).messages
    assert (await backend.connector(reading.server.names.guid("web"))).name == "To Internet"
    assert await backend.connector("nothing") is None
    assert (await backend.domain("OnPrem.contoso.test")).type is DomainType.INTERNAL_RELAY


async def test_a_truncated_queue_is_never_taken_as_whole(reading: Site) -> None:
    for _ in range(3):
        reading.waiting(VALID)
    reading.server.faults.max_messages = 2
    reading.server.run_once()
    with pytest.raises(Unreachable, match=r"holds 3 messages, not all of them listed: .*-MaxMessages"):
        await reading.backend().snapshot()
    with pytest.raises(Unreachable, match="-MaxMessages"):
        await reading.backend().messages([])


@pytest.mark.parametrize("part", ["servers", "queues", "messages"])
async def test_a_queue_that_could_not_be_read_everywhere_is_not_a_queue(reading: Site, part: str) -> None:
    reading.server.faults.unreadable[part] = "RPC server is unavailable"
    reading.server.run_once()
    with pytest.raises(Unreachable, match=f"could not read all {part}: RPC server"):
        await reading.backend().snapshot()


async def test_connectors_that_could_not_be_read_stay_as_they_were(reading: Site) -> None:
    reading.server.faults.unreadable["connectors"] = "no rights"
    reading.server.run_once()
    found = await reading.backend().snapshot()
    assert not found.routed
    assert (found.connectors, found.notes) == (None, ("the script could not read the connectors: no rights",))
    with pytest.raises(Unreachable, match="could not read the connectors: no rights"):
        await reading.backend().connector("x")


async def test_an_old_document_says_when_it_was_true_and_is_overdue(reading: Site) -> None:
    reading.server.run_once()
    assert (await reading.backend().snapshot()).overdue is None
    late = [await reading.backend(clock=lambda: now() + timedelta(hours=1)).snapshot() for _ in range(2)]
    assert late[0].true_at is not None
    assert late[0].true_at <= now()
    assert {found.overdue for found in late} == {
        f"no newer document than of {late[0].true_at:%Y-%m-%d %H:%M} UTC: look at the scheduled task on EX01 "
        "(schtasks /Query /V /TN mfi-exchange); if its runs take so long, raise MFI_HUB_MAX_AGE"
    }


AHEAD = (
    "newer documents are from the future by this machine's clock, so they are not used: "
    "set both machines' clocks by NTP"
)


async def test_a_document_from_the_future_is_not_used_also_when_its_time_has_come(reading: Site) -> None:
    later = timedelta(0)
    write_ahead(reading, timedelta(hours=20))
    backend = reading.backend(clock=lambda: now() + later)
    with pytest.raises(Unreachable, match="from the future by this machine's clock, so they are not used: set both"):
        await backend.snapshot()
    reading.waiting(VALID)
    reading.server.run_once()
    found = await backend.snapshot()
    assert (len(found.messages or ()), found.notes, found.overdue) == (1, (AHEAD,), None)
    later = timedelta(hours=20, minutes=1)
    overdue = await backend.snapshot()
    assert (len(overdue.messages or ()), overdue.true_at) == (1, found.true_at)
    assert overdue.overdue is not None
    assert "but for some from the future by this machine's clock" in overdue.overdue


async def test_clocks_that_differ_a_little_are_no_trouble(reading: Site) -> None:
    write_ahead(reading, timedelta(minutes=1, seconds=30))
    found = await reading.backend().snapshot()
    assert (found.notes, found.overdue) == ((), None)
    write_ahead(reading, timedelta(minutes=5))
    backend = reading.backend()
    assert (await backend.snapshot()).notes == (AHEAD,)


async def test_a_document_whose_name_hides_that_it_is_from_the_future_is_not_used(reading: Site) -> None:
    write_ahead(reading, timedelta(hours=20))
    (ahead,) = reading.drop.glob("*.json")
    ahead.rename(reading.drop / "mfi-snapshot-20240101T000000000Z.json")
    with pytest.raises(Unreachable, match=r"mfi-snapshot-2024.* is from the future by this machine's clock"):
        await reading.backend().snapshot()


async def test_the_newest_document_that_is_whole_is_taken(reading: Site) -> None:
    good = reading.server.write_document()
    assert good is not None
    soon = f"mfi-snapshot-{now() + timedelta(minutes=1):%Y%m%dT%H%M%S}"
    (reading.drop / f"{soon}999Z.json").write_text(good.read_text()[:-20])
    (reading.drop / f"{soon}998Z.json").symlink_to("/etc/passwd")
    found = await reading.backend().snapshot()
    assert found.messages == []


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"format": "other"}, "no document of mfi-exchange.ps1"),
        ({"version": 2}, "copy mfi-exchange.ps1 of this release"),
        ({"counts": {}}, "number of queues is not what it says"),
        ({"messages": None}, "messages is no list"),
        ({"truncated": True}, "not as whole as it says"),
        ({"started_at": "yesterday"}, "started_at is no ISO moment"),
        ({"acts": 1}, "acts is neither true nor false"),
        ({"errors": [1]}, "errors is no list"),
    ],
)
async def test_a_document_of_something_else_is_refused(reading: Site, change: dict[str, object], says: str) -> None:
    path = reading.server.write_document()
    assert path is not None
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(Unreachable, match=says):
        await reading.backend().snapshot()
