"""An incident's message: what it says in each state, and which buttons it has."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from bot.core.blockkit import problems
from bot.core.capabilities import Capability
from bot.core.events import EventKind
from bot.core.views import Difference, Disagreement
from bot.slack.alert import render_alert
from bot.slack.blocks import Message
from bot.slack.sample import sample_alert
from bot.slack.thread import event_line
from knowledge.articles import articles
from storage.records import Action, ActionState, ConnectorKind, IncidentEvent, IncidentState, QueueSummary, Severity
from tests.slack.alert_text import shown

ABOUT = articles().for_code("4.4.316")
CAN = Capability


def labels(message: Message) -> list[str]:
    """What the buttons say."""
    rows = [block["elements"] for block in message.blocks if block["type"] == "actions"]
    return [button["text"]["text"] for row in rows for button in row]


def test_an_alert_carries_everything_that_somebody_needs_at_night(world: Any) -> None:
    drawn = render_alert(world.view(), ABOUT)
    said = shown(drawn)
    for part in (
        "🔴 #12 Firing, critical: 4.4.316 Connection refused",
        "`Contoso inbound`",
        "on-premises",
        "42 messages wait, the oldest for 5 h; first bounce in 19 h",
        "*The queue says*\n*42* with 4.4.316: `450 4.4.316 Connection refused",
        "*Our probe says*\n`450 4.4.316 Connection refused`: connection refused",
        "2 of 2 servers",
        "Queue and probe disagree",
        "certificate: `a1:b2` → `c3:d4`",
        "*Destination server* `mail.contoso.com` (`192.0.2.7`)",
        "*Likely cause* Nothing listens on port 25 of that server any more",
        "*What to do*\n1. Decide first",
        "<https://learn.microsoft.com",
        "failing since",
    ):
        assert part in said, part
    assert labels(drawn) == ["Acknowledge", "Re-probe", "Fix now…"]
    assert not problems(drawn.payload(), "message", update=True)


def test_the_notification_text_is_a_whole_sentence(world: Any) -> None:
    assert render_alert(world.view(), ABOUT).text == (
        "🔴 Firing, critical #12: 4.4.316 Connection refused at Contoso inbound. 42 messages wait, the oldest for 5 h; "
        "first bounce in 19 h. Next: Decide first: is there still a mail server that should receive this mail?"
    )


@pytest.mark.parametrize(
    ("state", "head", "buttons"),
    [
        (IncidentState.FIRING, "🔴 #12 Firing, critical", ["Acknowledge", "Re-probe", "Fix now…"]),
        (IncidentState.ACKNOWLEDGED, "👀 #12 Acknowledged, critical", ["Re-probe", "Fix now…"]),
        (IncidentState.FIXING, "🛠️ #12 Fixing, critical", ["Re-probe"]),
        (IncidentState.VERIFYING, "⏳ #12 Verifying, critical", ["Re-probe"]),
        (IncidentState.RESOLVED, "✅ #12 Resolved", []),
    ],
)
def test_each_state_has_its_own_look_and_buttons(
    world: Any, state: IncidentState, head: str, buttons: list[str]
) -> None:
    drawn = render_alert(world.view(state), ABOUT)
    assert shown(drawn).startswith(head + ":")
    assert labels(drawn) == buttons
    assert not problems(drawn.payload(), "message", update=True)


@pytest.mark.parametrize(
    ("kind", "capabilities", "code", "offered"),
    [
        (ConnectorKind.ON_PREMISES, frozenset(CAN), "4.4.316", True),
        (ConnectorKind.PARTNER, frozenset(CAN), "4.4.316", False),
        (ConnectorKind.ON_PREMISES, frozenset(CAN), "4.4.315", False),
        (ConnectorKind.ON_PREMISES, frozenset(), "4.4.316", False),
        (ConnectorKind.ON_PREMISES, frozenset({CAN.READ_CONNECTORS, CAN.READ_QUEUE}), "4.4.316", False),
        (ConnectorKind.ON_PREMISES, frozenset({CAN.READ_CONNECTORS, CAN.SET_CONNECTOR_ENABLED}), "4.4.316", True),
        (ConnectorKind.ON_PREMISES, frozenset({CAN.REJECT_MESSAGES, CAN.READ_QUEUE}), "4.4.316", False),
    ],
)
def test_fix_now_is_offered_only_where_article_and_mail_system_allow_it(
    world: Any, kind: ConnectorKind, capabilities: frozenset[Capability], code: str, offered: bool
) -> None:
    view = world.view(
        connector=world.connector(kind=kind), capabilities=capabilities, incident=world.incident(code=code)
    )
    assert ("Fix now…" in labels(render_alert(view, articles().for_code(code)))) is offered


def test_fix_now_is_red_and_values_are_ids_only(world: Any) -> None:
    row = next(b for b in render_alert(world.view(), ABOUT).blocks if b["type"] == "actions")["elements"]
    assert [(b["action_id"], b["value"], b.get("style")) for b in row] == [
        ("mfi.ack", "12", "primary"),
        ("mfi.reprobe", "12", None),
        ("mfi.fix_now", "12", "danger"),
    ]


def test_a_warning_is_orange(world: Any) -> None:
    view = world.view(incident=world.incident(severity=Severity.WARNING))
    assert shown(render_alert(view, ABOUT)).startswith("🟠 #12 Firing, warning")


def test_a_partners_connector_gets_the_partners_advice_first(world: Any) -> None:
    view = world.view(connector=world.connector(kind=ConnectorKind.PARTNER))
    drawn = render_alert(view, ABOUT)
    assert "1. *Contact the partner* (`postmaster of Fabrikam`). Neither disable the connector nor touch" in shown(
        drawn
    )
    assert drawn.text.endswith("Next: contact the partner (postmaster of Fabrikam).")


def test_a_partner_without_a_contact_or_advice_still_gets_a_first_step(world: Any) -> None:
    view = world.view(connector=world.connector(kind=ConnectorKind.PARTNER, partner_contact=None))
    drawn = render_alert(view, replace(ABOUT, partner=""))
    assert "1. *Contact the partner.* Send the evidence above." in shown(drawn)
    assert drawn.text.endswith("Next: contact the partner.")


def test_an_article_without_steps_and_causes_still_makes_an_alert(world: Any) -> None:
    bare = replace(ABOUT, fixes=(), causes=())
    drawn = render_alert(world.view(), bare)
    assert drawn.text.endswith("Next: see the evidence.")
    assert "*What to do*" not in shown(drawn)
    unprobed = render_alert(world.view(probe=None), bare)
    assert "*Likely cause* `450 4.4.316 Connection refused" in shown(unprobed)
    nothing = world.view(queue=QueueSummary(), probe=None)
    assert "Likely cause" not in shown(render_alert(nothing, bare))


def test_a_telling_probe_names_the_cause(world: Any) -> None:
    view = world.view(probe=world.probe(cause="cert_expired", code="4.7.320"))
    assert "*Likely cause* the certificate has expired" in shown(render_alert(view, ABOUT))


@pytest.mark.parametrize("kind", Disagreement)
def test_disagreeing_evidence_comes_with_a_conclusion(world: Any, kind: Disagreement) -> None:
    assert "Queue and probe disagree.*" in shown(render_alert(world.view(disagreement=kind), ABOUT))


def test_agreeing_evidence_needs_no_conclusion(world: Any) -> None:
    said = shown(render_alert(world.view(disagreement=None, differences=()), ABOUT))
    assert "disagree" not in said
    assert "changed since" not in said


def test_many_changes_are_cut_short(world: Any) -> None:
    many = tuple(Difference(what=f"thing {n}", before="a", after="b") for n in range(7))
    assert "• and 2 more" in shown(render_alert(world.view(differences=many), ABOUT))


def test_stale_flapping_and_missing_are_said(world: Any) -> None:
    view = world.view(
        queue_stale=True,
        connector=world.connector(missing_since=world.now),
        incident=world.incident(flapping=True),
    )
    said = shown(render_alert(view, ABOUT))
    assert "⚠️ stale: read 2 min ago" in said
    assert "no longer lists it" in said
    assert "🔁 flapping" in said
    left = shown(render_alert(replace(view, unconfigured=True), ABOUT))
    assert f"{view.connector.backend}` isn't configured any more" in left
    assert "no longer lists it" not in left
    assert "stale: never read" in shown(render_alert(replace(view, queue_read_at=None), ABOUT))


def test_an_incident_without_a_queue_says_that_the_probe_decides(world: Any) -> None:
    view = world.view(queue=QueueSummary(), queue_read_at=None)
    drawn = render_alert(view, ABOUT)
    assert "the probe decides alone" in shown(drawn)
    assert "Nothing waits" in drawn.text
    assert "nothing waits" in shown(render_alert(replace(view, queue_read_at=world.now), ABOUT))


def test_a_late_bounce_is_due(world: Any) -> None:
    late = world.view(now=world.now + timedelta(days=1))
    assert "first bounces are due now" in render_alert(late, ABOUT).text


def test_the_destination_falls_back_from_queue_to_probe_to_settings(world: Any) -> None:
    unnamed = QueueSummary(by_code=(replace(world.queue().by_code[0], remote_host=None, remote_ip=None),))
    by_ip = QueueSummary(by_code=(replace(world.queue().by_code[0], remote_host=None),))
    assert "server* `192.0.2.7`" in shown(render_alert(world.view(queue=by_ip), ABOUT))
    assert "server* `mail.contoso.com:25` (`192.0.2.7`)" in shown(render_alert(world.view(queue=unnamed), ABOUT))
    settings = world.view(queue=unnamed, probe=None)
    assert "server* `mail.contoso.com`" in shown(render_alert(settings, ABOUT))
    by_mx = replace(settings, connector=world.connector(smart_hosts=(), use_mx=True))
    assert "the MX of `contoso.com`" in shown(render_alert(by_mx, ABOUT))
    nowhere = replace(settings, connector=world.connector(smart_hosts=()))
    assert "not named by the connector" in shown(render_alert(nowhere, ABOUT))


@pytest.mark.parametrize(
    ("document", "said"),
    [
        ("not json", "stopped at connecting\n"),
        ("[]", "stopped at connecting\n"),
        ('{"targets": 3}', "stopped at connecting\n"),
        ('{"targets": [1, {}]}', "stopped at connecting\n"),
        ('{"targets": [{"host": "a.test", "banner": "421 too busy", "timings_ms": []}]}', "details `421 too busy`"),
    ],
)
def test_an_unreadable_probe_document_costs_only_its_details(world: Any, document: str, said: str) -> None:
    assert said in shown(render_alert(world.view(probe=world.probe(document=document)), ABOUT))


def test_probes_that_are_missing_or_fine_are_said(world: Any) -> None:
    assert "not probed yet" in shown(render_alert(world.view(probe=None), ABOUT))
    assert "gets through in 0.42 s" in shown(render_alert(world.view(probe=world.probe(True)), ABOUT))
    degraded = world.view(probe=world.probe(True, degraded=True))
    assert "but not to every server" in shown(render_alert(degraded, ABOUT))


def test_an_unknown_cause_and_status_are_shown_as_they_are(world: Any) -> None:
    view = world.view(probe=world.probe(cause="new_cause", status=None, code=None, stage="elsewhere"))
    assert "`failed`: new cause\nstopped at elsewhere" in shown(render_alert(view, ABOUT))
    nameless = world.view(probe=world.probe(cause=None))
    assert "`450 4.4.316 Connection refused`: failed" in shown(render_alert(nameless, ABOUT))


def test_mail_without_any_code_has_the_title_alone(world: Any) -> None:
    view = world.view(incident=world.incident(code="other"), queue=world.queue(3, None))
    about = articles().for_code("other")
    assert f": {about.title}\n" in shown(render_alert(view, about))
    assert "with no reason known yet" in shown(render_alert(view, about))


def test_a_reopened_incident_links_to_the_one_before(world: Any) -> None:
    before = world.incident(id=7, ts="1772415600.000100")
    said = shown(render_alert(world.view(previous=before), ABOUT, "https://contoso.slack.com/"))
    assert "again after <https://contoso.slack.com/archives/C0ALERTS/p1772415600000100|#7>" in said
    never_posted = world.view(previous=replace(before, ts=None))
    assert "again after #7" in shown(render_alert(never_posted, ABOUT))


def test_who_acknowledged_stays_named(world: Any) -> None:
    incident = world.incident(IncidentState.ACKNOWLEDGED, acknowledged_by="U0ADMIN1", acknowledged_at=world.now)
    assert "acknowledged by <@U0ADMIN1> <!date^" in shown(render_alert(world.view(incident=incident), ABOUT))


def test_nobody_is_told_when_it_began_twice(world: Any) -> None:
    incident = world.incident(first_failure_at=world.incident().opened_at)
    assert "failing since" not in shown(render_alert(world.view(incident=incident), ABOUT))


@pytest.mark.parametrize(
    ("resolution", "said"),
    [
        ("delivering", "Mail flows again. It was open for 4 h."),
        ("retired", "The connector was switched off"),
        ("removed", "The mail system no longer lists the connector"),
        ("drained", "Nothing waits with this code any more"),
        (None, "Mail flows again"),
    ],
)
def test_a_resolved_incident_says_why(world: Any, resolution: str | None, said: str) -> None:
    incident = world.incident(IncidentState.RESOLVED, resolution=resolution, resolved_at=world.now)
    drawn = render_alert(world.view(incident=incident, queue=QueueSummary()), ABOUT)
    assert said in shown(drawn)
    assert drawn.text.startswith("✅ Resolved #12: 4.4.316 Connection refused at Contoso inbound. ")
    assert "messages wait" not in drawn.text


def test_an_incident_whose_mail_system_is_not_configured_any_more_says_so(world: Any) -> None:
    incident = world.incident(IncidentState.RESOLVED, resolution="removed", resolved_at=world.now)
    view = world.view(incident=incident, queue=QueueSummary(), unconfigured=True)
    assert "The mail system is no longer configured" in shown(render_alert(view, ABOUT))
    event = IncidentEvent(
        incident_id=12, revision=2, at=world.now, kind=EventKind.RESOLVED, data={"reason": "removed"}
    )  # fmt: skip
    assert "Resolved: the mail system is no longer configured" in str(event_line(event, view))


def test_the_card_of_an_undone_fix_says_who_undid_it_and_which_incident_goes_on(world: Any) -> None:
    incident = world.incident(IncidentState.RESOLVED, resolution="undone", resolved_at=world.now)
    alone = shown(render_alert(world.view(incident=incident), ABOUT))
    assert alone.startswith("↩️ #12 Resolved: 4.4.316")
    assert "The fix was undone, so the connector is on again and watched anew" in alone
    assert "undone by" not in alone
    assert "opened anew" not in alone
    action = Action(
        id="a", incident_id=12, connector_id=7, state=ActionState.UNDONE, offered_at=world.now,
        expires_at=world.now, plan="{}", undone_by="U0ADMIN2", finished_at=world.now,
    )  # fmt: skip
    after = world.view(incident=incident, action=action, following=world.incident(id=13))
    said = shown(render_alert(after, ABOUT))
    assert "fix undone by <@U0ADMIN2> <!date^" in said
    assert "*opened anew as <https://slack.com/" in said
    assert "|#13>*" in said
    other = replace(after, incident=replace(incident, resolution="delivering"))
    assert "undone" not in shown(render_alert(other, ABOUT))


def test_the_monitors_own_incident_names_no_connector(world: Any) -> None:
    blind = world.incident(connector_id=None, code="blind")
    drawn = render_alert(world.view(connector=None, incident=blind), articles().for_code("blind"))
    assert "the monitor is blind" in shown(drawn)
    assert labels(drawn) == ["Acknowledge"]
    seeing = replace(blind, state=IncidentState.RESOLVED)
    after = render_alert(world.view(connector=None, incident=seeing), articles().for_code("blind"))
    assert "can see again" in shown(after)
    assert labels(after) == []
    acked = replace(blind, state=IncidentState.ACKNOWLEDGED)
    assert labels(render_alert(world.view(connector=None, incident=acked), ABOUT)) == []


def test_the_alert_for_every_code_fits_slack(world: Any) -> None:
    for code in articles():
        view = world.view(incident=world.incident(code=code))
        drawn = render_alert(view, articles().for_code(code))
        assert not problems(drawn.payload(), "message", update=True), code
        assert len(json.dumps(drawn.payload())) < 12_000


def test_the_doctors_sample_alert_is_a_whole_one() -> None:
    sample = sample_alert()
    assert not problems(sample, "message", update=True)
    assert [b["type"] for b in sample["blocks"]].count("section") >= 6
    assert sample["blocks"][-1]["type"] == "actions"


def test_the_queues_words_do_not_repeat_the_destination(world: Any) -> None:
    words = "450 4.4.316 Refused [Message=10061] [LastAttemptedServerName=a.test] [LastAttemptedIP=192.0.2.7:25]"
    queue = QueueSummary(by_code=(replace(world.queue().by_code[0], reason=words),))
    assert "4.4.316: `450 4.4.316 Refused [Message=10061]`\n" in shown(render_alert(world.view(queue=queue), ABOUT))
    only = QueueSummary(by_code=(replace(world.queue().by_code[0], reason="[LastAttemptedIP=192.0.2.7]"),))
    assert "`[LastAttemptedIP=192.0.2.7]`" in shown(render_alert(world.view(queue=only), ABOUT))


@pytest.mark.parametrize(
    ("seen", "words"),
    [
        ("port25", "*Outbound port 25 is blocked*"),
        ("egress", "`MFI_EGRESS_CHECK`"),
        ("4.4.312", "DNS resolver"),
        ("4.4.315", "stopped answering at once"),
        (None, "stopped answering at once"),
    ],
)
def test_a_blind_monitor_says_what_to_check(world: Any, seen: str | None, words: str) -> None:
    drawn = render_alert(world.view(connector=None, told={"seen": seen}), ABOUT)
    assert words in shown(drawn)
    assert words in drawn.text
    assert "queues report still counts" in shown(drawn)
    assert not problems(drawn.payload(), "message", update=True)


def test_the_probes_evidence_says_from_where_it_was_seen(world: Any) -> None:
    assert "seen from the bot" in shown(render_alert(world.view(), ABOUT))
