"""Causes and steps of an article, told of one incident."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from bot.core.own_names import Known, with_known
from bot.slack.alert import render_alert
from bot.slack.remedy import NOTHING_LISTENS, likely_causes, own_steps, shown_steps
from bot.slack.replies import already, connectors_reply, probe_verdict, status_reply
from bot.slack.thread import event_line
from knowledge.articles import articles
from storage.records import IncidentState, QueueSummary

REFUSED = articles().for_code("4.4.316")
LOOK = "`nslookup mail.contoso.com 8.8.8.8`, then `nslookup -type=MX contoso.com`"


@pytest.mark.parametrize(
    ("host", "domain", "step", "told"),
    [
        ("mx.fabrikam.com", "fabrikam.com", LOOK,
         "`nslookup mx.fabrikam.com 8.8.8.8`, then `nslookup -type=MX fabrikam.com`"),
        ("192.0.2.7", None, LOOK, "`nslookup 192.0.2.7 8.8.8.8`, then `nslookup -type=MX <recipient domain>`"),
        ("192.0.2.7", "*", "`-type=TXT contoso.com`", "`-type=TXT contoso.com`"),
        ("mx.fabrikam.com.", None, "`mail.contoso.com`", "`mx.fabrikam.com`"),
        (None, None, LOOK, LOOK),
        ("x; rm -rf /", "`<!channel>`", LOOK, LOOK),
        ("mx.fabrikam.com", "fabrikam.com", "`-Fqdn mail.contoso.com`", "`-Fqdn mail.contoso.com`"),
        ("mx.fabrikam.com", "fabrikam.com", "`nslookup -type=TXT contoso.com`", "`nslookup -type=TXT contoso.com`"),
        ("mx.fabrikam.com", "fabrikam.com", "a@contoso.com", "a@contoso.com"),
    ],
)  # fmt: skip
def test_commands_name_the_incidents_own_server_and_domain(
    host: str | None, domain: str | None, step: str, told: str
) -> None:
    assert with_known([step], Known(host=host, domain=domain)) == [told]


def test_the_names_come_from_the_queue_then_the_probe_then_the_settings(world: Any) -> None:
    about = replace(REFUSED, fixes=("`mail.contoso.com` `dig MX contoso.com`",))
    (group,) = world.view().queue.by_code
    queue = QueueSummary(by_code=(replace(group, remote_host="queue.fabrikam.com", remote_ip=None),))
    connector = world.connector(smart_hosts=("set.fabrikam.com",), recipient_domains=("*", "*.fabrikam.com"))
    document = json.dumps({"targets": [{"host": "good.fabrikam.com", "ok": True}, {"host": "bad.fabrikam.com"}]})
    probe = replace(world.probe(), document=document)
    view = world.view(queue=queue, connector=connector, probe=probe)
    assert own_steps(view, about) == ["`queue.fabrikam.com` `dig MX fabrikam.com`"]
    view = replace(view, queue=QueueSummary())
    assert own_steps(view, about) == ["`bad.fabrikam.com` `dig MX fabrikam.com`"]
    assert own_steps(replace(view, probe=None), about) == ["`set.fabrikam.com` `dig MX fabrikam.com`"]
    relayhost = replace(view, connector=world.connector(recipient_domains=("*",)))
    assert own_steps(relayhost, about) == ["`bad.fabrikam.com` `dig MX <recipient domain>`"]
    assert own_steps(replace(view, probe=None, connector=None), about) == list(about.fixes)


def test_no_branch_is_cut_off_and_what_is_left_out_is_said() -> None:
    told = "\n".join(shown_steps(REFUSED.fixes, REFUSED))
    assert "2. There is: " in told
    assert "4. There is none any more" in told
    assert told.endswith("`/mfi explain 4.4.316` has all 6 steps.")
    assert len(shown_steps(REFUSED.fixes[:2], REFUSED)) == 2


def test_the_general_articles_steps_are_all_shown_for_explain_does_not_know_it_by_name() -> None:
    about = articles()["other"]
    told = shown_steps(about.fixes, about)
    assert len(told) == len(about.fixes)
    assert "/mfi explain" not in "\n".join(told)


def test_refused_from_both_sides_means_that_nothing_listens(world: Any) -> None:
    assert likely_causes(world.view(), REFUSED) == (NOTHING_LISTENS.format(port=25), *REFUSED.causes)
    assert likely_causes(world.view(probe=None), REFUSED) == REFUSED.causes
    assert likely_causes(world.view(queue=QueueSummary()), REFUSED) == REFUSED.causes


@pytest.mark.parametrize(
    ("reason", "cause", "first"),
    [
        ("450 4.7.320 Certificate validation failed: the certificate has expired", None, "expired"),
        (None, "cert_expired", "expired"),
        (None, "cert_name", "name"),
    ],
)
def test_the_cause_that_the_evidence_names_comes_first(
    world: Any, reason: str | None, cause: str | None, first: str
) -> None:
    about = articles().for_code("4.7.320")
    (group,) = world.view().queue.by_code
    queue = QueueSummary(by_code=(replace(group, code="4.7.320", reason=reason),) if reason else ())
    probe = replace(world.probe(cause=cause, code="4.7.320"), status="450 4.7.320 x") if cause else None
    causes = likely_causes(world.view(queue=queue, probe=probe), about)
    assert first in causes[0].lower()
    assert sorted(causes) == sorted(about.causes)


def test_an_article_without_causes_names_none(world: Any) -> None:
    assert likely_causes(world.view(), replace(REFUSED, causes=(), cause_tags=())) == ()


@pytest.mark.parametrize("state", ["resolved", "acknowledged", "firing"])
def test_too_late_an_acknowledgement_is_told_the_moment_that_counts(world: Any, state: str) -> None:
    acknowledged, resolved = world.now - timedelta(hours=2), world.now - timedelta(hours=1)
    incident = world.incident(
        IncidentState(state),
        acknowledged_by=None if state == "firing" else "U0ADMIN1",
        acknowledged_at=None if state == "firing" else acknowledged,
        resolved_at=resolved if state == "resolved" else None,
    )
    said = already("Too late.", incident)
    moments = {at: f"<!date^{at.timestamp():.0f}^" in said for at in (acknowledged, resolved)}
    assert moments == {acknowledged: state == "acknowledged", resolved: state == "resolved"}
    assert already("There is no incident #9.", None) == "There is no incident #9."


def test_a_probe_that_had_nothing_to_dial_is_not_shown_as_fine(world: Any) -> None:
    empty = world.probe(ok=True, stage="dns", code=None, cause=None, status=None)
    assert "nothing to dial" in str(render_alert(world.view(probe=empty), REFUSED).blocks)
    assert probe_verdict(world.connector(), empty).endswith("there is nothing to dial")
    listed = str(connectors_reply([world.row(0, probe=empty)]).blocks)
    assert "nothing to dial" in listed
    assert "✅" not in listed


def test_a_verified_fix_says_what_still_waits_behind_it(world: Any) -> None:
    off = world.view(connector=world.connector(enabled=False))
    event = world.event("fix_verified", detail=["As set: it is off."])
    assert "⚠️ *42 messages still wait behind the disabled connector" in event_line(event, off)
    assert "still wait" not in event_line(event, world.view())
    assert event_line(world.event("resolved", reason="retired"), off).startswith("⚠️ Resolved")
    assert (
        "42 messages waiting"
        in status_reply(
            world.status(world.row(0, connector=off.connector), unassigned=QueueSummary()), "connected"
        ).text
    )


def test_a_hop_that_is_delivered_over_lmtp_is_said_to_be_and_not_to_name_no_server(world: Any) -> None:
    site = world.connector(name="store.internal:2003 (LMTP: not probed)", smart_hosts=(), use_mx=False)
    empty = world.probe(ok=True, stage="dns", code=None, cause=None, status=None)
    view = world.view(connector=site, probe=empty)
    drawn = str(render_alert(view, REFUSED).blocks)
    assert "delivered over LMTP: mfi doesn't probe that" in drawn
    assert "no server is named" not in drawn and "nothing to dial" not in drawn
    assert "delivered over LMTP" in probe_verdict(site, empty)
    listed = str(connectors_reply([world.row(connector=site, probe=None)]).blocks)
    assert "not probed: LMTP" in listed and "not probed yet" not in listed
    nowhere = replace(view.queue.by_code[0], remote_host=None, remote_ip=None)
    unnamed = replace(view, probe=None, queue=QueueSummary(by_code=(nowhere,)))
    assert "`store.internal:2003` over LMTP" in str(render_alert(unnamed, REFUSED).blocks)
