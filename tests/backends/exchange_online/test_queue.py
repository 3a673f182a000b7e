"""The queue from the message trace of a tenant: what waits, why, and how it left."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from bot.backends.exchange_online import ExchangeOnlineBackend
from bot.backends.ports import BackendError, Refused, Snapshot, Unreachable
from bot.sandbox.exchange_online import Kind, SandboxTenant, TenantFault
from bot.sandbox.mail_system import MailSystem, TenantConnector
from storage.records import ConnectorKind, DomainType, MessageFacts, MessageStatus
from tests.backends.exchange_online.bench import (
    REFUSED,
    START,
    TO_ONPREM,
    TO_PARTNER,
    Clock,
    Waits,
    defer,
    deliver,
    made,
)
from tests.backends.exchange_online.conftest import Make

TRACE_KINDS = (Kind.TRACE, Kind.TRACE_PAGE, Kind.DETAIL)


def by_recipient(messages: object) -> dict[str, MessageFacts]:
    assert isinstance(messages, list | tuple)
    found = {m.recipient: m for m in messages}
    assert len(found) == len(messages)
    return found


def waiting(snapshot: Snapshot) -> dict[str, MessageFacts]:
    return by_recipient(snapshot.messages)


def refs(mail: MailSystem) -> dict[str, tuple[str, str]]:
    return {entry.recipient: entry.ref for entry in mail.tenant.queued()}


async def test_a_snapshot_holds_connectors_domains_and_what_waits_with_reasons(backend: ExchangeOnlineBackend) -> None:
    snapshot = await backend.snapshot()
    assert [(c.name, c.kind) for c in snapshot.connectors or ()] == [
        ("To on-prem", ConnectorKind.ON_PREMISES),
        ("Partner", ConnectorKind.PARTNER),
    ]
    assert {d.name: d.type for d in snapshot.domains or ()}["onprem.test"] is DomainType.INTERNAL_RELAY
    bob = waiting(snapshot)["bob@onprem.test"]
    assert bob.backend == "exo"
    assert bob.received_at == START - timedelta(hours=1)
    assert bob.expires_at == START + timedelta(hours=23)
    assert (bob.code, bob.remote_host, bob.remote_ip) == ("4.4.316", "mail.onprem.test", "203.0.113.10")
    assert bob.evidence_at == START
    assert set(waiting(snapshot)) == {
        "bob@onprem.test",
        "gone@onprem.test",
        "o'hara@onprem.test",
        "eve@fabrikam.test",
    }
    assert snapshot.notes == ()  # all reasons are known: nothing to tell


async def test_details_are_cached_for_half_an_hour(
    backend: ExchangeOnlineBackend, tenant: SandboxTenant, clock: Clock
) -> None:
    first = await backend.snapshot()
    clock.forward(minutes=6)
    again = await backend.snapshot()
    assert tenant.faults.seen[Kind.DETAIL] == 4
    assert by_recipient(again.messages) == by_recipient(first.messages)
    clock.forward(minutes=30)
    await backend.snapshot()
    assert tenant.faults.seen[Kind.DETAIL] == 8


async def test_mail_in_flight_is_left_out_until_it_has_settled(
    backend: ExchangeOnlineBackend, mail: MailSystem, clock: Clock
) -> None:
    mail.tenant.submit("ann@contoso.test", ["new@onprem.test"], now=START)
    first = await backend.snapshot()
    assert "new@onprem.test" not in waiting(first)
    assert "1 pending message is in flight and was left out" in first.notes
    clock.forward(minutes=16)
    assert "new@onprem.test" in waiting(await backend.snapshot())


async def test_what_left_was_delivered_unless_it_failed(
    backend: ExchangeOnlineBackend, mail: MailSystem, tenant: SandboxTenant, clock: Clock
) -> None:
    first = await backend.snapshot()
    assert first.vanished is MessageStatus.GONE
    ref = refs(mail)
    clock.forward(minutes=6)
    deliver(mail, ref["bob@onprem.test"], clock())
    mail.tenant.reject([ref["gone@onprem.test"]], "550 5.1.10 RESOLVER.ADR.RecipientNotFound", clock())
    second = await backend.snapshot()
    assert set(waiting(second)) == {"o'hara@onprem.test", "eve@fabrikam.test"}
    assert second.vanished is MessageStatus.DELIVERED
    (gone,) = second.ended
    assert (gone.recipient, gone.status) == ("gone@onprem.test", MessageStatus.REJECTED)
    assert gone.reason is not None and "5.1.10" in gone.reason
    clock.forward(minutes=6)
    assert (await backend.snapshot()).ended == [gone]
    clock.forward(hours=2)
    assert (await backend.snapshot()).ended == []


async def test_what_expired_is_told_as_expired(backend: ExchangeOnlineBackend, mail: MailSystem, clock: Clock) -> None:
    clock.now = START + timedelta(hours=19, minutes=30)
    await backend.snapshot()
    clock.now = START + timedelta(hours=20, minutes=1)
    mail.tenant.sweep(clock())
    snapshot = await backend.snapshot()
    (eve,) = snapshot.ended
    assert (eve.recipient, eve.status) == ("eve@fabrikam.test", MessageStatus.EXPIRED)


async def test_the_first_read_tells_of_every_failure_of_the_window(make: Make, mail: MailSystem, clock: Clock) -> None:
    mail.tenant.reject([refs(mail)["gone@onprem.test"]], "550 5.1.10 not found", clock())
    snapshot = await make().snapshot()
    assert [m.recipient for m in snapshot.ended] == ["gone@onprem.test"]


async def test_without_the_failed_ones_nobody_says_delivered(
    backend: ExchangeOnlineBackend, mail: MailSystem, tenant: SandboxTenant, clock: Clock
) -> None:
    await backend.snapshot()
    clock.forward(minutes=6)
    deliver(mail, refs(mail)["bob@onprem.test"], clock())
    tenant.faults.set(TenantFault.SERVER_ERROR, on=Kind.TRACE, skip=2, times=3)
    snapshot = await backend.snapshot()
    assert snapshot.vanished is MessageStatus.GONE
    assert any("how 1 message left is not known" in note for note in snapshot.notes)


async def test_mail_whose_status_is_being_looked_up_still_waits(
    backend: ExchangeOnlineBackend, mail: MailSystem, tenant: SandboxTenant, clock: Clock
) -> None:
    await backend.snapshot()
    clock.forward(minutes=6)
    for ref in refs(mail).values():
        tenant.trace.show_as(ref, "gettingStatus")
    assert len((await backend.snapshot()).messages or ()) == 4
    clock.forward(minutes=6)
    tenant.trace.show_as(refs(mail)["bob@onprem.test"], "delivered")
    snapshot = await backend.snapshot()
    assert (len(snapshot.messages or ()), snapshot.vanished) == (3, MessageStatus.DELIVERED)


async def test_nobody_says_delivered_where_it_is_not_known_whose_status_is_being_looked_up(
    backend: ExchangeOnlineBackend, mail: MailSystem, tenant: SandboxTenant, clock: Clock
) -> None:
    await backend.snapshot()
    clock.forward(minutes=6)
    deliver(mail, refs(mail)["bob@onprem.test"], clock())
    tenant.faults.set(TenantFault.SERVER_ERROR, on=Kind.TRACE, skip=1, times=3)
    snapshot = await backend.snapshot()
    assert snapshot.vanished is MessageStatus.GONE
    assert any("whether 1 message left is not known" in note for note in snapshot.notes)
    assert len(waiting(snapshot)) == 3


async def test_a_status_that_nobody_knows_is_told_and_no_longer_counts_as_waiting(
    backend: ExchangeOnlineBackend, tenant: SandboxTenant, clock: Clock
) -> None:
    await backend.snapshot()
    clock.forward(minutes=6)
    tenant.faults.set(TenantFault.UNKNOWN_STATUS, on=Kind.TRACE, times=1)
    snapshot = await backend.snapshot()
    assert "1 message has the status 'heldforreview', which mfi does not know" in snapshot.notes
    (held,) = snapshot.ended
    assert held.status is MessageStatus.GONE
    assert held.recipient not in waiting(snapshot)


@pytest.mark.parametrize(
    "fault",
    [TenantFault.NOT_JSON, TenantFault.NUL_BODY, TenantFault.SERVER_ERROR, TenantFault.RESET],
)
async def test_passing_trouble_is_waited_out(
    fault: TenantFault, backend: ExchangeOnlineBackend, tenant: SandboxTenant
) -> None:
    tenant.faults.set(fault, on=Kind.TRACE, times=1)
    assert len(waiting(await backend.snapshot())) == 4


@pytest.mark.parametrize(
    "fault",
    [TenantFault.NOT_JSON, TenantFault.NUL_BODY, TenantFault.SERVER_ERROR, TenantFault.RESET],
)
async def test_lasting_trouble_is_an_error_not_an_empty_queue(
    fault: TenantFault, backend: ExchangeOnlineBackend, tenant: SandboxTenant
) -> None:
    tenant.faults.set(fault, on=Kind.TRACE)
    with pytest.raises(BackendError):
        await backend.snapshot()


async def test_retry_after_is_kept_to(backend: ExchangeOnlineBackend, tenant: SandboxTenant, waits: Waits) -> None:
    tenant.faults.retry_after = 17
    tenant.faults.set(TenantFault.THROTTLED, on=Kind.TRACE, times=1)
    assert len(waiting(await backend.snapshot())) == 4
    assert waits.long_ones == [17.0]


async def test_a_long_pause_is_not_waited_for_but_respected(
    backend: ExchangeOnlineBackend, tenant: SandboxTenant, waits: Waits, clock: Clock
) -> None:
    tenant.faults.retry_after = 240
    tenant.faults.set(TenantFault.THROTTLED, on=Kind.TRACE, times=1)
    with pytest.raises(Unreachable, match="pause of 240 s"):
        await backend.snapshot()
    assert waits.long_ones == []
    with pytest.raises(Unreachable, match="used up"):
        await backend.snapshot()
    assert tenant.faults.seen[Kind.TRACE] == 1
    clock.forward(seconds=241)
    assert len(waiting(await backend.snapshot())) == 4


async def test_details_that_fail_cost_evidence_not_messages(
    backend: ExchangeOnlineBackend, tenant: SandboxTenant
) -> None:
    tenant.faults.set(TenantFault.NOT_JSON, on=Kind.DETAIL)
    snapshot = await backend.snapshot()
    assert len(waiting(snapshot)) == 4
    assert all(m.reason is None for m in snapshot.messages or ())
    assert any(
        "no reasons known yet of 4 waiting messages; 4 of 4 questions got no answer" in note for note in snapshot.notes
    )
    assert tenant.faults.seen[Kind.DETAIL] == 4


async def test_a_throttled_detail_ends_the_sampling(backend: ExchangeOnlineBackend, tenant: SandboxTenant) -> None:
    tenant.faults.retry_after = 200
    tenant.faults.set(TenantFault.THROTTLED, on=Kind.DETAIL)
    snapshot = await backend.snapshot()
    assert len(waiting(snapshot)) == 4
    assert tenant.faults.seen[Kind.DETAIL] <= 4


async def test_a_service_whose_clock_is_behind_ours_is_asked_for_its_own_past(
    backend: ExchangeOnlineBackend, tenant: SandboxTenant
) -> None:
    tenant.faults.ahead = -timedelta(minutes=4)
    assert len(waiting(await backend.snapshot())) == 4


async def test_a_clock_that_is_behind_the_services_is_told_because_young_mail_is_seen_late(
    backend: ExchangeOnlineBackend, tenant: SandboxTenant
) -> None:
    tenant.faults.ahead = timedelta(minutes=40)
    (said,) = [note for note in (await backend.snapshot()).notes if "clock" in note]
    seconds = int(said.split()[4])
    assert abs(seconds - 2400) <= 5
    assert "behind Microsoft's" in said


async def test_the_reader_without_the_trace_is_refused_with_the_fix(
    backend: ExchangeOnlineBackend, tenant: SandboxTenant
) -> None:
    tenant.faults.set(TenantFault.NO_SERVICE_PRINCIPAL)
    with pytest.raises(Refused, match="New-MgServicePrincipal -AppId 8bd644d1-64a1-4d4b-ae52-2e0cbf64e373"):
        await backend.snapshot()
    tenant.faults.clear()
    tenant.faults.set(TenantFault.NO_PERMISSION)
    with pytest.raises(Refused, match=r"ExchangeMessageTrace\.Read\.All"):
        await backend.snapshot()


async def test_a_token_that_was_taken_back_is_exchanged(backend: ExchangeOnlineBackend, tenant: SandboxTenant) -> None:
    await backend.snapshot()
    tenant.revoke_tokens()
    assert len(waiting(await backend.snapshot())) == 4


async def test_a_right_that_was_just_granted_counts_at_once(make: Make, tenant: SandboxTenant) -> None:
    backend, granted = make(), tenant.reader.permissions
    tenant.reader.permissions = frozenset()
    with pytest.raises(BackendError):
        await backend.snapshot()
    tenant.reader.permissions = granted
    assert len(waiting(await backend.snapshot())) == 4


async def test_mail_of_a_connector_without_own_evidence_gets_the_code_but_no_words(
    make: Make, mail: MailSystem, tenant: SandboxTenant
) -> None:
    for number in range(30):
        at = START - timedelta(hours=2, seconds=number)
        key = mail.tenant.submit("ann@contoso.test", [f"r{number}@onprem.test"], now=START, received_at=at)
        defer(mail, (key, f"r{number}@onprem.test"), START)
    messages = waiting(await make().snapshot()).values()
    mine = [m for m in messages if m.recipient.endswith("@onprem.test")]
    assert {m.code for m in mine} == {"4.4.316"}
    assert sum(m.reason is not None for m in mine) == 10
    assert TO_ONPREM in {c.key for c in (await make().snapshot()).connectors or ()}


async def test_a_connector_that_only_rules_choose_does_not_make_the_others_mail_nameless(
    make: Make, mail: MailSystem, tenant: SandboxTenant
) -> None:
    everything, by_rules = TO_ONPREM[:-1] + "7", TO_ONPREM[:-1] + "8"
    for key, name in ((everything, "All accepted domains"), (by_rules, "Signatures, by rules only")):
        mail.tenant.add_connector(TenantConnector(key=key, name=name, smart_hosts=(f"mx{key[-1]}.test",)))
    tenant.settings.describe(by_rules, IsTransportRuleScoped=True)
    for number in range(30):
        at = START - timedelta(hours=2, seconds=number)
        key = mail.tenant.submit("ann@contoso.test", [f"r{number}@plants.test"], now=START, received_at=at)
        defer(mail, (key, f"r{number}@plants.test"), START, replace(REFUSED, host="mx7.test"))
    messages = waiting(await make().snapshot()).values()
    assert {m.code for m in messages if m.recipient.endswith("@plants.test")} == {"4.4.316"}


async def test_the_tenants_own_lifetime_counts(make: Make, mail: MailSystem, tenant: SandboxTenant) -> None:
    mail.tenant.lifetime = timedelta(hours=12)
    bob = waiting(await make().snapshot())["bob@onprem.test"]
    assert bob.expires_at == bob.received_at + timedelta(hours=12)
    tenant.faults.set(TenantFault.NUL_403, on="Get-TransportConfig", times=1)
    snapshot = await make().snapshot()
    assert "24 hours are assumed" in " ".join(snapshot.notes)


async def test_a_small_budget_gives_the_last_read_again_until_it_allows_another(
    make: Make, tenant: SandboxTenant, mail: MailSystem, clock: Clock
) -> None:
    for number in range(40):
        at = START - timedelta(hours=2, seconds=number)
        key = mail.tenant.submit("ann@contoso.test", [f"r{number}@onprem.test"], now=START, received_at=at)
        defer(mail, (key, f"r{number}@onprem.test"), START)
    backend = make(BUDGET="10")
    first = await backend.snapshot()
    for _ in range(5):
        clock.forward(seconds=30)
        again = await backend.snapshot()
    assert again.true_at is not None and again.true_at < clock()
    assert len(waiting(again)) == len(waiting(first)) == 44
    assert sum(tenant.faults.seen[kind] for kind in TRACE_KINDS) <= 10
    clock.forward(minutes=6)
    later = await backend.snapshot()
    assert later.true_at is None
    assert len(waiting(later)) == 44


async def test_what_was_changed_meanwhile_is_told_with_the_last_queue(make: Make, clock: Clock) -> None:
    backend = make(BUDGET="10")
    await backend.snapshot()
    for _ in range(4):
        clock.forward(seconds=30)
        await backend.snapshot()
    await backend.set_domain_type("onprem.test", DomainType.AUTHORITATIVE)
    await backend.set_connector_enabled(TO_ONPREM, enabled=False)
    again = await backend.snapshot()
    assert again.true_at is not None
    assert len(waiting(again)) == 4
    assert {c.key: c.enabled for c in again.connectors or ()} == {TO_ONPREM: False, TO_PARTNER: True}
    assert {d.name: d.type for d in again.domains or ()}["onprem.test"] is DomainType.AUTHORITATIVE


async def test_what_was_changed_while_a_listing_was_under_way_is_told_with_it(
    tenant: SandboxTenant, clock: Clock
) -> None:
    class Meanwhile(Waits):
        """While the trace lets us wait, somebody presses Fix now."""

        async def __call__(self, seconds: float) -> None:
            await super().__call__(seconds)
            if seconds == 17:
                await backend.set_connector_enabled(TO_ONPREM, enabled=False)

    given = tenant.environment("exo", certificate=False, fixer=True)
    backend = made({k.removeprefix("MFI_EXO_"): v for k, v in given.items()}, clock, Meanwhile(clock))
    tenant.faults.retry_after = 17
    tenant.faults.set(TenantFault.THROTTLED, on=Kind.TRACE, times=1)
    snapshot = await backend.snapshot()
    await backend.close()
    assert {c.key: c.enabled for c in snapshot.connectors or ()} == {TO_ONPREM: False, TO_PARTNER: True}


async def test_a_connector_or_domain_that_cannot_be_read_is_an_error_not_a_shorter_list(
    backend: ExchangeOnlineBackend, tenant: SandboxTenant
) -> None:
    tenant.settings.describe(TO_ONPREM, Enabled=None)
    with pytest.raises(Unreachable, match="Enabled is not told"):
        await backend.snapshot()
    tenant.settings.describe(TO_ONPREM, Enabled=True, Guid="not one")
    with pytest.raises(Unreachable, match="Guid"):
        await backend.snapshot()


async def test_a_tls_setting_that_nobody_knows_is_noted(backend: ExchangeOnlineBackend, tenant: SandboxTenant) -> None:
    tenant.faults.set(TenantFault.UNKNOWN_SETTING, on="Get-OutboundConnector")
    snapshot = await backend.snapshot()
    assert "connector To on-prem: its TLS setting 'QuantumValidation' is not known to mfi" in snapshot.notes[0]
