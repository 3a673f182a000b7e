"""What Slack's answers mean for a message that we owe.

Promises: every failure of a call becomes exactly one DeliveryError (bot/services/ports.py). Only what certainly was
not posted is RetryLater; where it may have been, the answer is Ambiguous; what is said about the token or a whole
channel is Closed, which costs no message; an error word that we don't know is Puzzling: tried again, never dropped at
once.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Mapping
from typing import Any

import aiohttp
from slack_sdk.errors import SlackApiError, SlackClientError

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

TOKEN_REFUSED = frozenset(
    {"invalid_auth", "not_authed", "account_inactive", "token_revoked", "token_expired", "not_allowed_token_type"}
)
"""The token is not valid, whatever it is used for."""
CLOSED = TOKEN_REFUSED | frozenset(
    {"not_in_channel", "channel_not_found", "is_archived", "user_not_found", "messages_tab_disabled"}
    | {"missing_scope", "access_denied", "no_permission", "ekm_access_denied", "team_access_not_granted"}
    | {"team_not_found", "org_login_required", "two_factor_setup_required", "enterprise_is_restricted"}
    | {"accesslimited", "invalid_token", "method_not_supported_for_channel_type"}
)
"""About the token, the app or the whole channel, never about one message: a person can put it right."""
EVERYWHERE = TOKEN_REFUSED | frozenset(
    {"invalid_token", "team_not_found", "org_login_required", "two_factor_setup_required", "team_access_not_granted"}
)
"""Among them, what holds for every channel alike, so that no other one could take the message."""
CLOSED_FAMILIES = ("restricted_action", "token_")
PERMANENT = frozenset(
    {"no_text", "metadata_too_large", "invalid_metadata_format", "invalid_metadata_schema"}
    | {"metadata_must_be_sent_from_app", "cannot_reply_to_message"}
    | {"restricted_action_non_threadable_channel", "restricted_action_thread_locked"}
)
"""About this one message."""
REFUSED_LOOK = frozenset(
    {"invalid_blocks", "invalid_blocks_format", "msg_blocks_too_long", "msg_too_long", "invalid_attachments"}
    | {"too_many_attachments", "invalid_arguments", "invalid_array_arg", "invalid_arg_name"}
)
"""Slack dislikes how it looks: a plainer form of the same message may pass."""
GONE = frozenset({"message_not_found", "cant_update_message", "is_inactive", "thread_not_found"})
FROZEN = frozenset({"edit_window_closed"})
PASSING = frozenset({"service_unavailable", "request_timeout", "team_added_to_org"})
"""Slack says that it could not do it now."""
PERHAPS_DONE = frozenset({"internal_error", "fatal_error"})
LIMITED = frozenset({"ratelimited", "rate_limited", "message_limit_exceeded"})
LONG_PAUSE = {"message_limit_exceeded": 60.0}

HINTS = {
    "not_in_channel": "invite the bot: /invite @mfi in that channel",
    "channel_not_found": "the channel does not exist or is private: invite the bot, or correct the channel id",
    "is_archived": "the channel is archived: unarchive it or set another one",
    "invalid_auth": "the bot token is not accepted: check SLACK_BOT_TOKEN",
    "token_revoked": "the bot token was revoked: reinstall the app and set SLACK_BOT_TOKEN",
    "account_inactive": "the app was removed from the workspace: reinstall it and set SLACK_BOT_TOKEN",
    "missing_scope": "the app lacks a scope: paste `mfi manifest` into the app's settings and reinstall it",
}


class LookRefused(Exception):
    """Slack refused the form of a message, not its delivery."""


def error_word(error: SlackApiError) -> str:
    """Slack's own word, or the empty one."""
    return str(_data(error).get("error") or "")


def meaning(error: Exception, *, repeatable: bool) -> DeliveryError | LookRefused:
    """What this failed call means. `repeatable`: doing it twice is harmless, so "perhaps done" is just tried again."""
    if isinstance(error, SlackApiError):
        return _api(error, repeatable=repeatable)
    if isinstance(error, aiohttp.ClientConnectorError | aiohttp.InvalidURL):
        return RetryLater("Slack can't be reached from this host")
    if isinstance(error, asyncio.TimeoutError):
        return _perhaps("Slack did not answer in time", repeatable=repeatable)
    if isinstance(error, aiohttp.ClientError | SlackClientError | OSError | ValueError | AttributeError):
        return _perhaps("the connection to Slack broke off", repeatable=repeatable)
    raise error


def _api(error: SlackApiError, *, repeatable: bool) -> DeliveryError | LookRefused:
    status, word = _status(error), error_word(error)
    if status == 429 or word in LIMITED:
        return RetryLater(f"Slack limits the rate ({word or 'HTTP 429'})", _pause(error, word))
    if word in REFUSED_LOOK:
        return LookRefused(word)
    if word in GONE:
        return MessageGone(f"Slack no longer has the message ({word})")
    if word in FROZEN:
        return Frozen(f"Slack lets nobody change the message any more ({word})")
    if word in PERMANENT:
        return Permanent(f"Slack refuses: {word}")
    if word in CLOSED or word.startswith(CLOSED_FAMILIES):
        hint = f" ({HINTS[word]})" if word in HINTS else ""
        return Closed(f"Slack refuses: {word}{hint}", everywhere=word in EVERYWHERE or word.startswith("token_"))
    if word in PERHAPS_DONE or not word:
        return _perhaps(f"Slack answered {word or f'HTTP {status} without a word'}", repeatable=repeatable)
    if word in PASSING:
        return RetryLater(f"Slack answered {word}")
    return Puzzling(f"Slack answered {word[:60]}")


def _perhaps(reason: str, *, repeatable: bool) -> DeliveryError:
    return RetryLater(reason) if repeatable else Ambiguous(reason)


def _pause(error: SlackApiError, word: str) -> float | None:
    headers = getattr(error.response, "headers", None) or {}
    raw = headers.get("Retry-After") or headers.get("retry-after")
    try:
        seconds = float(raw) if raw is not None else math.nan
    except ValueError:
        seconds = math.nan
    return min(max(seconds, 0.0), 3600.0) if math.isfinite(seconds) else LONG_PAUSE.get(word)


def _status(error: SlackApiError) -> int:
    response = error.response
    found = getattr(response, "status_code", None) or getattr(response, "status", 0)
    return found if isinstance(found, int) else 0


def _data(error: SlackApiError) -> Mapping[str, Any]:
    data = getattr(error.response, "data", error.response)
    return data if isinstance(data, Mapping) else {}
