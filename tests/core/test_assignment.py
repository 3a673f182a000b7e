"""Which connector carries a message: what is said, then the server that was tried, then the recipient's domain."""

from __future__ import annotations

import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from bot.core.assignment import assign, assigner, basis
from storage.records import Caution, Connector, ConnectorKind, DomainFacts, DomainType, MessageFacts

NOW = datetime(2026, 11, 24, tzinfo=UTC)
RELAY = DomainFacts(backend="lab", name="relay.test", type=DomainType.INTERNAL_RELAY, match_subdomains=True)
NARROW = DomainFacts(backend="lab", name="narrow.test", type=DomainType.INTERNAL_RELAY)
OWN = DomainFacts(backend="lab", name="own.test", type=DomainType.AUTHORITATIVE, match_subdomains=True)
DOMAINS = (RELAY, NARROW, OWN)


def connector(number: int, *domains: str, **more: object) -> Connector:
    facts: dict[str, object] = {
        "backend": "lab",
        "key": f"K{number}",
        "name": f"Name {number}",
        "kind": ConnectorKind.PARTNER,
        "recipient_domains": domains,
        **more,
    }
    return Connector(id=number, next_probe_at=NOW, changed_at=NOW, **facts)


def message(recipient: str = "user@contoso.com", **more: object) -> MessageFacts:
    return MessageFacts(backend="lab", key="m", recipient=recipient, sender="", received_at=NOW, expires_at=NOW, **more)


ONE = connector(1, "contoso.com", smart_hosts=("mail.contoso.com", "203.0.113.10"))
TWO = connector(2, "*.contoso.com", "*", smart_hosts=("[192.0.2.1]", "198.51.100.0/24", "2001:db8::/64"))
CATCH_ALL = connector(3, kind=ConnectorKind.ON_PREMISES, smart_hosts=("hub.contoso.com",))
SHARED = [
    connector(1, "contoso.com", smart_hosts=("shared.test",)),
    connector(2, "*.contoso.com", smart_hosts=("Shared.test.",)),
    connector(3, "contoso.com", smart_hosts=("shared.test",), enabled=False),
    connector(4, "contoso.com", smart_hosts=("shared.test",), backend="other"),
]
TWINS = [connector(1, "contoso.com"), connector(2, "contoso.com")]
OFF = [connector(1, "contoso.com", smart_hosts=("mail.contoso.com",), enabled=False), connector(2, "*")]


@pytest.mark.parametrize(
    ("what", "connectors", "wanted"),
    [
        # what the mail system says
        (message(connector_key="k2"), [ONE, TWO], 2),
        (message(connector_key="NAME 2"), [ONE, TWO], 2),
        (message(connector_key="elsewhere"), [ONE, TWO], 1),
        (message(connector_key="k1"), [replace(ONE, backend="other"), TWO], 2),
        # the server that was tried last
        (message("user@fabrikam.com", remote_host="MAIL.contoso.com."), [ONE, TWO], 1),
        (message(remote_host="hub.contoso.com"), [ONE, CATCH_ALL], 3),
        (message("user@fabrikam.com", remote_ip="203.0.113.10"), [ONE, TWO], 1),
        (message(remote_ip="192.0.2.1"), [ONE, TWO], 2),
        (message(remote_ip="198.51.100.77"), [ONE, TWO], 2),
        (message(remote_ip="[2001:db8::7]"), [ONE, TWO], 2),
        (message(remote_ip="not an address"), [ONE, TWO], 1),
        (message(remote_host="unknown.test", remote_ip="192.0.2.99"), [ONE, TWO], 1),
        (message(remote_host="mail.contoso.com", remote_ip="203.0.113.10"), [ONE, TWO], 1),
        # several connectors share that server: the recipient decides among them
        (message(remote_host="shared.test"), SHARED, 1),
        (message("user@sub.contoso.com", remote_host="shared.test"), SHARED, 2),
        (message("user@fabrikam.com", remote_host="shared.test"), SHARED, None),
        # a switched-off connector still holds what was tried there, but gets nothing by domain
        (message(remote_host="mail.contoso.com"), OFF, 1),
        (message(), OFF, 2),
        # the most specific recipient domain
        (message(), [TWO, ONE], 1),
        (message("user@CONTOSO.com"), [TWO, ONE], 1),
        (message("user@deep.sub.contoso.com"), [TWO, ONE, connector(9, "*.sub.contoso.com")], 9),
        (message("user@sub.contoso.com"), [ONE, TWO], 2),
        (message("user@fabrikam.com"), [ONE, TWO], 2),
        (message("user@fabrikam.com"), [ONE], None),
        (message("user@notcontoso.com"), [connector(1, "*.contoso.com")], None),
        (message("user@contoso.com"), [connector(1, "*.contoso.com")], None),
        (message(), TWINS, None),
        (message(), [*TWINS, TWO], None),
        (message("no address at all"), [ONE], None),
        (message(), [replace(ONE, missing_since=NOW), TWO], 2),
        (message(), [], None),
        # an internal relay domain goes to the one on-premises connector that names no domains
        (message("user@relay.test"), [ONE, CATCH_ALL], 3),
        (message("user@sub.relay.test"), [ONE, CATCH_ALL], 3),
        (message("user@narrow.test"), [ONE, CATCH_ALL], 3),
        (message("user@sub.narrow.test"), [ONE, CATCH_ALL], None),
        (message("user@own.test"), [ONE, CATCH_ALL], None),
        (message("user@sub.own.test"), [ONE, CATCH_ALL], None),
        (message("user@relay.test"), [ONE, replace(CATCH_ALL, enabled=False)], None),
        (message("user@relay.test"), [ONE, replace(CATCH_ALL, backend="other")], None),
        (message("user@relay.test"), [CATCH_ALL, replace(CATCH_ALL, id=4, key="K4")], None),
        (message("user@relay.test"), [connector(3)], None),
        (message("user@relay.test"), [replace(CATCH_ALL, cautions=frozenset({Caution.RULE_SCOPED}))], None),
        (message("user@relay.test"), [CATCH_ALL, replace(CATCH_ALL, id=4, cautions=frozenset({Caution.TEST_MODE}))], 3),
        (message("user@relay.test"), [TWO, CATCH_ALL], 2),
    ],
)
def test_the_connector_is_the_one_that_fits_best(
    what: MessageFacts, connectors: list[Connector], wanted: int | None
) -> None:
    assert assign(what, connectors, DOMAINS) == wanted
    assert assign(what, reversed(connectors), DOMAINS) == wanted


def test_without_domains_the_relay_rule_is_silent() -> None:
    assert assign(message("user@relay.test"), [CATCH_ALL]) is None


@pytest.mark.parametrize("shared", [False, True])
def test_a_message_costs_the_same_among_five_hundred_connectors_with_addresses(shared: bool) -> None:
    listed = [
        connector(i, f"d{i}.test", smart_hosts=("10.9.9.9", "hub.test") if shared else (f"10.0.{i // 250}.{i % 250}",))
        for i in range(1, 501)
    ]
    find = assigner(listed, DOMAINS)
    begun = time.process_time()
    for n in range(20_000):
        i = n % 500 + 1
        more = (
            {"remote_ip": "10.9.9.9", "remote_host": "hub.test"}
            if shared
            else {"remote_ip": listed[i - 1].smart_hosts[0]}
        )
        to = f"u{n}@x{n}.test" if shared and n % 2 else f"u{n}@d{i}.test"
        assert find(message(to, **more)) == (None if shared and n % 2 else i)
    assert time.process_time() - begun < 5, "it took 40 s when every message was held against every connector"


def test_an_assignment_holds_as_long_as_what_it_rests_on() -> None:
    held = basis([ONE, TWO], DOMAINS)
    later = NOW + timedelta(hours=1)
    assert held == basis([TWO, replace(ONE, next_probe_at=later)], reversed(DOMAINS))
    assert held != basis([ONE], DOMAINS)
    assert held != basis([ONE, replace(TWO, enabled=False)], DOMAINS)
    assert held != basis([ONE, TWO], [RELAY])


def test_many_messages_look_through_the_connectors_once() -> None:
    find = assigner((connector(i, f"d{i}.test") for i in range(1, 2001)), DOMAINS)
    assert [find(message(f"user@d{i}.test")) for i in range(1, 2001)] == list(range(1, 2001))
    assert find(replace(message(), expires_at=NOW + timedelta(days=1))) is None


@pytest.mark.parametrize(
    ("recipient", "expected"),
    [("u@a.star.test", 3), ("u@b.a.star.test", 3), ("u@star.test", None), ("u@elsewhere.test", None)],
)
def test_a_relay_domain_written_with_a_star_covers_its_sub_domains_only(recipient: str, expected: int | None) -> None:
    star = DomainFacts(backend="lab", name="*.Star.test", type=DomainType.INTERNAL_RELAY)
    assert assign(message(recipient), [ONE, CATCH_ALL], [star]) == expected


def test_mail_for_a_connector_that_is_off_or_gone_is_nobody_elses() -> None:
    off = replace(ONE, enabled=False)
    gone = replace(ONE, missing_since=NOW)
    assert assign(message(), [off, CATCH_ALL]) is None
    assert assign(message(), [gone, CATCH_ALL]) is None
    assert assign(message(remote_host="mail.contoso.com"), [off, CATCH_ALL]) == 1, "its server was tried"
    assert assign(message(remote_host="mail.contoso.com"), [gone, CATCH_ALL]) is None
