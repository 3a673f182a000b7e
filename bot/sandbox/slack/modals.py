"""What people do with modals: fill in, submit, close; and what the app's acknowledgement then does to the modal.

Promises: the client's own checks come first, as at Slack: an empty required input never reaches the app; an
acknowledgement that Slack would not understand shows trouble and leaves the modal open.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from bot.sandbox.slack import payloads
from bot.sandbox.slack.elements import BadGesture, complaints, state_of
from bot.sandbox.slack.errors import SlackError
from bot.sandbox.slack.methods.world import World
from bot.sandbox.slack.sockets import Envelope, Sockets
from bot.sandbox.slack.views import View
from bot.sandbox.slack.workspace import User, interactive

NOT_ACKED: Final = "dispatch_failed"
TROUBLE: Final = "We had some trouble connecting. Try again?"


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What the person sees at once after an interaction."""

    error: str | None = None
    """What the client shows when the app did not answer well; None when it did."""
    errors: Mapping[str, str] = field(default_factory=dict)
    """A modal's complaints by block."""
    envelope: Envelope | None = None
    """What was sent to the app; None when the client stopped the person by itself."""

    @property
    def ok(self) -> bool:
        """Whether the interaction was taken without complaint."""
        return self.error is None and not self.errors


def owned(world: World, user: User, view: View) -> None:
    """Refuse a gesture on a view that the user doesn't have open."""
    if view.user_id != user.id:
        raise BadGesture("this view is somebody else's")
    if view.body["type"] == "modal" and view not in world.views.stacks.get(user.id, []):
        raise BadGesture("this modal is closed")


def enter(view: View, values: Mapping[str, Any]) -> None:
    """Put what was typed and chosen into the view's state: by block id a value, or {action id: value}."""
    known = {block["block_id"]: element for block, element in interactive(view.blocks)}
    for block_id, given in values.items():
        if block_id not in known:
            raise BadGesture(f"the view has no input {block_id!r}")
        element = known[block_id]
        raw = given[element["action_id"]] if isinstance(given, Mapping) else given
        view.values[block_id][element["action_id"]] = state_of(element, raw)


class Modals:
    """Everything a person can do with a modal."""

    def __init__(self, world: World, sockets: Sockets) -> None:
        self._world = world
        self._sockets = sockets

    async def submit(self, user: User, view: View, values: Mapping[str, Any]) -> Outcome:
        """Press a modal's submit button with these values in its inputs (by block id)."""
        owned(self._world, user, view)
        if view is not self._world.views.top(user.id) or "submit" not in view.body:
            raise BadGesture("this can't be submitted now")
        enter(view, values)
        view.errors = complaints(view.blocks, view.values)
        if view.errors:
            self._world.workspace.changes.touch()
            return Outcome(errors=view.errors)
        trigger = self._world.tickets.trigger(user.id, view.id)
        body = payloads.submission(self._world.workspace, self._world.views, user, view, trigger)
        envelope = await self._sockets.deliver("interactive", body)
        if not envelope.acked:
            return Outcome(error=TROUBLE, envelope=envelope)
        return self._respond(view, envelope)

    def _respond(self, view: View, envelope: Envelope) -> Outcome:
        """Do what the acknowledgement of a submission asks for; an empty one closes the modal."""
        views, response = self._world.views, envelope.response
        try:
            match response.get("response_action"):
                case None:
                    views.close(view)
                case "clear":
                    views.clear(view.user_id)
                case "update":
                    views.update(view, response.get("view"))
                case "push":
                    views.push(view.user_id, response.get("view"))
                case "errors":
                    return self._show_errors(view, envelope)
                case _:
                    return Outcome(error=TROUBLE, envelope=envelope)
        except SlackError:
            return Outcome(error=TROUBLE, envelope=envelope)
        return Outcome(envelope=envelope)

    def _show_errors(self, view: View, envelope: Envelope) -> Outcome:
        """Errors belong to input blocks; Slack's clients show trouble when one names anything else."""
        errors = envelope.response.get("errors")
        inputs = {block["block_id"] for block in view.blocks if block["type"] == "input"}
        if not isinstance(errors, dict) or not errors or not inputs.issuperset(errors):
            return Outcome(error=TROUBLE, envelope=envelope)
        view.errors = {name: str(text) for name, text in errors.items()}
        self._world.workspace.changes.touch()
        return Outcome(errors=view.errors, envelope=envelope)

    async def close(self, user: User, view: View, *, everything: bool = False) -> None:
        """Close a modal (or all of them); the app hears of it if the view asked for that."""
        owned(self._world, user, view)
        views = self._world.views
        everything = everything or bool(view.body.get("clear_on_close"))
        gone = views.clear(user.id) if everything else [view]
        views.close(view)
        for each in gone:
            if each.body.get("notify_on_close"):
                body = payloads.closed(self._world.workspace, views, user, each, cleared=everything)
                await self._sockets.deliver("interactive", body)
