"""The workspace in which the demo plays: two admins, a reader, their channels and the admins' user group."""

from __future__ import annotations

from typing import Final

from bot.sandbox.slack.workspace import Channel, User, UserGroup, Workspace

ADMIN_ONE: Final = "U0ADMINONE"
ADMIN_TWO: Final = "U0ADMINTWO"
READER: Final = "U0READER"
ADMINS: Final = "S0MAILADMINS"
ALERTS: Final = "C0MAILALERTS"
PARTNERS: Final = "C0MAILPARTNERS"


def furnish(workspace: Workspace) -> None:
    """Put people, channels and the user group into an empty workspace. The app is in both channels."""
    workspace.add_user(User(id=ADMIN_ONE, name="admin.one", real_name="Admin One", is_admin=True))
    workspace.add_user(User(id=ADMIN_TWO, name="admin.two", real_name="Admin Two", is_admin=True))
    workspace.add_user(User(id=READER, name="reader", real_name="Reader"))
    everybody = {ADMIN_ONE, ADMIN_TWO, READER, workspace.app.bot_user}
    topics = {ALERTS: ("mail-alerts", "Connectors that can't deliver"), PARTNERS: ("mail-partners", "Partner routes")}
    for channel_id, (name, topic) in topics.items():
        workspace.add_channel(Channel(id=channel_id, name=name, topic=topic, members=set(everybody)))
    workspace.add_group(UserGroup(id=ADMINS, handle="mail-admins", name="Mail admins", users=[ADMIN_ONE, ADMIN_TWO]))
