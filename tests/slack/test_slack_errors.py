"""What the errors of a call to Slack mean for the message that was to be delivered."""

from __future__ import annotations

from types import SimpleNamespace

import aiohttp
import pytest
from slack_sdk.errors import SlackApiError, SlackRequestError

from bot.services.ports import (
    Ambiguous,
    Closed,
    Permanent,
    RetryLater,
)
from bot.slack.errors import LookRefused, error_word, meaning


def api_error(word: str = "", status: int = 200, headers: dict[str, str] | None = None) -> SlackApiError:
    data = {"ok": False, "error": word} if word else b""
    return SlackApiError("failed", SimpleNamespace(data=data, status_code=status, headers=headers or {}))


@pytest.mark.parametrize(
    ("error", "once", "again"),
    [
        (api_error("invalid_blocks"), LookRefused, LookRefused),
        (api_error("", 503), Ambiguous, RetryLater),
        (api_error("", 429), RetryLater, RetryLater),
        (aiohttp.InvalidURL("x"), RetryLater, RetryLater),
        (TimeoutError(), Ambiguous, RetryLater),
        (aiohttp.ServerDisconnectedError(), Ambiguous, RetryLater),
        (SlackRequestError("x"), Ambiguous, RetryLater),
        (AttributeError("a text/plain answer"), Ambiguous, RetryLater),
        (SlackApiError("x", "no response at all"), Ambiguous, RetryLater),
    ],
)
def test_an_error_is_ambiguous_only_where_repeating_would_hurt(
    error: Exception, once: type[Exception], again: type[Exception]
) -> None:
    assert type(meaning(error, repeatable=False)) is once
    assert type(meaning(error, repeatable=True)) is again


@pytest.mark.parametrize(
    ("header", "seconds"), [("30", 30), ("-5", 0), ("99999", 3600), ("soon", None), ("nan", None), (None, None)]
)
def test_retry_after_is_read_with_care(header: str | None, seconds: float | None) -> None:
    known = meaning(api_error("ratelimited", 429, {"Retry-After": header} if header else None), repeatable=False)
    assert isinstance(known, RetryLater)
    assert known.seconds == seconds


def test_a_long_pause_where_slack_wants_one_and_says_no_time() -> None:
    known = meaning(api_error("message_limit_exceeded"), repeatable=False)
    assert isinstance(known, RetryLater)
    assert known.seconds == 60


@pytest.mark.parametrize(
    "word",
    [
        *("invalid_auth", "not_authed", "token_expired", "token_of_tomorrow", "account_inactive", "missing_scope"),
        *("access_denied", "not_in_channel", "channel_not_found", "is_archived", "restricted_action"),
    ],
)
def test_what_is_about_the_token_or_the_channel_is_no_messages_fault(word: str) -> None:
    assert type(meaning(api_error(word), repeatable=False)) is Closed
    assert type(meaning(api_error(word), repeatable=True)) is Closed


@pytest.mark.parametrize(
    ("word", "everywhere"),
    [
        *((word, True) for word in ("invalid_auth", "token_revoked", "account_inactive", "token_of_tomorrow")),
        *((word, False) for word in ("is_archived", "not_in_channel", "missing_scope", "restricted_action")),
    ],
)
def test_only_what_is_about_the_token_is_refused_in_every_channel(word: str, everywhere: bool) -> None:
    known = meaning(api_error(word), repeatable=False)
    assert isinstance(known, Closed)
    assert known.everywhere is everywhere


@pytest.mark.parametrize("word", ["no_text", "metadata_too_large", "cannot_reply_to_message"])
def test_what_is_about_the_message_is_permanent(word: str) -> None:
    assert type(meaning(api_error(word), repeatable=False)) is Permanent


def test_permanent_errors_say_what_to_do() -> None:
    assert "/invite @mfi" in str(meaning(api_error("not_in_channel"), repeatable=False))
    assert str(meaning(api_error("no_text"), repeatable=False)) == "Slack refuses: no_text"
    assert error_word(api_error("no_text")) == "no_text"


def test_what_is_not_about_slack_is_not_swallowed() -> None:
    with pytest.raises(KeyError):
        meaning(KeyError("a bug of ours"), repeatable=False)
