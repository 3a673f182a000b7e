"""What the backend makes of the script's documents."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

import pytest

from bot.backends.exchange_server.queue_facts import read_queues
from bot.backends.exchange_server.settings_facts import Ownership, read_settings
from bot.backends.ports import MessageRef, Refused, Unreachable
from bot.core.capabilities import Capability, Family
from storage.records import (
    Caution,
    ConnectorFacts,
    ConnectorKind,
    DomainFacts,
    DomainType,
    MessageFacts,
    TlsSetting,
)
from tests.backends.exchange_server.conftest import INVALID, SENDER, VALID, Site, now, write_ahead

GUID = "4520e633-d83d-411a-bbe4-6a84648674ee"
LED = (
    "[{LRT=11/24/2026 4:10:12 AM};{LED=441 4.4.1 Error encountered while communicating with primary target IP address: "
    '"Failed to connect. Winsock error code: 10061, Win32 error code: 10061." The last endpoint attempted was '
    "10.1.1.5:25};{FQDN=smarthost01.contoso.test};{IP=10.1.1.5}]"
)
QUEUE = {
    "Identity": "EX01\\15",
    "DeliveryType": "SmartHostConnectorDelivery",
    "Status": "Retry",
    "MessageCount": 37,
    "NextHopDomain": "smarthost01.contoso.test,[10.1.1.5]",
    "NextHopConnector": GUID.upper(),
    "LastError": LED,
    "LastRetryTime": "2026-11-24T04:10:12.000Z",
    "Complete": True,
}
MESSAGE = {
    "Identity": "EX01\\15\\7864320",
    "Queue": "EX01\\15",
    "FromAddress": "App@Contoso.test",
    "Recipients": [{"Address": "User@OnPrem.contoso.test", "Status": "Retry", "LastError": ""}],
    "Size": "4.5 KB (4,617 bytes)",
    "Status": "Ready",
    "DateReceived": "2026-11-24T03:00:00.000Z",
    "ExpirationTime": "2026-11-26T03:00:00.000Z",
    "LastError": "",
}
FACTS = MessageFacts(
    backend="hub",
    key="EX01\\15\\7864320",
    recipient="user@onprem.contoso.test",
    sender="app@contoso.test",
    received_at=datetime(2026, 11, 24, 3, tzinfo=UTC),
    expires_at=datetime(2026, 11, 26, 3, tzinfo=UTC),
    size=4617,
    code="4.4.316",
    reason=LED,
    remote_host="smarthost01.contoso.test",
    remote_ip="10.1.1.5",
    evidence_at=datetime(2026, 11, 24, 4, 10, 12, tzinfo=UTC),
    connector_key=GUID,
)


def listed(queue: dict[str, object], *messages: dict[str, object]) -> list[MessageFacts]:
    return list(read_queues("hub", [queue], messages, {GUID}).messages.values())


def test_a_message_takes_its_queues_error_connector_and_time() -> None:
    assert listed(QUEUE, MESSAGE) == [FACTS]


def test_the_recipients_own_error_wins_over_the_messages_and_the_queues() -> None:
    mine = {"Address": "a@x.test", "Status": "Retry", "LastError": "450 4.4.315 Connection timed out"}
    other = {"Address": "b@x.test", "Status": "Ready"}
    done = {"Address": "c@x.test", "Status": "Complete"}
    found = listed(QUEUE, MESSAGE | {"Recipients": [mine, other, done], "LastError": "450 4.4.317 Cannot connect"})
    assert [(m.recipient, m.code) for m in found] == [("a@x.test", "4.4.315"), ("b@x.test", "4.4.317")]


@pytest.mark.parametrize(
    ("error", "code"),
    [
        ("451 4.4.0 DNS query failed. The error was: DNS query failed with error ErrorRetry", "4.4.312"),
        (LED, "4.4.316"),
        ("[{LRT=};{LED=450 4.7.320 Certificate validation failed};{FQDN=};{IP=}]", "4.7.320"),
        ("A matching connector cannot be found to route the external recipient", "4.4.4"),
        ("Something that nobody has seen yet", None),
    ],
)
def test_last_errors_become_codes(error: str, code: str | None) -> None:
    (found,) = listed(QUEUE | {"LastError": error}, MESSAGE)
    assert (found.code, found.reason) == (code, error)


def test_a_single_smart_host_of_the_queue_is_the_server_where_the_error_names_none() -> None:
    queue = QUEUE | {"LastError": "450 4.4.316 Connection refused", "NextHopDomain": "[mail.contoso.test]"}
    assert listed(queue, MESSAGE)[0].remote_host == "mail.contoso.test"
    assert listed(queue | {"NextHopDomain": "a.test,b.test"}, MESSAGE)[0].remote_host is None
    assert listed(queue | {"DeliveryType": "DnsConnectorDelivery"}, MESSAGE)[0].remote_host is None


def test_a_message_without_an_end_has_two_days_as_exchange_gives_it() -> None:
    (found,) = listed(QUEUE, MESSAGE | {"ExpirationTime": None})
    assert found.expires_at - found.received_at == timedelta(days=2)


def test_mail_that_exchange_never_gives_up_has_a_far_end() -> None:
    assert listed(QUEUE, MESSAGE | {"ExpirationTime": "9999-12-31T23:59:59.999Z"})[0].expires_at.year == 2199


def test_mail_in_flight_has_no_reason_and_bounces_no_sender() -> None:
    (found,) = listed(QUEUE | {"LastError": "", "Status": "Active"}, MESSAGE | {"FromAddress": "<>"})
    assert (found.reason, found.code, found.evidence_at, found.sender) == (None, None, None, "")


def test_copies_kept_for_redundancy_are_not_mail_that_waits() -> None:
    assert listed(QUEUE | {"DeliveryType": "ShadowRedundancy"}, MESSAGE) == []


def test_unreachable_and_suspended_mail_is_told_about() -> None:
    queue = QUEUE | {"Identity": "EX01\\Unreachable", "DeliveryType": "Unreachable", "NextHopConnector": "0" * 8}
    message = MESSAGE | {"Identity": "EX01\\Unreachable\\5", "Queue": "EX01\\Unreachable", "Status": "Suspended"}
    found = read_queues("hub", [queue, QUEUE | {"Status": "Suspended"}], [message], {GUID})
    assert [m.connector_key for m in found.messages.values()] == [None]
    assert found.notes == [
        "37 messages are in the queue EX01\\Unreachable: no send connector carries them",
        "queue EX01\\15 is suspended: nothing in it is tried until somebody resumes it",
        "1 messages are suspended: Exchange doesn't try them",
    ]


@pytest.mark.parametrize(
    "bad",
    [
        {"Identity": ""},
        {"DateReceived": None},
        {"DateReceived": "2026-11-24T03:00:00"},
        {"DateReceived": "/Date(1)/"},
        {"ExpirationTime": "2999-12-31T23:59:59Z"},
        {"Recipients": {"Address": "a@x.test"}},
        {"Recipients": [{"Address": ""}]},
        {"FromAddress": 5},
    ],
)
def test_a_row_that_cannot_be_read_spoils_the_list_instead_of_shortening_it(bad: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=r"is|has"):
        listed(QUEUE, MESSAGE | bad)


CONNECTOR = {
    "Name": "To on-prem",
    "Guid": f"{{{GUID.upper()}}}",
    "Enabled": True,
    "AddressSpaces": ["SMTP:OnPrem.contoso.test;1", "smtp:*.branch.contoso.test;5", "X400:c=us;1"],
    "SmartHosts": ["[10.1.1.5]", "Mail.contoso.test."],
    "DNSRoutingEnabled": False,
    "Port": "2525",
    "RequireTLS": True,
    "TlsAuthLevel": "DomainValidation",
    "TlsDomain": "mail.contoso.test",
}
DOMAIN = {"DomainName": "contoso.test", "DomainType": "InternalRelay", "MatchSubDomains": False, "Guid": GUID}


def test_a_send_connector_is_read() -> None:
    found = read_settings("hub", [CONNECTOR], [DOMAIN], Ownership())
    assert found.connectors == [
        ConnectorFacts(
            backend="hub",
            key=GUID,
            name="To on-prem",
            kind=ConnectorKind.ON_PREMISES,
            smart_hosts=("10.1.1.5", "mail.contoso.test"),
            port=2525,
            recipient_domains=("onprem.contoso.test", "*.branch.contoso.test"),
            tls_setting=TlsSetting.DOMAIN,
            tls_domain="mail.contoso.test",
        )
    ]
    assert found.notes == ["send connector To on-prem: its address space 'X400:c=us;1' is not watched"]


@pytest.mark.parametrize(
    ("change", "wanted"),
    [
        ({"RequireTLS": False}, TlsSetting.OPPORTUNISTIC),
        ({"RequireTLS": False, "IgnoreSTARTTLS": True}, TlsSetting.NONE),
        ({"TlsAuthLevel": ""}, TlsSetting.ENCRYPTION),
        ({"TlsAuthLevel": "EncryptionOnly"}, TlsSetting.ENCRYPTION),
        ({"TlsAuthLevel": "CertificateValidation"}, TlsSetting.CERTIFICATE),
    ],
)
def test_tls_demands_are_read(change: dict[str, object], wanted: TlsSetting) -> None:
    assert read_settings("hub", [CONNECTOR | change], [], Ownership()).connectors[0].tls_setting is wanted


@pytest.mark.parametrize(
    ("change", "ownership", "wanted"),
    [
        ({}, Ownership(), ConnectorKind.ON_PREMISES),
        ({}, Ownership(partner={"to on-prem"}), ConnectorKind.PARTNER),
        ({"AddressSpaces": ["SMTP:fabrikam.test;1"]}, Ownership(), ConnectorKind.PARTNER),
        ({"AddressSpaces": ["SMTP:fabrikam.test;1"], "SmartHosts": ["[10.0.0.9]"]}, Ownership(),
         ConnectorKind.ON_PREMISES),
        ({"AddressSpaces": ["SMTP:fabrikam.test;1"]}, Ownership(on_premises={"fabrikam.test"}),
         ConnectorKind.ON_PREMISES),
        ({"AddressSpaces": ["SMTP:*;1"], "SmartHosts": []}, Ownership(), ConnectorKind.PARTNER),
    ],
)  # fmt: skip
def test_whose_servers_they_are(change: dict[str, object], ownership: Ownership, wanted: ConnectorKind) -> None:
    assert read_settings("hub", [CONNECTOR | change], [DOMAIN], ownership).connectors[0].kind is wanted


def test_a_connector_for_everything_is_dangerous_to_switch_off() -> None:
    row = CONNECTOR | {"AddressSpaces": ["SMTP:*;1"], "SmartHosts": [], "DNSRoutingEnabled": True}
    (found,) = read_settings("hub", [row], [], Ownership()).connectors
    assert (found.cautions, found.use_mx) == ({Caution.ROUTES_ALL_MAIL}, True)


def test_accepted_domains_with_their_sub_domains() -> None:
    rows = [
        DOMAIN | {"DomainName": "*.Contoso.test", "DomainType": "ExternalRelay"},
        DOMAIN,
        DOMAIN | {"DomainName": "*.fabrikam.test", "DomainType": "Authoritative"},
        DOMAIN | {"DomainName": "*"},
    ]
    found = read_settings("hub", [], rows, Ownership())
    assert found.domains == [
        DomainFacts(backend="hub", name="contoso.test", type=DomainType.INTERNAL_RELAY, match_subdomains=True),
        DomainFacts(backend="hub", name="fabrikam.test", type=DomainType.AUTHORITATIVE, match_subdomains=True),
    ]
    assert len(found.notes) == 1


@pytest.mark.parametrize(
    ("connectors", "domains"),
    [
        ([CONNECTOR, CONNECTOR], []),
        ([CONNECTOR | {"Guid": "x"}], []),
        ([CONNECTOR | {"Enabled": "True"}], []),
        ([CONNECTOR | {"SmartHosts": ["a b"]}], []),
        ([], [DOMAIN | {"DomainType": "Levitating"}]),
        ([], [DOMAIN | {"DomainName": ""}]),
    ],
)
def test_settings_that_cannot_be_read_are_refused(connectors: list[object], domains: list[object]) -> None:
    with pytest.raises(ValueError, match=r"\w"):
        read_settings("hub", connectors, domains, Ownership())


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
