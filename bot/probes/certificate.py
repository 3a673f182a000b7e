"""Every fault of a certificate chain by name, judged after the handshake.

Promises: all faults are found, not only the first (expired and wrong name together); nothing here raises for what a
peer sent. The name is judged always; whether it matters is for `knowledge.classify.judge` to say.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from ipaddress import ip_address

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import dsa, ec, rsa
from cryptography.utils import CryptographyDeprecationWarning
from cryptography.x509.oid import AuthorityInformationAccessOID, ExtendedKeyUsageOID

from bot.probes.reply import sanitise
from bot.probes.truststore import TrustStore, organisations, signed_by
from knowledge.classify import Cause, Fault, Stage

CHAIN = 12
"""Certificates of one chain that are looked at."""
NAMES = 100
SOON = timedelta(days=30)
SUB_CA_WORDS = ("intermediate", "issuing", "subordinate", "sub ca", "subca")

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
    """The name that a certificate must bear: a host name, an IP address, or `*.domain`; None: any name will do."""

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


def judge_chain(chain: Sequence[bytes], wanted: Wanted, trust: TrustStore, now: datetime) -> CertificateView:
    """Judge a chain as sent (DER, leaf first): dates, name, chain to the trust store, purpose, strength."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", CryptographyDeprecationWarning)
            certificates = [x509.load_der_x509_certificate(der) for der in chain[:CHAIN]]
        leaf, *others = certificates
        names = _names(leaf)
        faults = [
            *_dates(leaf, now),
            *_name(leaf, names, wanted),
            *_trust(leaf, others, trust, now),
            *_purpose(leaf),
            *_strength(leaf),
        ]
        return CertificateView(
            faults=tuple(faults),
            subject=_shown(leaf.subject),
            issuer=_shown(leaf.issuer),
            san=tuple(sanitise(n, 253) for n in names[:NAMES]),
            not_after=leaf.not_valid_after_utc,
            days_left=(leaf.not_valid_after_utc - now) // timedelta(days=1),
            sha256=leaf.fingerprint(hashes.SHA256()).hex(),
        )
    except UNREADABLE:
        return CertificateView((_fault(Cause.CERT_UNTRUSTED, "the certificate can't be read"),))


def _fault(cause: Cause, detail: str) -> Fault:
    """A certificate fault; all of them show in the TLS stage."""
    return Fault(cause, Stage.TLS, sanitise(detail))


def _shown(name: x509.Name) -> str:
    """A distinguished name as it is shown."""
    return sanitise(name.rfc4514_string())


def _names(leaf: x509.Certificate) -> list[str]:
    """The DNS names and addresses of the subjectAltName."""
    try:
        san = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return []
    return [*san.get_values_for_type(x509.DNSName), *map(str, san.get_values_for_type(x509.IPAddress))]


def _dates(leaf: x509.Certificate, now: datetime) -> Iterator[Fault]:
    """Expired, not yet valid, or soon to expire."""
    if leaf.not_valid_after_utc < now:
        yield _fault(Cause.CERT_EXPIRED, f"expired on {leaf.not_valid_after_utc:%Y-%m-%d %H:%M} UTC")
    elif leaf.not_valid_after_utc - now <= SOON:
        yield _fault(Cause.EXPIRING_SOON, f"expires on {leaf.not_valid_after_utc:%Y-%m-%d %H:%M} UTC")
    if leaf.not_valid_before_utc > now:
        yield _fault(Cause.CERT_NOT_YET_VALID, f"not valid before {leaf.not_valid_before_utc:%Y-%m-%d %H:%M} UTC")


def _name(leaf: x509.Certificate, names: Sequence[str], wanted: Wanted) -> Iterator[Fault]:
    """Does the certificate bear the wanted name? Without any subjectAltName the common name counts, with a warning."""
    if wanted.name is None or any(matches(n, wanted.name) for n in names):
        return
    common = [str(a.value) for a in leaf.subject.get_attributes_for_oid(x509.NameOID.COMMON_NAME)]
    if not names and any(matches(n, wanted.name) for n in common):
        yield _fault(Cause.CN_ONLY, "the name stands only in the common name")
    else:
        bears = ", ".join((names or common)[:5]) or "no name"
        yield _fault(Cause.CERT_NAME, f"wanted {wanted.name}, the certificate is for {bears}")


def matches(presented: str, wanted: str) -> bool:
    """Does a presented name (maybe a wildcard) satisfy the wanted one (maybe `*.domain`: any name below it)?

    A presented wildcard stands for exactly one left-most label and never for an address.
    """
    have, want = (n.strip().rstrip(".").casefold() for n in (presented, wanted))
    if not have or not want:
        return False
    if have == want:
        return True
    if _is_address(want):
        return _is_address(have) and ip_address(have) == ip_address(want)
    if want.startswith("*."):
        return have.endswith(want[1:])
    head, _, rest = want.partition(".")
    return bool(head) and have == f"*.{rest}" and "." in rest


def _is_address(text: str) -> bool:
    """Is this an IP address?"""
    try:
        ip_address(text)
    except ValueError:
        return False
    return True


def _trust(
    leaf: x509.Certificate, others: Sequence[x509.Certificate], trust: TrustStore, now: datetime
) -> Iterator[Fault]:
    """Walk from the leaf towards an anchor, the trust store first, then what the server sent; judge what is met."""
    current, left = leaf, list(others)
    while current not in trust:
        if anchors := list(trust.issuers_of(current)):
            yield from _anchor_dates(anchors, now)
            return
        if signed_by(current, current):
            cause = Cause.CERT_SELF_SIGNED if current is leaf else Cause.CERT_UNTRUSTED
            yield _fault(cause, f"ends at {_shown(current.subject)}, which is not trusted")
            return
        signers = [c for c in left if signed_by(current, c)]
        if not signers:
            yield _incomplete(current, leaf, trust)
            return
        issuer = next((c for c in signers if _in_dates(c, now)), signers[0])
        left.remove(issuer)
        yield from _issuer(issuer, trust, now)
        current = issuer


def _anchor_dates(anchors: Sequence[x509.Certificate], now: datetime) -> Iterator[Fault]:
    """An anchor counts while it is valid."""
    if all(a.not_valid_after_utc < now for a in anchors):
        yield _fault(Cause.CERT_INTERMEDIATE_EXPIRED, f"the root {_shown(anchors[0].subject)} has expired")


def _issuer(issuer: x509.Certificate, trust: TrustStore, now: datetime) -> Iterator[Fault]:
    """An intermediate that the server sent: dates, may it sign, strength. A sent root is judged by where it leads."""
    if issuer in trust:
        return
    if not _in_dates(issuer, now):
        yield _fault(Cause.CERT_INTERMEDIATE_EXPIRED, f"{_shown(issuer.subject)} is out of its dates")
    if not _may_sign(issuer):
        yield _fault(Cause.CERT_PURPOSE, f"{_shown(issuer.subject)} may not sign certificates")
    if not signed_by(issuer, issuer):
        yield from _strength(issuer)


def _in_dates(certificate: x509.Certificate, now: datetime) -> bool:
    """Is it valid now?"""
    return certificate.not_valid_before_utc <= now <= certificate.not_valid_after_utc


def _may_sign(issuer: x509.Certificate) -> bool:
    """Is it a CA, and may its key sign certificates?"""
    try:
        basic = issuer.extensions.get_extension_for_class(x509.BasicConstraints).value
        if not basic.ca:
            return False
        return issuer.extensions.get_extension_for_class(x509.KeyUsage).value.key_cert_sign
    except x509.ExtensionNotFound as missing:
        return missing.oid == x509.KeyUsage.oid


def _incomplete(last: x509.Certificate, leaf: x509.Certificate, trust: TrustStore) -> Fault:
    """The issuer of `last` was not sent: an intermediate that the server forgot, or a root that we don't know?

    Servers leave out roots, seldom intermediates. So an issuer of the leaf counts as a forgotten intermediate if
    something says so: the leaf names where to fetch it, or it belongs to an organisation or bears a name of that kind.
    """
    issuer = _shown(last.issuer)
    words = issuer.casefold()
    known = organisations(last.issuer) & trust.organisations
    looks_forgotten = _names_its_issuer(last) or known or any(w in words for w in SUB_CA_WORDS)
    if last is leaf and looks_forgotten and "root" not in words:
        return _fault(Cause.CERT_MISSING_INTERMEDIATE, f"{issuer} was not sent")
    return _fault(Cause.CERT_UNTRUSTED, f"{issuer} is not trusted")


def _names_its_issuer(certificate: x509.Certificate) -> bool:
    """Does it say where its issuer's certificate can be fetched?"""
    try:
        access = certificate.extensions.get_extension_for_class(x509.AuthorityInformationAccess).value
    except x509.ExtensionNotFound:
        return False
    return any(a.access_method == AuthorityInformationAccessOID.CA_ISSUERS for a in access)


def _purpose(leaf: x509.Certificate) -> Iterator[Fault]:
    """May it be a TLS server?"""
    try:
        uses = set(leaf.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value)
    except x509.ExtensionNotFound:
        return
    if not uses & {ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE}:
        yield _fault(Cause.CERT_PURPOSE, "not meant for a TLS server")


def _strength(certificate: x509.Certificate) -> Iterator[Fault]:
    """Key and signature that today's senders refuse."""
    key = certificate.public_key()
    if isinstance(key, rsa.RSAPublicKey) and key.key_size < 2048:
        yield _fault(Cause.CERT_WEAK, f"RSA key of {key.key_size} bits")
    elif isinstance(key, ec.EllipticCurvePublicKey) and key.curve.key_size < 224:
        yield _fault(Cause.CERT_WEAK, f"curve {key.curve.name}")
    elif isinstance(key, dsa.DSAPublicKey):
        yield _fault(Cause.CERT_WEAK, "DSA key")
    algorithm = certificate.signature_hash_algorithm
    if isinstance(algorithm, (hashes.MD5, hashes.SHA1)):
        yield _fault(Cause.CERT_WEAK, f"signed with {algorithm.name}")
