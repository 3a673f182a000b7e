"""auth.test, apps.connections.open, users.*, usergroups.*, bots.info and team.info."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from bot.sandbox.slack.errors import SlackError
from bot.sandbox.slack.methods.world import Method, World, need, page_of
from bot.sandbox.slack.posting import bot_profile
from bot.sandbox.slack.workspace import Json, User, UserGroup


def test_auth(world: World, _args: Json) -> Json:
    """Who the token belongs to."""
    return {
        "url": f"{world.origin}/",
        "team": world.workspace.name,
        "team_id": world.workspace.team_id,
        "user": world.app.name,
        "user_id": world.app.bot_user,
        "bot_id": world.app.bot_id,
        "is_enterprise_install": False,
    }


def open_connection(world: World, _args: Json) -> Json:
    """A WebSocket address that works once."""
    host = world.origin.removeprefix("http://")
    return {"url": f"ws://{host}/link/?ticket={world.tickets.socket()}&app_id={world.app.app_id}"}


def described(world: World, user: User) -> Json:
    """A user as users.info and .list give them."""
    return {
        "id": user.id,
        "team_id": world.workspace.team_id,
        "name": user.name,
        "deleted": user.deleted,
        "real_name": user.real_name,
        "tz": "Etc/UTC",
        "tz_label": "Coordinated Universal Time",
        "tz_offset": 0,
        "profile": {"real_name": user.real_name, "display_name": user.real_name, "team": world.workspace.team_id},
        "is_admin": user.is_admin,
        "is_owner": False,
        "is_primary_owner": False,
        "is_restricted": user.is_restricted,
        "is_ultra_restricted": False,
        "is_bot": user.is_bot,
        "is_app_user": False,
        "updated": 0,
    }


def user_info(world: World, args: Json) -> Json:
    """One user."""
    need(args, "user")
    user = world.workspace.users.get(args["user"])
    if user is None:
        raise SlackError("user_not_found")
    return {"user": described(world, user)}


def user_list(world: World, args: Json) -> Json:
    """Everybody."""
    page, more = page_of(list(world.workspace.users.values()), args)
    return {"members": [described(world, each) for each in page], "cache_ts": int(world.workspace.now()), **more}


def group_users(world: World, args: Json) -> Json:
    """The members of a user group."""
    need(args, "usergroup")
    group = world.workspace.groups.get(args["usergroup"])
    if group is None:
        raise SlackError("no_such_subteam")
    return {"users": list(group.users)}


def group_list(world: World, args: Json) -> Json:
    """The user groups."""
    members = bool(args.get("include_users"))
    return {"usergroups": [_group(world, each, members=members) for each in world.workspace.groups.values()]}


def _group(world: World, group: UserGroup, *, members: bool) -> Json:
    return {
        "id": group.id,
        "team_id": world.workspace.team_id,
        "is_usergroup": True,
        "name": group.name,
        "handle": group.handle,
        "description": "",
        "date_delete": 0,
        "user_count": len(group.users),
        **({"users": list(group.users)} if members else {}),
    }


def bot_info(world: World, args: Json) -> Json:
    """The app's bot."""
    if args.get("bot") not in (None, world.app.bot_id):
        raise SlackError("bot_not_found")
    return {"bot": bot_profile(world.workspace)}


def team_info(world: World, _args: Json) -> Json:
    """The workspace."""
    workspace = world.workspace
    return {"team": {"id": workspace.team_id, "name": workspace.name, "domain": workspace.domain}}


METHODS: Final[Mapping[str, Method]] = {
    "auth.test": Method(handler=test_auth, tier=0),
    "apps.connections.open": Method(handler=open_connection, tier=3, app_level=True),
    "users.info": Method(handler=user_info, scopes=("users:read",), tier=4),
    "users.list": Method(handler=user_list, scopes=("users:read",), tier=2),
    "usergroups.users.list": Method(handler=group_users, scopes=("usergroups:read",), tier=2),
    "usergroups.list": Method(handler=group_list, scopes=("usergroups:read",), tier=2),
    "bots.info": Method(handler=bot_info, scopes=("users:read",), tier=3),
    "team.info": Method(handler=team_info, scopes=("team:read",), tier=3),
}
