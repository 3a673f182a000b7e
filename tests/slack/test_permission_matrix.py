"""Who may do what, where and when: role x account x kind of channel x verb, at the click, the submit and the execution.

The requests have the shape that Slack gives them in each kind of channel; what Slack says of the account when it is
asked is said by a stand-in. Nobody is allowed anything that the table below does not name.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import product
from typing import Any, cast

import pytest
from slack_sdk.web.async_client import AsyncWebClient

from bot.core.permissions import Admins, Verb
from bot.slack.guard import Guard
from bot.slack.payload import person_of
from storage import audit
from storage.connection import Store

NOW = datetime(2026, 11, 24, 8, 0, tzinfo=UTC)
OURS, THEIRS, GROUP, BOT = "T0OURS", "T0THEIRS", "S0MAILADMINS", "U0MFI"
ROLES = ("listed", "grouped", "reader")
ACCOUNTS: Mapping[str, Mapping[str, Any]] = {
    "member": {"team_id": OURS},
    "guest": {"team_id": OURS, "is_restricted": True},
    "single-channel guest": {"team_id": OURS, "is_restricted": True, "is_ultra_restricted": True},
    "bot": {"team_id": OURS, "is_bot": True},
    "deactivated": {"team_id": OURS, "deleted": True},
    "other team": {"team_id": THEIRS},
    "stranger": {"team_id": THEIRS, "is_stranger": True},
}
OUTSIDE = ("other team", "stranger")
CHANNELS: Mapping[str, Mapping[str, Any]] = {
    "public": {"id": "C0ALERTS", "name": "mail-alerts"},
    "private": {"id": "G0ALERTS", "name": "privategroup"},
    "direct message": {"id": "D0ALERTS", "name": "directmessage"},
    "shared with another organisation": {"id": "C0SHARED", "name": "shared-alerts"},
}
TOUCHING = (Verb.FIX, Verb.APPROVE, Verb.RETRY, Verb.UNDO)


@dataclass(frozen=True)
class Answer:
    data: Mapping[str, Any]


class StandIn:
    """Answers the look-ups of the guard; `silent`: it doesn't."""

    def __init__(self, *, silent: bool = False) -> None:
        self.silent = silent

    async def auth_test(self) -> Answer:
        return Answer({"ok": True, "team_id": OURS, "user_id": BOT})

    async def usergroups_users_list(self, usergroup: str) -> Answer:
        assert usergroup == GROUP
        return self._say({"users": [user_id("grouped", account) for account in ACCOUNTS]})

    async def users_info(self, user: str) -> Answer:
        _, account = _who(user)
        return self._say({"user": {"id": user, **ACCOUNTS[account]}})

    def _say(self, data: Mapping[str, Any]) -> Answer:
        if self.silent:
            raise TimeoutError("no answer")
        return Answer(data)


def user_id(role: str, account: str) -> str:
    return f"U{ROLES.index(role)}{list(ACCOUNTS).index(account)}"


def _who(user: str) -> tuple[str, str]:
    return ROLES[int(user[1])], list(ACCOUNTS)[int(user[2])]


def click(role: str, account: str, channel: str) -> dict[str, Any]:
    """block_actions as they come from this kind of channel: a shared one names the clicker's own workspace."""
    team = str(ACCOUNTS[account]["team_id"])
    return {
        "type": "block_actions",
        "team": {"id": OURS if account in OUTSIDE and channel.startswith("shared") else team},
        "user": {"id": user_id(role, account), "name": "admin.one", "team_id": team},
        "channel": dict(CHANNELS[channel]),
        "enterprise": None,
    }


def command(role: str, account: str, channel: str) -> dict[str, Any]:
    """A slash command: it names no workspace but the one where it was typed."""
    team = str(ACCOUNTS[account]["team_id"])
    place = CHANNELS[channel]
    return {
        "team_id": team,
        "user_id": user_id(role, account),
        "channel_id": place["id"],
        "channel_name": place["name"],
    }


def may(verb: Verb, role: str, account: str) -> bool:
    """The policy: whoever is of our workspace reads, and only full members in MFI_ADMINS touch a mail system."""
    if verb is Verb.READ:
        return account not in (*OUTSIDE, "bot", "deactivated")
    return role in ("listed", "grouped") and account == "member"


@pytest.fixture
async def guard(store: Store) -> Guard:
    admins = Admins.of([GROUP, *(user_id("listed", account) for account in ACCOUNTS)])
    made = Guard(client=cast(AsyncWebClient, StandIn()), store=store, admins=admins, clock=lambda: NOW)
    await made.learn_home()
    return made


def told(moment: str, wrong: list[tuple[str, ...]], refused: list[tuple[str, ...]], asked: int) -> None:
    print(f"\n{moment}: {asked} cases, {len(wrong)} wrong allows, {len(refused)} wrong refusals")


@pytest.mark.parametrize("body", [click, command])
async def test_nobody_else_gets_anything_by_a_click_or_a_command(guard: Guard, body: Any) -> None:
    wrong, refused, asked = [], [], 0
    for verb, role, account, channel in product(TOUCHING, ROLES, ACCOUNTS, CHANNELS):
        decision = await guard.audited(verb, person_of(body(role, account, channel)), "#12")
        wrong += [(verb, role, account, channel)] if decision.allowed and not may(verb, role, account) else []
        refused += [(verb, role, account, channel)] if not decision.allowed and may(verb, role, account) else []
        assert decision.reason
        asked += 1
    told(body.__name__, wrong, refused, asked)
    assert (wrong, refused) == ([], [])


async def test_what_touches_no_mail_system_asks_slack_less_but_lets_no_stranger_in(guard: Guard) -> None:
    """Acknowledge, probe and read go by the request where Slack need not be asked: who is of another team is out."""
    wrong = []
    for verb, role, account, channel in product((Verb.ACK, Verb.PROBE, Verb.READ), ROLES, OUTSIDE, CHANNELS):
        decision = await guard.may(verb, person_of(click(role, account, channel)))
        wrong += [(verb, role, account, channel)] if decision.allowed else []
    for verb, account, channel in product((Verb.ACK, Verb.PROBE), ACCOUNTS, CHANNELS):
        grouped = await guard.may(verb, person_of(click("grouped", account, channel)))
        reader = await guard.may(verb, person_of(click("reader", account, channel)))
        wrong += [(verb, "grouped", account, channel)] if grouped.allowed is not may(verb, "grouped", account) else []
        wrong += [(verb, "reader", account, channel)] if reader.allowed else []
    assert wrong == []


async def test_nobody_else_submits(guard: Guard) -> None:
    """A submission names no channel."""
    wrong, refused = [], []
    for role, account in product(ROLES, ACCOUNTS):
        body = click(role, account, "public") | {"type": "view_submission"}
        del body["channel"]
        decision = await guard.audited(Verb.FIX, person_of(body), "#12", fresh=True)
        wrong += [(role, account)] if decision.allowed and not may(Verb.FIX, role, account) else []
        refused += [(role, account)] if not decision.allowed and may(Verb.FIX, role, account) else []
    assert (wrong, refused) == ([], [])


@pytest.mark.parametrize("silent", [False, True])
async def test_nobody_else_is_still_allowed_when_it_runs(guard: Guard, store: Store, silent: bool) -> None:
    """With a silent Slack only those who are listed by their own id are, and nobody by a group."""
    asked = guard
    if silent:
        client = cast(AsyncWebClient, StandIn(silent=True))
        asked = Guard(client=client, store=store, admins=guard.admins, clock=lambda: NOW)
        await asked.recall()
    allowed = {
        (role, account) for role, account in product(ROLES, ACCOUNTS) if await asked.may_fix(user_id(role, account))
    }
    if silent:
        assert {role for role, _ in allowed} == {"listed"}
    else:
        assert allowed == {("listed", "member"), ("grouped", "member")}


async def test_every_refusal_is_on_record_with_its_reason(guard: Guard, store: Store) -> None:
    for role, account, channel in product(ROLES, ACCOUNTS, CHANNELS):
        await guard.audited(Verb.FIX, person_of(click(role, account, channel)), "#12")
    entries = await store.read(lambda db: list(audit.every(db)))
    assert len(entries) == len(ROLES) * len(ACCOUNTS) * len(CHANNELS)
    assert sum(entry.allowed for entry in entries) == 2 * len(CHANNELS)
    assert all(entry.detail for entry in entries if not entry.allowed)
    verdict = await store.read(audit.verify)
    assert (verdict.broken_at, verdict.entries) == (None, len(entries))
