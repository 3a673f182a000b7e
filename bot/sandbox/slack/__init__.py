"""A stand-in Slack workspace at protocol level, on loopback: see server.py. The page's files are in page/."""

from bot.sandbox.slack.config import AppConfig, Shortcut, SlashCommand
from bot.sandbox.slack.elements import BadGesture
from bot.sandbox.slack.faults import Fault, FaultKind, Faults
from bot.sandbox.slack.modals import Outcome
from bot.sandbox.slack.server import SandboxSlack
from bot.sandbox.slack.sockets import Envelope
from bot.sandbox.slack.views import View
from bot.sandbox.slack.workspace import Channel, Message, User, UserGroup, Workspace

__all__ = [
    "AppConfig",
    "BadGesture",
    "Channel",
    "Envelope",
    "Fault",
    "FaultKind",
    "Faults",
    "Message",
    "Outcome",
    "SandboxSlack",
    "Shortcut",
    "SlashCommand",
    "User",
    "UserGroup",
    "View",
    "Workspace",
]
