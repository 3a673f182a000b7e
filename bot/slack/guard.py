"""Who is asking, and may they? Looks up in Slack what the policy (bot/core/permissions.py) needs, and nothing else.

Promises: reading waits for Slack only as long as our own workspace is unknown, because until then nobody but people
listed by id can be told from strangers; it is learned from the check of the tokens at start, kept in the database, and
asked again until Slack has confirmed it. Acting is decided on facts not older than their time to live, within a
deadline, and is refused when they can't be had; a person listed by their own id may act without, but is refused where
Slack says that the account is none that may. Every decision to act, yes or no, is an audit row.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from typing import Any, TypeVar

from slack_sdk.errors import SlackApiError
from slack_sdk.web.async_client import AsyncWebClient

from bot.core.clock import Clock
from bot.core.permissions import (
    Admins,
    Decision,
    Home,
    Membership,
    Person,
    Standing,
    Verb,
    decide,
    needs_lookup,
    worth_a_look,
)
from bot.slack.errors import error_word
from storage import audit, meta
from storage.connection import Store, StoreError
from storage.journal_records import AuditEntry

LOG = logging.getLogger(__name__)

GROUP_TTL = timedelta(minutes=5)
JUST_NOW = timedelta(seconds=5)
ACCOUNT_TTL = timedelta(minutes=10)
HOME_RETRY = timedelta(seconds=10)
KEPT_HOME = "slack.home"
LOOKUP_DEADLINE = 2.0
"""Seconds: a trigger lives for three."""

ACTS_AT_ONCE = frozenset({Verb.APPROVE, Verb.RETRY, Verb.UNDO})
"""What follows a click directly, with no dialog in between in which it would be asked again."""

T = TypeVar("T")


@dataclass(slots=True)
class _Known:
    """A looked-up fact and when it was looked up."""

    at: datetime
    value: Any


class Guard:
    """Answers "may they?" for this workspace."""

    def __init__(
        self,
        *,
        client: AsyncWebClient,
        store: Store,
        admins: Admins,
        clock: Clock,
        deadline: float = LOOKUP_DEADLINE,
    ) -> None:
        self._client, self._store, self._clock = client, store, clock
        self._deadline = deadline
        self.admins = admins
        self.home: Home | None = None
        self.confirmed = False
        self._home_tried: datetime | None = None
        self._home_lock = asyncio.Lock()
        self._groups: dict[str, _Known] = {}
        self._accounts: dict[str, _Known] = {}
        self._lock = asyncio.Lock()

    async def may(self, verb: Verb, person: Person, *, fresh: bool = False) -> Decision:
        """Decide now, on facts that are not too old; `fresh`, and for what acts at once: asked of Slack just now.

        Never raises, never takes much longer than the look-up deadline.
        """
        if self.home is None and verb is Verb.READ:
            await self._home_in_time()
        fresh = fresh or verb in ACTS_AT_ONCE
        membership, standing = Membership.UNKNOWN, Standing.UNKNOWN
        grouped = needs_lookup(verb, person, self.admins)
        if grouped or worth_a_look(verb, person, self.admins):
            try:
                async with asyncio.timeout(self._deadline):
                    await self.learn_home()
                    if grouped:
                        membership = await self._membership(person.user_id, JUST_NOW if fresh else GROUP_TTL)
                    if membership is Membership.YES or not grouped:
                        standing = await self._standing(person.user_id, JUST_NOW if fresh else ACCOUNT_TTL)
            except TimeoutError:
                LOG.warning("Slack did not answer a permission look-up in time")
        return decide(verb, person, admins=self.admins, home=self.home, membership=membership, standing=standing)

    async def audited(self, verb: Verb, person: Person, target: str, *, fresh: bool = False) -> Decision:
        """`may`, and the decision on record. A decision that can't be recorded is a refusal."""
        decision = await self.may(verb, person, fresh=fresh)
        try:
            await self.record(person.user_id, verb, target, allowed=decision.allowed, detail=decision.reason)
        except Exception:
            LOG.exception("the audit log can't be written")
            return Decision(False, "The audit log can't be written, so nothing is done. See `mfi doctor`.")
        return decision

    async def may_fix(self, user_id: str) -> bool:
        """May this person, who said yes a while ago, still fix? Asked where no request is at hand: never raises.

        Whose they are is told by the account that Slack shows; what Slack does not tell in time is a no.
        """
        person = Person(user_id=user_id)
        if needs_lookup(Verb.FIX, person, self.admins):
            home = await self._home_in_time()
            team = home.team_id if home else None
            person = Person(user_id=user_id, team_id=team, request_team_id=team)
        return (await self.may(Verb.FIX, person, fresh=True)).allowed

    async def _home_in_time(self) -> Home | None:
        try:
            async with asyncio.timeout(self._deadline):
                return await self.learn_home()
        except TimeoutError:
            LOG.warning("Slack did not say in time which workspace is ours")
            return self.home

    async def record(self, actor: str, verb: str, target: str, *, allowed: bool, detail: str) -> None:
        """One line of the audit log."""
        entry = AuditEntry(
            at=self._clock(),
            actor=actor[:40],
            verb=str(verb),
            target=target[:200],
            allowed=allowed,
            detail=detail[:500],
        )
        await self._store.write(lambda db: audit.append(db, entry))

    async def recall(self) -> None:
        """The workspace that Slack told of at an earlier start, until it tells again."""
        kept = await self._store.read(lambda db: meta.get(db, KEPT_HOME))
        if kept is not None and self.home is None:
            self.home = Home(**json.loads(kept))

    async def learn_home(self) -> Home | None:
        """Our own workspace. Asked once it is needed, not again within ten seconds of a failure, kept for good."""
        async with self._home_lock:
            now = self._clock()
            tried = self._home_tried is not None and abs(now - self._home_tried) < HOME_RETRY
            if not self.confirmed and not tried:
                self._home_tried = now
                await self.learn(await self._ask(self._client.auth_test))
        return self.home

    async def learn(self, answer: Mapping[str, Any] | None) -> None:
        """Take over what auth.test said of us, if it said anything; it is kept for the next start."""
        if answer is None or not isinstance(answer.get("team_id"), str):
            return
        self.home = home = Home(
            team_id=answer["team_id"],
            enterprise_id=_text(answer, "enterprise_id"),
            bot_user_id=_text(answer, "user_id"),
            url=_text(answer, "url"),
        )
        self.confirmed = True
        try:
            await self._store.write(lambda db: meta.put(db, KEPT_HOME, json.dumps(asdict(home))))
        except StoreError as error:
            LOG.warning("our workspace can't be kept for the next start: %s", error)

    def workspace_url(self) -> str | None:
        """What Slack calls our address, once known."""
        return self.home.url if self.home else None

    async def _membership(self, user_id: str, ttl: timedelta) -> Membership:
        """In any of the groups? NO only when every group answered."""
        complete = True
        for group_id in sorted(self.admins.groups):
            members = await self._members(group_id, ttl)
            if members is not None and user_id in members:
                return Membership.YES
            complete = complete and members is not None
        return Membership.NO if complete else Membership.UNKNOWN

    async def _members(self, group_id: str, ttl: timedelta) -> frozenset[str] | None:
        async def ask() -> frozenset[str] | None:
            answer = await self._ask(lambda: self._client.usergroups_users_list(usergroup=group_id))
            return None if answer is None else frozenset(_texts(answer.get("users")))

        return await self._cached(self._groups, group_id, ttl, ask)

    async def _standing(self, user_id: str, ttl: timedelta) -> Standing:
        async def ask() -> Standing | None:
            answer = await self._ask(lambda: self._client.users_info(user=user_id))
            found = answer.get("user") if answer is not None else None
            return standing_of(found, self.home) if isinstance(found, Mapping) else None

        return await self._cached(self._accounts, user_id, ttl, ask) or Standing.UNKNOWN

    async def _cached(
        self, known: dict[str, _Known], key: str, ttl: timedelta, ask: Callable[[], Awaitable[T | None]]
    ) -> T | None:
        """What is known and fresh, else what Slack says now; a failure is never remembered."""
        async with self._lock:
            fact = known.get(key)
            if fact is not None and abs(self._clock() - fact.at) < ttl:
                value: T = fact.value
                return value
            found = await ask()
            if found is None:
                known.pop(key, None)
                return None
            while len(known) >= 1000:
                known.pop(next(iter(known)))
            known[key] = _Known(self._clock(), found)
            return found

    async def _ask(self, call: Callable[[], Awaitable[Any]]) -> Mapping[str, Any] | None:
        """The answer of a look-up, or None with a line in the log."""
        try:
            answer = await call()
        except SlackApiError as error:
            LOG.warning("a permission look-up failed: %s", error_word(error) or "Slack did not answer properly")
            return None
        except Exception as error:
            LOG.warning("a permission look-up failed: %s", type(error).__name__)
            return None
        return answer.data if isinstance(answer.data, Mapping) else None


def standing_of(found: Mapping[str, Any], home: Home | None) -> Standing:
    """What an account from users.info is, seen from our workspace."""
    if found.get("is_bot") or found.get("id") == "USLACKBOT":
        return Standing.BOT
    if found.get("deleted"):
        return Standing.DEACTIVATED
    if found.get("is_stranger") or _elsewhere(found, home):
        return Standing.OUTSIDER
    return Standing.GUEST if found.get("is_restricted") or found.get("is_ultra_restricted") else Standing.MEMBER


def _elsewhere(found: Mapping[str, Any], home: Home | None) -> bool:
    team, grid = found.get("team_id"), found.get("enterprise_user")
    if home is None or not team or team == home.team_id:
        return False
    theirs = grid.get("enterprise_id") if isinstance(grid, Mapping) else None
    return theirs is None or theirs != home.enterprise_id


def _text(answer: Mapping[str, Any], key: str) -> str | None:
    value = answer.get(key)
    return value if isinstance(value, str) and value else None


def _texts(value: object) -> Iterable[str]:
    return (v for v in value if isinstance(v, str)) if isinstance(value, list) else ()
