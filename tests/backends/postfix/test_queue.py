"""The queue's listing and the mail log, line by line."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.backends.postfix.mail_log import LogTerms, Outcome, moment, outcomes
from bot.backends.postfix.queue import MOST_REASON, Listing, QueueTerms, meaning, message_key, queue_id_of, ref_of, tidy
from bot.backends.postfix.recall import recalled
from bot.backends.postfix.tracking import MOST_KEPT, Tracker
from storage.records import MessageFacts, MessageStatus

TERMS = QueueTerms(
    backend="relay",
    host="relay.test",
    lifetime=timedelta(days=1),
    bounce_lifetime=timedelta(hours=6),
    connector_key=lambda recipient: f"smtp:{recipient.rpartition('@')[2]}",
)
ARRIVED = 1795498743
REFUSED = "connect to mail.a.test[192.0.2.7]:25: Connection refused"
LOG = LogTerms(syslog_name="postfix", zone=timezone(timedelta(hours=2)), now=datetime(2026, 11, 24, 10, tzinfo=UTC))


def row(queue_id: str = "B2AB823286A", *recipients: Any, **members: Any) -> bytes:
    given_recipients = recipients or ({"address": "alice@a.test", "delay_reason": REFUSED},)
    base = {"queue_name": "deferred", "queue_id": queue_id, "arrival_time": ARRIVED, "message_size": 406}
    return json.dumps({**base, "sender": "games@b.test", "recipients": given_recipients, **members}).encode()


def listing(*lines: bytes) -> Listing:
    found = Listing(TERMS)
    found.add(lines)
    return found


def only(*lines: bytes) -> MessageFacts:
    (found,) = listing(*lines).messages.values()
    return found


def test_a_line_is_a_message_for_each_recipient() -> None:
    found = listing(row("B2AB823286A", {"address": "Alice@A.test", "delay_reason": REFUSED}, {"address": "bob@c.test"}))
    alice, bob = found.messages.values()
    received = datetime.fromtimestamp(ARRIVED, UTC)
    assert alice == MessageFacts(
        backend="relay",
        key=f"relay.test/B2AB823286A/{ARRIVED}",
        recipient="alice@a.test",
        sender="games@b.test",
        received_at=received,
        expires_at=received + timedelta(days=1),
        size=406,
        code="4.4.316",
        reason=REFUSED,
        remote_host="mail.a.test",
        remote_ip="192.0.2.7",
        connector_key="smtp:a.test",
    )
    assert (bob.key, bob.recipient, bob.reason, bob.code) == (alice.key, "bob@c.test", None, None)
    assert ref_of(bob).key == bob.key and found.by_queue == {"deferred": 1}


def test_a_message_that_is_listed_twice_counts_once_with_its_reason() -> None:
    active = row("B2AB823286A", {"address": "alice@a.test"}, queue_name="active")
    assert only(row(), active).reason == only(active, row()).reason == REFUSED


def test_mail_on_hold_waits_for_a_person_and_is_only_counted() -> None:
    found = listing(row("B2AB823286A", {"address": "alice@a.test"}, queue_name="hold"), row("C2AB823286A"))
    assert [key for key, _ in found.messages] == [f"relay.test/C2AB823286A/{ARRIVED}"]
    assert found.by_queue == {"hold": 1, "deferred": 1}


def test_what_we_do_not_know_is_ignored_and_what_is_no_message_is_counted() -> None:
    good = row(later_member={"a": [1]}, forced_expire=False)
    bad = [
        b"no json", b"[]", b"{}", b"\xff\xfe", row("../etc"), row(arrival_time="soon"), row(arrival_time=-1),
        row(arrival_time=10**18), row("B2AB823286A", "alice"), row("B2AB823286A", {"address": ""}),
        row(recipients="alice"), row(sender=None), row("B2AB823286A", {"address": "x" * 400}),
    ]  # fmt: skip
    found = listing(b"", good, *bad)
    assert (len(found.messages), found.unreadable) == (1, len(bad))


def test_a_listing_shares_what_did_not_change_with_the_one_before() -> None:
    before = listing(row("AAAAAA"), row("BBBBBB")).messages
    now = Listing(TERMS, before)
    now.add([row("AAAAAA"), row("BBBBBB", message_size=7), row("CCCCCC")])
    assert [before.get(ref) is message for ref, message in now.messages.items()] == [True, False, False]


def test_a_reason_is_worked_out_anew_only_where_it_changed() -> None:
    """Many reasons name their recipient, so no other message has them: each would be diagnosed at every sync."""
    names = [f"user{n}@a.test" for n in range(50)]

    def lines(said: str) -> list[bytes]:
        return [row(f"AAAA{n:04}", {"address": who, "delay_reason": said % who}) for n, who in enumerate(names)]

    first, greylisted = Listing(TERMS), "host mail.a.test[192.0.2.7] said: 450 4.2.0 <%s>: Greylisted"
    first.add(lines(greylisted))
    asked = meaning.cache_info().misses
    again = Listing(TERMS, first.messages)
    again.add(lines(greylisted))
    assert again.messages == first.messages
    assert meaning.cache_info().misses == asked
    changed = Listing(TERMS, again.messages)
    changed.add(lines(f"%s: {REFUSED}"))
    assert {m.code for m in again.messages.values()} == {"4.2.0"}
    assert {m.code for m in changed.messages.values()} == {"4.4.316"}


def test_bounces_have_no_sender_and_a_life_of_their_own() -> None:
    found = only(row(sender="MAILER-DAEMON"))
    assert (found.sender, found.expires_at - found.received_at) == ("", timedelta(hours=6))


def test_a_repeated_reason_is_the_same_reason() -> None:
    assert tidy(f"delivery temporarily suspended:  {REFUSED}") == REFUSED
    assert len(tidy("x" * 5000)) == MOST_REASON


@pytest.mark.parametrize(
    ("line", "recipient", "reason"),
    [
        (row().replace(b"Connection refused", b"Bo\xeete pleine"), "alice@a.test", "Bo\ufffdte pleine"),
        (row().replace(b"Connection refused", b"\\ud800 full"), "alice@a.test", "? full"),
        (row().replace(b"alice@", b"al\xed\xa0\x80@"), "al\ufffd\ufffd\ufffd@a.test", "Connection refused"),
        (row().replace(b"games@", b"\\udfff@"), "alice@a.test", "Connection refused"),
    ],
)
def test_bytes_that_are_no_text_cost_no_message(line: bytes, recipient: str, reason: str) -> None:
    found = only(line)
    assert found.recipient == recipient
    assert found.reason is not None and found.reason.endswith(reason)
    assert f"{found.sender}{found.recipient}{found.reason}".encode()


@given(st.binary(max_size=300))
def test_no_line_breaks_the_listing(line: bytes) -> None:
    found = listing(line)
    assert not found.messages and found.unreadable <= 1


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(), lambda c: st.lists(c) | st.dictionaries(st.text(), c)
    )
)
def test_no_odd_member_breaks_the_listing(odd: Any) -> None:
    for name in ("queue_name", "queue_id", "arrival_time", "message_size", "sender", "recipients"):
        found = listing(row(**{name: odd}))
        assert len(found.messages) + found.unreadable <= 1 or name == "recipients"


@given(st.from_regex(r"[0-9A-Za-z]{5,32}", fullmatch=True), st.integers(1, 2**33))
def test_a_key_gives_its_queue_id_back(queue_id: str, arrived: int) -> None:
    assert queue_id_of(message_key("relay.test", queue_id, arrived)) == queue_id


@pytest.mark.parametrize("key", ["", "a/b", "relay.test/x/1", "relay.test/ABC DEF/1", "B2AB823286A"])
def test_what_is_no_key_gives_none(key: str) -> None:
    with pytest.raises(ValueError, match="no message"):
        queue_id_of(key)


# The log

HEAD = "Nov 24 09:00:01 relay postfix/smtp[28]: "
SENT = (
    "to=<Alice@a.test>, relay=mail.a.test[192.0.2.7]:25, delay=0.5, delays=0.1/0/0.2/0.2, dsn=2.0.0, "
    "status=sent (250 ok)"
)
BOUNCED = (
    "to=<bob@a.test>, orig_to=<root>, relay=none, conn_use=2, delay=1, delays=0/0/0/1, dsn=5.1.1, "
    "status=bounced (Not known)"
)


def read(*lines: str) -> list[Outcome]:
    return list(outcomes([line.encode() for line in lines], LOG))


def test_deliveries_and_bounces_are_read() -> None:
    sent, bounced = read(f"{HEAD}ABCDEF: {SENT}", f"{HEAD}ABCDEF: {BOUNCED}")
    assert sent == Outcome(
        queue_id="ABCDEF",
        recipient="alice@a.test",
        status=MessageStatus.DELIVERED,
        at=datetime(2026, 11, 24, 7, 0, 1, tzinfo=UTC),
        reason="250 ok",
        waited=timedelta(seconds=0.5),
    )
    assert (bounced.recipient, bounced.status, bounced.reason) == ("bob@a.test", "rejected", "5.1.1 Not known")


@pytest.mark.parametrize(
    ("after", "more"),
    [
        ("0.2/0.2, ", "tls=dane, "),
        ("0.2/0.2, ", "tls=encrypt/(requiretls), "),
        ("0.2/0.2, ", "tls=secure, some_day=what ever, "),
        ("]:25, ", "conn_use=2, some_day=1, "),
    ],
)
def test_what_a_later_postfix_tells_besides_costs_no_outcome(after: str, more: str) -> None:
    """3.11 writes the TLS level, of its own accord."""
    assert read(f"{HEAD}ABCDEF: {SENT.replace(after, after + more)}") == read(f"{HEAD}ABCDEF: {SENT}")


@pytest.mark.parametrize("piece", ["a=b, ", "delay=1, ", "a=b, delay=1, ", "dsn=2.0.0, ", "aaaaaaa", ") ", "a="])
def test_a_line_made_to_be_slow_is_read_like_any_other(piece: str) -> None:
    """A peer chooses what stands in a line. Backtracking without bounds would take years for these."""
    line = f"{HEAD}ABCDEF: to=<a@b.test>, relay=none, {piece * 2000}, status=sent (x"
    assert read(*[line] * 100) == []


def test_expiry_ends_a_whole_message() -> None:
    stamp = "2026-11-24T09:00:01.123456+02:00 relay postfix/qmgr[1]: "
    natural, forced = read(
        f"{stamp}ABCDEF: from=<games@b.test>, status=expired, returned to sender",
        f"{stamp}ABCDEF: from=<>, status=force-expired, returned to sender",
    )
    assert (natural.recipient, natural.status, natural.at.second) == (None, MessageStatus.EXPIRED, 1)
    assert forced.status is MessageStatus.REJECTED


@pytest.mark.parametrize(
    "line",
    [
        f"{HEAD}ABCDEF: {SENT.replace('status=sent', 'status=deferred')}",
        f"{HEAD}ABCDEF: {SENT.replace('status=sent', 'status=undeliverable')}",
        f"{HEAD.replace('postfix/', 'postfix-out/')}ABCDEF: {SENT}",
        f"{HEAD.replace('postfix/', 'postfixx/')}ABCDEF: {SENT}",
        f"{HEAD}AB/CDEF: {SENT}",
        f"{HEAD.replace('Nov 24', 'Xxx 99')}ABCDEF: {SENT}",
        f"{HEAD}warning: status=sent",
        f"{HEAD}ABCDEF: to=<a@b.test>, status=sent (x)",
        f"Nov 24 09:00:01 relay sshd[1]: ABCDEF: {SENT}",
    ],
)
def test_other_lines_are_passed_over(line: str) -> None:
    assert read(line) == []


@given(st.text(max_size=400), st.binary(max_size=200))
def test_no_log_line_breaks_the_reader(text: str, raw: bytes) -> None:
    made = list(outcomes([raw + b" status=x", f"{HEAD}ABCDEF: {text} status=sent ({text})".encode()], LOG))
    assert all(one.queue_id == "ABCDEF" for one in made)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("Nov 24 12:00:00", datetime(2026, 11, 24, 10, tzinfo=UTC)),
        ("Nov 25 11:00:00", datetime(2026, 11, 25, 9, tzinfo=UTC)),
        ("Dec  1 00:00:00", datetime(2025, 11, 30, 22, tzinfo=UTC)),
        ("Feb 29 02:00:00", datetime(2024, 2, 29, 0, tzinfo=UTC)),
        ("2026-11-24T10:00:00Z", datetime(2026, 11, 24, 10, tzinfo=UTC)),
        ("2026-11-24T10:00:99Z", None),
        ("Nov 31 10:00:00", None),
    ],
)
def test_time_stamps_without_a_year_are_of_the_last_twelve_months(text: str, found: datetime | None) -> None:
    assert moment(text, LOG) == found


# Who left, and how


def outcome(message: MessageFacts, **changes: Any) -> Outcome:
    base = {"queue_id": queue_id_of(message.key), "recipient": message.recipient, "status": MessageStatus.DELIVERED}
    return Outcome(**{**base, "at": message.received_at + timedelta(minutes=1), **changes})


def waiting(*lines: bytes) -> dict[tuple[str, str], MessageFacts]:
    return listing(*lines).messages


def test_who_left_is_told_twice_and_then_remembered() -> None:
    tracker, before = Tracker(), waiting(row("AAAAAA"), row("BBBBBB"))
    first, second = before.values()
    tracker.settle(before)
    now = waiting(row("BBBBBB"))
    tracker.learn([outcome(first), outcome(first, queue_id="CCCCCC")], now)
    assert tracker.unexplained(now) == set()
    tracker.settle(now)
    told = [tracker.news() for _ in range(3)]
    assert [[m.status for m in news] for news in told] == [["delivered"], ["delivered"], []]
    ended = tracker.ended((first.key, first.recipient))
    assert ended is not None and (ended.status, ended.reason) == ("delivered", REFUSED)
    assert tracker.ended((second.key, second.recipient)) is None


def test_who_left_without_a_word_is_unexplained() -> None:
    tracker, before = Tracker(), waiting(row("AAAAAA"), row("BBBBBB"))
    tracker.settle(before)
    assert tracker.unexplained({}) == set(before)
    first, second = before.values()
    early = outcome(first, at=first.received_at - timedelta(hours=1))
    tracker.learn([early, outcome(second, recipient=None, status=MessageStatus.EXPIRED)], {})
    assert tracker.unexplained({}) == {(first.key, first.recipient)}, "an earlier message had the same queue id"
    tracker.settle({})
    (ended,) = tracker.news()
    assert (ended.status, ended.code, ended.reason) == ("expired", "4.4.316", REFUSED)


def test_a_bounce_has_its_own_reason() -> None:
    tracker, before = Tracker(), waiting(row("AAAAAA"))
    tracker.settle(before)
    (message,) = before.values()
    tracker.learn([outcome(message, status=MessageStatus.REJECTED, reason="5.1.1 Not known")], before)
    tracker.settle({})
    (ended,) = tracker.news()
    assert (ended.status, ended.reason, ended.code, ended.remote_host) == ("rejected", "5.1.1 Not known", None, None)


def test_memory_is_bounded() -> None:
    tracker = Tracker()
    lines = [row(f"{n:06d}") for n in range(MOST_KEPT + 10)]
    tracker.settle(before := waiting(*lines))
    tracker.learn((outcome(m) for m in before.values()), {})
    tracker.settle({})
    known = sum(tracker.ended(ref) is not None for ref in before)
    assert known == MOST_KEPT


def test_what_left_before_the_first_look_is_told_for_each_second_that_it_may_have_come() -> None:
    taken_up = f"{HEAD.replace('smtp[', 'qmgr[')}ABCDEF: from=<games@b.test>, size=406, nrcpt=2 (queue active)"
    lines = [taken_up, f"{HEAD}ABCDEF: {SENT.replace('delay=0.5', 'delay=3601')}", f"{HEAD}ABCDEF: {BOUNCED}",
             f"{HEAD}FEDCBA: {SENT.replace('delay=0.5', 'delay=3601')}",
             f"{HEAD.replace('smtp[', 'qmgr[')}ABCDEF: from=<>, status=expired, returned to sender"]  # fmt: skip
    found = [message for _, message in recalled([line.encode() for line in lines], LOG, TERMS)]
    arrived = int(datetime(2026, 11, 24, 6, tzinfo=UTC).timestamp())
    assert [m.key for m in found] == [f"relay.test/ABCDEF/{arrived + n}" for n in (-1, 0, 1)]
    assert {(m.sender, m.size, m.recipient, m.connector_key) for m in found} == {
        ("games@b.test", 406, "alice@a.test", "smtp:a.test")
    }
    tracker = Tracker()
    tracker.recall(recalled([line.encode() for line in lines], LOG, TERMS), {(found[0].key, "alice@a.test"): found[0]})
    assert [m.key for m in tracker.news()] == [m.key for m in found[1:]]
    ended = tracker.ended((found[1].key, "alice@a.test"))
    assert ended is not None and ended.status is MessageStatus.DELIVERED
