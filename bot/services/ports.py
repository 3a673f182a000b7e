"""The port through which services post: bot/slack/client.py implements it, tests use a ten-line fake."""

from __future__ import annotations

from datetime import datetime
from typing import Protocol

from bot.core.views import IncidentView
from storage.records import OutboxItem


class DeliveryError(Exception):
    """A message did not reach Slack for certain. The text is one line for `/mfi status`.

    DeliveryError
    ├── Permanent     Slack will never take this message (no_text, metadata_too_large, …)
    ├── Closed        Slack takes nothing there until a person repairs it (invalid_auth, not_in_channel, …)
    ├── RetryLater    nothing was posted; try again after `seconds` (None: the caller's own back-off)
    ├── Ambiguous     sent, but the answer was lost: look before sending again
    ├── Puzzling      an answer that we don't know: try again for a while, then treat it as Permanent
    ├── MessageGone   the message to redraw or reply to no longer exists: post a new one
    └── Frozen        the message is there but can't be changed any more: leave it as it is
    """


class Permanent(DeliveryError):
    """This message never. It says nothing about the next one."""


class Closed(DeliveryError):
    """The token or the whole channel is refused, which is never a message's fault: it waits, or goes elsewhere.

    `everywhere`: it is the token, which is refused in every channel.
    """

    def __init__(self, reason: str, *, everywhere: bool = False) -> None:
        super().__init__(reason)
        self.everywhere = everywhere


class RetryLater(DeliveryError):
    """Not posted. `everywhere`: the limit holds for the whole workspace, so every channel waits."""

    def __init__(self, reason: str, seconds: float | None = None, *, everywhere: bool = False) -> None:
        super().__init__(reason)
        self.seconds = seconds
        self.everywhere = everywhere


class Ambiguous(DeliveryError):
    """Perhaps posted."""


class Puzzling(DeliveryError):
    """Not posted, for a reason that may pass or may not."""


class MessageGone(DeliveryError):
    """Its target no longer exists."""


class Frozen(DeliveryError):
    """Its target stays as it is for ever."""


class Poster(Protocol):
    """Posts what the outbox owes. `view` is read at the moment of sending, so a late message shows the present."""

    async def post(self, item: OutboxItem, view: IncidentView) -> str:
        """Post a root (into item.channel) or a reply/broadcast (into the incident's thread, telling item.event_id).

        The message carries item.uid in its metadata. Returns its ts. Raises DeliveryError.
        """
        ...

    async def redraw(self, item: OutboxItem, view: IncidentView) -> None:
        """Redraw the incident's message (view.incident.channel, .ts) in place. Repeating it is harmless."""
        ...

    async def find(self, item: OutboxItem, view: IncidentView, since: datetime) -> str | None:
        """Look in the channel (or the thread) for a message of ours that carries item.uid, posted after `since`.

        Returns its ts, or None if it certainly is not there. Otherwise raises DeliveryError: Permanent when this
        history may never be read, RetryLater when Slack was not asked, Puzzling when there is too much to look
        through, and anything else when the look-up failed.
        """
        ...
