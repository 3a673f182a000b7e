"""Early warnings as they are drawn: what will happen and when, what to do, and nothing that looks like an outage."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from bot.core.blockkit import problems
from bot.core.foresight import Warned
from bot.slack import replies
from bot.slack.alert import render_alert
from bot.slack.blocks import Message
from bot.slack.home import home_view
from bot.slack.text import Mrkdwn
from bot.slack.thread import render_event
from knowledge.articles import articles
from storage.records import ConnectorKind, IncidentState, QueueSummary, Severity

OTHER = articles().for_code(None)
DEAD = {"host": "mail2.contoso.com", "ip": "192.0.2.8", "code": "4.4.316", "cause": "refused"}


def facts(world: Any, code: str, **more: Any) -> dict[str, Any]:
    """What the warning's evidence holds."""
    until = world.now + timedelta(days=6, hours=3)
    usual: dict[str, dict[str, Any]] = {
        Warned.CERTIFICATE: {
            "host": "mail.contoso.com", "ip": "192.0.2.7", "subject": "CN=mail.contoso.com", "days": 6, "others": 1,
            "not_after": until.isoformat(), "stops_mail": True,
        },
        Warned.TARGET_DOWN: {"down": [DEAD], "up": 2},
        Warned.TARGET_GONE: {"before": ["192.0.2.1", "192.0.2.2"], "left": ["192.0.2.1"]},
        Warned.CAPABILITIES: {"lost": ["DSN", "STARTTLS"]},
    }  # fmt: skip
    return {"by": ["probe"], "present": True, "marks": [], **usual.get(code, {}), **more}


def warning(world: Any, code: str, state: IncidentState = IncidentState.FIRING, **more: Any) -> Any:
    incident = world.incident(state, code=code, severity=Severity.WARNING)
    return world.view(incident=incident, told=facts(world, code, **more))


def drawn(view: Any) -> str:
    made = render_alert(view, OTHER)
    assert not problems(made.payload(), "message", update=True)
    return shown(made)


def shown(made: Message) -> str:
    return str(made.payload())


@pytest.mark.parametrize(
    ("code", "head", "parts"),
    [
        (Warned.CERTIFICATE, "⚠️ #12 Warning: the certificate expires in 6 d 3 h", [
            "The certificate of `mail.contoso.com` (`192.0.2.7`) expires in *6 d 3 h* (<!date^",
            "from then on its mail waits with 4.7.320", "`CN=mail.contoso.com`", "1 more server with a certificate",
            "1. Renew the certificate", "learn.microsoft.com",
        ]),
        (Warned.TARGET_DOWN, "⚠️ #12 Warning: 1 server is down, mail takes another", [
            "Mail stops when the rest fails too: 2 servers left.",
            "• `mail2.contoso.com` (`192.0.2.8`): 4.4.316, connection refused",
        ]),
        (Warned.TARGET_GONE, "⚠️ #12 Warning: only one address is left", [
            "when this one fails: `192.0.2.1`", "*Before* `192.0.2.1`, `192.0.2.2`",
        ]),
        (Warned.CAPABILITIES, "⚠️ #12 Warning: the server no longer offers DSN, STARTTLS", [
            "Mail travels unencrypted now", "`DSN`, `STARTTLS`",
        ]),
        ("warning:new", "⚠️ #12 Warning: something ahead", []),
    ],
)  # fmt: skip
def test_a_warning_says_what_will_happen_and_what_to_do(world: Any, code: str, head: str, parts: list[str]) -> None:
    said = drawn(warning(world, code))
    for part in (head, "Mail flows. This is told before it stops.", "seen from the bot", "opened", *parts):
        assert part in said, part
    assert "bounce" not in said
    assert "messages wait" not in said


@pytest.mark.parametrize(
    ("state", "head", "labels"),
    [
        (IncidentState.FIRING, "⚠️ #12 Warning: ", ["Acknowledge", "Re-probe"]),
        (IncidentState.ACKNOWLEDGED, "👀 #12 Warning, acknowledged: ", ["Re-probe"]),
        (IncidentState.RESOLVED, "✅ #12 Warning over: ", []),
    ],
)
def test_each_state_has_its_look_and_buttons_and_never_fix_now(
    world: Any, state: IncidentState, head: str, labels: list[str]
) -> None:
    made = render_alert(warning(world, Warned.CERTIFICATE, state), OTHER)
    assert made.blocks[0]["text"]["text"].startswith(head)
    rows = [block["elements"] for block in made.blocks if block["type"] == "actions"]
    assert [button["text"]["text"] for row in rows for button in row] == labels


def test_the_notification_text_is_whole(world: Any) -> None:
    assert render_alert(warning(world, Warned.TARGET_DOWN), OTHER).text == (
        "⚠️ #12 Warning: 1 server is down, mail takes another at Contoso inbound. "
        "Mail stops when the rest fails too: 2 servers left."
    )


@pytest.mark.parametrize(
    ("resolution", "words"),
    [
        ("renewed", "the certificate was renewed"),
        ("expired", "the certificate has expired"),
        ("unused", "no longer in use"),
        ("back", "what was missing is back"),
        ("settled", "taken as meant"),
        ("retired", "was switched off"),
    ],
)
def test_a_warning_that_is_over_says_why(world: Any, resolution: str, words: str) -> None:
    incident = world.incident(IncidentState.RESOLVED, code=Warned.CERTIFICATE, resolution=resolution)
    view = world.view(incident=incident, told=facts(world, Warned.CERTIFICATE))
    assert words in drawn(view)
    line = render_event(world.event("resolved", reason=resolution), view).text
    assert words in line
    assert "wait" not in line


def test_a_connector_that_accepts_any_certificate_loses_no_mail(world: Any) -> None:
    said = drawn(warning(world, Warned.CERTIFICATE, stops_mail=False, others=0, subject=None))
    assert "its own mail goes on" in said
    assert "4.7.320." not in said
    assert "*Certificate*" not in said


@pytest.mark.parametrize("until", [None, "2026-03-01T00:00:00+00:00"])
def test_a_certificate_whose_time_is_over_says_so(world: Any, until: str | None) -> None:
    assert "has expired" in drawn(warning(world, Warned.CERTIFICATE, not_after=until))


def test_a_server_that_comes_and_goes_is_called_so(world: Any) -> None:
    assert "a server comes and goes" in drawn(warning(world, Warned.TARGET_DOWN, present=False))


def test_facts_that_are_missing_leave_a_warning_that_can_be_read(world: Any) -> None:
    bare = {"host": "", "ip": "", "code": None, "cause": None}
    said = drawn(warning(world, Warned.TARGET_DOWN, down=[bare, "odd"], up=None))
    assert "• `?`: failed" in said
    assert "others are left" in said
    assert "Mail that needs it" in drawn(warning(world, Warned.CAPABILITIES, lost=["DSN"]))
    assert "offers" in drawn(warning(world, Warned.CAPABILITIES, lost=None))


def test_at_a_partners_the_partner_comes_first(world: Any) -> None:
    view = warning(world, Warned.CERTIFICATE)
    partner = world.view(incident=view.incident, told=view.told, connector=world.connector(kind=ConnectorKind.PARTNER))
    assert "1. It is the partner's server: send them this before mail stops. Contact: `postmaster of F" in drawn(
        partner
    )
    unknown = world.connector(kind=ConnectorKind.PARTNER, partner_contact=None)
    said = drawn(world.view(incident=view.incident, told=view.told, connector=unknown))
    assert "Contact:" not in said


@pytest.mark.parametrize(
    ("code", "mark", "words"),
    [
        (Warned.CERTIFICATE, "7 d", "⚠️ `Contoso inbound`: The certificate of `mail.contoso.com`"),
        (
            Warned.TARGET_DOWN,
            "mail3.contoso.com 192.0.2.9",
            "`mail3.contoso.com 192.0.2.9` is down too; 2 servers left.",
        ),
        (Warned.CAPABILITIES, "STARTTLS", "`STARTTLS` is missing too."),
    ],
)
def test_the_thread_tells_each_threshold(world: Any, code: str, mark: str, words: str) -> None:
    assert words in render_event(world.event("warned", mark=mark), warning(world, code)).text


# --- lists ---------------------------------------------------------------------------------------------------------
def ahead(world: Any, **more: Any) -> Any:
    waiting = world.incident(id=20, code=Warned.CERTIFICATE, severity=Severity.WARNING)
    return world.row(0, warnings=(waiting,), queue=QueueSummary(), probe=world.probe(True), **more)


def test_status_shows_warnings_apart_from_outages(world: Any) -> None:
    said = shown(replies.status_reply(world.status(world.row(), ahead(world)), "connected"))
    assert "🔴 *1 open incident* · 1 warning · 2 connectors" in said
    outage, warned = said.index("*#12*"), said.index("*Before mail stops*")
    assert outage < warned < said.index("⚠️ *#20* certificate expires soon · `Contoso inbound` · warning, mail flows")
    calm = shown(replies.status_reply(world.status(ahead(world)), "connected"))
    assert "✅ *no open incident* · 1 warning" in calm


def test_home_and_the_list_of_incidents_show_them_apart_too(world: Any) -> None:
    home = str(home_view(world.status(ahead(world)), "connected", Mrkdwn("`/mfi help`")))
    assert home.index("None. Mail flows.") < home.index("*Before mail stops*") < home.index("*#20*")
    assert "Before mail stops" not in str(home_view(world.status(), "connected", Mrkdwn("`/mfi help`")))
    listed = replies.open_incidents([ahead(world)])
    assert listed.startswith("No incident is open.\n*Before mail stops*\n⚠️ *#20*")


def test_a_connector_with_a_warning_is_no_failing_one(world: Any) -> None:
    said = shown(replies.connectors_reply([ahead(world)]))
    assert "*1 connector*, 0 with an open incident" in said
    assert "⚠️ *`Contoso inbound`* *#20*" in said


def test_many_warnings_are_counted(world: Any) -> None:
    said = shown(replies.status_reply(world.status(*[ahead(world)] * 20), "connected"))
    assert "… and 5 more" in said
