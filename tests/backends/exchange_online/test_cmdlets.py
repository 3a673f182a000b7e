"""Cmdlets over InvokeCommand: connectors, domains, paging, refusals, changes."""

from __future__ import annotations

import json
import uuid

import pytest

from bot.backends.exchange_online import ExchangeOnlineBackend
from bot.backends.exchange_online.connectors import connector_facts, united
from bot.backends.exchange_online.domains import domain_facts
from bot.backends.exchange_online.http import Answer
from bot.backends.exchange_online.invoke import CmdletError, NotAllowed, error_of, failure
from bot.backends.exchange_online.rows import Json
from bot.backends.ports import BackendError, OutcomeUnknown, Refused, Unreachable
from bot.core.capabilities import Capability
from bot.sandbox.exchange_online import Kind, SandboxTenant, TenantFault
from bot.sandbox.mail_system import DomainType as SandboxDomainType
from bot.sandbox.mail_system import MailSystem, TenantDomain
from storage.records import Caution, ConnectorKind, DomainType, TlsSetting
from tests.backends.exchange_online.bench import TO_ONPREM, TO_PARTNER, Waits
from tests.backends.exchange_online.conftest import Make

ROW: Json = {
    "Guid": TO_ONPREM.upper(),
    "Name": "To on-prem",
    "Enabled": True,
    "UseMXRecord": False,
    "ConnectorType": "OnPremises",
    "SmartHosts": ["[203.0.113.10]", "Mail.Contoso.test.", "203.0.113.0/24"],
    "RecipientDomains": ["Onprem.contoso.test", "*.onprem.test"],
    "TlsSettings": None,
    "TlsDomain": None,
    "IsTransportRuleScoped": False,
    "RouteAllMessagesViaOnPremises": False,
    "AllAcceptedDomains": False,
    "TestMode": False,
}


# --- rows ------------------------------------------------------------------------------------------------------------


def test_a_connectors_row_becomes_facts() -> None:
    facts, notes = connector_facts("exo", ROW)
    assert (facts.key, facts.name, facts.kind) == (TO_ONPREM, "To on-prem", ConnectorKind.ON_PREMISES)
    assert facts.smart_hosts == ("203.0.113.10", "mail.contoso.test", "203.0.113.0/24")
    assert facts.recipient_domains == ("onprem.contoso.test", "*.onprem.test")
    assert facts.cautions == frozenset()
    assert notes == ()


@pytest.mark.parametrize(
    ("value", "setting"),
    [
        (None, TlsSetting.OPPORTUNISTIC),
        ("", TlsSetting.OPPORTUNISTIC),
        ("EncryptionOnly", TlsSetting.ENCRYPTION),
        ("CertificateValidation", TlsSetting.CERTIFICATE),
        ("domainvalidation", TlsSetting.DOMAIN),
    ],
)
def test_tls_settings(value: str | None, setting: TlsSetting) -> None:
    facts, notes = connector_facts("exo", {**ROW, "TlsSettings": value})
    assert facts.tls_setting is setting
    assert notes == ()


@pytest.mark.parametrize("aside", ["IsTransportRuleScoped", "TestMode"])
def test_a_connector_that_mail_does_not_take_by_itself_claims_no_domain(aside: str) -> None:
    assert connector_facts("exo", {**ROW, aside: True})[0].recipient_domains == ()


def test_values_that_nobody_knows_yet_are_told_and_the_connector_is_kept() -> None:
    strange = {**ROW, "TlsSettings": "QuantumValidation", "ConnectorType": "Moon", "SmartHosts": ["a b", "ok.test"]}
    facts, notes = connector_facts("exo", strange)
    assert facts.kind is ConnectorKind.PARTNER
    assert facts.smart_hosts == ("ok.test",)
    assert len(notes) == 3
    assert all(note.startswith("connector To on-prem: ") for note in notes)


def test_absent_keys_are_not_false() -> None:
    told = {key: value for key, value in ROW.items() if key in ("Guid", "Name", "Enabled", "ConnectorType")}
    facts, notes = connector_facts("exo", told)
    assert facts.use_mx
    assert facts.cautions == frozenset(Caution)
    assert any("TLS setting is not told" in note for note in notes)
    with pytest.raises(ValueError, match="Enabled is not told"):
        connector_facts("exo", {key: value for key, value in ROW.items() if key != "Enabled"})


@pytest.mark.parametrize("broken", [{"Guid": "x"}, {"Guid": None}, {"Name": ""}, {"Enabled": "maybe"}])
def test_a_row_that_cannot_be_used_is_named(broken: Json) -> None:
    with pytest.raises(ValueError, match=r"Guid|Name|Enabled"):
        connector_facts("exo", {**ROW, **broken})


def test_what_makes_switching_off_dangerous_is_told() -> None:
    facts, _ = connector_facts("exo", {**ROW, "RouteAllMessagesViaOnPremises": True, "IsTransportRuleScoped": True})
    assert facts.cautions == {Caution.ROUTES_ALL_MAIL, Caution.RULE_SCOPED}
    assert facts.recipient_domains == ()
    all_mail, _ = connector_facts("exo", {**ROW, "RouteAllMessagesViaOnPremises": True})
    assert all_mail.recipient_domains[-1] == "*"


def test_each_connector_counts_once_whichever_read_gave_it() -> None:
    assert len(united([ROW, {**ROW, "Guid": TO_ONPREM}, {**ROW, "Guid": TO_PARTNER}])) == 2
    with pytest.raises(Unreachable, match="Guid"):
        united([{"Name": "x"}])


def test_a_domains_row_becomes_facts() -> None:
    row = {"DomainName": "Onprem.test", "DomainType": "InternalRelay", "MatchSubDomains": False}
    found = domain_facts("exo", row)
    assert (found.name, found.type, found.match_subdomains) == ("onprem.test", DomainType.INTERNAL_RELAY, False)
    assert domain_facts("exo", {"DomainName": "a.test", "DomainType": "InternalRelay"}).match_subdomains
    for broken in ({"DomainName": ""}, {"DomainType": "Moon"}):
        with pytest.raises(ValueError, match="Domain"):
            domain_facts("exo", {**row, **broken})


# --- errors ----------------------------------------------------------------------------------------------------------


def said(**error: object) -> bytes:
    return json.dumps({"error": error}).encode()


@pytest.mark.parametrize(
    ("body", "words", "type_name"),
    [
        (
            said(
                message="Error executing cmdlet",
                details=[{"message": "Ex6F9304|Microsoft.X.ManagementObjectNotFoundException|not the text"}],
                innererror={"internalexception": {"message": "the real text", "type": "Microsoft.Y.RealException"}},
            ),
            "the real text",
            "RealException",
        ),
        (
            said(
                message="Invalid Operation",
                details=[{"message": "Ex6F9304|Microsoft.X.ManagementObjectNotFoundException|couldn't\nbe found"}],
            ),
            "couldn't be found",
            "ManagementObjectNotFoundException",
        ),
        (said(message="|Microsoft.X.SomeException|short"), "short", "SomeException"),
        (said(message="Invalid Operation", details="odd"), "Invalid Operation", ""),
        (b"\0" * 512, "", ""),
        (b"[]", "", ""),
        (b'{"error": "text"}', "", ""),
    ],
)
def test_the_real_words_of_an_error_and_its_type(body: bytes, words: str, type_name: str) -> None:
    assert error_of(body) == (words, type_name)


@pytest.mark.parametrize(
    ("status", "body", "repeatable", "kind"),
    [
        (401, b"", True, NotAllowed),
        (403, b"\0" * 100, True, NotAllowed),
        (400, said(message="no"), False, CmdletError),
        (503, b"", True, Unreachable),
        (503, b"", False, OutcomeUnknown),
        (302, b"", True, Unreachable),
        (302, b"", False, OutcomeUnknown),
    ],
)
def test_what_an_answer_means(status: int, body: bytes, repeatable: bool, kind: type[BackendError]) -> None:
    found = failure(Answer(status, {}, body), "Set-X", "reader", "P", repeatable=repeatable)
    assert type(found) is kind


# --- reading over the wire ---------------------------------------------------------------------------------------


async def test_hidden_connectors_are_found(backend: ExchangeOnlineBackend, tenant: SandboxTenant) -> None:
    tenant.settings.describe(TO_ONPREM, TestMode=True)
    tenant.settings.describe(TO_PARTNER, IsTransportRuleScoped=True)
    found = {c.key: c.cautions for c in (await backend.snapshot()).connectors or ()}
    assert found == {TO_ONPREM: {Caution.TEST_MODE}, TO_PARTNER: {Caution.RULE_SCOPED}}
    hidden = await backend.connector(TO_ONPREM)
    assert hidden is not None and hidden.name == "To on-prem"


async def test_an_identity_that_is_ignored_never_gives_another_object(
    backend: ExchangeOnlineBackend, tenant: SandboxTenant
) -> None:
    tenant.faults.set(TenantFault.IDENTITY_IGNORED)
    partner = await backend.connector(TO_PARTNER)
    assert partner is not None and partner.name == "Partner"
    assert await backend.connector(str(uuid.uuid4())) is None
    domain = await backend.domain("Plants.test")
    assert domain is not None and domain.name == "plants.test"
    assert await backend.domain("elsewhere.test") is None


async def test_what_is_not_there_is_none(backend: ExchangeOnlineBackend) -> None:
    assert await backend.connector(str(uuid.uuid4())) is None
    assert await backend.domain("elsewhere.test") is None


async def test_a_403_of_nul_bytes_is_a_missing_role(backend: ExchangeOnlineBackend, tenant: SandboxTenant) -> None:
    tenant.faults.set(TenantFault.NUL_403, on="Get-OutboundConnector")
    with pytest.raises(NotAllowed, match=r"run Get-OutboundConnector \(403\)"):
        await backend.snapshot()
    tenant.faults.clear()
    tenant.faults.set(TenantFault.NO_APP_ROLE, on="Get-OutboundConnector")
    with pytest.raises(NotAllowed, match=r"Exchange\.ManageAsApp"):
        await backend.snapshot()


async def test_too_many_at_once_in_plain_text_is_waited_out(
    backend: ExchangeOnlineBackend, tenant: SandboxTenant, waits: Waits
) -> None:
    tenant.faults.too_many_status = 200
    tenant.faults.set(TenantFault.TOO_MANY_AT_ONCE, on="Get-AcceptedDomain", times=2)
    assert (await backend.snapshot()).domains
    assert waits.long_ones == [3.0, 6.0]


async def test_more_domains_than_a_page_holds_are_read_whole(
    backend: ExchangeOnlineBackend, mail: MailSystem, tenant: SandboxTenant
) -> None:
    for number in range(2500):
        mail.tenant.add_domain(TenantDomain(name=f"d{number}.test"))
    assert len((await backend.snapshot()).domains or ()) == 2503
    assert tenant.faults.seen[Kind.CMDLET_PAGE] == 2
    for fault, kind in (
        (TenantFault.LINK_EXPIRED, Refused),
        (TenantFault.LINK_ELSEWHERE, Unreachable),
        (TenantFault.LINK_ENDLESS, Unreachable),
    ):
        tenant.faults.set(fault, on=Kind.CMDLET_PAGE)
        with pytest.raises(kind):
            await backend.recipients(["x@d1.test"])
        tenant.faults.clear()
    assert tenant.faults.seen[Kind.STRANGER] == 0


@pytest.mark.parametrize("cmdlet", ["Get-OutboundConnector", "Get-AcceptedDomain"])
async def test_a_list_of_which_exchange_says_that_there_is_more_is_not_taken_for_a_whole_one(
    cmdlet: str, backend: ExchangeOnlineBackend, tenant: SandboxTenant
) -> None:
    tenant.faults.set(TenantFault.CUT_LIST, on=cmdlet)
    with pytest.raises(Unreachable, match="did not give all"):
        await backend.snapshot()


async def test_a_page_that_says_so_and_links_to_the_rest_is_followed(
    backend: ExchangeOnlineBackend, tenant: SandboxTenant
) -> None:
    tenant.faults.set(TenantFault.WARNED_PAGE)
    read = await backend.snapshot()
    assert (len(read.connectors or ()), len(read.domains or ())) == (2, 3)
    answer = await backend.recipients(["bob@onprem.test", "o'hara@onprem.test", "gone@onprem.test"])
    assert answer.invalid == frozenset({"gone@onprem.test"})


async def test_the_official_api_gives_the_domains_too(make: Make, tenant: SandboxTenant) -> None:
    snapshot = await make(ACCEPTED_DOMAINS_API="v2").snapshot()
    assert {d.name for d in snapshot.domains or ()} == {"contoso.test", "onprem.test", "plants.test"}
    assert tenant.faults.seen[Kind.DOMAINS_V2] == 1
    assert tenant.faults.seen["Get-AcceptedDomain"] == 0


# --- changes ---------------------------------------------------------------------------------------------------------


async def test_a_connector_is_switched_once_and_read_back(
    backend: ExchangeOnlineBackend, tenant: SandboxTenant
) -> None:
    for _ in range(2):
        await backend.set_connector_enabled(TO_ONPREM, enabled=False)
    found = await backend.connector(TO_ONPREM)
    assert found is not None and not found.enabled
    assert tenant.faults.done["Set-OutboundConnector"] == tenant.faults.seen["Set-OutboundConnector"] == 1
    await backend.set_connector_enabled(TO_ONPREM, enabled=True)
    assert tenant.faults.done["Set-OutboundConnector"] == 2


async def test_a_connector_that_can_not_be_read_is_not_switched(
    backend: ExchangeOnlineBackend, tenant: SandboxTenant
) -> None:
    tenant.settings.describe(TO_ONPREM, Enabled="perhaps")
    with pytest.raises(Unreachable, match="Enabled is no boolean"):
        await backend.set_connector_enabled(TO_ONPREM, enabled=False)
    assert tenant.faults.done["Set-OutboundConnector"] == 0


async def test_a_domain_becomes_authoritative_once_and_back(
    backend: ExchangeOnlineBackend, tenant: SandboxTenant, mail: MailSystem
) -> None:
    for _ in range(2):
        await backend.set_domain_type("onprem.test", DomainType.AUTHORITATIVE)
    assert mail.tenant.domains["onprem.test"].type is SandboxDomainType.AUTHORITATIVE
    assert tenant.faults.seen["Set-AcceptedDomain"] == 1
    await backend.set_domain_type("onprem.test", DomainType.INTERNAL_RELAY)
    found = await backend.domain("onprem.test")
    assert found is not None and found.type is DomainType.INTERNAL_RELAY


async def test_what_cannot_be_changed_is_refused_before_anything_is_sent(
    backend: ExchangeOnlineBackend, tenant: SandboxTenant
) -> None:
    with pytest.raises(Refused, match="sub-domains"):
        await backend.set_domain_type("plants.test", DomainType.AUTHORITATIVE)
    with pytest.raises(Refused, match="no accepted domain"):
        await backend.set_domain_type("elsewhere.test", DomainType.AUTHORITATIVE)
    with pytest.raises(Refused, match="no outbound connector"):
        await backend.set_connector_enabled(str(uuid.uuid4()), enabled=False)
    assert tenant.faults.seen["Set-AcceptedDomain"] == tenant.faults.seen["Set-OutboundConnector"] == 0


@pytest.mark.parametrize("fault", [TenantFault.RESET, TenantFault.SERVER_ERROR, TenantFault.NOT_JSON])
async def test_a_change_without_a_clear_answer_is_sent_once_and_unknown(
    fault: TenantFault, backend: ExchangeOnlineBackend, tenant: SandboxTenant
) -> None:
    tenant.faults.set(fault, on="Set-OutboundConnector")
    with pytest.raises(OutcomeUnknown):
        await backend.set_connector_enabled(TO_ONPREM, enabled=False)
    assert tenant.faults.seen["Set-OutboundConnector"] == 1


async def test_a_change_whose_answer_is_lost_is_unknown_and_can_be_read(make: Make, tenant: SandboxTenant) -> None:
    backend = make(TIMEOUT="0.5")
    tenant.faults.set(TenantFault.ANSWER_LOST, on="Set-OutboundConnector")
    with pytest.raises(OutcomeUnknown):
        await backend.set_connector_enabled(TO_ONPREM, enabled=False)
    found = await backend.connector(TO_ONPREM)
    assert found is not None and not found.enabled
    assert tenant.faults.done["Set-OutboundConnector"] == 1


async def test_a_change_that_was_too_much_at_once_is_sent_again(
    backend: ExchangeOnlineBackend, tenant: SandboxTenant
) -> None:
    tenant.faults.set(TenantFault.THROTTLED, on="Set-AcceptedDomain", times=1)
    await backend.set_domain_type("onprem.test", DomainType.AUTHORITATIVE)
    assert tenant.faults.done["Set-AcceptedDomain"] == 1


async def test_without_a_fixer_nothing_can_be_changed(make: Make, tenant: SandboxTenant) -> None:
    reader = make(fixer=False)
    assert Capability.SET_CONNECTOR_ENABLED not in reader.capabilities
    assert Capability.REJECTS_AT_RETRY not in reader.capabilities
    with pytest.raises(Refused, match="MFI_EXO_FIXER_CLIENT_ID"):
        await reader.set_connector_enabled(TO_ONPREM, enabled=False)
    acting = make().capabilities
    assert {Capability.SET_DOMAIN_TYPE, Capability.REJECTS_AT_RETRY} <= acting
    assert not {Capability.REJECT_MESSAGES, Capability.RETRY_QUEUE} & acting


async def test_what_exchange_online_does_not_offer_is_refused(backend: ExchangeOnlineBackend) -> None:
    with pytest.raises(Refused, match="nobody can reject"):
        await backend.reject([], "x")
    with pytest.raises(Refused, match="retries by itself"):
        await backend.retry(TO_ONPREM)
