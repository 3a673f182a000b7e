"""The sandbox's names: one for each mail server, and names that are broken in the DNS itself."""

from __future__ import annotations

from collections.abc import Iterable

from bot.sandbox.dns_server import DnsFault, Node
from bot.sandbox.smtp_behaviours import ServerSpec
from storage.records import TlsSetting

DOMAIN = "mail.test"

DNS_CAST: tuple[tuple[str, str, bool], ...] = (
    ("nxdomain", "nxdomain", False),
    ("nodata", "nodata", False),
    ("servfail", "servfail", False),
    ("dns-refused", "dns_refused", False),
    ("dns-timeout", "dns_timeout", False),
    ("dns-notimp", "dns_error", False),
    ("dns-garbage", "dns_error", False),
    ("cname-loop", "cname_loop", False),
    ("cname-nowhere", "nxdomain", False),
    ("lame", "lame", False),
    ("null-mx", "null_mx", True),
    ("mx-servfail", "servfail", True),
    ("mx-nowhere", "nxdomain", True),
)
"""(name, expected cause, probed as an MX domain) of every name that leads nowhere; all mean 4.4.312."""


def host_of(name: str) -> str:
    """The DNS name of a server of the cast."""
    return f"{name}.{DOMAIN}"


def broken_specs(port: int) -> Iterable[ServerSpec]:
    """The names that are broken in the DNS, as servers nobody can reach."""
    for name, cause, use_mx in DNS_CAST:
        yield ServerSpec(
            name=name,
            host=host_of(name),
            port=port,
            use_mx=use_mx,
            tls_setting=TlsSetting.OPPORTUNISTIC,
            expected_code="4.4.312",
            expected_cause=cause,
        )


def broken_nodes() -> dict[str, Node]:
    """What the DNS holds for those names; `nxdomain` is absent on purpose."""
    nodes = {
        "nodata": Node({"TXT": ('"no address here"',)}),
        "servfail": Node(fault=DnsFault.SERVFAIL),
        "dns-refused": Node(fault=DnsFault.REFUSED),
        "dns-timeout": Node(fault=DnsFault.SILENT),
        "dns-notimp": Node(fault=DnsFault.NOTIMP),
        "dns-garbage": Node(fault=DnsFault.GARBAGE),
        "cname-loop": Node({"CNAME": (f"cname-loop-2.{DOMAIN}.",)}),
        "cname-loop-2": Node({"CNAME": (f"cname-loop.{DOMAIN}.",)}),
        "cname-nowhere": Node({"CNAME": (f"nxdomain.{DOMAIN}.",)}),
        "lame": Node(fault=DnsFault.LAME),
        "null-mx": Node({"MX": ("0 .",), "A": ("127.0.0.1",)}),
        "mx-servfail": Node({"A": ("127.0.0.1",)}, DnsFault.SERVFAIL, frozenset({"MX"})),
        "mx-nowhere": Node({"MX": (f"10 nxdomain.{DOMAIN}.",)}),
    }
    return {host_of(name): node for name, node in nodes.items()}


def working_nodes(servers: Iterable[ServerSpec], good_ip: str, refused_ip: str) -> dict[str, Node]:
    """The servers' own names, and names with several targets or with a broken half that mail does not need."""
    nodes = {s.host: Node({"A": (s.ip,), "MX": (f"10 {s.host}.",)}) for s in servers if s.ip}
    extra = {
        "two-addresses": Node({"A": (refused_ip, good_ip)}),
        "alias": Node({"CNAME": (f"good.{DOMAIN}.",)}),
        "aaaa-servfail": Node({"A": (good_ip,)}, DnsFault.SERVFAIL, frozenset({"AAAA"})),
        "aaaa-timeout": Node({"A": (good_ip,)}, DnsFault.SILENT, frozenset({"AAAA"})),
        "truncated": Node({"A": (good_ip,)}, DnsFault.TRUNCATED),
        "mx-failover": Node({"MX": (f"20 good.{DOMAIN}.", f"10 refused.{DOMAIN}.")}),
        "mx-dead": Node({"MX": (f"10 refused.{DOMAIN}.", f"20 busy.{DOMAIN}.", f"30 nxdomain.{DOMAIN}.")}),
        "mx-implicit": Node({"A": (good_ip,)}),
    }
    return nodes | {host_of(name): node for name, node in extra.items()}
