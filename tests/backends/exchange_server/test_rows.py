"""What the rows of the script's documents mean: queues and messages, send connectors, accepted domains."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from bot.backends.exchange_server.queue_facts import read_queues
from bot.backends.exchange_server.settings_facts import Ownership, read_settings
from storage.records import (
    Caution,
    ConnectorFacts,
    ConnectorKind,
    DomainFacts,
    DomainType,
    MessageFacts,
    TlsSetting,
)

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
