"""Every fault of a certificate chain by name, judged after the handshake.

Promises: all faults are found, not only the first (expired and wrong name together); nothing here raises for what a
peer sent. The name is judged always; whether it matters is for `knowledge.classify.judge` to say.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from ipaddress import ip_address

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.utils import CryptographyDeprecationWarning
from cryptography.x509.oid import ExtendedKeyUsageOID

from bot.probes.chain import fault, key_words, shown, strength_faults, trust_faults
from bot.probes.reply import sanitise
from bot.probes.revocation import Revocations
from bot.probes.truststore import TrustStore
from knowledge.classify import Cause, Fault

CHAIN = 12
"""Certificates of one chain that are looked at."""
NAMES = 100
SOON = timedelta(days=30)

UNREADABLE = (
    ValueError,
    TypeError,
    UnsupportedAlgorithm,
    x509.DuplicateExtension,
    x509.InvalidVersion,
    x509.UnsupportedGeneralNameType,
)
"""What parsing a hostile certificate may raise."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """The name that a certificate must bear: a host name, an IP address, or `*.domain` (any name one label below it).

    None: any name will do.
    """

    name: str | None


@dataclass(frozen=True, slots=True)
class CertificateView:
    """What a chain shows and what is wrong with it. Texts are sanitised."""

    faults: tuple[Fault, ...]
    subject: str | None = None
    issuer: str | None = None
    san: tuple[str, ...] = ()
    not_after: datetime | None = None
    days_left: int | None = None
    sha256: str | None = None
    key: str | None = None
    not_before: datetime | None = None
    chain: tuple[str, ...] = ()
    """The subjects of what was sent, leaf first."""
    holds_until: datetime | None = None
    """The first moment after `now` at which any of this may change; None: never."""

    def at(self, now: datetime) -> CertificateView:
        """The same view at another moment before `holds_until`: only the days left differ."""
        left = None if self.not_after is None else (self.not_after - now) // timedelta(days=1)
        return self if left == self.days_left else replace(self, days_left=left)


NOTHING_REVOKED = Revocations()


def judge_chain(
    chain: Sequence[bytes], wanted: Wanted, trust: TrustStore, now: datetime, revoked: Revocations = NOTHING_REVOKED
) -> CertificateView:
    """Judge a chain as sent (DER, leaf first): dates, name, chain to the trust store, purpose, strength."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", CryptographyDeprecationWarning)
            certificates = [x509.load_der_x509_certificate(der) for der in chain[:CHAIN]]
        leaf, *others = certificates
        names = names_of(leaf)
        faults = [
            *_dates(leaf, now),
            *_name(leaf, names, wanted),
            *trust_faults(leaf, others, trust, revoked, now),
            *_purpose(leaf),
            *strength_faults(leaf),
        ]
        return CertificateView(
            faults=tuple(faults),
            subject=shown(leaf.subject),
            issuer=shown(leaf.issuer),
            san=tuple(sanitise(n, 253) for n in names[:NAMES]),
            not_after=leaf.not_valid_after_utc,
            days_left=(leaf.not_valid_after_utc - now) // timedelta(days=1),
            sha256=leaf.fingerprint(hashes.SHA256()).hex(),
            key=key_words(leaf),
            not_before=leaf.not_valid_before_utc,
            chain=tuple(shown(c.subject) for c in certificates),
            holds_until=_next_change(certificates, trust, now),
        )
    except UNREADABLE:
        return CertificateView((fault(Cause.CERT_UNTRUSTED, "the certificate can't be read"),))


def _next_change(certificates: Sequence[x509.Certificate], trust: TrustStore, now: datetime) -> datetime | None:
    """When the next date of the chain or of an anchor passes."""
    moments = [d for c in certificates for d in (c.not_valid_before_utc, c.not_valid_after_utc)]
    moments += [certificates[0].not_valid_after_utc - SOON, *trust.expiries]
    return min((m for m in moments if m > now), default=None)


def names_of(leaf: x509.Certificate) -> list[str]:
    """The DNS names and addresses of the subjectAltName."""
    try:
        san = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return []
    return [*san.get_values_for_type(x509.DNSName), *map(str, san.get_values_for_type(x509.IPAddress))]


def _dates(leaf: x509.Certificate, now: datetime) -> Iterator[Fault]:
    """Expired, not yet valid, or soon to expire."""
    if leaf.not_valid_after_utc < now:
        yield fault(Cause.CERT_EXPIRED, f"expired on {leaf.not_valid_after_utc:%Y-%m-%d %H:%M} UTC")
    elif leaf.not_valid_after_utc - now <= SOON:
        yield fault(Cause.EXPIRING_SOON, f"expires on {leaf.not_valid_after_utc:%Y-%m-%d %H:%M} UTC")
    if leaf.not_valid_before_utc > now:
        yield fault(Cause.CERT_NOT_YET_VALID, f"not valid before {leaf.not_valid_before_utc:%Y-%m-%d %H:%M} UTC")


def _name(leaf: x509.Certificate, names: Sequence[str], wanted: Wanted) -> Iterator[Fault]:
    """Does the certificate bear the wanted name? Without any subjectAltName the common name counts, with a warning."""
    if wanted.name is None or any(matches(n, wanted.name) for n in names):
        return
    common = [str(a.value) for a in leaf.subject.get_attributes_for_oid(x509.NameOID.COMMON_NAME)]
    if not names and any(matches(n, wanted.name) for n in common):
        yield fault(Cause.CN_ONLY, "the name stands only in the common name")
    else:
        bears = ", ".join((names or common)[:5]) or "no name"
        yield fault(Cause.CERT_NAME, f"wanted {wanted.name}, the certificate is for {bears}")


def matches(presented: str, wanted: str) -> bool:
    """Does a presented name (maybe a wildcard) satisfy the wanted one (maybe `*.domain`)?

    Either wildcard stands for exactly one left-most label, and never for an address.
    """
    have, want = (n.strip().rstrip(".").casefold() for n in (presented, wanted))
    if not have or not want:
        return False
    if have == want:
        return True
    if _is_address(want):
        return _is_address(have) and ip_address(have) == ip_address(want)
    if want.startswith("*."):
        return have.partition(".")[2] == want[2:] and not have.startswith(".")
    head, _, rest = want.partition(".")
    return bool(head) and have == f"*.{rest}" and "." in rest


def _is_address(text: str) -> bool:
    """Is this an IP address?"""
    try:
        ip_address(text)
    except ValueError:
        return False
    return True


def _purpose(leaf: x509.Certificate) -> Iterator[Fault]:
    """May it be a TLS server?"""
    try:
        uses = set(leaf.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value)
    except x509.ExtensionNotFound:
        return
    if not uses & {ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE}:
        yield fault(Cause.CERT_PURPOSE, "not meant for a TLS server")
