"""Which networks a mail system's operator says that its mail comes from. Pure: a parsed document in, networks out.

The document is the one that Microsoft publishes for Microsoft 365 (a list of endpoint sets, each with its service area,
ports and networks); it comes from outside, so whatever in it is not as described is left out.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from ipaddress import IPv4Network, IPv6Network, ip_network
from typing import Any

SMTP_PORT = "25"
SERVICE_AREA = "Exchange"
MOST = 64
"""More networks than this are not taken over: today there are about six."""
SETS_READ = 2000


def smtp_ranges(document: object) -> tuple[str, ...]:
    """The networks of Exchange Online that send mail (TCP 25), IPv4 first, each once; none if the document has none."""
    found = {network for one in _sets(document) for network in _networks(one.get("ips"))}
    ordered = sorted(found, key=lambda network: (network.version, int(network.network_address), network.prefixlen))
    return tuple(map(str, ordered[:MOST]))


def _sets(document: object) -> Iterator[Mapping[str, Any]]:
    for one in document[:SETS_READ] if isinstance(document, list) else ():
        if isinstance(one, dict) and one.get("serviceArea") == SERVICE_AREA:
            ports = str(one.get("tcpPorts", "")).split(",")
            if SMTP_PORT in (port.strip() for port in ports):
                yield one


def _networks(listed: object) -> Iterator[IPv4Network | IPv6Network]:
    for text in listed[:SETS_READ] if isinstance(listed, list) else ():
        try:
            network = ip_network(str(text))
        except ValueError:
            continue
        if network.is_global:
            yield network
