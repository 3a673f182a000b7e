"""Listings say in words what has a code of our own."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from bot.terminal.listings import render

NOW = datetime(2026, 3, 1, tzinfo=UTC)


@pytest.mark.parametrize(
    ("code", "words"),
    [
        ("4.4.316", "4.4.316"),
        ("blind", "the monitor is blind"),
        ("warning:certificate", "certificate expires soon"),
        ("warning:target_down", "a server is down"),
        ("warning:target_gone", "one address left"),
        ("warning:capabilities", "the server offers less"),
    ],
)
def test_incidents_are_listed_in_words(code: str, words: str) -> None:
    row: dict[str, Any] = {
        "id": 1, "state": "firing", "severity": "warning", "code": code, "connector": "Contoso", "opened_at": NOW,
    }  # fmt: skip
    drawn = render("incidents", [row], NOW)
    assert words in drawn
    assert "warning:" not in drawn


def test_mail_that_belongs_to_no_connector_is_not_the_monitors_own_trouble(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "150")
    row: dict[str, Any] = {
        "id": 1, "state": "firing", "severity": "warning", "code": "unassigned", "connector": None, "opened_at": NOW,
    }  # fmt: skip
    drawn = render("incidents", [row], NOW)
    assert "mail is stuck" in drawn
    assert "(no known connector)" in drawn
    assert "the monitor" not in drawn


@pytest.mark.parametrize(
    ("name", "probed_at", "words"),
    [
        ("Contoso", None, "not probed yet"),
        ("Contoso", NOW, "nothing to dial"),
        ("store (LMTP: not probed)", NOW, "not probed: LMTP"),
    ],
)
def test_a_connector_without_a_verdict_says_why(name: str, probed_at: datetime | None, words: str) -> None:
    row: dict[str, Any] = {
        "name": name, "kind": "partner", "enabled": True, "next_hops": [], "waiting": 0, "ok": None,
        "status": None, "probed_at": probed_at, "incidents": [], "queue_read_at": None, "queue_stale": False,
    }  # fmt: skip
    assert words in " ".join(render("connectors", [row], NOW).replace("│", " ").split())


def test_old_figures_are_listed_as_old(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "150")
    row: dict[str, Any] = {
        "name": "Contoso", "kind": "partner", "enabled": True, "next_hops": [], "waiting": 7, "ok": None,
        "status": None, "probed_at": None, "incidents": [], "queue_read_at": NOW - timedelta(minutes=42),
        "queue_stale": True,
    }  # fmt: skip
    assert "7, stale: read 42 min ago" in render("connectors", [row], NOW)
