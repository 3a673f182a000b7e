"""Exports of an on-premises Exchange Server: the script's documents, Get-Message, Get-SendConnector."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bot.backends.files import UnreadableFile, read_connectors, read_domains, read_messages, read_recipients
from bot.backends.files.server_exports import QUEUE_COMMAND, SEND_CONNECTORS_COMMAND
from bot.sandbox.exchange_server import SandboxExchangeServer
from bot.sandbox.mail_system.led import Failure, Trouble
from bot.sandbox.mail_system.model import TenantConnector, TenantDomain
from bot.sandbox.mail_system.tenant import Tenant
from storage.records import ConnectorKind, DomainType, MessageFacts, TlsSetting

AT = datetime(2026, 11, 24, 4, 30, tzinfo=UTC)
GUID = "4520e633-d83d-411a-bbe4-6a84648674ee"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "export"


def written(path: Path, document: object, encoding: str = "utf-8") -> Path:
    path.write_bytes(json.dumps(document).encode(encoding))
    return path


def a_document(tmp_path: Path, *, directory: bool = True, **change: object) -> dict[str, object]:
    tenant = Tenant(lifetime=timedelta(days=2))
    tenant.add_connector(
        TenantConnector(key="k", name="Hub", smart_hosts=("mail.x.test",), recipient_domains=("on.x.test",))
    )
    tenant.add_domain(TenantDomain(name="on.x.test"))
    tenant.add_recipients("here@on.x.test")
    key = tenant.submit("app@x.test", ["here@on.x.test", "there@on.x.test"], now=AT)
    failure = Failure(trouble=Trouble.REFUSED, host="mail.x.test", ip="10.1.1.5", port=25)
    tenant.deferred((key, "here@on.x.test"), AT, failure, until=AT)
    server = SandboxExchangeServer(tenant, tmp_path, clock=lambda: AT, directory=directory)
    return server.document(AT) | change


def test_a_document_of_the_script_is_imported_by_hand(path: Path, tmp_path: Path) -> None:
    written(path, a_document(tmp_path))
    (connector,) = read_connectors(path).rows
    assert (connector.name, connector.kind, connector.smart_hosts) == (
        "Hub",
        ConnectorKind.ON_PREMISES,
        ("mail.x.test",),
    )
    assert [(d.name, d.type) for d in read_domains(path).rows] == [("on.x.test", DomainType.INTERNAL_RELAY)]
    messages = read_messages(path)
    assert {(m.recipient, m.connector_key, m.backend) for m in messages.rows} == {
        ("here@on.x.test", connector.key, "files"),
        ("there@on.x.test", connector.key, "files"),
    }
    assert {m.code for m in messages.rows} == {"4.4.316"}
    assert messages.problems == ()
    recipients = read_recipients(path)
    assert (recipients.rows, recipients.complete) == (("here@on.x.test",), ("on.x.test",))


def test_what_a_document_lacks_is_told(path: Path, tmp_path: Path) -> None:
    document = a_document(tmp_path, directory=False, errors=[{"part": "queues", "where": "EX02", "text": "RPC"}])
    document["queues"][0]["Complete"] = False
    written(path, document | {"truncated": True})
    assert [p.text for p in read_messages(path).problems] == [
        "the script could not read all queues: EX02: RPC",
        "1 queues were not listed whole: give the script a larger -MaxMessages",
    ]
    with pytest.raises(UnreadableFile, match="no whole directory: let the script run with -DirectoryHours 6"):
        read_recipients(path)


@pytest.mark.parametrize("read", [read_connectors, read_domains, read_messages, read_recipients])
def test_a_spoiled_document_is_refused(path: Path, tmp_path: Path, read) -> None:
    written(path, a_document(tmp_path, counts={}))
    with pytest.raises(UnreadableFile, match="number of queues is not what it says"):
        read(path)


def test_json_of_something_else_is_no_list_of_recipients(path: Path) -> None:
    with pytest.raises(UnreadableFile, match="list one address a line"):
        read_recipients(written(path, {"a": 1}))


MESSAGE = {
    "Identity": "EX01\\15\\7864320",
    "FromAddress": "App@x.test",
    "DateReceived": "2026-11-24T04:30:00.0000000Z",
    "ExpirationTime": "/Date(1795667400000)/",
    "LastError": "450 4.4.316 Connection refused",
    "Recipients": [{"Address": "a@y.test", "Status": "Retry", "LastError": "450 4.4.315 Connection timed out"}],
}
FACTS = MessageFacts(
    backend="files",
    key="EX01\\15\\7864320",
    recipient="a@y.test",
    sender="app@x.test",
    received_at=AT,
    expires_at=AT + timedelta(days=2),
    reason="450 4.4.315 Connection timed out",
)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le"])
@pytest.mark.parametrize("single", [True, False])
def test_get_message_is_read(path: Path, encoding: str, single: bool) -> None:
    parsed = read_messages(written(path, MESSAGE if single else [MESSAGE], encoding))
    assert (parsed.rows, parsed.problems) == ((FACTS,), ())


@pytest.mark.parametrize(
    ("recipients", "wanted"),
    [
        (["a@y.test", "b@y.test"], [("a@y.test", None), ("b@y.test", None)]),
        ("a@y.test", [("a@y.test", None)]),
        ({"value": ["a@y.test"], "Count": 1}, [("a@y.test", None)]),
        ("{a@y.test;2;2;451 4.4.0 one;two;16;Hub;0}", [("a@y.test", "451 4.4.0 one;two")]),
        (["a@y.test;2;2;;16;Hub;0"], [("a@y.test", None)]),
        ([{"Address": "a@y.test", "Status": "Complete"}, {"Address": "b@y.test"}], [("b@y.test", None)]),
    ],
)
def test_recipients_are_read_in_every_form(path: Path, recipients: object, wanted: list[object]) -> None:
    parsed = read_messages(written(path, [MESSAGE | {"Recipients": recipients, "LastError": None}]))
    assert [(m.recipient, m.reason) for m in parsed.rows] == wanted


def test_get_message_as_csv_is_read(path: Path) -> None:
    content = (
        '#TYPE Selected.Message\n"Identity","FromAddress","DateReceived","ExpirationTime","LastError","Recipients"\n'
    )
    content += '"EX01\\15\\7864320","app@x.test","11/24/2026 4:30:00 AM","11/26/2026 4:30:00 AM","",'
    content += '"{a@y.test;2;2;450 4.4.315 Connection timed out;16;Hub;0}"\n'
    path.write_text(content)
    assert read_messages(path).rows == (FACTS,)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"Identity": {"InternalId": 5}}, QUEUE_COMMAND),
        ({"Identity": "5"}, "no text like EX01\\15\\7864320"),
        ({"DateReceived": None}, "DateReceived is empty"),
        ({"DateReceived": "soon"}, "DateReceived is 'soon'"),
        ({"Recipients": None}, "-IncludeRecipientInfo"),
        ({"Recipients": []}, "-IncludeRecipientInfo"),
        ({"Recipients": [{"Address": ""}]}, "a recipient is empty"),
        ({"Recipients": [["a@y.test"]]}, "a recipient is empty"),
        ({"FromAddress": "nobody"}, "FromAddress is 'nobody'"),
    ],
)
def test_a_message_that_cannot_be_used_is_named(path: Path, change: dict[str, object], says: str) -> None:
    good = MESSAGE | {"Identity": "EX01\\15\\1"}
    parsed = read_messages(written(path, [good, MESSAGE | change]))
    assert [m.key for m in parsed.rows] == ["EX01\\15\\1"]
    (problem,) = parsed.problems
    assert (problem.line, says in problem.text) == (2, True)


def test_get_queue_alone_is_refused_with_what_to_export(path: Path) -> None:
    queue = {"Identity": "EX01\\15", "DeliveryType": "SmartHostConnectorDelivery", "MessageCount": 37}
    with pytest.raises(UnreadableFile, match="lists queues, not the messages") as refusal:
        read_messages(written(path, [queue]))
    assert QUEUE_COMMAND in str(refusal.value)


CONNECTOR = {
    "Name": "Hub",
    "Guid": GUID,
    "Enabled": True,
    "DNSRoutingEnabled": False,
    "Port": 25,
    "RequireTLS": True,
    "TlsAuthLevel": "CertificateValidation",
    "AddressSpaces": ["SMTP:on.x.test;1", "SMTP:*.on.x.test;10"],
    "SmartHosts": ["mail.x.test", "[10.1.1.5]"],
}


@pytest.mark.parametrize("single", [True, False])
def test_get_send_connector_is_read(path: Path, single: bool) -> None:
    parsed = read_connectors(written(path, CONNECTOR if single else [CONNECTOR], "utf-16"))
    (found,) = parsed.rows
    assert parsed.problems == ()
    assert (found.key, found.name, found.kind) == (GUID, "Hub", ConnectorKind.PARTNER)
    assert (found.smart_hosts, found.port) == (("mail.x.test", "10.1.1.5"), 25)
    assert (found.recipient_domains, found.tls_setting) == (("on.x.test", "*.on.x.test"), TlsSetting.CERTIFICATE)


@pytest.mark.parametrize(
    ("change", "wanted"),
    [
        ({"ConnectorType": "OnPremises"}, ConnectorKind.ON_PREMISES),
        ({"SmartHosts": ["10.1.1.5"]}, ConnectorKind.ON_PREMISES),
        ({"SmartHosts": ["10.1.1.5"], "ConnectorType": "Partner"}, ConnectorKind.PARTNER),
    ],
)
def test_whose_server_it_is_may_be_said(path: Path, change: dict[str, object], wanted: ConnectorKind) -> None:
    assert read_connectors(written(path, [CONNECTOR | change])).rows[0].kind is wanted


def test_joined_cells_of_a_csv_are_taken_apart(path: Path) -> None:
    header = ",".join(f'"{name}"' for name in CONNECTOR)
    row = ["Hub", GUID, "True", "False", "25", "True", "CertificateValidation"]
    row += ["SMTP:on.x.test;1,SMTP:*.on.x.test;10", "mail.x.test;[10.1.1.5]"]
    path.write_text(header + "\n" + ",".join(f'"{cell}"' for cell in row))
    (found,) = read_connectors(path).rows
    assert (found.recipient_domains, found.smart_hosts) == (("on.x.test", "*.on.x.test"), ("mail.x.test", "10.1.1.5"))


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"AddressSpaces": [{"Type": "SMTP"}]}, "AddressSpaces is nested"),
        ({"AddressSpaces": None}, SEND_CONNECTORS_COMMAND),
        ({"Guid": None}, "Guid is empty"),
        ({"Name": ""}, "Name is empty"),
        ({"SmartHosts": []}, "nothing to probe"),
        ({"Enabled": "perhaps"}, "Enabled is 'perhaps'"),
    ],
)
def test_a_send_connector_that_cannot_be_used_is_named(path: Path, change: dict[str, object], says: str) -> None:
    parsed = read_connectors(written(path, [CONNECTOR | change]))
    assert parsed.rows == ()
    assert says in parsed.problems[0].text


def test_spoiled_address_spaces_are_refused_with_the_command(path: Path) -> None:
    spoiled = "Microsoft.Exchange.Data.MultiValuedProperty`1[Microsoft.Exchange.Data.AddressSpace]"
    with pytest.raises(UnreadableFile, match="AddressSpaces holds a type's name") as refusal:
        read_connectors(written(path, [CONNECTOR | {"AddressSpaces": spoiled}]))
    assert SEND_CONNECTORS_COMMAND in str(refusal.value)


def test_a_domain_of_exchange_server_may_cover_its_sub_domains(path: Path) -> None:
    rows = [{"DomainName": "*.x.test", "DomainType": "InternalRelay"}]
    assert [(d.name, d.match_subdomains) for d in read_domains(written(path, rows)).rows] == [("x.test", True)]


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=12),
    lambda one: st.lists(one, max_size=3) | st.dictionaries(st.text(max_size=8), one, max_size=3),
    max_leaves=6,
)


@given(
    st.sampled_from([MESSAGE, CONNECTOR]),
    st.dictionaries(st.sampled_from(sorted({*MESSAGE, *CONNECTOR, "format"})), VALUES, max_size=4),
)
@settings(max_examples=60)
def test_whatever_a_row_holds_the_readers_answer_or_refuse(
    tmp_path_factory: pytest.TempPathFactory, row: dict[str, object], change: dict[str, object]
) -> None:
    path = written(tmp_path_factory.mktemp("any") / "f", [row | change])
    for read in (read_messages, read_connectors, read_domains, read_recipients):
        try:
            parsed = read(path)
        except UnreadableFile as refusal:
            assert "\n" not in str(refusal)
        else:
            assert all("\n" not in problem.text for problem in parsed.problems)
