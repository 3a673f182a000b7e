"""Opening and filling windows (Slack's modals). One that can't be opened or filled is a line in the log, no error."""

from __future__ import annotations

import logging
from collections.abc import Mapping

from slack_sdk.errors import SlackApiError
from slack_sdk.web.async_client import AsyncWebClient

from bot.slack.blocks import View
from bot.slack.errors import error_word

LOG = logging.getLogger(__name__)


class Windows:
    """The windows of this workspace."""

    def __init__(self, client: AsyncWebClient) -> None:
        self._client = client

    async def open(self, trigger_id: str, view: View, *, on_top: bool = False) -> str | None:
        """Open it, or put it on top of the one that is open. Its id; None if Slack did not."""
        call = self._client.views_push if on_top else self._client.views_open
        try:
            answer = await call(trigger_id=trigger_id, view=view)
        except Exception as error:
            LOG.warning("a window could not be opened: %s", _word(error))
            return None
        made = answer.get("view")
        return str(made["id"]) if isinstance(made, Mapping) and made.get("id") else None

    async def fill(self, view_id: str, view: View) -> bool:
        """Show this in an open window. False: it was closed meanwhile, or Slack did not."""
        try:
            await self._client.views_update(view_id=view_id, view=view)
        except Exception as error:
            LOG.warning("a window could not be filled: %s", _word(error))
            return False
        return True


def _word(error: Exception) -> str:
    return (error_word(error) if isinstance(error, SlackApiError) else "") or type(error).__name__
