"""Postfix: queues, next hops and relay domains of one instance, here or over ssh, and the acts that it allows."""

from pathlib import Path

from bot.backends.postfix.backend import PostfixBackend
from bot.backends.postfix.options import OPTIONAL, Options

__all__ = ["OPTIONAL", "SHIPPED_WRAPPER", "Options", "PostfixBackend"]

SHIPPED_WRAPPER = Path(__file__).with_name("mfi-postfix")
"""The command that administrators install (README, Postfix)."""
