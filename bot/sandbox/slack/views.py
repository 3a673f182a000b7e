"""Modals and Home tabs as Slack keeps them: a stack of at most three modals for a user, one Home view for each.

Promises: what the validator refuses is refused with Slack's words; a hash that is not the present one is a conflict.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass, field
from typing import Any, Final

from bot.core.blockkit import Surface, problems
from bot.sandbox.slack.elements import initial_state
from bot.sandbox.slack.errors import SlackError, refuse_problems
from bot.sandbox.slack.posting import with_ids
from bot.sandbox.slack.workspace import Json, Workspace

STACK: Final = 3
_KEPT: Final = ("title", "submit", "close", "private_metadata", "callback_id", "external_id")


@dataclass(slots=True, kw_only=True)
class View:
    """One modal or Home tab that a user has open."""

    id: str
    user_id: str
    body: Json
    hash: str
    root_id: str
    previous_id: str | None = None
    values: dict[str, Json] = field(default_factory=dict)
    errors: dict[str, str] = field(default_factory=dict)

    @property
    def blocks(self) -> list[Json]:
        """Its blocks."""
        blocks: list[Json] = self.body["blocks"]
        return blocks

    @property
    def callback_id(self) -> str:
        """The app's name for it."""
        return str(self.body.get("callback_id", ""))

    @property
    def private_metadata(self) -> str:
        """What the app wrote on its back."""
        return str(self.body.get("private_metadata", ""))


class Views:
    """Every open view of a workspace."""

    def __init__(self, workspace: Workspace) -> None:
        self._workspace = workspace
        self.stacks: dict[str, list[View]] = {}
        self.homes: dict[str, View] = {}

    # --- what methods do -------------------------------------------------------------------------------------------
    def open(self, user_id: str, body: Any) -> View:
        """Show a first modal; one that was open before is replaced."""
        view = self._make(user_id, body, "modal")
        self.stacks[user_id] = [view]
        return self._changed(view)

    def push(self, user_id: str, body: Any) -> View:
        """Put a modal on top of the open one."""
        stack = self.stacks.get(user_id, [])
        if not stack:
            raise SlackError("not_found")
        if len(stack) >= STACK:
            raise SlackError("push_limit_reached")
        view = self._make(user_id, body, "modal")
        view.root_id, view.previous_id = stack[0].id, stack[-1].id
        stack.append(view)
        return self._changed(view)

    def update(self, view: View, body: Any, view_hash: object = None) -> View:
        """Change an open view in place; what was typed into a block that is kept stays."""
        if view_hash and view_hash != view.hash:
            raise SlackError("hash_conflict")
        kind = view.body["type"]
        view.body = self._checked(body, kind)
        fresh = initial_state(view.blocks)
        view.values = {
            block: {action: view.values.get(block, {}).get(action, state) for action, state in actions.items()}
            for block, actions in fresh.items()
        }
        view.hash, view.errors = self._hash(), {}
        return self._changed(view)

    def publish(self, user_id: str, body: Any, view_hash: object = None) -> View:
        """Set a user's Home tab."""
        old = self.homes.get(user_id)
        if view_hash and (old is None or view_hash != old.hash):
            raise SlackError("hash_conflict")
        if old is not None:
            return self.update(old, body)
        self.homes[user_id] = self._make(user_id, body, "home")
        return self._changed(self.homes[user_id])

    def find(self, view_id: object, external_id: object = None) -> View:
        """An open view by either id; SlackError(not_found) if the user has closed it."""
        everything = [view for stack in self.stacks.values() for view in stack] + list(self.homes.values())
        for view in everything:
            if view.id == view_id or (external_id and view.body.get("external_id") == external_id):
                return view
        raise SlackError("not_found")

    # --- what clients do -------------------------------------------------------------------------------------------
    def top(self, user_id: str) -> View | None:
        """The modal that the user looks at."""
        stack = self.stacks.get(user_id)
        return stack[-1] if stack else None

    def close(self, view: View) -> None:
        """Take one modal off its stack."""
        stack = self.stacks.get(view.user_id, [])
        if view in stack:
            stack.remove(view)
        self._workspace.changes.touch()

    def clear(self, user_id: str) -> list[View]:
        """Close every modal of the user; returns those that were open."""
        self._workspace.changes.touch()
        return self.stacks.pop(user_id, [])

    # --- how they look to the app ----------------------------------------------------------------------------------
    def document(self, view: View) -> Json:
        """The view as payloads and answers carry it."""
        app = self._workspace.app
        kept = {name: view.body.get(name, "" if name.endswith(("metadata", "_id")) else None) for name in _KEPT}
        return {
            "id": view.id,
            "team_id": self._workspace.team_id,
            "type": view.body["type"],
            "blocks": view.blocks,
            **kept,
            "state": {"values": view.values},
            "hash": view.hash,
            "clear_on_close": view.body.get("clear_on_close", False),
            "notify_on_close": view.body.get("notify_on_close", False),
            "root_view_id": view.root_id,
            "previous_view_id": view.previous_id,
            "app_id": app.app_id,
            "app_installed_team_id": self._workspace.team_id,
            "bot_id": app.bot_id,
        }

    def _make(self, user_id: str, body: Any, kind: Surface) -> View:
        checked = self._checked(body, kind)
        external = checked.get("external_id")
        if external and any(v.body.get("external_id") == external for s in self.stacks.values() for v in s):
            raise SlackError("duplicate_external_id")
        name = self._workspace.serial("V0")
        values = initial_state(checked["blocks"])
        return View(id=name, user_id=user_id, body=checked, hash=self._hash(), root_id=name, values=values)

    def _checked(self, body: Any, kind: Surface) -> Json:
        refuse_problems(problems(body, kind), kind, prefix="/view")
        return {**body, "blocks": with_ids(body["blocks"])}

    def _hash(self) -> str:
        return f"{int(self._workspace.now())}.{secrets.token_hex(4)}"

    def _changed(self, view: View) -> View:
        self._workspace.changes.touch()
        return view
