"""What the Slack surface needs from the rest of the program: given once, by the composition root."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Protocol

from slack_sdk.web.async_client import AsyncWebClient

from bot.core.capabilities import Capability, Place
from bot.core.clock import Clock
from bot.core.policy import Policy
from bot.services.fix import Claimed, Refusal, Undone
from bot.slack.guard import Guard
from bot.slack.rate import Rate, RateLimit
from bot.slack.tasks import Tasks
from knowledge.articles import Articles, articles
from storage.connection import Store
from storage.records import Action, ProbeRecord, StepKind


class ProbingPort(Protocol):
    """bot.services.probing.Probing."""

    def probe(self, connector_id: int, *, actor: str | None = None) -> Awaitable[ProbeRecord]:
        """Probe one connector now."""
        ...


class FixPort(Protocol):
    """bot.services.fix.Fix."""

    async def offer(self, incident_id: int, actor: str) -> Action | Refusal:
        """Make a plan from fresh facts."""
        ...

    async def submit(self, action_id: str, actor: str, steps: Sequence[StepKind], typed_name: str) -> Claimed | Refusal:
        """Claim an offer; quick."""
        ...

    async def offer_retry(self, incident_id: int, actor: str) -> Action | Refusal:
        """Make the plan of a retry."""
        ...

    async def approve(self, action_id: str, actor: str) -> Claimed | Refusal:
        """Claim what somebody else asked for; quick."""
        ...

    async def decline(self, action_id: str, actor: str) -> Action | Refusal:
        """Say no to what somebody asked for."""
        ...

    async def execute(self, action_id: str) -> None:
        """Run the claimed steps; never raises."""
        ...

    async def undo(self, action_id: str, actor: str) -> Undone | Refusal:
        """Restore the before-image."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class SlackDeps:
    """`client`: from bot.slack.client.make_client, with the bot token. `socket`: one line on the Slack connection, for
    status. `nudge`: tells the delivery pump that the outbox has something new. `tasks`: what still runs; close it
    before the store.
    """

    store: Store
    clock: Clock
    policy: Policy
    client: AsyncWebClient
    guard: Guard
    probing: ProbingPort
    fix: FixPort
    capabilities: Mapping[str, frozenset[Capability]]
    nudge: Callable[[], None]
    places: Mapping[str, Place] = field(default_factory=dict)
    socket: Callable[[], str] = lambda: "connected"
    articles: Articles = field(default_factory=articles)
    tasks: Tasks = field(default_factory=Tasks)
    commands: RateLimit = field(
        default_factory=lambda: RateLimit(Rate(20, timedelta(seconds=2)), Rate(200, timedelta(milliseconds=100)))
    )
    probes: RateLimit = field(
        default_factory=lambda: RateLimit(Rate(6, timedelta(seconds=10)), Rate(60, timedelta(seconds=1)))
    )
