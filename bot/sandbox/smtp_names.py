"""The sandbox's names: one for each mail server, names that are broken in the DNS, and names with several targets."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from bot.sandbox.dns_server import DnsFault, Node
from bot.sandbox.smtp_behaviours import ServerSpec
from storage.records import TlsSetting

DOMAIN = "mail.test"
SLOW = 0.4
"""Seconds that a slow but honest name takes to answer."""


def host_of(name: str) -> str:
    """The DNS name of a server of the cast."""
    return f"{name}.{DOMAIN}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Name:
    """A name that is probed, and what must be found there. `mx`: as the domain of mail; else as a smart host."""

    name: str
    cause: str | None = None
    code: str | None = "4.4.312"
    mx: bool = False
    degraded: bool = False
    setting: TlsSetting = TlsSetting.OPPORTUNISTIC


def _dead(name: str, cause: str) -> Name:
    """A smart host whose name leads nowhere."""
    return Name(name=name, cause=cause)


def _dead_mx(name: str, cause: str, code: str = "4.4.312") -> Name:
    """A mail domain that can't be reached."""
    return Name(name=name, cause=cause, code=code, mx=True)


def _fine(name: str, *, mx: bool = False, degraded: bool = False, tls: TlsSetting = TlsSetting.OPPORTUNISTIC) -> Name:
    """A name where mail would flow."""
    return Name(name=name, code=None, mx=mx, degraded=degraded, setting=tls)


NAMES: tuple[Name, ...] = (
    _dead("nxdomain", "nxdomain"),
    _dead("nodata", "nodata"),
    _dead("servfail", "servfail"),
    _dead("dns-unreached", "servfail"),
    _dead("dns-refused", "dns_refused"),
    _dead("dns-timeout", "dns_timeout"),
    _dead("dns-notimp", "dns_error"),
    _dead("dns-formerr", "dns_error"),
    _dead("dns-garbage", "dns_error"),
    _dead("dns-truncated-only", "dns_error"),
    _dead("bogus", "bogus"),
    _dead("bogus-ede", "bogus"),
    _dead("cname-loop", "cname_loop"),
    _dead("cname-self", "cname_loop"),
    _dead("cname-nowhere", "nxdomain"),
    _dead("cname-nodata", "nodata"),
    _dead("lame", "lame"),
    Name(name="all-dead", code="4.4.317", cause="rate_limited"),
    _fine("alias"),
    _fine("cname-chain"),
    _fine("aaaa-servfail"),
    _fine("aaaa-timeout"),
    _fine("aaaa-garbage"),
    _fine("truncated"),
    _fine("dns-slow"),
    _fine("two-addresses", degraded=True),
    _fine("one-black-hole", degraded=True),
    _fine("one-expired", degraded=True, tls=TlsSetting.CERTIFICATE),
    _fine("both-good"),
    _dead_mx("null-mx", "null_mx"),
    _dead_mx("null-mx-alone", "null_mx"),
    _dead_mx("mx-servfail", "servfail"),
    _dead_mx("mx-refused", "dns_refused"),
    _dead_mx("mx-timeout", "dns_timeout"),
    _dead_mx("mx-bogus", "bogus"),
    _dead_mx("mx-nowhere", "nxdomain"),
    _dead_mx("mx-nodata", "nodata"),
    _dead_mx("mx-cname-loop", "cname_loop"),
    _dead_mx("mx-implicit-dead", "refused", "4.4.316"),
    _dead_mx("mx-implicit-nodata", "nodata"),
    _dead_mx("mx-dead", "rate_limited", "4.4.317"),
    _dead_mx("mx-all-silent", "connect_timeout", "4.4.315"),
    _fine("mx-good", mx=True),
    _fine("mx-equal", mx=True),
    _fine("mx-cname", mx=True),
    _fine("mx-alias", mx=True),
    _fine("mx-implicit", mx=True),
    _fine("mx-null-beside", mx=True),
    _fine("mx-failover", mx=True, degraded=True),
    _fine("mx-order", mx=True, degraded=True),
    _fine("mx-past-black-hole", mx=True, degraded=True),
    _fine("mx-past-busy", mx=True, degraded=True),
    _fine("mx-one-nowhere", mx=True, degraded=True),
    _fine("mx-backup-down", mx=True, degraded=True),
)
"""Every name that needs no server of its own, and what a probe of it must find."""


def name_specs(port: int) -> Iterable[ServerSpec]:
    """Those names as stand-ins without a server."""
    for row in NAMES:
        yield ServerSpec(
            name=row.name,
            host=host_of(row.name),
            port=port,
            use_mx=row.mx,
            tls_setting=row.setting,
            expected_code=row.code,
            expected_cause=row.cause,
            expected_warning="target_down" if row.degraded else None,
            expected_degraded=row.degraded,
        )


def nodes(servers: Mapping[str, ServerSpec]) -> dict[str, Node]:
    """The whole zone: the servers' own names and all of `NAMES`. What is absent on purpose: `nxdomain`."""
    own = {s.host: Node({"A": (s.ip or "",), "MX": (f"10 {s.host}.",)}) for s in servers.values()}
    others = _broken_nodes() | _nodes_of_addresses(servers) | _nodes_of_exchangers(servers)
    return own | {host_of(name): node for name, node in others.items()}


def _failing(fault: DnsFault) -> Node:
    """A name that exists, but asking for it fails."""
    return Node({"A": ("127.0.0.1",)}, fault)


def _to(target: str) -> Node:
    """An alias."""
    return Node({"CNAME": (f"{host_of(target)}.",)})


def _mx(*pairs: tuple[int, str]) -> Node:
    """A domain with these exchangers."""
    return Node({"MX": tuple(f"{preference} {host_of(name)}." for preference, name in pairs)})


def _mx_failing(fault: DnsFault) -> Node:
    """A domain whose exchangers can't be asked for, though its address can."""
    return Node({"A": ("127.0.0.1",)}, fault, frozenset({"MX"}))


def _broken_nodes() -> dict[str, Node]:
    """Names that lead nowhere."""
    return {
        "nodata": Node({"TXT": ('"no address here"',)}),
        "servfail": _failing(DnsFault.SERVFAIL),
        "dns-unreached": _failing(DnsFault.UNREACHED),
        "dns-refused": _failing(DnsFault.REFUSED),
        "dns-timeout": _failing(DnsFault.SILENT),
        "dns-notimp": _failing(DnsFault.NOTIMP),
        "dns-formerr": _failing(DnsFault.FORMERR),
        "dns-garbage": _failing(DnsFault.GARBAGE),
        "dns-truncated-only": _failing(DnsFault.TRUNCATED_ONLY),
        "bogus": _failing(DnsFault.BOGUS),
        "bogus-ede": _failing(DnsFault.BOGUS_EDE),
        "cname-loop": _to("cname-loop-2"),
        "cname-loop-2": _to("cname-loop"),
        "cname-self": _to("cname-self"),
        "cname-nowhere": _to("nxdomain"),
        "cname-nodata": _to("nodata"),
        "lame": _failing(DnsFault.LAME),
        "null-mx": Node({"MX": ("0 .",), "A": ("127.0.0.1",)}),
        "null-mx-alone": Node({"MX": ("0 .",)}),
        "mx-servfail": _mx_failing(DnsFault.SERVFAIL),
        "mx-refused": _mx_failing(DnsFault.REFUSED),
        "mx-timeout": _mx_failing(DnsFault.SILENT),
        "mx-bogus": _mx_failing(DnsFault.BOGUS),
        "mx-nowhere": _mx((10, "nxdomain")),
        "mx-nodata": _mx((10, "nodata")),
        "mx-cname-loop": _mx((10, "cname-loop")),
        "mx-implicit-nodata": Node({"TXT": ('"v=spf1 -all"',)}),
    }


def _nodes_of_addresses(servers: Mapping[str, ServerSpec]) -> dict[str, Node]:
    """Names with several addresses, or with a broken half that mail does not need."""

    def ips(*names: str) -> tuple[str, ...]:
        """Where those servers are; a cast without them goes without."""
        return tuple(ip for n in names if n in servers and (ip := servers[n].ip))

    good = {"A": ips("good")}
    return {
        "two-addresses": Node({"A": ips("refused", "good")}),
        "one-black-hole": Node({"A": ips("black-hole", "good")}),
        "one-expired": Node({"A": ips("cert-expired", "good-domain")}),
        "both-good": Node({"A": ips("good", "good-domain")}),
        "all-dead": Node({"A": ips("refused", "black-hole", "busy")}),
        "alias": _to("good"),
        "cname-chain": _to("cname-chain-2"),
        "cname-chain-2": _to("cname-chain-3"),
        "cname-chain-3": _to("alias"),
        "aaaa-servfail": Node(good, DnsFault.SERVFAIL, frozenset({"AAAA"})),
        "aaaa-timeout": Node(good, DnsFault.SILENT, frozenset({"AAAA"})),
        "aaaa-garbage": Node(good, DnsFault.GARBAGE, frozenset({"AAAA"})),
        "truncated": Node(good, DnsFault.TRUNCATED),
        "dns-slow": Node(good, delay=SLOW),
    }


def _nodes_of_exchangers(servers: Mapping[str, ServerSpec]) -> dict[str, Node]:
    """Mail domains with working exchangers, at least in part."""
    good, refused = (servers[n].ip if n in servers else None for n in ("good", "refused"))
    return {
        "mx-good": _mx((10, "good")),
        "mx-equal": _mx((10, "good"), (10, "good-domain")),
        "mx-cname": _mx((10, "alias")),
        "mx-alias": _to("mx-good"),
        "mx-implicit": Node({"A": (good or "127.0.0.1",)}),
        "mx-implicit-dead": Node({"A": (refused or "127.0.0.1",)}),
        "mx-null-beside": Node({"MX": ("0 .", f"10 {host_of('good')}.")}),
        "mx-failover": _mx((20, "good"), (10, "refused")),
        "mx-order": _mx((30, "good"), (5, "resets"), (20, "ehlo-closes")),
        "mx-past-black-hole": _mx((10, "black-hole"), (20, "good")),
        "mx-past-busy": _mx((10, "busy"), (20, "good")),
        "mx-one-nowhere": _mx((10, "nxdomain"), (20, "good")),
        "mx-backup-down": _mx((10, "good"), (20, "refused")),
        "mx-dead": _mx((10, "refused"), (20, "busy"), (30, "nxdomain")),
        "mx-all-silent": _mx((10, "black-hole"), (20, "nxdomain")),
    }
