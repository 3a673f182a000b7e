"""`/mfi …` through the real socket, the real store and the stand-in Slack."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from bot.core.policy import Policy
from bot.services.unassigned import look_at_unassigned
from bot.slack.commands import MOST_PROBED
from storage import audit, incidents, messages
from storage.records import ConnectorKind, IncidentState, MessageFacts, MessageStatus

ADMIN, OTHER_ADMIN, READER, CHANNEL = "U0ADMINONE", "U0ADMINTWO", "U0READER", "C0MAILALERTS"
NOW, HOUR = datetime(2026, 3, 2, 3, 0, tzinfo=UTC), timedelta(hours=1)


def shown(messages: list[Any]) -> str:
    """Everything that the messages show."""
    return "\n".join(m.visible for m in messages)


async def rows(live: Any) -> list[tuple[str, str, str, bool]]:
    found = await live.store.read(lambda db: audit.recent(db, 20))
    return [(r.actor, r.verb, r.target, r.allowed) for r in found]


# --- reading -------------------------------------------------------------------------------------------------------
async def test_explain_answers_a_reader_in_private(live: Any) -> None:
    answers = await live.command("explain 450 4.4.316", READER)
    assert "4.4.316 Connection refused" in shown(answers)
    assert answers[0].ephemeral_to == READER
    assert live.slack.messages(CHANNEL) == []


async def test_a_shared_answer_is_for_the_channel(live: Any) -> None:
    await live.command("share explain 4.4.316", READER)
    assert "Connection refused" in shown(live.slack.messages(CHANNEL))


async def test_explain_of_small_talk_says_what_to_paste(live: Any) -> None:
    said = shown(await live.command("explain what a lovely morning this is, dear colleagues", READER))
    assert "no delivery error" in said
    assert "For example: `/mfi explain" in said


@pytest.mark.parametrize("line", ["", "help", "HELP"])
async def test_help_lists_the_words(live: Any, line: str) -> None:
    assert "/mfi queue [connector|unassigned|bounced]" in shown(await live.command(line, READER))


@pytest.mark.parametrize(("line", "public"), [("share", 0), ("share help", 1)])
async def test_help_that_nobody_asked_for_is_no_matter_of_the_channel(live: Any, line: str, public: int) -> None:
    assert "/mfi queue [connector|unassigned|bounced]" in shown(await live.command(line, READER))
    assert len(live.slack.messages(CHANNEL)) == public


async def test_an_unknown_word_gets_the_nearest_one_and_the_list(live: Any) -> None:
    said = shown(await live.command("share stauts", READER))
    assert "Did you mean `/mfi status`?" in said
    assert live.slack.messages(CHANNEL) == []


async def test_markup_in_an_unknown_word_stays_dead(live: Any) -> None:
    answers = await live.command("<!channel> `x` https://evil.test", READER)
    assert "<!channel>" not in str(answers[0].blocks) + answers[0].text


async def test_too_long_is_said(live: Any) -> None:
    assert "too long" in shown(await live.command("queue " + "x" * 600, READER))


async def test_status_connectors_and_queue_of_a_world_with_trouble(live: Any) -> None:
    connector = await live.connector()
    await live.incident(connector)
    assert "1 open incident" in shown(await live.command("status", READER))
    assert "`Contoso inbound`" in shown(await live.command("connectors", READER))
    assert "Nothing waits." in shown(await live.command("queue", READER))
    assert "Nothing waits at `Contoso inbound`" in shown(await live.command("queue contoso", READER))


async def test_an_incident_is_shown_by_its_number(live: Any) -> None:
    incident = await live.incident(await live.connector())
    said = shown(await live.command(f"incident #{incident.id}", READER))
    assert "4.4.316 Connection refused" in said
    assert "*Timeline*" in said


@pytest.mark.parametrize("line", ["incident 99", "incident abc", "ack", "ack x", "fix 4711"])
async def test_a_number_that_does_not_exist_brings_the_open_ones(live: Any, line: str) -> None:
    await live.incident(await live.connector())
    said = shown(await live.command(line, ADMIN))
    assert "*#1* 4.4.316" in said
    assert f"Write `/mfi {line.split(maxsplit=1)[0]} " in said


async def test_incident_without_a_number_is_right_as_it_is(live: Any) -> None:
    await live.incident(await live.connector())
    said = shown(await live.command("incident", READER))
    assert said.startswith("*Open now*")
    assert "Write" not in said


async def test_whoami_tells_admins_and_readers_apart(live: Any) -> None:
    assert "You may probe" in shown(await live.command("whoami", ADMIN))
    said = shown(await live.command("whoami", READER))
    assert "You may read." in said
    assert f"<@{ADMIN}>" in said


# --- finding connectors --------------------------------------------------------------------------------------------
async def test_an_ambiguous_name_brings_buttons_that_work(live: Any) -> None:
    await live.connector(key="a", name="Contoso one")
    await live.connector(key="b", name="Contoso two")
    (ask,) = await live.command("share queue contoso", READER)
    assert "fits more than one connector" in ask.visible
    await live.slack.click(READER, ask, "mfi.pick.share-queue.1")
    await live.slack.wait_for(lambda: live.slack.messages(CHANNEL))
    assert "Nothing waits at `Contoso two`" in shown(live.slack.messages(CHANNEL))


def held(connector: Any, key: str, **more: Any) -> tuple[MessageFacts, int]:
    usual = {
        "backend": "lab", "key": key, "recipient": "one@contoso.com", "sender": "app@fabrikam.test", "code": "4.4.316",
        "received_at": NOW - 5 * HOUR, "expires_at": NOW + 19 * HOUR,
    }  # fmt: skip
    return MessageFacts(**(usual | more)), connector.id


async def queued(live: Any, *rows: tuple[MessageFacts, int | None]) -> None:
    await live.store.write(lambda db: messages.sync(db, "lab", rows, live.now, complete=True))


async def test_the_queue_of_one_connector_has_its_bars_and_top_lists(live: Any) -> None:
    connector = await live.connector()
    await queued(live, *(held(connector, f"m{n}") for n in range(7)))
    said = shown(await live.command("queue contoso", READER))
    for part in ("*7 messages waiting*", "How long it has waited", "4-8 h     ████████████", "`app@fabrikam.test` 7"):
        assert part in said, part
    assert "*7 messages waiting*" in shown(await live.command("queue", READER))


def homeless(key: str, **more: Any) -> tuple[MessageFacts, None]:
    """What belongs to no connector."""
    reason = "connect to 127.0.0.1[127.0.0.1]:10024: Connection refused"
    return MessageFacts(
        backend="lab", key=key, recipient="one@nowhere.test", sender="app@fabrikam.test", code=None, reason=reason,
        received_at=NOW - 5 * HOUR, expires_at=NOW + 19 * HOUR, **more,
    ), None  # fmt: skip


async def stuck(live: Any, *rows: tuple[MessageFacts, Any]) -> None:
    policy = Policy(unassigned_count=3)
    await queued(live, *rows)
    await look_at_unassigned(live.store, policy, live.now, default_channel=CHANNEL, steady=True)


@pytest.mark.parametrize("line", ["queue unassigned", "queue Unassigned", "queue unas"])
async def test_what_belongs_to_no_connector_can_be_looked_into(live: Any, line: str) -> None:
    connector = await live.connector()
    await queued(live, held(connector, "m1"), *(homeless(f"h{n}") for n in range(7)))
    said = shown(await live.command(line, READER))
    for part in (
        "*belonging to no known connector* · *7 messages waiting*", "in `lab`", "4-8 h     ████████████",
        "*7* with no code: `connect to 127.0.0.1[127.0.0.1]:10024: Connection refused`", "`nowhere.test` 7",
        "`/mfi queue bounced unassigned`",
    ):  # fmt: skip
        assert part in said, part
    assert "`/mfi queue unassigned`" in shown(await live.command("queue", READER))
    assert "7 waiting messages belong to no known connector: `/mfi queue unassigned`" in shown(
        await live.command("status", READER)
    )


@pytest.mark.parametrize(
    ("name", "line", "connectors"),
    [
        ("Unassigned", "queue unassigned", True),
        ("Unassigned mail", "queue unassigned", False),
        ("Unassigned mail", "queue unas", True),
        ("Unassigned mail", "queue un", True),
    ],
)
async def test_a_connector_that_is_really_called_so_wins(live: Any, name: str, line: str, connectors: bool) -> None:
    await live.connector(name=name)
    said = shown(await live.command(line, READER))
    assert (f"Nothing waits at `{name}`" in said) is connectors
    assert ("All waiting mail belongs to a known connector." in said) is not connectors


async def test_what_bounced_of_what_belongs_to_no_connector_is_told_alone(live: Any) -> None:
    rows = (held(await live.connector(), "m1"), homeless("h1"), homeless("h2"))
    await queued(live, *rows)
    await queued(live, *((replace(facts, status=MessageStatus.EXPIRED), owner) for facts, owner in rows))
    said = shown(await live.command("queue bounced unassigned", READER))
    assert "*2 messages bounced* of what belongs to no known connector" in said
    assert "mfi queue --bounced unassigned --csv" in said


async def test_the_incident_of_such_mail_is_shown_listed_and_acknowledged(live: Any) -> None:
    await stuck(live, *(homeless(f"h{n}") for n in range(3)))
    said = shown(await live.command("incident 1", READER))
    for part in (
        "#1 Firing, critical: mail that belongs to no known connector is stuck",
        "3 messages wait",
        "*Timeline*",
    ):
        assert part in said, part
    assert "blind" not in said
    assert "*#1* mail that belongs to no known connector is stuck" in shown(await live.command("incident", READER))
    status = shown(await live.command("status", READER))
    assert "1 open incident" in status
    assert "*#1* mail that belongs to no known connector is stuck · Firing, critical · 3 waiting" in status
    assert "#1 is yours" in shown(await live.command("ack 1", ADMIN))
    assert "Acknowledged, critical" in shown(await live.command("incident 1", READER))


async def test_what_bounced_is_told_for_all_for_one_and_after_choosing(live: Any) -> None:
    one, two = await live.connector(key="a", name="Contoso one"), await live.connector(key="b", name="Contoso two")
    rows = (held(one, "m1"), held(one, "m2"), held(two, "m3"))
    await queued(live, *rows)
    await queued(live, *((replace(facts, status=MessageStatus.EXPIRED), owner) for facts, owner in rows))
    assert "*3 messages bounced* in" in shown(await live.command("queue bounced", READER))
    assert "*2 messages bounced* at `Contoso one`" in shown(await live.command("queue Bounced contoso one", READER))
    (ask,) = await live.command("share queue bounced contoso", READER)
    await live.slack.click(READER, ask, "mfi.pick.share-bounced.1")
    await live.slack.wait_for(lambda: live.slack.messages(CHANNEL))
    assert "*1 message bounced* at `Contoso two`" in shown(live.slack.messages(CHANNEL))


async def test_an_unknown_name_brings_the_nearest_ones(live: Any) -> None:
    await live.connector()
    assert "Did you mean one of these?" in shown(await live.command("queue contso inbund", READER))


async def test_no_connector_at_all_says_how_to_get_some(live: Any) -> None:
    assert "mfi import connectors" in shown(await live.command("queue contoso", READER))
    assert "mfi import connectors" in shown(await live.command("connectors", READER))


async def test_a_probe_without_a_name_asks_which_one_and_the_button_probes_it(live: Any) -> None:
    connector = await live.connector()
    (ask,) = await live.command("probe", ADMIN)
    assert "Which connector?" in ask.visible
    await live.slack.click(ADMIN, ask, "mfi.pick.probe.0")
    await live.slack.wait_for(lambda: len(live.slack.ephemerals(ADMIN, CHANNEL)) >= 3)
    assert live.probing.asked == [(connector.id, ADMIN)]
    assert live.slack.ephemerals(ADMIN, CHANNEL)[-1].visible.startswith("❌ `Contoso inbound`")


async def test_a_button_for_a_connector_that_went_away_says_so(live: Any) -> None:
    await live.connector()
    (ask,) = await live.command("probe", ADMIN)
    ask.blocks[1]["elements"][0]["value"] = "4711"
    await live.slack.click(ADMIN, ask, "mfi.pick.probe.0")
    await live.slack.wait_for(lambda: "not known any more" in shown(live.slack.ephemerals(ADMIN, CHANNEL)))
    assert live.probing.asked == []


# --- acting --------------------------------------------------------------------------------------------------------
async def test_a_probe_answers_at_once_and_then_with_the_result(live: Any) -> None:
    connector = await live.connector()
    first, second = await live.command("probe contoso", ADMIN, replies=2)
    assert first.visible.startswith("🔎 Probing `Contoso inbound` → `mail.contoso.com`")
    assert "✓ DNS 3 ms · *❌ connecting*" in second.visible
    assert live.probing.asked == [(connector.id, ADMIN)]
    assert live.nudges == 1
    assert await rows(live) == [(ADMIN, "probe", "contoso", True)]


async def test_probe_all_probes_every_enabled_connector(live: Any) -> None:
    await live.connector(key="a", name="Contoso one")
    await live.connector(key="b", name="Contoso two", kind=ConnectorKind.PARTNER)
    await live.connector(key="c", name="Off", enabled=False)
    _, result = await live.command("share probe all", ADMIN, replies=2)
    assert "*2 connectors probed*, 2 failing" in result.visible
    assert result.ephemeral_to is None


async def test_probe_all_of_nothing_or_of_too_much_is_refused(live: Any) -> None:
    assert "No enabled connector" in shown(await live.command("probe all", ADMIN))
    for number in range(MOST_PROBED + 1):
        await live.connector(key=f"k{number}", name=f"C{number}")
    assert "more than the 50" in shown(await live.command("probe all", ADMIN))


async def test_a_reader_is_refused_told_who_may_and_audited(live: Any) -> None:
    await live.connector()
    said = shown(await live.command("share probe contoso", READER))
    assert "🚫 You are not one of the people who may act." in said
    assert f"These may: <@{ADMIN}>, <@{OTHER_ADMIN}>" in said
    assert live.probing.asked == []
    assert live.slack.messages(CHANNEL) == []
    assert await rows(live) == [(READER, "probe", "contoso", False)]


async def test_an_acknowledgement_names_the_first_one_to_the_second(live: Any) -> None:
    incident = await live.incident(await live.connector())
    assert "👀 #1 is yours" in shown(await live.command("ack 1", ADMIN))
    said = shown(await live.command("ack 1", OTHER_ADMIN))
    assert f"acknowledged already by <@{ADMIN}>" in said
    assert "That was <!date^" in said
    after = await live.store.read(lambda db: incidents.get(db, incident.id))
    assert after.state is IncidentState.ACKNOWLEDGED
    assert after.acknowledged_by == ADMIN
    assert live.nudges == 1


async def test_a_reader_can_not_acknowledge(live: Any) -> None:
    incident = await live.incident(await live.connector())
    assert "🚫" in shown(await live.command("ack 1", READER))
    after = await live.store.read(lambda db: incidents.get(db, incident.id))
    assert after.state is IncidentState.FIRING


async def test_whoever_floods_is_slowed_down_and_nobody_else_is(live: Any) -> None:
    for _ in range(20):
        live.deps.commands.take(ADMIN, live.now)
    assert "🐢 Too much at once. Please try again in 2 s." in shown(await live.command("status", ADMIN))
    assert "no open incident" in shown(await live.command("status", READER))


async def test_probes_are_limited_more_tightly(live: Any) -> None:
    await live.connector()
    for _ in range(6):
        live.deps.probes.take(ADMIN, live.now)
    assert "🐢" in shown(await live.command("probe contoso", ADMIN))
    assert "🐢" in shown(await live.command("probe all", ADMIN))
    assert live.probing.asked == []


async def test_clicks_count_too(live: Any) -> None:
    await live.connector()
    (ask,) = await live.command("probe", ADMIN)
    for _ in range(25):
        live.deps.commands.take(ADMIN, live.now)
    await live.slack.click(ADMIN, ask, "mfi.pick.probe.0")
    await live.slack.wait_for(lambda: "🐢" in shown(live.slack.ephemerals(ADMIN, CHANNEL)))
    assert live.probing.asked == []


# --- what goes wrong -----------------------------------------------------------------------------------------------
async def test_a_failure_of_ours_has_a_number_for_the_log(live: Any, caplog: pytest.LogCaptureFixture) -> None:
    await live.connector()
    live.probing.error = ValueError("boom")
    said = shown(await live.command("probe contoso", ADMIN, replies=2))
    number = said.rsplit("`", 2)[1]
    assert "Something went wrong" in said
    assert f"a command failed ({number})" in caplog.text


async def test_a_database_that_fails_says_what_to_do_and_lets_nobody_act(live: Any) -> None:
    await live.connector()
    await live.store.close()
    said = shown(await live.command("status", READER))
    assert "⚠️ the database was closed already" in said
    said = shown(await live.command("probe contoso", ADMIN))
    assert "too busy to note this; nothing was done" in said
    assert live.probing.asked == []


async def test_when_too_much_runs_the_person_is_told(live: Any) -> None:
    await live.guard.learn_home()
    done = asyncio.Event()

    async def busy() -> None:
        await done.wait()

    while live.deps.tasks.spawn(busy(), "busy"):
        pass
    said = shown(await live.slack.command(READER, CHANNEL, "/mfi status"))
    assert "too much to do" in said
    done.set()


# --- groups --------------------------------------------------------------------------------------------------------
async def test_a_group_member_acts_and_is_refused_when_slack_can_not_say(make_live: Any) -> None:
    live = await make_live("S0MAILADMINS")
    await live.connector()
    assert "🔎" in shown(await live.command("probe contoso", ADMIN, replies=2))
    live.slack.faults.error("plan_upgrade_required", "usergroups.users.list", times=None)
    live.now += timedelta(minutes=6)
    said = shown(await live.command("probe contoso", ADMIN))
    assert "did not say whether you are in one of the admin user groups" in said
    assert "<!subteam^S0MAILADMINS>" in said
    assert "no open incident" in shown(await live.command("status", ADMIN)), "reading goes on"


async def test_nobody_may_act_until_somebody_is_named(make_live: Any) -> None:
    live = await make_live("C0NOBODY")
    await live.connector()
    assert "MFI_ADMINS is empty" in shown(await live.command("probe contoso", ADMIN))
