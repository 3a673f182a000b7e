"""views.*: modals and Home tabs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from bot.sandbox.slack.errors import SlackError
from bot.sandbox.slack.methods.world import Method, World, need
from bot.sandbox.slack.workspace import Json


def open_view(world: World, args: Json) -> Json:
    """Open a modal for whoever made the trigger."""
    need(args, "view", "trigger_id")
    trigger = world.tickets.exchange(args["trigger_id"])
    return {"view": world.views.document(world.views.open(trigger.user_id, args["view"]))}


def push_view(world: World, args: Json) -> Json:
    """Put a modal on top of the one from which the trigger came."""
    need(args, "view", "trigger_id")
    trigger = world.tickets.exchange(args["trigger_id"])
    return {"view": world.views.document(world.views.push(trigger.user_id, args["view"]))}


def update_view(world: World, args: Json) -> Json:
    """Change an open view."""
    need(args, "view")
    if not args.get("view_id") and not args.get("external_id"):
        raise SlackError("invalid_arguments")
    view = world.views.find(args.get("view_id"), args.get("external_id"))
    return {"view": world.views.document(world.views.update(view, args["view"], args.get("hash")))}


def publish_view(world: World, args: Json) -> Json:
    """Set a user's Home tab."""
    need(args, "view", "user_id")
    if args["user_id"] not in world.workspace.users:
        raise SlackError("user_not_found")
    return {"view": world.views.document(world.views.publish(args["user_id"], args["view"], args.get("hash")))}


METHODS: Final[Mapping[str, Method]] = {
    "views.open": Method(handler=open_view, tier=4),
    "views.push": Method(handler=push_view, tier=4),
    "views.update": Method(handler=update_view, tier=4),
    "views.publish": Method(handler=publish_view, tier=4),
}
