"""A mail system that can't be read, as it is drawn: which, since when, why, what to do, what is stale."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from bot.core.blockkit import problems
from bot.slack.alert import render_alert
from bot.slack.home import home_view
from bot.slack.lists import health_line
from bot.slack.replies import status_reply
from bot.slack.text import Mrkdwn
from bot.slack.unreadable import monitor_words
from knowledge.articles import articles
from storage.records import IncidentState, Severity

OTHER = articles().for_code(None)


def incident(world: Any, state: IncidentState = IncidentState.FIRING, **more: Any) -> Any:
    return world.incident(state, code="sync:cloud", severity=Severity.WARNING, connector_id=None, **more)


def drawn(world: Any, state: IncidentState = IncidentState.FIRING, resolution: str | None = None, **told: Any) -> str:
    view = world.view(incident=incident(world, state, resolution=resolution), connector=None, told=told)
    made = render_alert(view, OTHER)
    assert not problems(made.payload(), "message", update=True)
    return str(made.payload())


def test_it_names_the_system_the_error_the_fix_and_what_is_stale(world: Any) -> None:
    read_at = world.now - timedelta(hours=1)
    text = drawn(world, error="401: the client secret has expired", read_at=read_at.isoformat())
    for part in (
        "🟠 #12 A mail system can't be read",
        "Mail system `cloud` can't be read since <!date^",
        "`401: the client secret has expired`",
        "Its queue was last known <!date^",
        "`mfi doctor` tests this mail system",
        "Fix now doesn't act on them",
        "mfi.ack",
    ):
        assert part in text
    assert "blind" not in text


def test_one_that_was_never_read_says_so_and_an_error_is_no_markup(world: Any) -> None:
    text = drawn(world, error="<!channel> `no`")
    assert "It was never read yet" in text
    assert "<!channel>" not in text


def test_its_end_is_plain(world: Any) -> None:
    text = drawn(world, IncidentState.RESOLVED)
    assert "Mail system `cloud` can be read again" in text
    assert "mfi.ack" not in text


def test_one_that_is_no_longer_configured_does_not_claim_to_be_read(world: Any) -> None:
    text = drawn(world, IncidentState.RESOLVED, "not configured")
    assert "Mail system `cloud` is no longer in `MFI_BACKENDS`" in text
    assert "read again" not in text


@pytest.mark.parametrize("blind", [False, True])
def test_lists_tell_it_from_a_blind_monitor(world: Any, blind: bool) -> None:
    unreadable = incident(world)
    known = (unreadable, world.incident(code="blind", connector_id=None)) if blind else (unreadable,)
    view = world.status(monitor=known)
    assert ("the monitor is blind" in str(health_line(view))) is blind
    assert ("a mail system can't be read" in str(health_line(view))) is not blind
    for shown in (home_view(view, "connected", Mrkdwn("x")), status_reply(view, "connected").payload()):
        assert "mail system `cloud` can't be read" in str(shown)
    assert str(monitor_words(unreadable)) == "mail system `cloud` can't be read"
