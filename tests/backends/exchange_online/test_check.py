"""What `mfi doctor` says of a tenant: each missing right with its exact fix."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from bot.backends.exchange_online import ExchangeOnlineBackend
from bot.core.finding import Finding
from bot.sandbox.exchange_online import Kind, Permission, Role, SandboxTenant, TenantFault, write_certificate
from tests.backends.exchange_online.bench import Waits
from tests.backends.exchange_online.conftest import Make


async def faults_of(backend: ExchangeOnlineBackend) -> list[Finding]:
    return [finding for finding in await backend.check() if finding.level == "fault"]


async def test_a_tenant_that_is_set_up_well_has_no_fault(make: Make, tenant: SandboxTenant) -> None:
    findings = await make(certificate=True).check()
    assert {finding.level for finding in findings} == {"ok"}
    assert len(findings) == 5
    assert tenant.faults.done == {}


async def test_secrets_and_a_missing_fixer_are_noted(make: Make) -> None:
    findings = await make(fixer=False).check()
    notes = [finding for finding in findings if finding.level == "note"]
    assert any("signs in with a secret" in note.says for note in notes)
    assert any("MFI_EXO_FIXER_CLIENT_ID" in note.fix for note in notes)


@pytest.mark.parametrize(
    ("trouble", "says", "fix"),
    [
        (
            (TenantFault.NO_SERVICE_PRINCIPAL, None),
            "service principal of the message trace",
            "New-MgServicePrincipal -AppId 8bd644d1-64a1-4d4b-ae52-2e0cbf64e373",
        ),
        ((TenantFault.NO_PERMISSION, None), "ExchangeMessageTrace.Read.All", "Grant admin consent"),
        ((TenantFault.NO_APP_ROLE, "Get-OutboundConnector"), "Exchange.ManageAsApp", "Office 365 Exchange Online"),
        ((TenantFault.NUL_403, "Get-OutboundConnector"), "lacks an Exchange role", "View-Only Configuration"),
        ((TenantFault.NUL_403, "Get-Recipient"), "lacks an Exchange role", "View-Only Recipients"),
        ((TenantFault.NUL_403, "Set-AcceptedDomain"), "the fixer lacks", "Remote and Accepted Domains"),
        ((TenantFault.CREDENTIAL_EXPIRED, None), "expired", "make a new one"),
        ((TenantFault.SERVER_ERROR, Kind.TRACE), "the message trace", "check the network"),
    ],
)
async def test_each_missing_right_has_its_own_fix(
    trouble: tuple[TenantFault, str | None], says: str, fix: str, make: Make, tenant: SandboxTenant
) -> None:
    tenant.faults.set(trouble[0], on=trouble[1])
    found = await faults_of(make())
    assert any(says in finding.says and fix in finding.fix for finding in found), found
    assert all(finding.fix for finding in found)


async def test_rights_are_really_looked_at(make: Make, tenant: SandboxTenant) -> None:
    tenant.fixer.roles = frozenset({Role.VIEW_CONFIGURATION})
    tenant.reader.permissions = frozenset({Permission.MANAGE})
    says = " ".join(finding.says for finding in await faults_of(make()))
    assert "the fixer lacks an Exchange role" in says
    assert "ExchangeMessageTrace.Read.All" in says


async def test_the_official_api_wants_another_permission(make: Make, tenant: SandboxTenant) -> None:
    tenant.reader.permissions = frozenset({Permission.MANAGE, Permission.TRACE})
    assert await faults_of(make()) == []
    (finding,) = await faults_of(make(ACCEPTED_DOMAINS_API="v2"))
    assert "Exchange.ManageAsAppV2" in finding.says and "Exchange.ManageAsAppV2" in finding.fix


async def test_a_sign_in_that_fails_is_told_once(make: Make) -> None:
    found = await faults_of(make(CLIENT_SECRET="guessed"))
    assert len(found) == 1
    assert "the reader can't sign in" in found[0].says
    assert "guessed" not in repr(found)


async def test_a_throttled_trace_is_no_fault(make: Make, tenant: SandboxTenant) -> None:
    tenant.faults.set(TenantFault.THROTTLED, on=Kind.TRACE)
    findings = await make().check()
    assert any(f.level == "note" and "too many requests" in f.says for f in findings)


async def test_a_certificate_that_ends_soon_is_a_fault(make: Make, tenant: SandboxTenant) -> None:
    fresh = write_certificate(tenant.reader.certificate_file, "reader", datetime.now(UTC), lasts=timedelta(days=9))
    tenant.reader.register(fresh)
    found = await faults_of(make(certificate=True))
    assert any("the reader's certificate ends on" in finding.says for finding in found)


async def test_a_clock_that_is_off_is_a_fault(make: Make, tenant: SandboxTenant) -> None:
    tenant.faults.ahead = timedelta(minutes=-4)
    found = await faults_of(make())
    assert any("s ahead of Microsoft's" in finding.says and "timedatectl" in finding.fix for finding in found)


async def test_nobody_there_is_one_clear_line_per_thing(make: Make) -> None:
    nowhere = "https://127.0.0.1:9/v1.0"
    found = await faults_of(make(GRAPH_URL=nowhere))
    assert any("can't be reached" in finding.says for finding in found)


async def test_a_certificate_that_is_not_known_is_told_at_once_instead_of_waited_for(
    make: Make, tenant: SandboxTenant, waits: Waits
) -> None:
    tenant.faults.set(TenantFault.CERTIFICATE_UNKNOWN, on=Kind.SIGN_IN)
    found = await faults_of(make(certificate=True))
    assert ["AADSTS" in finding.says or "not known there" in finding.says for finding in found] == [True, True]
    assert waits.long_ones == []
