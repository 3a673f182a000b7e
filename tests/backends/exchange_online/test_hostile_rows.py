"""Whatever JSON the services send: it is read, or refused with ValueError; nothing else ever comes out."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from bot.backends.exchange_online.connectors import connector_facts
from bot.backends.exchange_online.domains import domain_facts
from bot.backends.exchange_online.invoke import error_of
from bot.backends.exchange_online.rows import document, listed
from bot.backends.exchange_online.trace_rows import TraceRow, cmdlet_rows, graph_events, graph_rows, mep
from tests.backends.exchange_online.test_cmdlets import ROW
from tests.backends.exchange_online.test_rows import GOOD

ANYTHING = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text()
    | st.sampled_from(
        ["0001-01-01T00:00:00+23:00", "9999-12-31T23:59:59-23:00", "\ud800", "\0", "True", "|a|b|", "Partner"]
    ),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)


def changed(row: dict[str, Any]) -> st.SearchStrategy[dict[str, Any]]:
    return st.dictionaries(st.sampled_from(sorted(row)), ANYTHING, max_size=4).map(lambda change: {**row, **change})


@given(row=changed(GOOD | {"subject": "x", "size": 1}))
@settings(deadline=None)
def test_a_row_of_the_trace_is_read_or_counted(row: dict[str, Any]) -> None:
    for found in (*graph_rows([row]), *cmdlet_rows([row])):
        if isinstance(found, TraceRow):
            assert found.recipient == found.recipient.lower()
            found.recipient.encode(), found.sender.encode(), found.status.encode()
            assert 2000 <= found.received_at.year < 2200


@given(row=changed(ROW))
@settings(deadline=None)
def test_a_connector_is_read_or_refused(row: dict[str, Any]) -> None:
    try:
        facts, _ = connector_facts("exo", row)
    except ValueError:
        return
    assert facts.name.encode()
    assert all(host.encode() for host in facts.smart_hosts)


@given(row=changed({"DomainName": "a.test", "DomainType": "InternalRelay", "MatchSubDomains": False}))
@settings(deadline=None)
def test_a_domain_is_read_or_refused(row: dict[str, Any]) -> None:
    try:
        assert domain_facts("exo", row).name.encode()
    except ValueError:
        return


@given(event=changed({"dateTime": "2026-11-24T05:00:00Z", "event": "Defer", "description": "x", "data": "<root/>"}))
@settings(deadline=None)
def test_an_event_is_read_or_left_out(event: dict[str, Any]) -> None:
    assert len(graph_events([event])) <= 1


@given(body=ANYTHING.map(lambda value: json.dumps(value).encode()) | st.binary())
@settings(deadline=None)
def test_any_body_is_an_answer_or_none(body: bytes) -> None:
    assert len(error_of(body)) == 2
    assert len(error_of(b'{"error": ' + body + b"}")) == 2
    try:
        assert isinstance(listed(document(body)), list)
    except ValueError:
        return


@given(data=st.text())
@settings(deadline=None)
def test_any_details_are_searched(data: str) -> None:
    assert isinstance(mep(f'<MEP Name="a" String="{data}" />'), dict)
