"""Exports of Get-OutboundConnector and Get-AcceptedDomain, right and spoiled."""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path

import pytest

from bot.backends.files import CONNECTORS_COMMAND, DOMAINS_COMMAND, UnreadableFile, read_connectors, read_domains
from storage.records import ConnectorFacts, ConnectorKind, DomainFacts, DomainType, TlsSetting

ROW: dict[str, object] = {
    "Enabled": True,
    "UseMXRecord": False,
    "Comment": "",
    "ConnectorType": "OnPremises",
    "ConnectorSource": "AdminUI",
    "RecipientDomains": ["onprem.contoso.com", "*.Contoso.com"],
    "SmartHosts": ["[mail.contoso.com]", "203.0.113.10"],
    "TlsDomain": None,
    "TlsSettings": "CertificateValidation",
    "IsTransportRuleScoped": False,
    "RouteAllMessagesViaOnPremises": False,
    "Name": "To on-prem",
    "Guid": "D0D71CB9-0000-4000-8000-000000000001",
}
FACTS = ConnectorFacts(
    backend="files",
    key="d0d71cb9-0000-4000-8000-000000000001",
    name="To on-prem",
    kind=ConnectorKind.ON_PREMISES,
    smart_hosts=("mail.contoso.com", "203.0.113.10"),
    recipient_domains=("onprem.contoso.com", "*.contoso.com"),
    tls_setting=TlsSetting.CERTIFICATE,
)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "export"


def written(path: Path, *rows: object) -> Path:
    path.write_text(json.dumps(rows))
    return path


def as_csv(path: Path, *rows: dict[str, object], delimiter: str = ",") -> Path:
    cells = [list(rows[0]), *([str(v) for v in row.values()] for row in rows)]
    path.write_text("\n".join(delimiter.join(f'"{c}"' for c in line) for line in cells))
    return path


def test_the_export_as_json_is_read(path: Path) -> None:
    parsed = read_connectors(written(path, ROW))
    assert parsed.rows == (FACTS,)
    assert parsed.problems == ()


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
@pytest.mark.parametrize("joint", [";", ",", ", "])
def test_the_export_as_csv_is_read(path: Path, delimiter: str, joint: str) -> None:
    row = ROW | {c: joint.join(ROW[c]) for c in ("SmartHosts", "RecipientDomains")}
    row |= {"TlsDomain": "", "Guid": "{D0D71CB9-0000-4000-8000-000000000001}"}
    assert read_connectors(as_csv(path, row, delimiter=delimiter)).rows == (FACTS,)


def test_our_own_columns_are_read(path: Path) -> None:
    extra = {"Port": 2525, "AlertChannel": "C0ALERTS", "PartnerContact": "Fabrikam desk", "ProbeInterval": "90"}
    (found,) = read_connectors(written(path, ROW | extra), "lab").rows
    assert (found.backend, found.port, found.alert_channel) == ("lab", 2525, "C0ALERTS")
    assert (found.partner_contact, found.probe_interval) == ("Fabrikam desk", timedelta(seconds=90))


@pytest.mark.parametrize(
    ("setting", "wanted"),
    [
        (None, TlsSetting.OPPORTUNISTIC),
        ("", TlsSetting.OPPORTUNISTIC),
        ("EncryptionOnly", TlsSetting.ENCRYPTION),
        ("encryption only", TlsSetting.ENCRYPTION),
        ("CertificateValidation", TlsSetting.CERTIFICATE),
        ("DomainValidation", TlsSetting.DOMAIN),
    ],
)
def test_the_tls_setting_is_exchanges(path: Path, setting: str | None, wanted: TlsSetting) -> None:
    assert read_connectors(written(path, ROW | {"TlsSettings": setting})).rows[0].tls_setting is wanted


@pytest.mark.parametrize(
    ("change", "field", "wanted"),
    [
        ({"ConnectorType": "Partner"}, "kind", ConnectorKind.PARTNER),
        ({"Enabled": "False"}, "enabled", False),
        ({"Enabled": False}, "enabled", False),
        ({"Enabled": None}, "enabled", True),
        ({"UseMXRecord": "True", "SmartHosts": None}, "use_mx", True),
        ({"SmartHosts": "Mail.contoso.com."}, "smart_hosts", ("mail.contoso.com",)),
        ({"SmartHosts": ["198.51.100.0/24", "[2001:db8::1]"]}, "smart_hosts", ("198.51.100.0/24", "2001:db8::1")),
        ({"SmartHosts": {"value": ["a.test", "b.test"], "Count": 2}}, "smart_hosts", ("a.test", "b.test")),
        ({"RecipientDomains": "*"}, "recipient_domains", ("*",)),
        ({"RecipientDomains": None}, "recipient_domains", ()),
        ({"IsTransportRuleScoped": "True"}, "recipient_domains", ()),
        ({"RecipientDomains": [], "RouteAllMessagesViaOnPremises": True}, "recipient_domains", ("*",)),
        ({"TlsDomain": "*.contoso.com"}, "tls_domain", "*.contoso.com"),
        ({"Guid": None}, "key", "name:to on-prem"),
        ({"Name": "Ümlaut <!channel>\x00"}, "name", "Ümlaut <!channel>"),
    ],
)
def test_every_way_to_say_it_is_understood(path: Path, change: dict[str, object], field: str, wanted: object) -> None:
    parsed = read_connectors(written(path, ROW | change))
    assert parsed.problems == ()
    assert getattr(parsed.rows[0], field) == wanted


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"Name": " "}, "Name is empty"),
        ({"ConnectorType": "Upside down"}, "ConnectorType is 'Upside down'"),
        ({"ConnectorType": ""}, "ConnectorType is ''"),
        ({"TlsSettings": "?"}, "TlsSettings is '?'"),
        ({"TlsSettings": 2}, "TlsSettings is '2'"),
        ({"Enabled": "perhaps"}, "Enabled is 'perhaps', neither True nor False"),
        ({"SmartHosts": []}, "has neither SmartHosts nor UseMXRecord"),
        ({"SmartHosts": ["two words"]}, "SmartHosts has 'two words'"),
        ({"SmartHosts": ["<!channel>"]}, "SmartHosts has '<!channel>'"),
        ({"SmartHosts": [["nested"]]}, "SmartHosts is nested"),
        ({"RecipientDomains": ["a@b.test"]}, "RecipientDomains has 'a@b.test'"),
        ({"Port": 70000}, "Port is '70000'"),
        ({"ProbeInterval": "-5"}, "ProbeInterval is '-5'"),
        ({"AlertChannel": "#mail"}, "AlertChannel is '#mail': give the channel's id"),
    ],
)
def test_a_bad_row_is_named_and_the_good_one_kept(path: Path, change: dict[str, object], says: str) -> None:
    other = ROW | {"Guid": "other", "Name": "Other"}
    parsed = read_connectors(written(path, ROW | change, other))
    assert [c.name for c in parsed.rows] == ["Other"]
    (problem,) = parsed.problems
    assert problem.line == 1
    assert says in problem.text


def test_a_connector_that_stands_there_twice_is_taken_once(path: Path) -> None:
    parsed = read_connectors(written(path, ROW, ROW | {"Name": "Second"}))
    assert parsed.rows == (FACTS,)
    assert "'Second' stands in the file twice" in parsed.problems[0].text


SPOILED = ["System.String[]", "System.Collections.ArrayList", "System.Object[]"]
SPOILED += ["Microsoft.Exchange.Data.MultiValuedProperty`1[System.String]"]


@pytest.mark.parametrize("column", ["SmartHosts", "RecipientDomains"])
@pytest.mark.parametrize("spoiled", SPOILED)
def test_a_spoiled_column_is_named_with_the_command_that_exports_it_right(
    path: Path, column: str, spoiled: str
) -> None:
    row = ROW | {"SmartHosts": "mail.contoso.com", "RecipientDomains": "*", "TlsDomain": ""} | {column: spoiled}
    for file in (as_csv(path, row), written(path, row)):
        with pytest.raises(UnreadableFile) as refusal:
            read_connectors(file)
        assert column in str(refusal.value)
        assert CONNECTORS_COMMAND in str(refusal.value)
        assert "\n" not in str(refusal.value)


@pytest.mark.parametrize(
    ("read", "content", "lacking", "command"),
    [
        (read_connectors, "Name,Date\na,b\n", "'ConnectorType'", CONNECTORS_COMMAND),
        (read_connectors, '[{"Sender": 1}]', "'Name', 'ConnectorType'", CONNECTORS_COMMAND),
        (read_domains, "Name,DomainType\na,b\n", "'DomainName'", DOMAINS_COMMAND),
        (read_domains, '{"DomainName": 1}', "'DomainType'", DOMAINS_COMMAND),
    ],
)
def test_a_file_of_something_else_is_refused_with_the_right_command(
    path: Path, read, content: str, lacking: str, command: str
) -> None:
    path.write_text(content)
    with pytest.raises(UnreadableFile, match=f"has no column {lacking}; export with: ") as refusal:
        read(path)
    assert command in str(refusal.value)


DOMAIN = {
    "DomainName": "OnPrem.contoso.com",
    "DomainType": "InternalRelay",
    "MatchSubDomains": "True",
    "Default": False,
}


def test_domains_are_read(path: Path) -> None:
    kinds = ("Authoritative", "InternalRelay", "ExternalRelay")
    rows = [DOMAIN | {"DomainName": k + ".test", "DomainType": k, "MatchSubDomains": None} for k in kinds]
    parsed = read_domains(written(path, DOMAIN, *rows))
    relay = DomainFacts(
        backend="files", name="onprem.contoso.com", type=DomainType.INTERNAL_RELAY, match_subdomains=True
    )
    assert parsed.rows[0] == relay
    assert [(d.type, d.match_subdomains) for d in parsed.rows[1:]] == [(t, False) for t in DomainType]


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"DomainName": ""}, "DomainName is ''"),
        ({"DomainName": "a b"}, "DomainName is 'a b'"),
        ({"DomainType": "Other"}, "DomainType is 'Other'"),
        ({"MatchSubDomains": "?"}, "MatchSubDomains is '?'"),
    ],
)
def test_a_bad_domain_is_named(path: Path, change: dict[str, object], says: str) -> None:
    parsed = read_domains(written(path, DOMAIN | change))
    assert parsed.rows == ()
    assert says in parsed.problems[0].text
