"""`/mfi queue`: what waits everywhere, at one connector, what bounced; the countdown in alerts and Home."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from bot.core.blockkit import problems
from bot.core.evidence import SampleKind
from bot.core.mail_clock import Due, MailClock, Pace, Peak
from bot.core.views import AllowedFrom, Disagreement, StaleSource
from bot.slack.alert import render_alert
from bot.slack.blocks import Message, sections_only, text_only
from bot.slack.countdown import bounces_chart, by_when, hours_spark, life_bar, pace_words
from bot.slack.evidence import conclusion, differ, sample_line
from bot.slack.home import home_view
from bot.slack.queues import bounced_reply, one_queue_reply, queue_reply
from bot.slack.text import Mrkdwn
from bot.terminal.queues import render_one
from knowledge.articles import articles
from storage.records import QueueSummary

HOUR = timedelta(hours=1)
DAY = 24 * HOUR
ABOUT = articles().for_code("4.4.316")
PHONE = 34
"""Characters that fit into one line of a code block on a phone."""


def shown(drawn: Message | dict[str, Any]) -> str:
    """The whole payload as text; every one must be fit for Slack, also in its simpler forms."""
    payload = drawn.payload() if isinstance(drawn, Message) else drawn
    surface: Any = "message" if isinstance(drawn, Message) else drawn["type"]
    assert not problems(payload, surface), problems(payload, surface)
    if isinstance(drawn, Message):
        for simpler in (sections_only(drawn), text_only(drawn)):
            assert not problems(simpler.payload(), "message")
    return str(payload)


def charts(drawn: Message) -> list[str]:
    """The text of each code block."""
    blocks = [block for block in drawn.blocks if block["type"] == "rich_text"]
    return ["".join(leaf["text"] for part in block["elements"] for leaf in part["elements"]) for block in blocks]


# --- everywhere ----------------------------------------------------------------------------------------------------
def test_the_queue_lists_the_most_urgent_first(world: Any) -> None:
    late = world.queue(5)
    late = QueueSummary(by_code=(replace(late.by_code[0], first_expiry_at=world.now + timedelta(minutes=10)),))
    urgent = world.row(connector=world.connector(name="Urgent"), queue=late)
    said = shown(queue_reply(world.waits(world.row(), urgent)))
    assert said.index("Urgent") < said.index("Contoso inbound")
    for part in (
        "*50 messages waiting* at 2 connectors",
        "*24 bounced* in the last 24 h",
        "first bounce in 10 min",
        "`███░░░░░░░░░░░░░` oldest 5 h, *first bounce in 19 h*",
        "*42* within 24 h; fullest hour: 28 from <!date^",
        "14 an hour come in, none leave: it grew by 12 in the last hour; 2 gone, nobody says how",
        "*belonging to no known connector* · 3 messages",
        "/mfi queue bounced",
    ):
        assert part in said, part


def test_many_connectors_are_cut_and_the_rest_counted(world: Any) -> None:
    assert "… and 5 more connectors" in shown(queue_reply(world.waits(*[world.row()] * 20)))


def test_old_figures_are_shown_as_old_with_their_age(world: Any) -> None:
    old = world.row(queue_stale=True, queue_read_at=world.now - HOUR)
    said = shown(queue_reply(world.waits(old, stale=True)))
    assert "⚠️ *stale*: `exo` was last read 1 h ago; the last try failed: HTTP 503" in said
    assert "⚠️ *stale*: read 1 h ago" in said
    assert "*stale*" not in shown(queue_reply(world.waits()))


def test_an_empty_queue_is_good_news_but_not_when_it_is_old_or_mail_bounced(world: Any) -> None:
    empty = world.row(queue=QueueSummary(), clock=MailClock())
    assert "✅ Nothing waits.'" in shown(queue_reply(world.waits(empty, unassigned=0)))
    said = shown(queue_reply(world.waits(replace(empty, clock=MailClock(bounced=7)), unassigned=0, stale=True)))
    assert "7 bounced in the last 24 h" in said
    assert "*stale*" in said


def test_a_mail_system_that_was_never_read_comes_first_and_is_never_called_empty(world: Any) -> None:
    unread = (StaleSource(backend="exo", read_at=None, error="HTTP 401"),)
    first = "⚠️ `exo` was *never read*: what waits there is unknown; the last try failed: HTTP 401"
    empty = world.row(queue=QueueSummary(), clock=MailClock())
    alone = replace(world.one_queue(), never_read=unread)
    for drawn in (
        queue_reply(replace(world.waits(empty, unassigned=0), stale=unread)),
        queue_reply(replace(world.waits(), stale=unread)),
        one_queue_reply(alone),
        one_queue_reply(replace(alone, row=empty)),
    ):
        shown(drawn)
        assert drawn.blocks[0]["text"]["text"].startswith(first)
        assert "✅" not in shown(drawn)
    home = shown(home_view(world.status(empty, unassigned=QueueSummary(), stale=unread), "connected", Mrkdwn("")))
    assert first in home
    assert "Nothing is known to wait." in home


def test_only_unassigned_mail_is_visible_too(world: Any) -> None:
    said = shown(queue_reply(replace(world.waits(), connectors=())))
    assert "*3 messages waiting*" in said
    assert "belonging to no known connector" in said


def test_a_sample_that_agrees_stands_for_all(world: Any) -> None:
    said = shown(queue_reply(world.waits(world.row(sample=world.sample()))))
    assert "42 messages · 4.4.316 (10 of 10 looked at)" in said


# --- one connector -------------------------------------------------------------------------------------------------
def test_one_queue_is_drawn_as_bars_that_fit_a_phone(world: Any) -> None:
    drawn = one_queue_reply(world.one_queue(disagreement=Disagreement.SPLIT_DNS))
    said = shown(drawn)
    ages, due = charts(drawn)
    assert "4-8 h     ████████████      28" in ages.split("\n")
    assert "1-4 h     ██████            14" in ages.split("\n")
    assert "in 24 h   ████████████      42" in due.split("\n")
    assert all(len(line) <= PHONE for chart in (ages, due) for line in chart.split("\n"))
    for part in (
        "*42 messages waiting*",
        "the oldest for 5 h; *first bounce in 19 h* (<!date^",
        "`···················█···▄` bounces by hour",
        "*42* with 4.4.316",
        "⚖️ *Queue and probe disagree.* The server",
        "*To*\\n`contoso.com` 30",
        "*From*\\n`app@fabrikam.test` 42",
        "To and From: of the 20 oldest",
        "`/mfi queue bounced Contoso inbound`",
    ):
        assert part in said, part


def test_the_null_sender_is_shown_as_mail_writes_it(world: Any) -> None:
    one = world.one_queue()
    bounces = replace(one, top=replace(one.top, senders=(("", 7),)))
    assert "*From*\\n`&lt;&gt;` 7" in shown(one_queue_reply(bounces))
    assert "<>" in render_one(bounces)


def test_a_whole_top_list_does_not_say_that_it_is_a_part(world: Any) -> None:
    one = world.one_queue()
    assert "oldest ones" not in shown(one_queue_reply(replace(one, top=replace(one.top, looked_at=42))))
    bare = shown(one_queue_reply(replace(one, top=type(one.top)())))
    assert "*To*" not in bare
    assert "of the 20" not in bare


def test_overdue_mail_has_its_own_bar(world: Any) -> None:
    clock = replace(world.clock(), overdue=7, due=tuple(Due(hours=h, count=7) for h in (1, 2, 4, 8, 24)))
    drawn = one_queue_reply(world.one_queue(clock=clock))
    assert charts(drawn)[1].startswith("overdue   ██")


def test_a_queue_without_buckets_has_no_bars(world: Any) -> None:
    drawn = one_queue_reply(world.one_queue(clock=MailClock(waiting=42)))
    assert charts(drawn) == []
    shown(drawn)


def test_an_empty_connector_says_how_mail_moves_and_how_old_that_is(world: Any) -> None:
    old = {"queue_stale": True, "queue_read_at": world.now - 2 * HOUR}
    said = shown(one_queue_reply(world.one_queue(queue=QueueSummary(), clock=MailClock(bounced=3), **old)))
    assert "✅ Nothing waits at `Contoso inbound`." in said
    assert "*3 bounced* in the last 24 h" in said
    assert "*stale*: read 2 h ago" in said


# --- words of the clock --------------------------------------------------------------------------------------------
def due(*counts: int) -> tuple[Due, ...]:
    return tuple(Due(hours=hours, count=count) for hours, count in zip((1, 2, 4, 8, 24), counts, strict=True))


@pytest.mark.parametrize(
    ("clock", "words"),
    [
        (MailClock(), ""),
        (MailClock(waiting=3, due=due(0, 0, 0, 0, 0)), ""),
        (MailClock(waiting=9, due=due(0, 0, 4, 4, 9)), "Bounce unless they leave: *4* within 4 h · *9* within 24 h"),
        (MailClock(waiting=9, overdue=2, due=due(2, 2, 9, 9, 9)), "*2 overdue* · *9* within 4 h"),
        (MailClock(waiting=9, overdue=9, due=due(9, 9, 9, 9, 9)), "Bounce unless they leave: *9 overdue*"),
    ],
)
def test_bounces_are_told_only_where_the_number_grows(clock: MailClock, words: str) -> None:
    assert by_when(clock).endswith(words)


def test_where_mail_is_kept_for_days_the_bars_reach_as_far_and_show_no_zeros() -> None:
    hours = (1, 2, 4, 8, 24, 48, 72, 120)
    counts = (0, 0, 0, 0, 0, 9, 9, 42)
    clock = MailClock(waiting=42, due=tuple(Due(hours=h, count=n) for h, n in zip(hours, counts, strict=True)))
    assert by_when(clock) == "Bounce unless they leave: *9* within 2 d · *42* within 5 d"
    drawn = str(bounces_chart(clock))
    assert "in 2 d" in drawn and "in 5 d" in drawn
    assert "in 1 h" not in drawn and "in 24 h" not in drawn
    assert bounces_chart(MailClock(waiting=42, due=due(0, 0, 0, 0, 0))) is None


def test_the_fullest_hour_is_named_unless_it_says_nothing(world: Any) -> None:
    peak = Peak(at=world.now + 3 * HOUR, count=7)
    assert "; fullest hour: 7 from <!date^" in by_when(MailClock(waiting=9, due=due(0, 0, 7, 7, 9), peak=peak))
    assert ", all in the hour from <!date^" in by_when(MailClock(waiting=7, due=due(0, 0, 7, 7, 7), peak=peak))
    all_now = MailClock(waiting=7, due=due(7, 7, 7, 7, 7), peak=peak)
    assert "hour" not in by_when(all_now)
    assert "hour" not in by_when(MailClock(waiting=9, due=due(0, 0, 7, 7, 9), peak=replace(peak, count=1)))


@pytest.mark.parametrize(
    ("arrived", "left", "words"),
    [
        (0, 0, "nothing came or went in the last hour"),
        (60, 0, "1 a minute come in, none leave: it grew by 60 in the last hour"),
        (0, 60, "none come in, 1 a minute leave: empty in about 42 min at this pace"),
    ],
)
def test_the_pace_is_told_with_its_trend(arrived: int, left: int, words: str) -> None:
    pace = Pace(over=HOUR, arrived=arrived, delivered=left, bounced=0, unknown=0)
    assert pace_words(MailClock(waiting=42, pace=pace)) == words


def test_nothing_has_no_bars() -> None:
    assert life_bar(MailClock()) == hours_spark(MailClock()) == pace_words(MailClock()) == ""


# --- sampled reasons -----------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("kind", "words"),
    [
        (SampleKind.AGREES, "30,000 wait; 10 of 10 looked at say 4.4.316"),
        (SampleKind.FEW, "30,000 wait; 10 looked at so far, the rest unknown"),
        (SampleKind.MIXED, "30,000 wait; 10 looked at say different things, the rest unknown"),
    ],
)
def test_a_sample_says_how_much_was_looked_at(world: Any, kind: SampleKind, words: str) -> None:
    assert sample_line(world.sample(kind)) == words
    assert sample_line(None) == ""


def test_an_alert_of_a_sampled_queue_tells_all_that_waits_and_what_was_looked_at(world: Any) -> None:
    known, rest = world.queue(10).by_code[0], world.queue(29_990, None).by_code[0]
    queue = QueueSummary(by_code=(known, replace(rest, reason=None)))
    said = shown(render_alert(world.view(queue=queue, sample=world.sample()), ABOUT))
    assert "30,000 messages wait, the oldest for 5 h" in said
    assert "30,000 wait; 10 of 10 looked at say 4.4.316" in said
    assert "no reason known yet" not in said


# --- alert and Home ------------------------------------------------------------------------------------------------
def test_an_alert_counts_down_with_a_bar_and_how_many_by_when(world: Any) -> None:
    said = shown(render_alert(world.view(), ABOUT))
    for part in ("`███░░░░░░░░░░░░░`", "*42* within 24 h", "14 an hour come in", "*12 bounced* in the last 24 h"):
        assert part in said, part


def test_an_alert_on_old_figures_says_so_beside_its_countdown(world: Any) -> None:
    said = shown(render_alert(world.view(queue_stale=True, queue_read_at=world.now - HOUR), ABOUT))
    assert "⚠️ *stale*: read 1 h ago" in said


def test_home_shows_clock_conclusion_unassigned_and_age(world: Any) -> None:
    row = world.row(
        disagreement=Disagreement.FIREWALL_ADMITS_BOT_ONLY, allowed_from=world.allowed(), queue_stale=True,
        queue_read_at=world.now - HOUR,
    )  # fmt: skip
    waits = world.waits(row, stale=True)
    status = world.status(row, unassigned_clock=waits.unassigned_clock, stale=waits.stale)
    said = shown(home_view(status, "connected", Mrkdwn("`/mfi help`")))
    for part in (
        "⚖️ The firewall lets this bot in, but not Microsoft 365",
        "*42* within 24 h",
        "`███░░░░░░░░░░░░░` 14 an hour come in",
        "*belonging to no known connector* · 3 messages",
        "*stale*: `exo` was last read 1 h ago",
    ):
        assert part in said, part


def test_home_of_a_bad_day_counts_the_queues_that_it_leaves_out(world: Any) -> None:
    rows = [world.row(0)] * 40
    assert "… and 25 more" in shown(home_view(world.status(*rows), "connected", Mrkdwn("`/mfi help`")))


# --- two views -----------------------------------------------------------------------------------------------------
def test_the_mail_systems_own_addresses_stand_beside_the_conclusion(world: Any) -> None:
    said = differ(Disagreement.FIREWALL_ADMITS_BOT_ONLY, world.allowed())
    assert "but not Microsoft 365: check the address ranges" in said
    assert "Microsoft 365 connects from `40.92.0.0/15` `40.107.0.0/16`" in said
    assert "(list of <!date^" in said
    many = differ(Disagreement.FIREWALL_THEN_MORE, world.allowed(*[f"40.{n}.0.0/16" for n in range(20)]))
    assert "and 12 more" in many


def test_without_the_list_the_advice_says_where_it_stands(world: Any) -> None:
    said = differ(Disagreement.FIREWALL_ADMITS_BOT_ONLY, AllowedFrom(system="Microsoft 365"))
    assert "<https://learn.microsoft.com/" in said
    assert "Microsoft＇s list" in said or "Microsoft's list" in said


def test_the_server_that_fails_while_others_work_is_named(world: Any) -> None:
    partly = replace(world.probe(), ok=True, degraded=True)
    view = world.view(disagreement=Disagreement.SOME_SERVERS, probe=partly)
    assert "Failing: `mail.contoso.com:25` (`192.0.2.7`), `mail2.contoso.com:25`" in conclusion(view)
    assert "Failing" not in conclusion(world.view(disagreement=Disagreement.SPLIT_DNS, probe=partly))
    assert "Failing" not in conclusion(world.view(disagreement=Disagreement.SOME_SERVERS, probe=None))


def test_addresses_are_left_out_where_they_do_not_help(world: Any) -> None:
    assert "40.92" not in differ(Disagreement.SPLIT_DNS, world.allowed())
    assert "40.92" not in differ(Disagreement.FIREWALL_ADMITS_BOT_ONLY, None)
    assert differ(None, world.allowed()) == ""


# --- what bounced --------------------------------------------------------------------------------------------------
def test_bounced_mail_is_told_by_sender_with_the_way_to_the_whole_list(world: Any) -> None:
    bounces = [world.bounce(), world.bounce(code=None), world.bounce("hr@fabrikam.test"), world.bounce("")]
    said = shown(bounced_reply(bounces, DAY, "Contoso inbound", most=5000))
    for part in (
        "*4 messages bounced* at `Contoso inbound` in the last 24 h",
        "• `app@fabrikam.test` 2 (4.4.316, no code known)",
        "• `hr@fabrikam.test` 1 (4.4.316)",
        "`&lt;&gt;` 1",
        "mfi queue --bounced --csv &gt; bounced.csv",
    ):
        assert part in said, part


def test_a_bounce_that_nobody_told_is_said_to_be_presumed(world: Any) -> None:
    bounces = [world.bounce(), world.bounce("hr@fabrikam.test", presumed=True)]
    said = shown(bounced_reply(bounces, DAY, None, most=5000))
    assert "*2 messages bounced* in the last 24 h; 1 of these presumably: gone when the time was up" in said
    assert "presumably" not in shown(bounced_reply(bounces[:1], DAY, None, most=5000))


def test_many_bounces_are_at_least_so_many(world: Any) -> None:
    bounces = [world.bounce(f"a{n}@fabrikam.test") for n in range(12)]
    said = shown(bounced_reply(bounces, DAY, None, most=12))
    assert "*at least 12 messages bounced* in" in said
    assert "… and 2 more senders" in said


def test_no_bounce_is_good_news(world: Any) -> None:
    assert "✅ No mail bounced at `Contoso` in the last 24 h" in shown(bounced_reply([], DAY, "Contoso", most=9))
