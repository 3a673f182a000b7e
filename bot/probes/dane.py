"""DANE for SMTP (RFC 7672): does a server's certificate fit the TLSA records that DNSSEC vouches for?

Promises: records count only if the configured resolver validated them (AD) and the way to them; usages 2 and 3 count,
as for every SMTP sender; nothing here raises for what a zone or a server says.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from dns.rdtypes.ANY.TLSA import TLSA

from bot.core.checks import Check
from bot.probes.certificate import CHAIN, UNREADABLE, matches, names_of
from bot.probes.exchange import Unresolved
from bot.probes.resolver import Resolver
from bot.probes.truststore import signed_by
from knowledge.classify import Cause

_HASHES = {1: hashlib.sha256, 2: hashlib.sha512}


@dataclass(frozen=True, slots=True)
class Association:
    """One TLSA record."""

    usage: int
    selector: int
    matching: int
    data: bytes

    @property
    def usable(self) -> bool:
        """Is it of a kind that SMTP senders look at?"""
        return self.usage in (2, 3) and self.selector in (0, 1) and self.matching in (0, 1, 2)

    def fits(self, certificate: x509.Certificate) -> bool:
        """Is it about this certificate?"""
        if self.selector == 0:
            value = certificate.public_bytes(Encoding.DER)
        else:
            value = certificate.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        return self.data == (_HASHES[self.matching](value).digest() if self.matching else value)


@dataclass(frozen=True, slots=True)
class Demand:
    """What the DNS demands of a host: these associations; or the outcome, if there is nothing to match."""

    associations: tuple[Association, ...] = ()
    outcome: tuple[Check, str] | None = None


async def demand_of(resolver: Resolver, host: str, port: int, lifetime: float) -> Demand:
    """Look for TLSA records, but only where the host's own address is signed."""
    try:
        if not await _signed(resolver, host, lifetime):
            return Demand(outcome=(Check.NONE, f"{host} is not signed with DNSSEC"))
        answer = await resolver.lookup(f"_{port}._tcp.{host}", "TLSA", lifetime)
    except Unresolved as error:
        return Demand(outcome=_without(error))
    found = tuple(Association(r.usage, r.selector, r.mtype, r.cert) for r in answer.records if isinstance(r, TLSA))
    if not answer.secure:
        return Demand(outcome=(Check.NONE, "the TLSA records are not signed with DNSSEC"))
    return Demand(found)


async def _signed(resolver: Resolver, host: str, lifetime: float) -> bool:
    """Does DNSSEC vouch for an address of the host? Raises Unresolved."""
    try:
        return (await resolver.lookup(host, "A", lifetime)).secure
    except Unresolved as error:
        if error.cause is not Cause.NODATA:
            raise
        return (await resolver.lookup(host, "AAAA", lifetime)).secure


def _without(error: Unresolved) -> tuple[Check, str]:
    """No records: is that the truth, or a failure that makes senders hold the mail?"""
    if error.cause in (Cause.NXDOMAIN, Cause.NODATA):
        return Check.NONE, "no TLSA records"
    if error.cause in (Cause.BOGUS, Cause.SERVFAIL):
        return Check.DNSSEC_INVALID, str(error)
    return Check.UNKNOWN, str(error)


def fitting(demand: Demand, chain: Sequence[bytes], names: Sequence[str], now: datetime) -> tuple[Check, str]:
    """Does the chain (DER, leaf first) satisfy the demand? `names`: those that the certificate may be for."""
    usable = [a for a in demand.associations if a.usable]
    if not usable:
        return Check.TLSA_INVALID, "no TLSA record is usable (usage 2 or 3, selector 0 or 1, matching type 0, 1 or 2)"
    try:
        certificates = [x509.load_der_x509_certificate(der) for der in chain[:CHAIN]]
        if any(a.usage == 3 and a.fits(certificates[0]) for a in usable):
            return Check.OK, "the certificate fits a TLSA record (usage 3)"
        outcomes = list(_by_authority([a for a in usable if a.usage == 2], certificates, names, now))
    except (*UNREADABLE, IndexError):
        return Check.TLSA_INVALID, "the certificate can't be read"
    mismatch = (Check.TLSA_INVALID, f"none of {len(usable)} TLSA records fits the certificate")
    return next((o for o in outcomes if o[0] is Check.OK), (outcomes or [mismatch])[0])


def _by_authority(
    associations: Sequence[Association], chain: Sequence[x509.Certificate], names: Sequence[str], now: datetime
) -> Iterator[tuple[Check, str]]:
    """Usage 2: what is wrong with the way from the leaf to each certificate that a record is about."""
    path = [chain[0]]
    while issuer := next((c for c in chain if c not in path and signed_by(path[-1], c)), None):
        path.append(issuer)
    for length, authority in enumerate(path, 1):
        if any(a.fits(authority) for a in associations):
            if any(not c.not_valid_before_utc <= now <= c.not_valid_after_utc for c in path[:length]):
                yield Check.CERTIFICATE_EXPIRED, "the certificate is out of its dates"
            elif not any(matches(have, want) for have in names_of(chain[0]) for want in names):
                yield Check.CERTIFICATE_HOST_MISMATCH, f"the certificate is not for {names[0]}"
            else:
                yield Check.OK, "the chain fits a TLSA record (usage 2)"
