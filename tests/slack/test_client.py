"""Posting, redrawing and finding on the stand-in Slack, with everything that can go wrong on the way."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from email.utils import formatdate
from types import SimpleNamespace
from typing import Any

import pytest

from bot.core.views import IncidentView
from bot.services.ports import (
    Ambiguous,
    Closed,
    DeliveryError,
    Frozen,
    MessageGone,
    Permanent,
    Puzzling,
    RetryLater,
)
from bot.slack.blocks import Message
from bot.slack.client import Answers, SlackPoster, Where, make_client
from bot.slack.slack_time import SlackTime
from bot.slack.text import Mrkdwn
from knowledge.articles import articles
from storage.records import OutboxItem, OutboxKind, OutboxState

CHANNEL, READER = "C0MAILALERTS", "U0READER"


def item(kind: OutboxKind = OutboxKind.ROOT, uid: str = "uid-1", **changes: Any) -> OutboxItem:
    now = datetime.now(UTC)
    made = OutboxItem(
        id=1, uid=uid, incident_id=12, revision=2, channel=CHANNEL, kind=kind, state=OutboxState.SENDING,
        created_at=now, next_at=now, event_id=5,
    )  # fmt: skip
    return replace(made, **changes)


@pytest.fixture
def view(world: Any) -> IncidentView:
    incident = world.incident(channel=CHANNEL, ts=None)
    made: IncidentView = world.view(incident=incident, events=(world.event("critical", reason="200 wait"),))
    return made


@pytest.fixture
def poster(slack: Any) -> SlackPoster:
    return SlackPoster(make_client(slack.bot_token, slack.api_url, timeout=1), articles(), lambda: slack.page_url)


def posted(view: IncidentView, ts: str) -> IncidentView:
    return replace(view, incident=replace(view.incident, ts=ts))


async def test_a_root_carries_its_id_and_unfurls_nothing(slack: Any, poster: SlackPoster, view: IncidentView) -> None:
    ts = await poster.post(item(), view)
    (message,) = slack.messages(CHANNEL)
    assert message.ts == ts
    assert message.metadata == {"event_type": "mfi_alert", "event_payload": {"outbox_id": "uid-1"}}
    args = slack.calls.of("chat.postMessage")[0].args
    assert str(args["unfurl_links"]) in ("0", "False")
    assert "first bounce" in message.visible


async def test_replies_go_into_the_thread_and_broadcasts_to_the_channel_too(
    slack: Any, poster: SlackPoster, view: IncidentView
) -> None:
    root = await poster.post(item(), view)
    await poster.post(item(OutboxKind.REPLY, "uid-2"), posted(view, root))
    await poster.post(item(OutboxKind.BROADCAST, "uid-3"), posted(view, root))
    assert [m.broadcast for m in slack.thread(CHANNEL, root)] == [False, True]


async def test_a_redraw_changes_the_same_message(slack: Any, poster: SlackPoster, view: IncidentView) -> None:
    root = await poster.post(item(), view)
    later = replace(posted(view, root), queue=replace(view.queue, by_code=()))
    await poster.redraw(item(), later)
    (message,) = slack.messages(CHANNEL)
    assert message.edited
    assert "Nothing waits" in message.visible


async def test_what_was_never_posted_is_gone_for_a_redraw_and_too_early_for_a_reply(
    poster: SlackPoster, view: IncidentView
) -> None:
    with pytest.raises(MessageGone):
        await poster.redraw(item(), view)
    with pytest.raises(RetryLater, match="not posted yet"):
        await poster.post(item(OutboxKind.REPLY), view)


async def test_a_reply_about_a_forgotten_event_is_never_sent(poster: SlackPoster, view: IncidentView) -> None:
    root = await poster.post(item(), view)
    with pytest.raises(Permanent, match="not known any more"):
        await poster.post(item(OutboxKind.REPLY, event_id=99), posted(view, root))


@pytest.mark.parametrize(
    ("break_it", "expected", "sent"),
    [
        (lambda s: s.faults.rate_limit("chat.postMessage", retry_after=7), RetryLater, 0),
        (lambda s: s.faults.error("ratelimited", "chat.postMessage"), RetryLater, 0),
        (lambda s: s.faults.error("message_limit_exceeded", "chat.postMessage"), RetryLater, 0),
        (lambda s: s.faults.error("service_unavailable", "chat.postMessage"), RetryLater, 0),
        (lambda s: s.faults.error("never_heard_of_it", "chat.postMessage"), Puzzling, 0),
        (lambda s: s.faults.http(500, "chat.postMessage"), Ambiguous, 0),
        (lambda s: s.faults.http(502, "chat.postMessage", body="<html>"), Ambiguous, 0),
        (lambda s: s.faults.html("chat.postMessage"), Ambiguous, 0),
        (lambda s: s.faults.http(200, "chat.postMessage", body="not json"), Ambiguous, 0),
        (lambda s: s.faults.http(200, "chat.postMessage", body='{"ok": true}'), Ambiguous, 0),
        (lambda s: s.faults.error("fatal_error", "chat.postMessage"), Ambiguous, 0),
        (lambda s: s.faults.error_after("internal_error", "chat.postMessage"), Ambiguous, 1),
        (lambda s: s.faults.drop("chat.postMessage"), Ambiguous, 0),
        (lambda s: s.faults.accept_then_drop("chat.postMessage"), Ambiguous, 1),
        (lambda s: s.faults.hang("chat.postMessage"), Ambiguous, 0),
        (lambda s: s.faults.accept_then_hang("chat.postMessage"), Ambiguous, 1),
        (lambda s: s.faults.error("token_revoked", "chat.postMessage"), Closed, 0),
        (lambda s: s.faults.error("restricted_action_read_only_channel", "chat.postMessage"), Closed, 0),
        (lambda s: s.faults.error("restricted_action_thread_locked", "chat.postMessage"), Permanent, 0),
        (lambda s: s.remove_bot(CHANNEL), Closed, 0),
        (lambda s: s.archive(CHANNEL), Closed, 0),
    ],
)
async def test_every_failure_says_whether_it_may_have_been_posted(
    slack: Any,
    poster: SlackPoster,
    view: IncidentView,
    *,
    break_it: Callable[[Any], None],
    expected: type[DeliveryError],
    sent: int,
) -> None:
    break_it(slack)
    with pytest.raises(expected):
        await poster.post(item(), view)
    assert len(slack.messages(CHANNEL)) == sent
    assert len(slack.calls.of("chat.postMessage")) <= 1, "nothing is repeated by the client itself"


async def test_retry_after_is_passed_on(slack: Any, poster: SlackPoster, view: IncidentView) -> None:
    slack.faults.rate_limit("chat.postMessage", retry_after=7)
    with pytest.raises(RetryLater) as caught:
        await poster.post(item(), view)
    assert caught.value.seconds == 7


async def test_slack_that_refuses_connections_certainly_got_nothing(
    slack: Any, poster: SlackPoster, view: IncidentView
) -> None:
    await slack.down()
    with pytest.raises(RetryLater, match="can't be reached"):
        await poster.post(item(), view)


@pytest.mark.parametrize(("times", "blocks"), [(1, {"section", "actions"}), (2, set())])
async def test_refused_looks_are_made_plainer_and_plainer(
    slack: Any, poster: SlackPoster, view: IncidentView, times: int, blocks: set[str]
) -> None:
    slack.faults.error("invalid_blocks", "chat.postMessage", times=times)
    await poster.post(item(), view)
    (message,) = slack.messages(CHANNEL)
    assert {block["type"] for block in message.blocks} == blocks
    assert "4.4.316" in message.visible


async def test_looks_that_are_refused_in_every_form_are_permanent(
    slack: Any, poster: SlackPoster, view: IncidentView
) -> None:
    slack.faults.error("msg_too_long", "chat.postMessage", times=3)
    with pytest.raises(Permanent, match="every form"):
        await poster.post(item(), view)


@pytest.mark.parametrize(
    ("break_it", "expected"),
    [
        (lambda s: s.faults.error("message_not_found", "chat.update"), MessageGone),
        (lambda s: s.faults.error("cant_update_message", "chat.update"), MessageGone),
        (lambda s: s.faults.error("edit_window_closed", "chat.update"), Frozen),
        (lambda s: s.faults.error("channel_not_found", "chat.update"), Closed),
        (lambda s: s.faults.error("is_archived", "chat.update"), Closed),
        (lambda s: s.faults.http(503, "chat.update"), RetryLater),
        (lambda s: s.faults.hang("chat.update"), RetryLater),
    ],
)
async def test_a_failed_redraw_may_always_be_tried_again(
    slack: Any,
    poster: SlackPoster,
    view: IncidentView,
    break_it: Callable[[Any], None],
    expected: type[DeliveryError],
) -> None:
    root = await poster.post(item(), view)
    break_it(slack)
    with pytest.raises(expected):
        await poster.redraw(item(), posted(view, root))


async def test_what_was_posted_in_doubt_is_found_again(slack: Any, poster: SlackPoster, view: IncidentView) -> None:
    since = datetime.now(UTC)
    slack.faults.accept_then_drop("chat.postMessage")
    with pytest.raises(Ambiguous):
        await poster.post(item(), view)
    found = await poster.find(item(), view, since)
    assert found == slack.messages(CHANNEL)[0].ts
    assert await poster.find(item(uid="uid-9"), view, since) is None


async def test_a_reply_is_looked_for_in_its_thread(slack: Any, poster: SlackPoster, view: IncidentView) -> None:
    since = datetime.now(UTC)
    root = await poster.post(item(), view)
    reply = item(OutboxKind.REPLY, "uid-2")
    ts = await poster.post(reply, posted(view, root))
    assert await poster.find(reply, posted(view, root), since) == ts
    assert await poster.find(reply, view, since) is None, "without a root there is no thread"
    assert await poster.find(reply, posted(view, "1772415600.000100"), since) is None, "a deleted root has none either"


async def test_a_look_goes_through_all_pages(slack: Any, poster: SlackPoster, view: IncidentView) -> None:
    since = datetime.now(UTC)
    ts = await poster.post(item(), view)
    for number in range(210):
        slack.say(READER, CHANNEL, f"noise {number}")
    assert await poster.find(item(), view, since) == ts


async def test_a_look_never_goes_on_for_ever(slack: Any, poster: SlackPoster, view: IncidentView) -> None:
    for number in range(2100):
        slack.say(READER, CHANNEL, f"noise {number}")
    with pytest.raises(Puzzling, match="can't be sure"):
        await poster.find(item(attempt_at=datetime.now(UTC)), view, datetime.now(UTC) - timedelta(hours=1))
    assert len(slack.calls.of("conversations.history")) == 10


async def test_a_look_leaves_out_what_people_wrote_long_after_the_attempt(view: IncidentView) -> None:
    channel = Chatter(ahead=0, talk_after=3600)
    poster = SlackPoster(channel, articles(), slack_time=SlackTime(channel.our_time))  # type: ignore[arg-type]
    attempt = datetime.fromtimestamp(channel.our_time(), UTC)
    channel.post("uid-1")
    assert await poster.find(item(attempt_at=attempt), view, attempt) == channel.ours
    assert await poster.find(item(uid="uid-9", attempt_at=attempt), view, attempt) is None
    assert len(channel.asked) <= 3, "two days of chat were not read"


@pytest.mark.parametrize("ahead", [600, -600, 7200])
async def test_a_clock_that_is_not_slacks_does_not_hide_what_was_sent(view: IncidentView, ahead: float) -> None:
    channel = Chatter(ahead=ahead, talk_after=3600)
    poster = SlackPoster(channel, articles(), slack_time=SlackTime(channel.our_time))  # type: ignore[arg-type]
    attempt = datetime.fromtimestamp(channel.our_time(), UTC)
    channel.post("uid-1")
    assert await poster.find(item(attempt_at=attempt), view, attempt) == channel.ours


class Chatter:
    """A channel in which people wrote thousands of messages afterwards; its clock is `ahead` seconds behind ours."""

    def __init__(self, ahead: float, talk_after: float) -> None:
        self.ahead = ahead
        self.asked: list[dict[str, str]] = []
        self.sent_at = 1772415600.0
        self.messages: list[dict[str, Any]] = [
            {"ts": f"{self.sent_at + talk_after + n:.6f}", "text": "chat"} for n in range(5000)
        ]
        self.ours = ""

    def our_time(self) -> float:
        return self.sent_at + self.ahead

    def post(self, uid: str) -> None:
        self.ours = f"{self.sent_at:.6f}"
        metadata = {"event_type": "mfi_alert", "event_payload": {"outbox_id": uid}}
        self.messages.append({"ts": self.ours, "metadata": metadata})

    async def conversations_history(self, *, oldest: str, latest: str, **more: Any) -> Any:
        self.asked.append({"oldest": oldest, "latest": latest})
        inside = [m for m in self.messages if float(oldest) <= float(m["ts"]) <= float(latest)]
        inside.sort(key=lambda m: -float(m["ts"]))
        start = int(more["cursor"] or 0)
        following = str(start + 200) if start + 200 < len(inside) else ""
        data = {"messages": inside[start : start + 200], "response_metadata": {"next_cursor": following}}
        return SimpleNamespace(data=data, headers={"Date": formatdate(self.sent_at, usegmt=True)})


@pytest.mark.parametrize(
    ("word", "expected"),
    [
        ("missing_scope", Permanent),
        ("not_in_channel", Permanent),
        ("invalid_auth", Closed),
        ("ratelimited", RetryLater),
        ("fatal_error", Ambiguous),
        ("msg_too_long", Permanent),
    ],
)
async def test_history_that_can_not_be_read_is_an_error_not_a_no(
    slack: Any, poster: SlackPoster, view: IncidentView, word: str, expected: type[DeliveryError]
) -> None:
    slack.faults.error(word, "conversations.history")
    with pytest.raises(expected):
        await poster.find(item(), view, datetime.now(UTC))


async def test_foreign_metadata_is_not_taken_for_ours(slack: Any, poster: SlackPoster, view: IncidentView) -> None:
    slack.faults.strip_metadata = True
    await poster.post(item(), view)
    assert await poster.find(item(), view, datetime.now(UTC) - timedelta(minutes=1)) is None


# --- answers -------------------------------------------------------------------------------------------------------
HELLO = Message(text=Mrkdwn("hello"))


@pytest.fixture
def answers(slack: Any) -> Answers:
    return Answers(make_client(slack.bot_token, slack.api_url, timeout=1))


async def test_an_answer_without_a_response_address_is_ephemeral(slack: Any, answers: Answers) -> None:
    assert await answers.say(Where(user=READER, channel=CHANNEL), HELLO)
    assert [m.text for m in slack.ephemerals(READER, CHANNEL)] == ["hello"]


@pytest.mark.parametrize("url", ["http://127.0.0.1:9/gone", "{page}actions/T0/unknown"])
async def test_a_dead_response_address_is_no_dead_end(slack: Any, answers: Answers, url: str) -> None:
    where = Where(user=READER, channel=CHANNEL, response_url=url.format(page=slack.page_url))
    assert await answers.say(where, HELLO)
    assert [m.text for m in slack.ephemerals(READER, CHANNEL)] == ["hello"]


async def test_the_last_way_is_a_direct_message(slack: Any, answers: Answers) -> None:
    slack.faults.error("not_in_channel", "chat.postEphemeral", times=None)
    assert await answers.say(Where(user=READER, channel=CHANNEL), HELLO)
    assert slack.calls.of("chat.postMessage")[0].ok
    slack.faults.http(500, "chat.postEphemeral", times=None)
    assert await answers.say(Where(user=READER), HELLO)


async def test_an_answer_that_reaches_nobody_is_logged_not_raised(
    slack: Any, answers: Answers, caplog: pytest.LogCaptureFixture
) -> None:
    await slack.down()
    assert not await answers.say(Where(user=READER, channel=CHANNEL, response_url=f"{slack.page_url}x"), HELLO)
    assert "reached nobody" in caplog.text
    assert slack.page_url not in caplog.text


def test_a_response_address_is_never_shown() -> None:
    assert "secret" not in repr(Where(user="U1", response_url="https://hooks.slack.com/secret"))


async def test_a_form_that_our_validator_refuses_is_not_sent(slack: Any, answers: Answers) -> None:
    odd = Message(text=Mrkdwn("hello"), blocks=({"type": "section", "text": {"type": "mrkdwn", "text": ""}},))
    assert await answers.say(Where(user=READER, channel=CHANNEL), odd)
    (shown,) = slack.ephemerals(READER, CHANNEL)
    assert shown.blocks == []
