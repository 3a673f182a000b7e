"""The app manifest to paste at api.slack.com/apps: exactly what the bot uses, and nothing more."""

from __future__ import annotations

from typing import Any

import yaml

SCOPES = {
    "commands": "receive /mfi and what is chosen from a message's menu",
    "chat:write": "post and redraw alerts, answer people",
    "channels:history": "after an uncertain send, look whether the alert is there already (public channels)",
    "groups:history": "the same in private channels",
    "channels:read": "check that the alert channel exists and the bot is in it (mfi doctor)",
    "groups:read": "the same for private channels (mfi doctor)",
    "usergroups:read": "know who is in the user groups of MFI_ADMINS",
    "users:read": "make sure that somebody who acts is a member and not a bot or a guest from elsewhere",
}
"""Bot scope → what it is used for."""

EVENTS = ("app_home_opened",)
COMMAND = "/mfi"
EXPLAIN_MESSAGE = "mfi_explain_message"
USAGE = "help | explain [error] | status | queue | connectors | incident <id> | probe <connector> | ack <id> | fix <id>"


def bot_scopes() -> tuple[str, ...]:
    """The scopes that the bot token must have."""
    return tuple(sorted(SCOPES))


def manifest() -> dict[str, Any]:
    """The manifest as data."""
    return {
        "_metadata": {"major_version": 1, "minor_version": 1},
        "display_information": {
            "name": "Mail Flow Intelligence",
            "description": "Notices dead mail connectors, says why, and fixes what it can after you confirm",
            "background_color": "#1d3557",
        },
        "features": {
            "app_home": {
                "home_tab_enabled": True,
                "messages_tab_enabled": True,
                "messages_tab_read_only_enabled": True,
            },
            "bot_user": {"display_name": "mfi", "always_online": True},
            "shortcuts": [
                {
                    "name": "Explain mail error",
                    "type": "message",
                    "callback_id": EXPLAIN_MESSAGE,
                    "description": "What the delivery error in this message means and what to do",
                }
            ],
            "slash_commands": [
                {
                    "command": COMMAND,
                    "description": "Explain mail errors, see queues, probe and fix connectors",
                    "usage_hint": USAGE,
                    "should_escape": False,
                }
            ],
        },
        "oauth_config": {"scopes": {"bot": list(bot_scopes())}},
        "settings": {
            "event_subscriptions": {"bot_events": list(EVENTS)},
            "interactivity": {"is_enabled": True},
            "org_deploy_enabled": False,
            "socket_mode_enabled": True,
            "token_rotation_enabled": False,
        },
    }


def manifest_yaml() -> str:
    """The manifest as text to paste."""
    return yaml.safe_dump(manifest(), sort_keys=False, allow_unicode=True, width=100)
