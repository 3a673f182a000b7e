"""The app that is installed in the stand-in workspace: who it is, its tokens, and what its manifest allows it."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

DEFAULT_SCOPES: Final = frozenset(
    (
        "commands",
        "chat:write",
        "app_mentions:read",
        "im:write",
        "im:history",
        "users:read",
        "usergroups:read",
        "channels:read",
        "groups:read",
        "channels:history",
        "groups:history",
        "files:write",
        "reactions:write",
        "team:read",
    )
)
DEFAULT_EVENTS: Final = frozenset(
    (
        "app_home_opened",
        "app_mention",
        "member_joined_channel",
        "channel_archive",
        "channel_rename",
        "subteam_members_changed",
        "subteam_updated",
        "tokens_revoked",
        "app_uninstalled",
    )
)


@dataclass(frozen=True, slots=True, kw_only=True)
class SlashCommand:
    """A command as its users see it while they type."""

    command: str
    description: str = ""
    usage_hint: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Shortcut:
    """An entry of a message's menu (`message`) or of the composer's (`global`)."""

    callback_id: str
    name: str
    kind: str = "message"


def _token(kind: str) -> str:
    return f"{kind}-sandbox-{secrets.token_hex(12)}"


@dataclass(frozen=True, slots=True, kw_only=True)
class AppConfig:
    """The installed app. The tokens are made up for every instance and open nothing but this stand-in."""

    app_id: str = "A0SANDBOXMFI"
    bot_id: str = "B0SANDBOXMFI"
    bot_user: str = "U0SANDBOXBOT"
    name: str = "mfi"
    bot_token: str = field(default_factory=lambda: _token("xoxb"))
    app_token: str = field(default_factory=lambda: _token("xapp"))
    verification: str = field(default_factory=lambda: secrets.token_hex(8))
    scopes: frozenset[str] = DEFAULT_SCOPES
    events: frozenset[str] = DEFAULT_EVENTS
    commands: tuple[SlashCommand, ...] = (
        SlashCommand(
            command="/mfi",
            description="Explain mail errors, probe connectors, see queues",
            usage_hint="help | explain <code> | probe <connector> | status | queue | connectors",
        ),
    )
    shortcuts: tuple[Shortcut, ...] = ()

    @classmethod
    def from_manifest(cls, manifest: Mapping[str, Any]) -> AppConfig:
        """The app exactly as its manifest asks for it: scopes, events, commands and shortcuts, no others."""
        features, settings = manifest.get("features", {}), manifest.get("settings", {})
        scopes = manifest.get("oauth_config", {}).get("scopes", {}).get("bot", [])
        events = settings.get("event_subscriptions", {}).get("bot_events", [])
        return cls(
            name=features.get("bot_user", {}).get("display_name", "mfi"),
            scopes=frozenset(scopes),
            events=frozenset(events),
            commands=tuple(
                SlashCommand(
                    command=each["command"],
                    description=each.get("description", ""),
                    usage_hint=each.get("usage_hint", ""),
                )
                for each in features.get("slash_commands", [])
            ),
            shortcuts=tuple(
                Shortcut(callback_id=each["callback_id"], name=each["name"], kind=each.get("type", "message"))
                for each in features.get("shortcuts", [])
            ),
        )
