"""What may be dialled, and what a smart host is: the rules by which text becomes an address.

Promises: only `ipaddress` reads addresses, so octal, hexadecimal and shortened forms are host names and never dialled;
an address that embeds another (IPv4-mapped, NAT64, 6to4, Teredo) is judged by the embedded one too; names are checked
against the LDH rule before anybody asks a resolver for them.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from ipaddress import (
    IPv4Address,
    IPv4Network,
    IPv6Address,
    IPv6Network,
    ip_address,
    ip_network,
)

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

METADATA = tuple(
    ip_address(text)
    for text in ("169.254.169.254", "100.100.100.200", "168.63.129.16", "192.0.0.192", "fd00:ec2::254", "fd20:ce::254")
)
"""Where clouds serve credentials to whoever asks from inside."""

_NAT64 = (IPv6Network("64:ff9b::/96"), IPv6Network("64:ff9b:1::/48"))
_COMPATIBLE = IPv6Network("::/96")
_THIS_NETWORK = IPv4Network("0.0.0.0/8")
_LABEL = re.compile(r"(?!-)[a-z0-9_-]{1,63}(?<!-)\Z")


@dataclass(frozen=True, slots=True)
class AddressPolicy:
    """Which addresses a probe may dial: everything but loopback, link-local, multicast, reserved and metadata ones.

    Private ranges are fine: that is where on-premises servers live. `allow` lists networks let through all the same.
    """

    allow: tuple[Network, ...] = ()

    @classmethod
    def parse(cls, texts: Iterable[str]) -> AddressPolicy:
        """From CIDRs or single addresses; raises ValueError that names every bad one."""
        good: list[Network] = []
        bad: list[str] = []
        for text in filter(None, (t.strip() for t in texts)):
            try:
                good.append(ip_network(text, strict=False))
            except ValueError:
                bad.append(text)
        if bad:
            raise ValueError(f"not a network such as 10.0.0.0/8: {', '.join(bad)}")
        return cls(tuple(good))

    def refusal(self, ip: str) -> str | None:
        """Why this address is not dialled, in a few words; None when it may be."""
        try:
            address = ip_address(ip)
        except ValueError:
            return "not an IP address"
        every = (address, *_embedded(address))
        if any(a.version == n.version and a in n for a in every for n in self.allow):
            return None
        return next((kind for a in every if (kind := _forbidden(a))), None)


def _forbidden(address: Address) -> str | None:
    """The kind of address that is never dialled unless listed."""
    if address in METADATA:
        return "cloud metadata address"
    if address.is_unspecified or address in _THIS_NETWORK:
        return "unspecified address"
    if address.is_loopback:
        return "loopback address"
    if address.is_link_local:
        return "link-local address"
    if address.is_multicast:
        return "multicast address"
    if isinstance(address, IPv4Address) and address.is_reserved:
        return "reserved address"
    return None


def _embedded(address: Address) -> tuple[Address, ...]:
    """The IPv4 addresses that a packet to this IPv6 address may end at."""
    if isinstance(address, IPv4Address):
        return ()
    found: list[Address | None] = [address.ipv4_mapped, address.sixtofour, *(address.teredo or ())]
    if any(address in net for net in _NAT64):
        found.append(IPv4Address(int(address) & 0xFFFFFFFF))
    elif address in _COMPATIBLE and int(address) > 1:
        found.append(IPv4Address(int(address)))
    return tuple(a for a in found if a is not None)


@dataclass(frozen=True, slots=True)
class HostAddress:
    """A smart host given as one address."""

    ip: str


@dataclass(frozen=True, slots=True)
class HostRange:
    """A smart host given as a range: named, but never swept unasked."""

    network: Network


@dataclass(frozen=True, slots=True)
class HostName:
    """A smart host given as a name, in lower case A-label form without the final dot."""

    name: str


@dataclass(frozen=True, slots=True)
class BadHost:
    """Text that is neither; `why` says so in a few words."""

    why: str


Host = HostAddress | HostRange | HostName | BadHost


@lru_cache(maxsize=8192)
def parse_host(text: str) -> Host:
    """What kind of smart host this text is. Brackets around an address are dropped. Total."""
    bare = text.strip().removeprefix("[").removesuffix("]")
    bare = bare[5:] if bare[:5].casefold() == "ipv6:" else bare
    try:
        return HostAddress(str(ip_address(bare)))
    except ValueError:
        pass
    try:
        network = ip_network(bare, strict=False)
    except ValueError:
        return _parse_name(bare)
    return HostAddress(str(network.network_address)) if network.num_addresses == 1 else HostRange(network)


def _parse_name(text: str) -> HostName | BadHost:
    """A checked host name, or why it is none."""
    try:
        name = text.removesuffix(".").encode("idna").decode("ascii").lower()
    except UnicodeError:
        return BadHost("not a valid host name")
    labels = name.split(".")
    if not name or len(name) > 253 or not all(_LABEL.match(label) for label in labels) or labels[-1].isdigit():
        return BadHost("not a valid host name")
    return HostName(name)
