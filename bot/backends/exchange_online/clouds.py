"""Microsoft's clouds: where to sign in, where Graph and Exchange answer, and for whom a token has to be asked.

Pure. An override of an address moves where requests go, never for whom a token is made: a token stays good for
Microsoft's own services only.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit


@dataclass(frozen=True, slots=True, kw_only=True)
class Cloud:
    """One cloud's addresses, without a trailing slash. `traces`: Graph has the message trace there."""

    login: str
    graph: str
    exchange: str
    traces: bool = False


CLOUDS = {
    "global": Cloud(
        login="https://login.microsoftonline.com",
        graph="https://graph.microsoft.com",
        exchange="https://outlook.office365.com",
        traces=True,
    ),
    "gcc_high": Cloud(
        login="https://login.microsoftonline.us",
        graph="https://graph.microsoft.us",
        exchange="https://outlook.office365.us",
    ),
    "dod": Cloud(
        login="https://login.microsoftonline.us",
        graph="https://dod-graph.microsoft.us",
        exchange="https://outlook-dod.office365.us",
    ),
    "china": Cloud(
        login="https://login.partner.microsoftonline.cn",
        graph="https://microsoftgraph.chinacloudapi.cn",
        exchange="https://partner.outlook.cn",
    ),
}
"""By the name in MFI_<NAME>_CLOUD. GCC (without High) is part of the global cloud; china is run by 21Vianet."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoints:
    """Where this instance's requests go. `discovery`: let MSAL ask Microsoft whether it knows the sign-in host."""

    tenant: str
    authority: str
    graph_url: str
    graph_scope: str
    exo_url: str
    exo_scope: str
    traces: bool
    discovery: bool
    ca_file: Path | None = None


def endpoints(
    tenant: str,
    cloud: Cloud,
    *,
    authority: str | None = None,
    graph_url: str | None = None,
    exo_url: str | None = None,
    ca_file: Path | None = None,
) -> Endpoints:
    """The cloud's addresses with the given ones put over them. ValueError names one that is no https address."""
    for name, url in (("AUTHORITY", authority), ("GRAPH_URL", graph_url), ("EXO_URL", exo_url)):
        if url is not None and origin(url) is None:
            raise ValueError(f"{name} has to be an address that starts with https://")
    return Endpoints(
        tenant=tenant,
        authority=(authority or f"{cloud.login}/{tenant}").rstrip("/"),
        graph_url=(graph_url or f"{cloud.graph}/v1.0").rstrip("/"),
        graph_scope=f"{cloud.graph}/.default",
        exo_url=(exo_url or cloud.exchange).rstrip("/"),
        exo_scope=f"{cloud.exchange}/.default",
        traces=cloud.traces,
        discovery=authority is None,
        ca_file=ca_file,
    )


def origin(url: str) -> tuple[str, int] | None:
    """(host, port) of an https address; None where a bearer token must not go at all."""
    try:
        parts = urlsplit(url)
        if parts.scheme != "https" or not parts.hostname or parts.username is not None:
            return None
        return parts.hostname.casefold(), parts.port or 443
    except ValueError:
        return None
