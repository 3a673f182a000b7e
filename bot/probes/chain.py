"""From a leaf towards a trusted root: is the chain whole, in its dates, allowed to sign, strong, and not revoked?

Promises: says every fault that it meets on the way; builds the path from what the server sent and the trust store only.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import dsa, ec, rsa
from cryptography.x509.oid import AuthorityInformationAccessOID

from bot.probes.constraints import overstepped
from bot.probes.reply import sanitise
from bot.probes.revocation import Revocations
from bot.probes.truststore import TrustStore, organisations, signed_by
from knowledge.classify import Cause, Fault, Stage

ALSO_SEEN_AS = " (Exchange Online itself reports this as 4.4.317 UntrustedRoot)"
SUB_CA_WORDS = ("intermediate", "issuing", "subordinate", "sub ca", "subca")


def fault(cause: Cause, detail: str) -> Fault:
    """A certificate fault; all of them show in the TLS stage."""
    return Fault(cause, Stage.TLS, sanitise(detail))


def shown(name: x509.Name) -> str:
    """A distinguished name as it is shown."""
    return sanitise(name.rfc4514_string())


def trust_faults(
    leaf: x509.Certificate, others: Sequence[x509.Certificate], trust: TrustStore, revoked: Revocations, now: datetime
) -> Iterator[Fault]:
    """Walk from the leaf towards an anchor, the trust store first, then what the server sent; judge what is met."""
    current, left = leaf, list(others)
    between = 0
    while current not in trust:
        if anchors := list(trust.issuers_of(current)):
            yield from _revoked(revoked, current, anchors[0])
            yield from _anchor_dates(anchors, now)
            yield from _overstepped(anchors[0], leaf, between)
            return
        if signed_by(current, current):
            cause = Cause.CERT_SELF_SIGNED if current is leaf else Cause.CERT_UNTRUSTED
            yield fault(cause, f"ends at {shown(current.subject)}, which is not trusted")
            return
        signers = [c for c in left if signed_by(current, c)]
        if not signers:
            yield from _revoked(revoked, current, None)
            yield _incomplete(current, leaf, trust)
            return
        issuer = next((c for c in signers if _in_dates(c, now)), signers[0])
        left.remove(issuer)
        yield from _revoked(revoked, current, issuer)
        yield from _issuer(issuer, trust, now)
        yield from _overstepped(issuer, leaf, between)
        current, between = issuer, between + (not signed_by(issuer, issuer))


def _revoked(revoked: Revocations, certificate: x509.Certificate, issuer: x509.Certificate | None) -> Iterator[Fault]:
    """Was it taken back? Then the detail says whose it is and when."""
    if words := revoked.of(certificate, issuer):
        yield fault(Cause.CERT_REVOKED, f"{shown(certificate.subject)} was {words}")


def _overstepped(issuer: x509.Certificate, leaf: x509.Certificate, between: int) -> Iterator[Fault]:
    """Does it vouch for more than it may?"""
    return (fault(cause, f"{shown(issuer.subject)} {words}") for cause, words in overstepped(issuer, leaf, between))


def _anchor_dates(anchors: Sequence[x509.Certificate], now: datetime) -> Iterator[Fault]:
    """An anchor counts while it is valid."""
    if all(a.not_valid_after_utc < now for a in anchors):
        yield fault(Cause.CERT_INTERMEDIATE_EXPIRED, f"the root {shown(anchors[0].subject)} has expired")


def _issuer(issuer: x509.Certificate, trust: TrustStore, now: datetime) -> Iterator[Fault]:
    """An intermediate that the server sent: dates, may it sign, strength. A sent root is judged by where it leads."""
    if issuer in trust:
        return
    if not _in_dates(issuer, now):
        yield fault(Cause.CERT_INTERMEDIATE_EXPIRED, f"{shown(issuer.subject)} is out of its dates")
    if not _may_sign(issuer):
        yield fault(Cause.CERT_PURPOSE, f"{shown(issuer.subject)} may not sign certificates")
    if not signed_by(issuer, issuer):
        yield from strength_faults(issuer)


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
    issuer = shown(last.issuer)
    words = issuer.casefold()
    known = organisations(last.issuer) & trust.organisations
    looks_forgotten = _names_its_issuer(last) or known or any(w in words for w in SUB_CA_WORDS)
    if last is leaf and looks_forgotten and "root" not in words:
        return fault(Cause.CERT_MISSING_INTERMEDIATE, f"{issuer} was not sent{ALSO_SEEN_AS}")
    return fault(Cause.CERT_UNTRUSTED, f"{issuer} is not trusted")


def _names_its_issuer(certificate: x509.Certificate) -> bool:
    """Does it say where its issuer's certificate can be fetched?"""
    try:
        access = certificate.extensions.get_extension_for_class(x509.AuthorityInformationAccess).value
    except x509.ExtensionNotFound:
        return False
    return any(a.access_method == AuthorityInformationAccessOID.CA_ISSUERS for a in access)


def strength_faults(certificate: x509.Certificate) -> Iterator[Fault]:
    """Key and signature that today's senders refuse."""
    key = certificate.public_key()
    if isinstance(key, rsa.RSAPublicKey) and key.key_size < 2048:
        yield fault(Cause.CERT_WEAK, f"RSA key of {key.key_size} bits")
    elif isinstance(key, ec.EllipticCurvePublicKey) and key.curve.key_size < 224:
        yield fault(Cause.CERT_WEAK, f"curve {key.curve.name}")
    elif isinstance(key, dsa.DSAPublicKey):
        yield fault(Cause.CERT_WEAK, "DSA key")
    algorithm = certificate.signature_hash_algorithm
    if isinstance(algorithm, (hashes.MD5, hashes.SHA1)):
        yield fault(Cause.CERT_WEAK, f"signed with {algorithm.name}")


def key_words(certificate: x509.Certificate) -> str:
    """Kind and size of its key: `RSA 2048`, `EC secp256r1`, `Ed25519`."""
    key = certificate.public_key()
    if isinstance(key, rsa.RSAPublicKey):
        return f"RSA {key.key_size}"
    if isinstance(key, ec.EllipticCurvePublicKey):
        return f"EC {key.curve.name}"
    return type(key).__name__.removeprefix("_").removesuffix("PublicKey")
