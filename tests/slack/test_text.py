"""The door for foreign text: what each function promises."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from bot.slack import text
from bot.slack.text import Mrkdwn


@pytest.mark.parametrize(
    ("raw", "shown"),
    [
        ("a\nb", "a ⏎ b"),
        ("a\r\n\r\nb", "a ⏎ b"),
        ("  a \t b  ", "a b"),
        ("\x00a\x1b[31m", "a[31m"),
        ("\u202eabc\u202c", "abc"),
        ("a\u200bb\ufeff", "ab"),
        ("\u3164", ""),
        ("x" + "\u0301" * 9, "x" + "\u0301" * 2),
        ("abcdef", "abcd…"),
        ("\ud800", ""),
        (42, "42"),
    ],
)
def test_visible_keeps_what_a_reader_sees(raw: object, shown: str) -> None:
    assert text.visible(raw, 5 if raw == "abcdef" else 40) == shown


@pytest.mark.parametrize(
    ("raw", "shown"),
    [
        ("a & b < c > d", "a &amp; b &lt; c &gt; d"),
        ("<!channel>", "&lt;!channel&gt;"),
        ("*bold* ~no~ `code`", "∗bold∗ ∼no∼ 'code'"),
        ("_it_ snake_case", "＿it＿ snake_case"),
        ("> quote", "› quote"),
        ("https://evil.test", "https[:]//evil.test"),
        ("www.evil.test", "www[.]evil.test"),
        ("evil.test/x", "evil[.]test/x"),
        ("mailto:x", "mailto[:]x"),
        (":x: 10:20:30", "꞉x: 10:20:30"),
        ("a@b", "a＠b"),
        ("to user1@contoso.test, a", "to `user1@contoso.test`, a"),
        ("@here a@b.test@c.test", "＠here a＠b.test＠c.test"),
        ("a|b", "a¦b"),
    ],
)
def test_prose_reads_like_the_original_and_does_nothing(raw: str, shown: str) -> None:
    assert text.prose(raw) == shown


def test_code_can_not_be_left() -> None:
    assert text.code("a`b") == "`a'b`"
    assert text.code("") == "` `"
    assert text.code("<@U1>") == "`&lt;@U1&gt;`"


def test_plain_has_no_brackets_to_be_parsed() -> None:
    assert text.plain("<!here> `x` https://a.test") == "‹!here› 'x' https[:]//a.test"


def test_templates_escape_what_is_put_in_and_keep_what_is_ours() -> None:
    made = text.mrkdwn("*{}* {n} {}", "<b>", text.code("x"), n=1284)
    assert made == "*&lt;b&gt;* 1,284 `x`"
    assert text.mrkdwn("{}", True) == "True"


def test_lines_and_joined_leave_no_gaps() -> None:
    assert text.lines(Mrkdwn("a"), None, Mrkdwn(""), Mrkdwn("b")) == "a\nb"
    assert text.joined([Mrkdwn("a"), Mrkdwn(""), Mrkdwn("b")]) == "a · b"


@pytest.mark.parametrize(
    ("raw", "limit", "shown"),
    [
        ("short", 10, "short"),
        ("0123456789", 6, "01234…"),
        ("ab &amp; cd", 7, "ab…"),
        ("ab <@U123> cd", 8, "ab…"),
        ("ab `code span` cd", 8, "ab…"),
        ("`a` `b` `c`", 8, "`a` `b`…"),
    ],
)
def test_fit_never_cuts_inside_something(raw: str, limit: int, shown: str) -> None:
    assert text.fit(Mrkdwn(raw), limit) == shown


@pytest.mark.parametrize(
    ("who", "shown"),
    [("U0ADMIN1", "<@U0ADMIN1>"), ("W0ADMIN1", "<@W0ADMIN1>"), ("<!channel>", "`&lt;!channel&gt;`"), (None, "mfi")],
)
def test_only_user_ids_become_mentions(who: str | None, shown: str) -> None:
    assert text.user(who) == shown


def test_only_group_ids_become_group_mentions() -> None:
    assert text.group("S0ADMINS") == "<!subteam^S0ADMINS>"
    assert text.group("channel") == "`channel`"


def test_moments_are_shown_in_the_readers_time_zone() -> None:
    made = text.when(datetime(2026, 3, 2, 3, 4, tzinfo=UTC))
    assert made == "<!date^1772420640^{date_short_pretty} {time}|2026-03-02 03:04 UTC>"


@pytest.mark.parametrize(
    ("url", "live"),
    [
        ("https://learn.microsoft.com/a?b=1&c=2", True),
        ("http://learn.microsoft.com/a", False),
        ("https://learn.microsoft.com.evil.test/a", False),
        ("https://user@learn.microsoft.com/a", False),
        ("https://learn.microsoft.com/a|b", False),
        ("https://learn.microsoft.com/<x>", False),
        ("javascript:alert(1)", False),
        ("https://[", False),
    ],
)
def test_only_known_hosts_are_linked(url: str, live: bool) -> None:
    made = text.source(url, "Source")
    assert made.startswith("<https://learn.microsoft.com/") is live
    assert made == "Source" or live


@pytest.mark.parametrize(
    ("workspace", "channel", "ts", "live"),
    [
        ("https://contoso.slack.com/", "C0ALERTS", "1772415600.000100", True),
        ("http://127.0.0.1:8080", "C0ALERTS", "1772415600.000100", True),
        ("https://contoso.slack.com/", "<x>", "1772415600.000100", False),
        ("https://contoso.slack.com/", "C0ALERTS", "now", False),
        ("javascript:x", "C0ALERTS", "1772415600.000100", False),
    ],
)
def test_messages_are_linked_only_by_proper_ids(workspace: str, channel: str, ts: str, live: bool) -> None:
    made = text.message_link(workspace, channel, ts, "#7")
    assert made.startswith("<") is live
    if live:
        assert made == f"<{workspace.rstrip('/')}/archives/C0ALERTS/p1772415600000100|#7>"


def test_articles_keep_code_spans_and_known_links() -> None:
    raw = "Run `netstat -an`, see https://learn.microsoft.com/x (not http://evil.test)\n& rest"
    assert text.article(raw) == (
        "Run `netstat -an`, see <https://learn.microsoft.com/x|learn.microsoft.com> (not http[:]//evil.test) &amp; rest"
    )


def test_a_sentence_mentions_only_the_people_it_is_told_to() -> None:
    raw = "<@U0ADMIN1> did this already, not <@U0OTHER>."
    assert text.sentence(raw, ("U0ADMIN1", None, "nonsense")) == "<@U0ADMIN1> did this already, not &lt;＠U0OTHER&gt;."
