"""Foreign text reaches Slack only through bot/slack/text.py: read from the source itself."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

import bot.slack

HOME = Path(str(bot.slack.__path__[0]))
MODULES = sorted(path for path in HOME.glob("*.py") if path.name != "text.py")
SAFE_TYPES = ("Mrkdwn", "Plain")
POSTING = frozenset({"chat_postMessage", "chat_update", "chat_postEphemeral", "AsyncWebhookClient"})


def calls(path: Path, *names: str) -> list[ast.Call]:
    """Every call of one of these plain names."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    found = [node for node in ast.walk(tree) if isinstance(node, ast.Call)]
    return [call for call in found if isinstance(call.func, ast.Name) and call.func.id in names]


def literal(node: ast.expr) -> bool:
    """A constant, or one of two constants."""
    if isinstance(node, ast.IfExp):
        return literal(node.body) and literal(node.orelse)
    return isinstance(node, ast.Constant)


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.stem)
def test_text_is_declared_safe_only_where_it_is_a_literal(path: Path) -> None:
    for call in calls(path, *SAFE_TYPES):
        assert len(call.args) == 1 and literal(call.args[0]), f"{path.name}:{call.lineno}"


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.stem)
def test_templates_are_literals_too(path: Path) -> None:
    for call in calls(path, "mrkdwn"):
        assert literal(call.args[0]) or ast.unparse(call.args[0]) == "head", f"{path.name}:{call.lineno}"


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.stem)
def test_text_objects_are_made_only_by_the_builders(path: Path) -> None:
    if path.name == "blocks.py":
        return
    source = path.read_text(encoding="utf-8")
    assert '"type": "mrkdwn"' not in source
    assert '"type": "plain_text"' not in source


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.stem)
def test_only_the_client_posts(path: Path) -> None:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    used = {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
    used |= {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
    assert path.name == "client.py" or not used & POSTING
