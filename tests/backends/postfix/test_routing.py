"""Whose next hop carries a recipient, and which connectors that makes."""

from __future__ import annotations

from dataclasses import fields, replace
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.backends.postfix.config import Service
from bot.backends.postfix.connectors import ConnectorTerms, Dialling, Ownership, TlsPolicy
from bot.backends.postfix.hops import Destination, Hop, destination
from bot.backends.postfix.instance import interpret
from bot.backends.postfix.routing import Routing
from bot.probes.request import ProbeRequest, request_for
from storage.records import Connector, ConnectorFacts, ConnectorKind, TlsSetting

NOW = datetime(2026, 1, 2, tzinfo=UTC)

SERVICES = {
    "smtp": Service("smtp", {}),
    "relay": Service("smtp", {}),
    "strict": Service("smtp", {"smtp_tls_security_level": "encrypt"}),
    "lmtp": Service("lmtp", {}),
    "error": Service("error", {}),
    "retry": Service("error", {}),
    "local": Service("local", {}),
}
ROUTING = Routing(
    services=SERVICES,
    tables=[
        {
            "boss@contoso.test": "smtp:[boss.test]",
            "contoso.test": "smtp:[mail.contoso.test]:2525",
            ".contoso.test": "smtp:[sub.contoso.test]",
            "mx.test": "smtp:",
            "hop.test": ":[hop.test]",
            "same.test": ":",
            "dead.test": "error:5.1.2 gone",
            "store.test": "lmtp:unix:/run/lmtp",
        },
        {"contoso.test": "smtp:[never.test]", "second.test": "strict:second-hop.test, [third.test]"},
    ],
    local=frozenset({"local.test"}),
    relay=frozenset({"relayed.test", "contoso.test"}),
    relayhost="[out.test]:587",
    delimiters="+-",
)


@pytest.mark.parametrize(
    ("recipient", "key"),
    [
        ("Alice@Contoso.TEST", "smtp:[mail.contoso.test]:2525"),
        ("boss@contoso.test", "smtp:[boss.test]"),
        ("boss+tag@contoso.test", "smtp:[boss.test]"),
        ("boss-tag+more@contoso.test", "smtp:[boss.test]"),
        ("+boss@contoso.test", "smtp:[mail.contoso.test]:2525"),
        ("a@deep.er.contoso.test", "smtp:[sub.contoso.test]"),
        ("a@mx.test", "smtp:mx.test"),
        ("a@hop.test", "smtp:[hop.test]"),
        ("a@same.test", "smtp:[out.test]:587"),
        ("a@second.test", "strict:second-hop.test, [third.test]"),
        ("a@relayed.test", "relay:[out.test]:587"),
        ("a@foreign.test", "smtp:[out.test]:587"),
        ("a@local.test", None),
        ("a@dead.test", None),
        ("a@store.test", None),
        ("nobody", None),
        ("a@", None),
    ],
)
def test_the_lookup_follows_postfix(recipient: str, key: str | None) -> None:
    assert ROUTING.connector_key(recipient) == key
    assert ROUTING.connector_key(recipient) == key, "from memory, too"


def test_a_transports_own_next_hop_comes_before_relayhost() -> None:
    routing = Routing(
        services=SERVICES,
        tables=[{"same.test": ":", "other.test": ":[other-hop.test]"}],
        relay=frozenset({"ours.test"}),
        relayhost="[smarthost.test]",
        relay_transport="relay:[exchange.test]",
        default_transport="smtp:[gateway.test]",
    )
    assert routing.connector_key("a@ours.test") == "relay:[exchange.test]"
    assert routing.connector_key("a@same.test") == "smtp:[gateway.test]"
    assert routing.connector_key("a@other.test") == "smtp:[other-hop.test]"
    assert routing.connector_key("a@else.test") == "smtp:[gateway.test]"
    assert {c.key: c.recipient_domains for c in made(routing)} == {
        "smtp:[gateway.test]": ("same.test", "*"),
        "smtp:[other-hop.test]": ("other.test",),
        "relay:[exchange.test]": ("ours.test",),
    }
    everything = made(replace(routing, tables=[{"*": ":"}]))
    assert ("smtp:[gateway.test]", ("*",)) in [(c.key, c.recipient_domains) for c in everything]


def test_without_relayhost_mail_goes_to_the_domain_itself() -> None:
    routing = Routing(services=SERVICES, relay=frozenset({"ours.test"}), relay_subdomains=True)
    assert routing.connector_key("a@ours.test") == "relay:ours.test"
    assert routing.connector_key("a@sub.ours.test") == "relay:sub.ours.test"
    assert routing.connector_key("a@foreign.test") == "smtp:foreign.test"
    (ours,) = made(routing)
    assert (ours.key, ours.use_mx, ours.smart_hosts, ours.kind) == ("relay:ours.test", True, (), "on_premises")


def test_an_entry_for_everything_comes_last_and_parents_may_match() -> None:
    routing = Routing(
        services=SERVICES, tables=[{"*": "smtp:[all.test]"}, {"a.test": "smtp:[a-hop.test]"}], parents_match=True
    )
    assert routing.connector_key("x@a.test") == "smtp:[a-hop.test]"
    assert routing.connector_key("x@sub.a.test") == "smtp:[a-hop.test]"
    assert routing.connector_key("x@b.test") == "smtp:[all.test]"
    assert {c.key: c.recipient_domains for c in made(routing)} == {
        "smtp:[all.test]": ("*",),
        "smtp:[a-hop.test]": ("a.test",),
    }


def made(routing: Routing, tls: TlsPolicy | None = None, **ownership: frozenset[str]) -> list[ConnectorFacts]:
    terms = ConnectorTerms(backend="relay", routing=routing, tls=tls or TlsPolicy(), ownership=Ownership(**ownership))
    return terms.connectors()


def test_each_distinct_next_hop_is_one_connector() -> None:
    found = {c.key: c for c in made(ROUTING)}
    assert list(found) == [
        "smtp:[boss.test]",
        "smtp:[mail.contoso.test]:2525",
        "smtp:[sub.contoso.test]",
        "smtp:mx.test",
        "smtp:[hop.test]",
        "smtp:[out.test]:587",
        "strict:second-hop.test, [third.test]",
        "relay:[out.test]:587",
    ]
    contoso, out = found["smtp:[mail.contoso.test]:2525"], found["smtp:[out.test]:587"]
    assert (contoso.name, contoso.port, contoso.smart_hosts) == ("mail.contoso.test:2525", 2525, ("mail.contoso.test",))
    assert (contoso.kind, contoso.recipient_domains) == (ConnectorKind.ON_PREMISES, ("contoso.test",))
    assert (out.kind, out.recipient_domains, out.name) == (ConnectorKind.PARTNER, ("same.test", "*"), out.key)
    assert found["smtp:[sub.contoso.test]"].recipient_domains == ("*.contoso.test",)
    assert found["smtp:[boss.test]"].recipient_domains == ()
    assert (found["smtp:mx.test"].use_mx, found["smtp:mx.test"].smart_hosts) == (True, ())
    several = found["strict:second-hop.test, [third.test]"]
    assert (several.use_mx, several.smart_hosts, several.name) == (
        True, ("second-hop.test", "third.test"), "second-hop.test, third.test",
    )  # fmt: skip


def asked(facts: ConnectorFacts) -> ProbeRequest:
    """What a probe of this connector asks for."""
    stored = {f.name: getattr(facts, f.name) for f in fields(facts)}
    return request_for(Connector(**stored, id=1, next_probe_at=NOW, changed_at=NOW), 25)


@pytest.mark.parametrize(
    ("relayhost", "transport", "wanted"),
    [
        ("acme.test", "smtp", ProbeRequest(mx_domain="acme.test", checks=True)),
        ("acme.test:587", "smtp", ProbeRequest(mx_domain="acme.test", port=587, checks=True)),
        ("[acme.test]", "smtp", ProbeRequest(hosts=("acme.test",))),
        ("192.0.2.1", "smtp", ProbeRequest(hosts=("192.0.2.1",))),
        ("acme.test", "simple", ProbeRequest(hosts=("acme.test",))),
        ("acme.test, [b.test]", "smtp", ProbeRequest(mx_domain="acme.test", hosts=("b.test",), checks=True)),
        ("[b.test], acme.test", "smtp", ProbeRequest(hosts=("b.test", "acme.test"))),
        ("[smtp.isp.test]:465", "wrapped", None),
        ("acme.test:465", "wrapped", None),
        ("inet:store.test", "lmtp", None),
        ("[store.test]:24", "lmtp", None),
    ],
)
def test_a_next_hop_is_probed_as_postfix_dials_it_or_not_at_all(
    relayhost: str, transport: str, wanted: ProbeRequest | None
) -> None:
    """A name without brackets is a domain; LMTP and implicit TLS the prober can't speak."""
    dialling = Dialling(wrapped=frozenset({"wrapped"}), without_mx=frozenset({"simple"}))
    services = {**SERVICES, "wrapped": Service("smtp", {}), "simple": Service("smtp", {})}
    routing = Routing(services=services, tables=[{"a.test": f"{transport}:{relayhost}"}])
    (found,) = ConnectorTerms(
        backend="relay", routing=routing, tls=TlsPolicy(), ownership=Ownership(), dialling=dialling
    ).connectors()
    if wanted is None:
        assert asked(found).empty and "not probed" in found.name
    else:
        assert (asked(found), "not probed" in found.name) == (replace(wanted, tls_setting=found.tls_setting), False)


def test_next_hops_that_are_not_probed_are_named_in_the_notes() -> None:
    settings = {
        "myhostname": "a.test",
        "relayhost": "[smtp.isp.test]:465",
        "transport_maps": "hash:/t",
        "smtp_tls_wrappermode": "yes",
        "smtp_dns_support_level": "disabled",
    }
    services = {
        **SERVICES,
        "strict": Service("smtp", {"smtp_tls_wrappermode": "no", "smtp_dns_support_level": "enabled"}),
    }
    table = {"store.test": "lmtp:inet:store.internal:2003", "plain.test": "strict:plain-hop.test"}
    found = interpret("/etc/postfix", "relay", settings, services, {"hash:/t": table})
    assert found.notes == (
        "not probed: lmtp:inet:store.internal:2003, as it speaks LMTP: only its queue tells of trouble",
        "not probed: smtp:[smtp.isp.test]:465, as it speaks implicit TLS: only its queue tells of trouble",
    )
    terms = ConnectorTerms(
        backend="relay", routing=found.routing, tls=found.tls, ownership=Ownership(), dialling=found.dialling
    )
    assert [(c.name, c.use_mx, c.smart_hosts) for c in terms.connectors()] == [
        ("store.internal:2003 (LMTP: not probed)", False, ()),
        ("plain-hop.test", True, ("plain-hop.test",)),
        ("smtp.isp.test:465 (implicit TLS: not probed)", False, ()),
    ]
    assert found.dialling.without_mx == {"smtp", "relay", "lmtp", "error", "retry", "local"}


def test_settings_say_whose_servers_these_are() -> None:
    found = {
        c.key: c.kind for c in made(ROUTING, on_premises=frozenset({"hop.test"}), partner=frozenset({"contoso.test"}))
    }
    assert found["smtp:[hop.test]"] is ConnectorKind.ON_PREMISES
    assert found["smtp:[mail.contoso.test]:2525"] is ConnectorKind.PARTNER


def test_a_next_hop_is_disabled_when_all_its_patterns_are_held() -> None:
    terms = ConnectorTerms(
        backend="relay",
        routing=ROUTING,
        tls=TlsPolicy(),
        ownership=Ownership(),
        held={"contoso.test", ".contoso.test", "same.test"},
    )
    off = {c.key for c in terms.connectors() if not c.enabled}
    assert off == {"smtp:[mail.contoso.test]:2525", "smtp:[sub.contoso.test]"}


@pytest.mark.parametrize(
    ("hop", "policies", "setting", "name"),
    [
        ("smtp:[a.test]", {}, TlsSetting.OPPORTUNISTIC, None),
        ("strict:[a.test]", {}, TlsSetting.ENCRYPTION, None),
        ("smtp:[a.test]:25", {"[a.test]:25": "secure match=.b.test:nexthop ciphers=high"}, TlsSetting.DOMAIN, "b.test"),
        ("smtp:[a.test]", {"a.test": "none"}, TlsSetting.OPPORTUNISTIC, None),
        ("smtp:x.a.test", {".a.test": "verify"}, TlsSetting.DOMAIN, "x.a.test"),
        ("smtp:a.test:26", {"a.test": "none"}, TlsSetting.NONE, None),
        ("smtp:a.test", {"a.test": "dane-only"}, TlsSetting.ENCRYPTION, None),
        ("smtp:a.test", {"a.test": "whatever"}, TlsSetting.OPPORTUNISTIC, None),
    ],
)
def test_tls_is_demanded_as_policy_service_and_default_say(
    hop: str, policies: dict[str, str], setting: TlsSetting, name: str | None
) -> None:
    transport, _, nexthop = hop.partition(":")
    tls = TlsPolicy(level="may", levels={"strict": "encrypt", "smtp": ""}, policies=policies)
    found = Hop(transport, nexthop)
    assert tls.setting(found, found.destinations()[0]) == (setting, name)


@pytest.mark.parametrize(
    ("word", "found"),
    [
        ("[Mail.A.test.]:submission", Destination("mail.a.test", 587, True)),
        ("a.test:25", Destination("a.test", None, False)),
        ("[ipv6:2001:db8::1]:26", Destination("2001:db8::1", 26, True)),
        ("inet:a.test:24", Destination("a.test", 24, False)),
        ("a.test:nonsense", Destination("a.test", None, False)),
        ("a.test:70000", Destination("a.test", None, False)),
        ("unix:/run/x", None),
        ("[]", None),
    ],
)
def test_destinations_are_read(word: str, found: Destination | None) -> None:
    assert destination(word) == found


@given(st.text(max_size=60), st.text(max_size=60))
def test_no_table_entry_breaks_the_lookup(pattern: str, value: str) -> None:
    routing = Routing(
        services=SERVICES, tables=[{pattern.lower(): value, "a.test": value}], relay=frozenset({"a.test"})
    )
    key = routing.connector_key("user@a.test")
    assert key is None or key.partition(":")[0] in ("smtp", "relay", "strict", "lmtp")
    assert all(c.key and (c.use_mx or c.smart_hosts or "not probed" in c.name) for c in made(routing))


def test_an_instance_is_understood_from_its_settings() -> None:
    settings = {
        "myhostname": "Relay.Mail.Test",
        "transport_maps": "lmdb:/etc/postfix/mfi_overrides, ldap:/etc/x.cf, lmdb:/etc/postfix/transport",
        "default_database_type": "lmdb",
        "relay_domains": "ours.test, open.test, hash:/etc/relay, pcre:/etc/re, !not.test",
        "mydestination": "ours.test",
        "relay_recipient_maps": "lmdb:/etc/postfix/mfi_recipients, ldap:/etc/y.cf",
        "sender_dependent_relayhost_maps": "hash:/etc/s",
        "maximal_queue_lifetime": "1d",
        "parent_domain_matches_subdomains": "relay_domains",
        "smtp_use_tls": "yes",
    }
    listed = {
        "lmdb:/etc/postfix/mfi_overrides": {"open.test": "retry:4.3.2 off", "x@open.test": "error:5.1.1 no"},
        "lmdb:/etc/postfix/transport": {"open.test": "smtp:[open-hop.test]"},
        "hash:/etc/relay": {"tabled.test": "x", "odd@tabled.test": "x"},
        "lmdb:/etc/postfix/mfi_recipients": {"@open.test": "OK", "a@tabled.test": "OK"},
    }
    found = interpret("/etc/postfix", "relay", settings, SERVICES, listed)
    assert (found.host, found.lifetime.days, found.bounce_lifetime.days) == ("relay.mail.test", 1, 5)
    assert {d.name: (d.type, d.match_subdomains) for d in found.domains} == {
        "open.test": ("internal_relay", True),
        "tabled.test": ("authoritative", True),
    }
    assert (found.held, found.rejected) == ({"open.test"}, {"x@open.test"})
    assert found.routing.connector_key("a@open.test") == "smtp:[open-hop.test]"
    assert found.tls.level == "may"
    assert len(found.notes) == 5 and "sender" in found.notes[-1]
    assert found.other_recipients == (None,)
    plain = interpret("/etc/postfix", "relay", {**settings, "transport_maps": "", "relay_recipient_maps": ""}, {}, {})
    assert (plain.overrides, plain.recipients) == (None, None)
    assert {d.type for d in plain.domains} == {"internal_relay"}
