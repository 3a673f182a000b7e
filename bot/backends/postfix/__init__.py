"""Postfix: queues, next hops and relay domains of one instance, here or over ssh, and the acts that it allows."""

from bot.backends.postfix.backend import PostfixBackend
from bot.backends.postfix.options import OPTIONAL, BadOption, Options

__all__ = ["OPTIONAL", "BadOption", "Options", "PostfixBackend"]
