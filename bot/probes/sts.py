"""Fetching a domain's MTA-STS policy: one https request that trusts nobody but the certificate.

Promises: bounded in time and size, follows no redirect, uses no proxy, dials only addresses that our own resolver found
and the policy for addresses lets through; every failure is NoPolicy or NotFetched with words.
"""

from __future__ import annotations

import socket
import ssl
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from dns.rdtypes.ANY.TXT import TXT

from bot.core.mta_sts import POLICY_BYTES, NotFetched, Policy, parse_policy, policy_id
from bot.core.targets import AddressPolicy
from bot.probes.exchange import Unresolved
from bot.probes.reply import sanitise
from bot.probes.resolver import Resolver
from knowledge.classify import Cause

if TYPE_CHECKING:
    import aiohttp
    from aiohttp.abc import AbstractResolver

PORT = 443
PATH = "/.well-known/mta-sts.txt"
KEPT = 1000
"""Policies that are remembered; a policy is fetched again when its id changes."""
_NUMERIC = socket.AI_NUMERICHOST


class PolicyFetcher:
    """Finds the policies of domains. `port`: 443 but in tests."""

    def __init__(self, resolver: Resolver, allow: AddressPolicy | None, ca_file: Path | None, port: int = PORT) -> None:
        self._resolver = resolver
        self._allow = allow
        self._ca_file = ca_file
        self._port = port
        self._kept: dict[str, tuple[str, Policy]] = {}

    async def policy(self, domain: str, seconds: float) -> Policy | None:
        """The policy of a domain; None if it has none. Raises NoPolicy; Unresolved if its TXT record can't be had."""
        named = policy_id(await self._texts(f"_mta-sts.{domain}", seconds))
        if named is None:
            self._kept.pop(domain, None)
            return None
        known = self._kept.pop(domain, None)
        policy = known[1] if known and known[0] == named else parse_policy(await self._fetch(domain, seconds))
        if len(self._kept) >= KEPT:
            del self._kept[next(iter(self._kept))]
        self._kept[domain] = (named, policy)
        return policy

    async def _texts(self, name: str, seconds: float) -> list[str]:
        """The TXT records of a name; none if it has none."""
        try:
            answer = await self._resolver.lookup(name, "TXT", seconds)
        except Unresolved as error:
            if error.cause in (Cause.NXDOMAIN, Cause.NODATA):
                return []
            raise
        return [b"".join(r.strings).decode("latin-1") for r in answer.records if isinstance(r, TXT)]

    async def _fetch(self, domain: str, seconds: float) -> str:
        """The text of the policy. Raises NotFetched."""
        import aiohttp

        host = f"mta-sts.{domain}"
        connector = aiohttp.TCPConnector(
            resolver=_pinned(await self._addresses(host)),
            use_dns_cache=False,
            ssl=self._context,
            force_close=True,
        )
        timeout = aiohttp.ClientTimeout(total=seconds)
        try:
            async with (
                aiohttp.ClientSession(connector=connector, timeout=timeout, cookie_jar=aiohttp.DummyCookieJar()) as web,
                web.get(f"https://{host}:{self._port}{PATH}", allow_redirects=False) as response,
            ):
                return await _text_of(response)
        except TimeoutError:
            raise NotFetched("the policy's server did not answer in time") from None
        except aiohttp.ClientConnectorCertificateError as error:
            words = sanitise(str(error.certificate_error))
            raise NotFetched(f"the policy's server has no valid certificate: {words}") from None
        except (aiohttp.ClientError, OSError, ValueError) as error:
            raise NotFetched(f"the policy could not be fetched: {sanitise(str(error))}") from None

    async def _addresses(self, host: str) -> list[str]:
        """Where the policy's server is, as far as it may be dialled. Raises NotFetched."""
        try:
            found = await self._resolver.addresses(host)
        except Unresolved as error:
            raise NotFetched(sanitise(str(error))) from None
        fine = [ip for ip in found if not (self._allow and self._allow.refusal(ip))]
        if not fine:
            raise NotFetched(f"{host} leads to an address that is not dialled (see MFI_PROBE_ALLOW)")
        return fine

    @cached_property
    def _context(self) -> ssl.SSLContext:
        """Verifies against the system's roots and those of the CA file. Made once, because it is slow."""
        context = ssl.create_default_context()
        if self._ca_file:
            context.load_verify_locations(self._ca_file)
        return context


def _pinned(ips: list[str]) -> AbstractResolver:
    """These addresses and no others, as aiohttp wants them."""
    from aiohttp.abc import AbstractResolver, ResolveResult

    class Pinned(AbstractResolver):
        """Knows one host."""

        async def resolve(
            self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
        ) -> list[ResolveResult]:
            """All of them that are of this family."""
            families = [(ip, socket.AF_INET6 if ":" in ip else socket.AF_INET) for ip in ips]
            return [
                ResolveResult(hostname=host, host=ip, port=port, family=its, proto=socket.IPPROTO_TCP, flags=_NUMERIC)
                for ip, its in families
                if family in (socket.AF_UNSPEC, its)
            ]

        async def close(self) -> None:
            """Nothing to close."""

    return Pinned()


async def _text_of(response: aiohttp.ClientResponse) -> str:
    """The body, if it is one. Raises NotFetched."""
    if response.status != 200:
        raise NotFetched(f"the policy's server answered {response.status}")
    if response.content_type != "text/plain":
        raise NotFetched(f"the policy is {sanitise(response.content_type, 50)} instead of text/plain")
    body = bytearray()
    async for chunk in response.content.iter_chunked(4096):
        body += chunk
        if len(body) > POLICY_BYTES:
            raise NotFetched("the policy is too big")
    return body.decode("latin-1")
