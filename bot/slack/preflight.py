"""Before the bot starts: would Slack refuse these tokens? A wrong one says so at once instead of retrying for ever."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Mapping
from typing import Any

from slack_sdk.errors import SlackApiError
from slack_sdk.web.async_client import AsyncWebClient
from slack_sdk.web.async_slack_response import AsyncSlackResponse

from bot.slack.errors import TOKEN_REFUSED, error_word

LOG = logging.getLogger(__name__)

DEADLINE = 5.0


class TokenRefused(Exception):
    """Slack answered that a token is not valid. The text names the variable and says where to get a valid one."""


async def check_tokens(client: AsyncWebClient, app_token: str) -> Mapping[str, Any] | None:
    """Ask Slack about both tokens. TokenRefused on a certain no; anything else (Slack down, busy) passes.

    Returns what Slack says of us (auth.test), if it says it.
    """
    (answer, bot), (_, app) = await asyncio.gather(
        _asked(client.auth_test()), _asked(client.apps_connections_open(app_token=app_token))
    )
    if bot:
        raise TokenRefused(f"SLACK_BOT_TOKEN: Slack answers {bot}; copy it again from your app → OAuth & Permissions")
    if app:
        raise TokenRefused(
            f"SLACK_APP_TOKEN: Slack answers {app}; it must be an app-level token (xapp-…) with connections:write"
        )
    return answer


async def _asked(call: Awaitable[AsyncSlackResponse]) -> tuple[Mapping[str, Any] | None, str | None]:
    """(what Slack answers, None), (None, the word of a certain no), or (None, None)."""
    try:
        async with asyncio.timeout(DEADLINE):
            data = (await call).data
        return data if isinstance(data, Mapping) else None, None
    except SlackApiError as error:
        word = error_word(error)
        return None, word if word in TOKEN_REFUSED else None
    except Exception as error:
        LOG.warning("Slack can't be reached now (%s); it is tried again until it can", type(error).__name__)
    return None, None
