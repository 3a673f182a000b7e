"""The reply parser: total, bounded, and deaf to tricks."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bot.probes.reply import (
    LINE_KEPT,
    LINES,
    REPLY_BYTES,
    Reply,
    ReplyParser,
    capabilities,
    sanitise,
)
from knowledge.classify import Cause


def parse(*chunks: bytes) -> Reply | Cause | None:
    parser, result = ReplyParser(), None
    for chunk in chunks:
        result = parser.feed(chunk)
        if result is not None:
            break
    return result


@pytest.mark.parametrize(
    ("raw", "reply"),
    [
        (b"220 hi\r\n", Reply(220, ("hi",))),
        (b"220\r\n", Reply(220, ("",))),
        (b"220 \r\n", Reply(220, ("",))),
        (b"220-a\r\n220 b\r\n", Reply(220, ("a", "b"))),
        (b"250-a\r\n250-SIZE 1\r\n250 X\r\n", Reply(250, ("a", "SIZE 1", "X"))),
        (b"250-a\n250 b\r\n", Reply(250, ("a", "b"), bare_lf=True)),
        (b"220 caf\xc3\xa9 \x1b[31m\x00\r\n", Reply(220, ("caf?? ?[31m?",))),
        (b"220 a\rb\r\n", Reply(220, ("a?b",))),
        (b"220 " + b"x" * 5000 + b"\r\n", Reply(220, ("x" * (LINE_KEPT - 4),))),
    ],
)
def test_replies_are_read(raw: bytes, reply: Reply) -> None:
    assert parse(raw) == reply


@pytest.mark.parametrize(
    "raw",
    [
        *(
            b"SSH-2.0-OpenSSH\r\n",
            b"HTTP/1.1 400 Bad Request\r\n",
            b"* OK IMAP\r\n",
            b"\r\n",
            b"22 x\r\n",
            b"2200 x\r\n",
        ),
        *(b"220x\r\n", b"220-a\r\nnonsense\r\n", b"\x4a\x00\x00\x00", b"\x16\x03\x01", b"A", b"2\r\n", b"22\n"),
    ],
)
def test_other_protocols_are_not_smtp(raw: bytes) -> None:
    assert parse(raw) is Cause.NOT_SMTP


@pytest.mark.parametrize("raw", [b"", b"2", b"22", b"220", b"220 ", b"220 a", b"220-a\r\n", b"220-a\r\n2", b"220\r"])
def test_an_unfinished_reply_wishes_for_more(raw: bytes) -> None:
    assert parse(raw) is None


@pytest.mark.parametrize(
    "chunks",
    [
        [b"220-x\r\n" * LINES],
        [b"220-x\r\n"] * LINES,
        [b"220 " + b"A" * REPLY_BYTES],
        [b"220 " + b"A" * REPLY_BYTES + b"\r\n"],
        [b"220 "] + [b"A" * 100] * 200,
        [(b"220-" + b"A" * 990 + b"\r\n") * 17],
    ],
)
def test_too_much_is_a_flood(chunks: list[bytes]) -> None:
    assert parse(*chunks) is Cause.FLOOD


def test_what_comes_behind_a_reply_is_kept_apart() -> None:
    parser = ReplyParser()
    assert not parser.begun
    assert parser.feed(b"220 ready\r\n250 injected\r\n") == Reply(220, ("ready",))
    assert parser.rest == b"250 injected\r\n"
    assert parser.begun


@pytest.mark.parametrize(
    ("raw", "enhanced"),
    [
        (b"550 5.1.1 no such user\r\n", "5.1.1"),
        (b"550 4.1.1 liar\r\n", None),
        (b"550 5.1.1111 no\r\n", None),
        (b"550 no\r\n", None),
        (b"250-2.0.0 a\r\n250 2.1.5\r\n", "2.1.5"),
    ],
)
def test_an_enhanced_code_counts_only_with_the_class_of_the_reply(raw: bytes, enhanced: str | None) -> None:
    reply = parse(raw)
    assert isinstance(reply, Reply)
    assert reply.enhanced == enhanced


def test_a_reply_shows_as_one_bounded_line() -> None:
    reply = parse(b"554-go\r\n554-\r\n554 away" + b"y" * 500 + b"\r\n")
    assert isinstance(reply, Reply)
    assert reply.text.startswith("554 go away")
    assert len(reply.text) == 200
    assert (reply.refusal, reply.positive) == (True, False)


def test_capabilities_are_keywords_in_upper_case() -> None:
    assert capabilities(["mail.test hello", "starttls", "Size 100", "", "AUTH=LOGIN"]) == (
        *("STARTTLS", "SIZE 100", "AUTH=LOGIN"),
    )
    assert capabilities([]) == ()


@pytest.mark.parametrize(
    ("raw", "shown"), [(b"a\x00\xffb", "a??b"), ("a\u202eb\n", "a?b?"), ("<!channel>", "<!channel>")]
)
def test_only_printable_ascii_is_shown(raw: bytes | str, shown: str) -> None:
    assert sanitise(raw) == shown


PIECES = st.sampled_from([b"220 ", b"220-", b"250", b"\r\n", b"\n", b"\r", b"\x00", b"A" * 2000, b"5.1.1 ", b"x"])


WORDS = st.sampled_from([*b"aZ -~", 0, 127, 255, 13]).map(lambda code: bytes([code]))
LINE = st.tuples(st.sampled_from([b"250", b"421", b"25"]), st.sampled_from([b"-", b"-", b" ", b""]), st.lists(WORDS))
ENDS = st.sampled_from([b"\r\n"] * 9 + [b"\n", b""])


@settings(max_examples=1000, deadline=None)
@given(st.lists(st.tuples(LINE, ENDS), min_size=1, max_size=6))
def test_a_reply_reads_the_same_in_one_piece_and_byte_by_byte(lines: list[tuple[tuple[bytes, ...], bytes]]) -> None:
    raw = b"".join(b"".join([code, sign, *words, end]) for (code, sign, words), end in lines)
    whole, piecemeal = parse(raw), parse(*(raw[n : n + 1] for n in range(len(raw))))
    assert whole == piecemeal or (whole is Cause.NOT_SMTP and piecemeal is None)


@settings(max_examples=1500, deadline=None)
@given(st.lists(st.one_of(st.binary(max_size=300), PIECES), max_size=40))
def test_the_parser_is_total_and_bounded(chunks: list[bytes]) -> None:
    parser = ReplyParser()
    for chunk in chunks:
        result = parser.feed(chunk)
        assert len(parser._buffer) <= REPLY_BYTES + len(chunk)
        if isinstance(result, Reply):
            assert len(result.lines) <= LINES
            assert all(len(line) <= LINE_KEPT and line.isascii() and line.isprintable() for line in result.lines)
        if result is not None:
            return


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=400), st.integers(1, 40))
def test_how_bytes_are_cut_into_segments_makes_no_difference(tail: bytes, size: int) -> None:
    raw = b"250-mail.test\r\n250-SIZE\r\n250 " + tail.replace(b"\n", b"") + b"\r\nrest"
    chunks = [raw[i : i + size] for i in range(0, len(raw), size)]
    assert parse(*chunks) == parse(raw)
