"""Which addresses may be dialled, and what kind of smart host a text is."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.core.targets import (
    AddressPolicy,
    BadHost,
    HostAddress,
    HostName,
    HostRange,
    parse_host,
)

REFUSED = {
    "127.0.0.1": "loopback address",
    "127.255.255.254": "loopback address",
    "::1": "loopback address",
    "0.0.0.0": "unspecified address",
    "0.1.2.3": "unspecified address",
    "::": "unspecified address",
    "169.254.1.1": "link-local address",
    "fe80::1": "link-local address",
    "fe80::1%eth0": "link-local address",
    "169.254.169.254": "cloud metadata address",
    "100.100.100.200": "cloud metadata address",
    "168.63.129.16": "cloud metadata address",
    "fd00:ec2::254": "cloud metadata address",
    "224.0.0.1": "multicast address",
    "ff02::1": "multicast address",
    "255.255.255.255": "reserved address",
    "240.0.0.1": "reserved address",
    "::ffff:127.0.0.1": "loopback address",
    "::ffff:169.254.169.254": "cloud metadata address",
    "::127.0.0.1": "loopback address",
    "64:ff9b::7f00:1": "loopback address",
    "64:ff9b:1::a9fe:a9fe": "cloud metadata address",
    "2002:7f00:1::1": "loopback address",
    "2001:0:7f00:1::": "loopback address",
    "2130706433": "not an IP address",
    "0x7f.1": "not an IP address",
    "0177.0.0.1": "not an IP address",
    "127.1": "not an IP address",
    "mail.contoso.test": "not an IP address",
    "": "not an IP address",
}


@pytest.mark.parametrize(("ip", "why"), REFUSED.items())
def test_an_address_that_is_no_mail_server_is_refused_with_its_kind(ip: str, why: str) -> None:
    assert AddressPolicy().refusal(ip) == why


@pytest.mark.parametrize(
    "ip", ["10.0.0.1", "192.168.1.10", "172.16.0.1", "100.64.0.1", "fd12::1", "192.0.2.1", "2001:db8::25", "8.8.8.8"]
)
def test_private_and_public_addresses_may_be_dialled(ip: str) -> None:
    assert AddressPolicy().refusal(ip) is None


@pytest.mark.parametrize(
    ("allow", "ip", "may"),
    [
        ("127.0.0.0/8", "127.0.0.1", True),
        ("127.0.0.0/8", "::ffff:127.0.0.1", True),
        ("127.0.0.0/8", "::1", False),
        ("127.0.0.1", "127.0.0.1", True),
        ("127.0.0.1", "127.0.0.2", False),
        ("::1/128", "::1", True),
        ("10.1.2.3/8", "127.0.0.1", False),
        ("10.1.2.3/8", "10.9.9.9", True),
    ],
)
def test_listed_networks_are_let_through(allow: str, ip: str, may: bool) -> None:
    assert (AddressPolicy.parse([allow]).refusal(ip) is None) == may


def test_every_bad_network_is_named_at_once() -> None:
    with pytest.raises(ValueError, match=r"not a network such as 10\.0\.0\.0/8: nonsense, 10\.0\.0\.0/99"):
        AddressPolicy.parse(["nonsense", " ", "10.0.0.0/8", "10.0.0.0/99"])


@pytest.mark.parametrize(
    ("text", "host"),
    [
        ("192.0.2.1", HostAddress("192.0.2.1")),
        ("[192.0.2.1]", HostAddress("192.0.2.1")),
        ("[IPv6:2001:DB8::1]", HostAddress("2001:db8::1")),
        ("192.0.2.1/32", HostAddress("192.0.2.1")),
        ("Mail.Contoso.Test.", HostName("mail.contoso.test")),
        (" mail.contoso.test ", HostName("mail.contoso.test")),
        ("bücher.contoso.test", HostName("xn--bcher-kva.contoso.test")),
        ("mx_1.contoso.test", HostName("mx_1.contoso.test")),
        ("localhost", HostName("localhost")),
    ],
)
def test_addresses_and_names_are_told_apart(text: str, host: object) -> None:
    assert parse_host(text) == host


def test_a_range_is_a_range_and_not_its_first_address() -> None:
    host = parse_host("192.0.2.7/24")
    assert isinstance(host, HostRange)
    assert str(host.network) == "192.0.2.0/24"


@pytest.mark.parametrize(
    "text",
    [
        "",
        ".",
        "a..b",
        "-a.test",
        "a-.test",
        "<!channel>.com",
        "a b.test",
        "a\nb.test",
        "2130706433",
        "127.1",
        "10.0.0.256",
        "x" * 64 + ".test",
        ".".join(["abc"] * 80),
        "*.contoso.test",
        "\ud800.test",
    ],
)
def test_what_is_no_host_name_is_never_asked_for(text: str) -> None:
    assert isinstance(parse_host(text), BadHost)


@given(st.text())
def test_parsing_a_host_is_total(text: str) -> None:
    assert isinstance(parse_host(text), HostAddress | HostRange | HostName | BadHost)


@given(st.ip_addresses(network="127.0.0.0/8"))
def test_no_spelling_of_loopback_passes(address: object) -> None:
    for spelling in (f"{address}", f"::ffff:{address}", f"::{address}", f"64:ff9b::{address}"):
        assert AddressPolicy().refusal(spelling) is not None
