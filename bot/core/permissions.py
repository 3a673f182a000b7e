"""Who may do what. Pure: everything that had to be looked up is an argument, and what could not be looked up says so.

Reading is for everyone in our own workspace. As long as Slack never told which one that is, nobody can be placed, and
only people whose own ids are listed read. (Once told it is kept on disk, so a Slack that fails at a later start changes
nothing.) Acting is for MFI_ADMINS, checked again at click, submit and execution, and fails closed: what is unknown is
refused, with a reason that the person can act on. One exception: a person whose own id is listed, unless the request
names two workspaces, or another one than ours once that is known. Where a mail system is touched, their account is
looked up all the same, and refused if Slack says that it is a guest's, deactivated or no person's; a Slack that says
nothing does not keep them from acting.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import StrEnum


class Verb(StrEnum):
    """What somebody wants."""

    READ = "read"
    PROBE = "probe"
    ACK = "ack"
    FIX = "fix"
    APPROVE = "approve"
    RETRY = "retry"
    UNDO = "undo"


TOUCHING = frozenset({Verb.FIX, Verb.APPROVE, Verb.RETRY, Verb.UNDO})
"""What changes something in a mail system."""


class Membership(StrEnum):
    """What is known of a person's place in the admin user groups."""

    YES = "yes"
    NO = "no"
    UNKNOWN = "unknown"


class Standing(StrEnum):
    """What Slack says of the account."""

    MEMBER = "member"
    GUEST = "guest"
    BOT = "bot"
    OUTSIDER = "outsider"
    DEACTIVATED = "deactivated"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True, kw_only=True)
class Home:
    """Our own workspace, as Slack's auth.test tells it."""

    team_id: str
    enterprise_id: str | None = None
    bot_user_id: str | None = None
    url: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Person:
    """Who asks, as the request says: ids only, names are never trusted.

    `team_id` is the person's own workspace; `request_team_id` the one that the request came from.
    """

    user_id: str
    team_id: str | None = None
    request_team_id: str | None = None
    enterprise_id: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Admins:
    """MFI_ADMINS: people and user groups."""

    users: frozenset[str] = field(default_factory=frozenset)
    groups: frozenset[str] = field(default_factory=frozenset)

    @classmethod
    def of(cls, ids: Iterable[str]) -> Admins:
        """U… and W… are people, S… are user groups; anything else is nobody."""
        known = [one.strip() for one in ids]
        return cls(
            users=frozenset(one for one in known if one[:1] in ("U", "W")),
            groups=frozenset(one for one in known if one[:1] == "S"),
        )

    def __bool__(self) -> bool:
        return bool(self.users or self.groups)


@dataclass(frozen=True, slots=True)
class Decision:
    """Allowed, or why not: one sentence for the person who asked."""

    allowed: bool
    reason: str

    def __bool__(self) -> bool:
        return self.allowed


def same_workspace(person: Person, home: Home | None) -> bool | None:
    """Is this one of ours? None: we don't know our own workspace yet, and the request does not contradict itself."""
    if person.team_id and person.request_team_id and person.team_id != person.request_team_id:
        return _same_grid(person, home)
    theirs = person.team_id or person.request_team_id
    if home is None or theirs is None:
        return None
    return theirs == home.team_id or _same_grid(person, home)


def _same_grid(person: Person, home: Home | None) -> bool:
    """Two workspaces of one Enterprise Grid organisation are one house."""
    return home is not None and home.enterprise_id is not None and person.enterprise_id == home.enterprise_id


def needs_lookup(verb: Verb, person: Person, admins: Admins) -> bool:
    """Must the user groups and the account be looked up before `decide` can say yes?"""
    return verb is not Verb.READ and person.user_id not in admins.users and bool(admins.groups)


def worth_a_look(verb: Verb, person: Person, admins: Admins) -> bool:
    """Should the account be looked up, although a listed person may act without?"""
    return verb in TOUCHING and person.user_id in admins.users


def decide(
    verb: Verb,
    person: Person,
    *,
    admins: Admins,
    home: Home | None,
    membership: Membership = Membership.UNKNOWN,
    standing: Standing = Standing.UNKNOWN,
) -> Decision:
    """May this person do this? In order: bots, other workspaces, reading, listed people, user groups."""
    if home is not None and person.user_id == home.bot_user_id:
        return Decision(False, "Bots may not give commands.")
    if standing in _NEVER:
        return Decision(False, _NEVER[standing])
    ours = same_workspace(person, home)
    if ours is False:
        return Decision(False, "You are not of this workspace.")
    if verb is Verb.READ:
        return _reading(person, admins, home)
    if not admins:
        return Decision(False, "Nobody may act yet: MFI_ADMINS is empty. Set it to user ids or user group ids.")
    if person.user_id in admins.users:
        if standing is Standing.GUEST:
            return Decision(False, "Guests may not act, not even when they are listed in MFI_ADMINS.")
        return Decision(True, "Listed in MFI_ADMINS.")
    return _by_group(admins, ours, membership, standing)


def _reading(person: Person, admins: Admins, home: Home | None) -> Decision:
    if home is None and person.user_id not in admins.users:
        return Decision(
            False, "Slack has not told mfi yet which workspace is ours, so nothing is shown. Try again soon."
        )
    return Decision(True, "Everyone in the workspace may read.")


_NEVER = {
    Standing.BOT: "Bots may not give commands.",
    Standing.OUTSIDER: "You are not of this workspace.",
    Standing.DEACTIVATED: "This account is deactivated.",
}


def _by_group(admins: Admins, ours: bool | None, membership: Membership, standing: Standing) -> Decision:
    if not admins.groups or membership is Membership.NO:
        return Decision(False, "You are not one of the people who may act.")
    if membership is Membership.UNKNOWN:
        return Decision(
            False,
            "Slack did not say whether you are in one of the admin user groups; nothing was done. Try again soon.",
        )
    if standing is Standing.GUEST:
        return Decision(False, "Guests may not act, not even as members of an admin user group.")
    if ours is None or standing is Standing.UNKNOWN:
        return Decision(False, "Slack did not confirm your account; nothing was done. Try again soon.")
    return Decision(True, "Member of a user group in MFI_ADMINS.")
