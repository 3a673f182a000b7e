"""Posts what the outbox owes. The only module that posts to channels.

Promises: a message is sent at most once per call (no retry of its own; the outbox decides), carries the outbox item's
opaque id in its metadata, never unfurls links, and has passed our own validator. If Slack refuses its looks, a plainer
form of the same message is tried: full → paragraphs → text. Every failure is a DeliveryError that says whether the
message may have got through.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from slack_sdk.errors import SlackApiError
from slack_sdk.web.async_client import AsyncWebClient
from slack_sdk.web.async_slack_response import AsyncSlackResponse
from slack_sdk.webhook.async_client import AsyncWebhookClient

from bot.core.blockkit import problems
from bot.core.views import IncidentView
from bot.services.ports import Ambiguous, Closed, DeliveryError, MessageGone, Permanent, Puzzling, RetryLater
from bot.slack.alert import DEFAULT_WORKSPACE, render_alert
from bot.slack.blocks import Message, sections_only, text_only
from bot.slack.errors import REFUSED_LOOK, TOKEN_REFUSED, LookRefused, error_word, meaning
from bot.slack.slack_time import SlackTime
from bot.slack.thread import render_event
from knowledge.articles import Articles
from storage.records import OutboxItem, OutboxKind

LOG = logging.getLogger(__name__)
WIRE = logging.getLogger("mfi.slack.wire")
"""Given to the SDK, whose debug lines hold message bodies and secret addresses: it never goes below INFO."""
WIRE.setLevel(logging.INFO)

TIMEOUT = 15
ANSWER_TIMEOUT = 10
EVENT_TYPE = "mfi_alert"
PAGE, PAGES = 200, 10
LINGER = timedelta(minutes=10)
"""A request that we gave up may still be carried out so much later; after that it is not looked for."""


def make_client(token: str | None, api_url: str, timeout: int = TIMEOUT) -> AsyncWebClient:
    """A Web API client that never repeats a request by itself: the SDK's own retry can post twice."""
    return AsyncWebClient(token=token, base_url=api_url, timeout=timeout, retry_handlers=[], logger=WIRE)


class SlackPoster:
    """bot.services.ports.Poster on a real Slack."""

    def __init__(
        self,
        client: AsyncWebClient,
        articles: Articles,
        workspace: Callable[[], str | None] = lambda: None,
        slack_time: SlackTime | None = None,
    ) -> None:
        self._client = client
        self._articles = articles
        self._workspace = workspace
        self._slack_time = slack_time or SlackTime()

    async def post(self, item: OutboxItem, view: IncidentView) -> str:
        """Post the root, or the reply that tells item.event_id. Returns its ts."""
        arguments: dict[str, Any] = {
            "channel": item.channel,
            "unfurl_links": False,
            "unfurl_media": False,
            "metadata": {"event_type": EVENT_TYPE, "event_payload": {"outbox_id": item.uid}},
        }
        if item.kind is not OutboxKind.ROOT:
            arguments |= self._thread(item, view)
        response = await self._send(
            self._render(item, view), arguments, self._client.chat_postMessage, repeatable=False
        )
        ts = response.get("ts")
        if not isinstance(ts, str):
            raise Ambiguous("Slack took the message but did not say where it is")
        return ts

    async def redraw(self, item: OutboxItem, view: IncidentView) -> None:
        """Redraw the incident's own message in place. Repeating it is harmless."""
        if view.incident.ts is None:
            LOG.warning("outbox item %s would redraw a message that was never posted", item.id)
            raise MessageGone("the incident's message was never posted")
        where = {"channel": view.incident.channel, "ts": view.incident.ts}
        await self._send(self._alert(view), where, self._client.chat_update, repeatable=True)

    async def find(self, item: OutboxItem, view: IncidentView, since: datetime) -> str | None:
        """Look for our message that carries item.uid, posted after `since`. None: it certainly is not there.

        What people wrote after the last attempt is not looked through, so a busy channel makes it no longer.
        """
        cursor: str | None = None
        was_known = self._slack_time.is_known
        for _ in range(PAGES):
            page = await self._history(item, view, since, cursor)
            for found in page.get("messages") or ():
                if _outbox_id(found) == item.uid:
                    return str(found["ts"])
            cursor = (page.get("response_metadata") or {}).get("next_cursor") or None
            if cursor is None:
                return None
            if not was_known and self._slack_time.is_known:
                cursor, was_known = None, True  # the first page told Slack's time: look again, more narrowly
        raise Puzzling(f"more than {PAGE * PAGES} messages to look through: can't be sure")

    def _thread(self, item: OutboxItem, view: IncidentView) -> dict[str, Any]:
        if view.incident.ts is None:
            raise RetryLater("the incident's own message is not posted yet")
        thread: dict[str, Any] = {"channel": view.incident.channel, "thread_ts": view.incident.ts}
        return thread | ({"reply_broadcast": True} if item.kind is OutboxKind.BROADCAST else {})

    def _render(self, item: OutboxItem, view: IncidentView) -> Message:
        if item.kind is OutboxKind.ROOT:
            return self._alert(view)
        event = next((e for e in view.events if e.id == item.event_id), None)
        if event is None:
            raise Permanent(f"event {item.event_id} of incident {view.incident.id} is not known any more")
        return render_event(event, view)

    def _alert(self, view: IncidentView) -> Message:
        about = self._articles.for_code(view.incident.code)
        return render_alert(view, about, self._workspace() or DEFAULT_WORKSPACE)

    async def _history(
        self, item: OutboxItem, view: IncidentView, since: datetime, cursor: str | None
    ) -> Mapping[str, Any]:
        arguments: dict[str, Any] = {
            "inclusive": True,
            "include_all_metadata": True,
            "limit": PAGE,
            "cursor": cursor,
        }
        try:
            if item.kind is OutboxKind.ROOT:
                arguments |= self._slack_time.window(since, (item.attempt_at or since) + LINGER)
                answer = await self._client.conversations_history(channel=item.channel, **arguments)
            elif view.incident.ts is None:
                return {}
            else:
                thread: dict[str, Any] = {
                    "channel": view.incident.channel,
                    "ts": view.incident.ts,
                    "oldest": view.incident.ts,
                }
                answer = await self._client.conversations_replies(**thread, **arguments)
        except Exception as error:
            self._slack_time.learn(getattr(error, "response", None))
            known = meaning(error, repeatable=False)
            if isinstance(known, MessageGone):
                return {}
            raise _unreadable(error, known) from error
        self._slack_time.learn(answer)
        return answer.data if isinstance(answer.data, Mapping) else {}

    async def _send(
        self,
        full: Message,
        arguments: Mapping[str, Any],
        call: Callable[..., Awaitable[AsyncSlackResponse]],
        *,
        repeatable: bool,
    ) -> AsyncSlackResponse:
        """Full looks first; each refusal of the looks steps down once."""
        refusal = "our validator"
        for form in _ladder(full, update=repeatable):
            try:
                response = await call(**arguments, **form.payload())
                self._slack_time.learn(response)
                return response
            except Exception as error:
                self._slack_time.learn(getattr(error, "response", None))
                known = meaning(error, repeatable=repeatable)
                if not isinstance(known, LookRefused):
                    raise known from error
                refusal = str(known)
                LOG.warning("Slack refused the looks of a message (%s); trying a plainer one", refusal)
        raise Permanent(f"Slack refuses this message in every form ({refusal})")


def _ladder(full: Message, *, update: bool) -> Iterator[Message]:
    """The forms of a message, richest first, without those that our validator already knows to be refused."""
    for form in (full, sections_only(full), text_only(full)):
        found = problems(form.payload(), "message", update=update)
        if not found:
            yield form
        else:
            LOG.error("a message would be refused: %s %s %s", found[0].pointer, found[0].code, found[0].message)


def _unreadable(error: Exception, known: DeliveryError | LookRefused) -> DeliveryError:
    """Why a history can't be read: one that is closed to us stays so, unless it is the token that is refused."""
    refused = isinstance(error, SlackApiError) and error_word(error) in TOKEN_REFUSED
    if isinstance(known, LookRefused) or (isinstance(known, Closed) and not refused):
        return Permanent(f"Slack refuses to show its history ({known})")
    return known


def _outbox_id(found: Mapping[str, Any]) -> object:
    metadata = found.get("metadata") or {}
    payload = metadata.get("event_payload") if metadata.get("event_type") == EVENT_TYPE else None
    return payload.get("outbox_id") if isinstance(payload, Mapping) else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Where:
    """Where a person waits for an answer. `response_url` is a secret of half an hour: never stored or logged."""

    user: str
    channel: str | None = None
    response_url: str | None = field(default=None, repr=False)
    thread_ts: str | None = None


class Answers:
    """Answers people: to the response address, else an ephemeral message, else a direct message."""

    def __init__(self, client: AsyncWebClient) -> None:
        self._client = client

    async def say(self, where: Where, answer: Message, *, public: bool = False) -> bool:
        """Show the answer to this person, or to the channel. False when no way works; that is logged, never raised."""
        for form in _ladder(answer, update=False):
            failures = [failure async for failure in self._tries(where, form, public=public)]
            if not failures[-1]:
                return True
            if not REFUSED_LOOK.intersection(failures):
                break
        LOG.error("an answer reached nobody")
        return False

    async def redraw(self, where: Where, changed: Mapping[str, Any]) -> None:
        """Show a message of ours differently. Nothing depends on it, so a failure is only logged."""
        if where.channel and changed and (failure := await self._called(self._update(where.channel, changed))):
            LOG.warning("a message could not be redrawn: %s", failure)

    async def _tries(self, where: Where, form: Message, *, public: bool) -> AsyncIterator[str]:
        """Each way in turn: why it failed, or the empty word once one worked."""
        ways: list[tuple[object, Callable[[], Awaitable[str]]]] = [
            (where.response_url, lambda: self._respond(where, form, public=public)),
            (where.channel, lambda: self._called(self._ephemeral(where, form))),
            (True, lambda: self._called(self._direct(where, form))),
        ]
        for possible, way in ways:
            if possible:
                failure = await way()
                yield failure
                if not failure:
                    return
                LOG.warning("an answer could not be given: %s", failure)

    async def _respond(self, where: Where, form: Message, *, public: bool) -> str:
        hook = AsyncWebhookClient(where.response_url or "", timeout=ANSWER_TIMEOUT, retry_handlers=[], logger=WIRE)
        body = form.payload() | {
            "response_type": "in_channel" if public else "ephemeral",
            "replace_original": False,
            "unfurl_links": False,
            "unfurl_media": False,
        }
        if where.thread_ts:
            body["thread_ts"] = where.thread_ts
        try:
            answer = await hook.send_dict(body)
        except Exception as error:
            return type(error).__name__
        # "ok", or a word such as used_url; it doesn't raise by itself
        return "" if answer.status_code == 200 else answer.body[:60] or f"HTTP {answer.status_code}"

    async def _called(self, call: Awaitable[object]) -> str:
        try:
            await call
        except SlackApiError as error:
            return error_word(error) or "no word"
        except Exception as error:
            return type(error).__name__
        return ""

    async def _ephemeral(self, where: Where, form: Message) -> None:
        await self._client.chat_postEphemeral(
            channel=where.channel or "", user=where.user, thread_ts=where.thread_ts, **form.payload()
        )

    async def _update(self, channel: str, changed: Mapping[str, Any]) -> None:
        await self._client.chat_update(channel=channel, **changed)

    async def _direct(self, where: Where, form: Message) -> None:
        await self._client.chat_postMessage(
            channel=where.user, unfurl_links=False, unfurl_media=False, **form.payload()
        )
