"""The answers to commands, the Home tab, the plan dialog and the manifest, as they are drawn."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import yaml

from bot.core.blockkit import problems
from bot.core.mail_clock import MailClock
from bot.core.permissions import Admins, Decision
from bot.core.views import StaleSource
from bot.slack import replies
from bot.slack.blocks import Message, bounded, message, section, sections_only, text_only
from bot.slack.explained import explain_reply, paste_reply
from bot.slack.home import home_view
from bot.slack.manifest import SCOPES, bot_scopes, manifest, manifest_yaml
from bot.slack.plan_modal import loading_view, refused_view
from bot.slack.text import Mrkdwn
from bot.slack.vocabulary import (
    BY_NAME,
    Line,
    help_lines,
    help_reply,
    nearest,
    parse,
    too_long,
    unescaped,
    unknown_word,
)
from knowledge.articles import articles
from knowledge.diagnose import explain
from storage.records import ConnectorKind, QueueSummary, Severity
from tests.slack.drawn import shown


# --- vocabulary ----------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("typed", "line"),
    [
        ("", Line("", "", False)),
        ("  STATUS ", Line("status", "", False)),
        ("share queue Contoso inbound", Line("queue", "Contoso inbound", True)),
        ("share", Line("", "", True)),
        ('probe "Contoso inbound"', Line("probe", "Contoso inbound", False)),
        ("probe `Contoso`", Line("probe", "Contoso", False)),
        ("probe “Contoso”", Line("probe", "Contoso", False)),
        ('explain "quoted" text', Line("explain", '"quoted" text', False)),
        ("ack\n12", Line("ack", "12", False)),
    ],
)
def test_what_is_typed_becomes_word_and_argument(typed: str, line: Line) -> None:
    assert parse(typed) == line


def test_slacks_entities_are_what_the_person_typed() -> None:
    assert unescaped("&lt;a@b&gt; &amp;amp;") == "<a@b> &amp;"


def test_arguments_have_a_length() -> None:
    assert too_long(Line("queue", "x" * 501, False))
    assert not too_long(Line("explain", "x" * 60_000, False))
    assert too_long(Line("explain", "x" * 70_000, False))


@pytest.mark.parametrize(
    ("typed", "meant"),
    [("exlain", "explain"), ("que", "queue"), ("conectors", "connectors"), ("i", "incident"), ("zzz", None)],
)
def test_the_nearest_word_is_found(typed: str, meant: str | None) -> None:
    assert nearest(typed) == meant


def test_help_lists_every_word_and_its_rights() -> None:
    said = shown(help_reply())
    for word in BY_NAME.values():
        assert f"/mfi {word.name}" in said
    assert "🔒" in said
    assert "Did you mean `/mfi explain`?" in shown(unknown_word("explian"))
    assert "Did you mean" not in shown(unknown_word("zzz"))


# --- explain -------------------------------------------------------------------------------------------------------
def test_explain_says_what_why_and_what_to_do() -> None:
    said = shown(
        explain_reply(
            explain(
                "550 5.4.316 Message expired, connection refused [LastAttemptedServerName=mail.contoso.com] 4.4.317"
            )
        )
    )
    for part in ("4.4.316 Connection refused", "*Bounced already?* Yes", "*Why*", "*What to do*", "mail.contoso.com"):
        assert part in said
    assert "Fix now…" in said
    assert "also in the text: 4.4.317" in said


def test_explain_of_a_code_without_fix_now_does_not_offer_it() -> None:
    assert "Fix now…" not in shown(explain_reply(explain("450 4.4.315 Connection timed out")))


def test_explain_of_a_bare_class_still_helps() -> None:
    said = shown(explain_reply(explain("421 later")))
    assert "only the structure of the code is known" in said


def test_explain_of_nothing_says_what_to_paste() -> None:
    assert "no delivery error in this text" in shown(
        explain_reply(explain("good morning everybody, how are you doing?"))
    )
    assert "For example: `/mfi explain 450 4.4.316" in shown(paste_reply(Mrkdwn("What shall I explain?")))


def test_an_explanation_without_steps_or_owners_is_still_one() -> None:
    said = explain("450 4.4.316")
    bare = replace(said, article=replace(said.article, causes=(), fixes=(), owner=()))
    drawn = shown(explain_reply(bare))
    assert "First step: See the source." in drawn
    assert "*What to do*" not in drawn
    assert "Who can act" not in drawn


# --- lists ---------------------------------------------------------------------------------------------------------
def test_status_names_incidents_and_the_bots_own_health(world: Any) -> None:
    said = shown(replies.status_reply(world.status(), "connected"))
    for part in (
        "🔴 *1 open incident*",
        "*#12* 4.4.316",
        "Slack: connected",
        "2 to send, 1 undeliverable",
        "is_archived",
        "`lab`: read 2 min ago",
        "3 waiting messages belong to no known connector",
    ):
        assert part in said
    calm = world.status(world.row(0, probe=None), unassigned=QueueSummary(), dead=())
    said = shown(replies.status_reply(calm, "connected"))
    assert "✅ *no open incident*" in said
    assert "Last probe: none yet" in said
    blind = world.status(monitor=(world.incident(connector_id=None, code="blind"),))
    assert "🙈 *the monitor is blind*" in shown(replies.status_reply(blind, "disconnected"))


@pytest.mark.parametrize(
    ("gone", "how"),
    [({"enabled": False}, "disabled"), ({"missing_since": datetime(2026, 3, 1, tzinfo=UTC)}, "removed")],
)
def test_mail_behind_a_connector_that_is_off_is_told_where_people_look(
    world: Any, gone: dict[str, Any], how: str
) -> None:
    rows = [world.row(0, connector=world.connector(name=f"Off {n}", **gone)) for n in range(7)]
    status = world.status(*rows)
    for drawn in (replies.status_reply(status, "connected"), home_view(status, "connected", help_lines())):
        said = shown(drawn)
        assert "⚠️ *no open incident, but mail is left behind*" in said
        assert f"⚠️ *42 messages wait* behind the {how} connector `Off 0`; first bounce in 19 h" in said
        assert said.count(f"behind the {how} connector") == 5
        assert "… and 2 more" in said
        assert "Mail flows" not in said


def test_what_is_off_is_not_told_of_without_mail_or_beside_its_incident(world: Any) -> None:
    off = world.connector(enabled=False)
    rows = world.row(0, connector=off, queue=QueueSummary()), world.row(0), world.row(1, connector=off)
    said = shown(replies.status_reply(world.status(*rows), "connected"))
    assert "behind the" not in said


def test_connectors_are_listed_failing_ones_first(world: Any) -> None:
    fine = world.row(0, connector=world.connector(name="Fine"), probe=world.probe(True))
    off = world.row(0, connector=world.connector(name="Off", enabled=False))
    new = world.row(0, connector=world.connector(name="New", kind=ConnectorKind.PARTNER), probe=None)
    said = shown(replies.connectors_reply([fine, off, new, world.row()]))
    assert said.index("Contoso inbound") < said.index("Off") < said.index("Fine")
    for part in ("⏸️ *`Off`*", "disabled", "not probed yet", "partner", "probe fine"):
        assert part in said
    assert "… and 5 more" in shown(replies.connectors_reply([world.row()] * 20))
    old = world.row(queue_stale=True, queue_read_at=world.now - timedelta(hours=1))
    assert "42 waiting · ⚠️ *stale*: read 1 h ago" in shown(replies.connectors_reply([old]))
    assert "mfi import connectors" in shown(replies.connectors_reply([]))
    unread = [StaleSource(backend="contoso", read_at=None, error="the secret has expired")]
    for views in ([], [world.row()]):
        said = shown(replies.connectors_reply(views, unread))
        assert "contoso` was never read, so its connectors are unknown; the last try failed: the secret has" in said
        assert "`mfi sync contoso` reads it, `mfi doctor` says what is wrong" in said
        assert "No connectors" not in said


def test_a_probe_shows_each_server_and_how_far_it_came(world: Any) -> None:
    said = shown(replies.probe_reply(world.connector(), world.probe()))
    assert "✓ DNS 3 ms · *❌ connecting*" in said
    assert "stopped at connecting (0.42 s)" in said
    fine = shown(replies.probe_reply(world.connector(), world.probe(True, degraded=True)))
    assert "gets through, but not to every server" in fine
    assert "✓ EHLO 31 ms" in fine
    nameless = world.probe(status=None, code=None, cause=None, document="{}")
    assert "`failed`, failed" in shown(replies.probe_reply(world.connector(), nameless))


def test_many_probes_are_one_line_each(world: Any) -> None:
    results = [(world.connector(name=f"C{n}"), world.probe(n > 1)) for n in range(12)]
    said = shown(replies.probes_reply(results))
    assert "*12 connectors probed*, 2 failing" in said
    assert said.index("`C1`") < said.index("`C2`")


def test_candidates_are_buttons_with_ids(world: Any) -> None:
    found = [world.connector(id=n, name=f"Con {n}") for n in range(12)]
    drawn = replies.candidates("queue", "Con", found, share=True)
    buttons = drawn.blocks[1]["elements"]
    assert [(b["action_id"], b["value"]) for b in buttons][:2] == [
        ("mfi.pick.share-queue.0", "0"),
        ("mfi.pick.share-queue.1", "1"),
    ]
    assert len(buttons) == 10
    assert "and 2 more: type more of the name" in shown(drawn)
    assert "Which connector?" in shown(replies.candidates("probe", "", found))


def test_unknown_connectors_bring_the_nearest(world: Any) -> None:
    every = [world.connector(id=n, name=name) for n, name in enumerate(("Contoso", "Fabrikam", "A", "B", "C", "D"))]
    near = replies.nearest_connectors("contosso", every)
    assert [c.name for c in near] == ["Contoso"]
    assert "Did you mean one of these?" in shown(replies.unknown_connector("probe", "contosso", near))
    assert replies.nearest_connectors("zzzzz", every) == []
    assert len(replies.nearest_connectors("zzzzz", every[:3])) == 3
    assert "/mfi connectors` lists them" in shown(replies.unknown_connector("probe", "zzzzz", []))


def test_whoami_says_what_follows(world: Any) -> None:
    admins = Admins.of(["U0ADMIN1", "S0ADMINS"])
    assert "You may probe" in shown(replies.whoami_reply("U0ADMIN1", Decision(True, "Listed."), admins))
    said = shown(replies.whoami_reply("U0READER", Decision(False, "Not one."), admins))
    assert "You may read." in said
    assert "These may: <@U0ADMIN1>, <!subteam^S0ADMINS>" in said
    assert "These may" not in shown(replies.refusal(Decision(False, "Nobody."), Admins()))


def test_an_incident_comes_with_its_timeline_but_without_buttons(world: Any) -> None:
    events = (world.event("opened", by="probe"), world.event("evidence"), world.event("acknowledged"))
    drawn = replies.incident_reply(world.view(events=events), articles().for_code("4.4.316"), "https://slack.com/")
    assert "*Timeline*" in shown(drawn)
    assert "New evidence" not in shown(drawn)
    assert all(block["type"] != "actions" for block in drawn.blocks)
    quiet = replies.incident_reply(world.view(events=()), articles().for_code("4.4.316"), "https://slack.com/")
    assert "*Timeline*" not in shown(quiet)


def test_open_incidents_are_listed(world: Any) -> None:
    assert "*#12* 4.4.316" in replies.open_incidents([world.row()])
    assert replies.open_incidents([world.row(0)]) == "No incident is open."


# --- Home and dialogs ----------------------------------------------------------------------------------------------
def test_home_shows_what_needs_attention_first(world: Any) -> None:
    said = shown(home_view(world.status(), "connected", help_lines()))
    assert said.index("*#12 4.4.316*") < said.index("42 messages, first bounce in 19 h") < said.index("/mfi explain")
    none = QueueSummary()
    quiet = world.status(world.row(0, queue=none, clock=MailClock()), unassigned=none)
    calm = shown(home_view(quiet, "connected", help_lines()))
    assert "None. Mail flows." in calm
    assert "Nothing waits." in calm
    blind = world.status(monitor=(world.incident(connector_id=None, code="blind"),))
    assert "the monitor is blind" in shown(home_view(blind, "connected", help_lines()))


def test_home_of_a_bad_day_still_fits(world: Any) -> None:
    said = shown(home_view(world.status(*[world.row(3)] * 40), "connected", help_lines()))
    assert "… and 100 more" in said


def test_the_small_dialogs_are_fit_for_slack() -> None:
    assert "Reading the present facts" in shown(loading_view(12))
    assert "🚫 no" in shown(refused_view(Mrkdwn("no")))


# --- the builders --------------------------------------------------------------------------------------------------
def test_a_message_that_is_too_much_says_that_it_was_cut() -> None:
    big = message(Mrkdwn("x"), [section(Mrkdwn("y" * 2800)) for _ in range(9)])
    assert "shortened" in str(big.blocks[-1])
    many = message(Mrkdwn("x"), [section(Mrkdwn("y")) for _ in range(60)])
    assert len(many.blocks) == 49
    assert not problems(many.payload(), "message")


def test_the_notification_text_fits_an_update_in_bytes() -> None:
    assert len(bounded(Mrkdwn("é" * 5000)).encode()) <= 3900
    assert bounded(Mrkdwn("short")) == "short"


def test_the_ladder_keeps_the_facts(world: Any) -> None:
    full = replies.status_reply(world.status(), "connected")
    plain = sections_only(full)
    assert {block["type"] for block in plain.blocks} == {"section"}
    assert "verbatim" not in str(plain.blocks)
    assert text_only(full).payload() == {"text": full.text}
    assert not problems(text_only(full).payload(), "message")
    divided = sections_only(Message(text=Mrkdwn("x"), blocks=({"type": "divider"},)))
    assert divided.blocks == ()


# --- manifest ------------------------------------------------------------------------------------------------------
def test_the_manifest_asks_for_what_is_used_and_nothing_more() -> None:
    made = manifest()
    assert made == yaml.safe_load(manifest_yaml())
    assert tuple(made["oauth_config"]["scopes"]["bot"]) == bot_scopes() == tuple(sorted(SCOPES))
    assert made["settings"]["socket_mode_enabled"] is True
    assert [c["command"] for c in made["features"]["slash_commands"]] == ["/mfi"]
    assert len(made["display_information"]["name"]) <= 35
    assert len(made["display_information"]["description"]) <= 140


def test_status_lists_what_is_urgent_first(world: Any) -> None:
    late, soon = world.queue(), world.queue()
    soon = replace(soon, by_code=(replace(soon.by_code[0], first_expiry_at=world.now + timedelta(hours=1)),))
    warning = Severity.WARNING
    found = [
        (QueueSummary(), world.incident(id=1, severity=warning)),
        (late, world.incident(id=2, severity=warning)),
        (late, world.incident(id=3)),
        (soon, world.incident(id=4)),
        (soon, world.incident(id=5, severity=warning)),
    ]
    rows = [replace(world.row(queue=queue), incidents=(incident,)) for queue, incident in found]
    for said in (
        shown(replies.status_reply(world.status(*rows), "connected")),
        shown(home_view(world.status(*rows), "connected", help_lines())),
        str(replies.open_incidents(rows)),
    ):
        places = [said.index(f"*#{number}") for number in (4, 3, 5, 2, 1)]
        assert places == sorted(places)


def test_status_names_channels_whose_next_message_keeps_failing(world: Any) -> None:
    late = world.status(late=("root of #12 for C0ALERTS, 9 min old: HTTP 503",))
    said = shown(replies.status_reply(late, "connected"))
    assert "late, still tried: root of #12 for C0ALERTS, 9 min old" in said
    assert "undeliverable: reply of #12" in said


def test_a_probe_says_from_where_it_was_seen(world: Any) -> None:
    assert "seen from the bot" in shown(replies.probe_reply(world.connector(), world.probe()))
    assert "seen from the bot" in shown(replies.probes_reply([(world.connector(), world.probe())]))
