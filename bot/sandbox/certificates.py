"""Certificates for the broken and the good mail servers, made at start into a directory of the caller's.

A root that clients trust (`ca_file`), an intermediate below it, an expired intermediate, and a root that nobody
trusts. Elliptic keys keep it cheap; only the deliberately weak one is RSA.
"""

from __future__ import annotations

import ipaddress
import ssl
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

Key = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey

LONG = timedelta(days=825)
PAST = timedelta(days=400)
WEAK_BITS = 1024


class Flaw(StrEnum):
    """What is wrong with a certificate; NONE and WILDCARD are right."""

    NONE = "none"
    WILDCARD = "wildcard"
    EXPIRED = "expired"
    NOT_YET_VALID = "not_yet_valid"
    WRONG_NAME = "wrong_name"
    EXPIRED_WRONG_NAME = "expired_wrong_name"
    SELF_SIGNED = "self_signed"
    UNKNOWN_CA = "unknown_ca"
    MISSING_INTERMEDIATE = "missing_intermediate"
    EXPIRED_INTERMEDIATE = "expired_intermediate"
    EXPIRING_SOON = "expiring_soon"
    CN_ONLY = "cn_only"
    WEAK = "weak"
    NOT_FOR_SERVERS = "not_for_servers"
    REVOKED = "revoked"
    WILDCARD_TOO_DEEP = "wildcard_too_deep"


@dataclass(frozen=True, slots=True)
class Issuer:
    """A CA: its certificate, its key, and what a server has to send besides the leaf."""

    certificate: x509.Certificate
    key: Key
    sent: tuple[x509.Certificate, ...] = ()


class CertificateShop:
    """Makes server certificates with any flaw. Writes only into `directory`."""

    def __init__(self, directory: Path, now: datetime) -> None:
        self._directory = directory
        self._now = now
        self._made = 0
        root = self._authority("Sandbox Root", None)
        self._intermediate = self._authority("Sandbox Intermediate", root)
        self._expired = self._authority("Sandbox Expired Intermediate", root, until=now - timedelta(days=3))
        self._unknown = self._authority("Private Root of Nobody", None)
        self.leaves: dict[str, x509.Certificate] = {}
        """The latest certificate of each host."""
        self.intermediate = self._intermediate.certificate
        self.ca_file = directory / "ca.pem"
        self.ca_file.write_bytes(_pem(root.certificate))
        self._revoked: list[x509.RevokedCertificate] = []
        self.crl_file = directory / "revoked.pem"
        self._write_revocations()

    def context(self, host: str, flaw: Flaw = Flaw.NONE) -> ssl.SSLContext:
        """A server's TLS context with a certificate for this host that has this flaw."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        if flaw is Flaw.WEAK:
            context.set_ciphers("DEFAULT:@SECLEVEL=0")
        context.load_cert_chain(self.file(host, flaw))
        return context

    def file(self, host: str, flaw: Flaw = Flaw.NONE) -> Path:
        """A PEM file with the key and the chain that a server with this flaw sends."""
        key: Key = rsa.generate_private_key(65537, WEAK_BITS) if flaw is Flaw.WEAK else _new_key()
        issuer = self._issuer(flaw, key, host)
        leaf = self._leaf(host, flaw, key, issuer)
        if flaw is Flaw.REVOKED:
            self._revoke(leaf)
        self.leaves[host] = leaf
        sent = () if flaw in (Flaw.MISSING_INTERMEDIATE, Flaw.SELF_SIGNED) else issuer.sent
        return self._written(key, [leaf, *sent])

    def _revoke(self, leaf: x509.Certificate) -> None:
        """Take a certificate back, and publish that."""
        entry = x509.RevokedCertificateBuilder(leaf.serial_number, self._now - timedelta(hours=1)).build()
        self._revoked.append(entry)
        self._write_revocations()

    def _write_revocations(self) -> None:
        """The intermediate's list of what it has taken back."""
        name = self._intermediate.certificate.subject
        since, until = self._now - timedelta(hours=1), self._now + LONG
        builder = x509.CertificateRevocationListBuilder(name, since, until, revoked_certificates=self._revoked)
        signed = builder.sign(self._intermediate.key, hashes.SHA256())
        self.crl_file.write_bytes(signed.public_bytes(serialization.Encoding.PEM))

    def _issuer(self, flaw: Flaw, key: Key, host: str) -> Issuer:
        """Who signs a certificate with this flaw."""
        if flaw is Flaw.SELF_SIGNED:
            return Issuer(self._authority(host, None, key=key).certificate, key)
        return {Flaw.UNKNOWN_CA: self._unknown, Flaw.EXPIRED_INTERMEDIATE: self._expired}.get(flaw, self._intermediate)

    def _leaf(self, host: str, flaw: Flaw, key: Key, issuer: Issuer) -> x509.Certificate:
        """The server's own certificate."""
        name = {
            Flaw.WRONG_NAME: "other.example.test",
            Flaw.EXPIRED_WRONG_NAME: "other.example.test",
            Flaw.WILDCARD: f"*.{host.partition('.')[2]}",
            Flaw.WILDCARD_TOO_DEEP: f"*.{host.partition('.')[2].partition('.')[2]}",
        }.get(flaw, host)
        subject = issuer.certificate.subject if flaw is Flaw.SELF_SIGNED else _named(name)
        builder = _builder(subject, key, issuer.certificate.subject, issuer.key, self._dates(flaw))
        purpose = ExtendedKeyUsageOID.SERVER_AUTH
        if flaw is Flaw.NOT_FOR_SERVERS:
            purpose = ExtendedKeyUsageOID.EMAIL_PROTECTION
        builder = builder.add_extension(x509.ExtendedKeyUsage([purpose]), critical=False)
        builder = builder.add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        if flaw is not Flaw.CN_ONLY:
            builder = builder.add_extension(x509.SubjectAlternativeName([_alternative(name)]), critical=False)
        return builder.sign(issuer.key, hashes.SHA256())

    def _dates(self, flaw: Flaw) -> tuple[datetime, datetime]:
        """From when to when it is valid."""
        since, until = self._now - timedelta(days=1), self._now + LONG
        if flaw in (Flaw.EXPIRED, Flaw.EXPIRED_WRONG_NAME):
            return self._now - PAST, self._now - timedelta(days=2)
        if flaw is Flaw.NOT_YET_VALID:
            return self._now + timedelta(days=2), until
        return since, self._now + timedelta(days=9) if flaw is Flaw.EXPIRING_SOON else until

    def _authority(
        self, name: str, parent: Issuer | None, *, until: datetime | None = None, key: Key | None = None
    ) -> Issuer:
        """A CA below `parent`, or one that signs itself."""
        own = key or _new_key()
        subject = _named(name)
        signer = parent.certificate.subject if parent else subject
        signing = parent.key if parent else own
        builder = _builder(subject, own, signer, signing, (self._now - PAST, until or self._now + 2 * LONG))
        builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        usage = x509.KeyUsage(
            digital_signature=True,
            key_cert_sign=True,
            crl_sign=True,
            content_commitment=False,
            key_encipherment=False,
            data_encipherment=False,
            key_agreement=False,
            encipher_only=False,
            decipher_only=False,
        )
        certificate = builder.add_extension(usage, critical=True).sign(signing, hashes.SHA256())
        return Issuer(certificate, own, (certificate, *parent.sent) if parent else ())

    def _written(self, key: Key, chain: Sequence[x509.Certificate]) -> Path:
        """Key and chain as a file that only its owner reads."""
        self._made += 1
        path = self._directory / f"server{self._made}.pem"
        private = key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        path.touch(mode=0o600)
        path.write_bytes(private + b"".join(map(_pem, chain)))
        return path


def only(context: ssl.SSLContext, version: ssl.TLSVersion) -> ssl.SSLContext:
    """The same context with just this version of TLS, however old."""
    if version < ssl.TLSVersion.TLSv1_2:
        context.set_ciphers("DEFAULT:@SECLEVEL=0")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        context.minimum_version = ssl.TLSVersion.TLSv1
        context.maximum_version = version
        context.minimum_version = version
    return context


def by_name(default: ssl.SSLContext, host: str, right: ssl.SSLContext) -> ssl.SSLContext:
    """A context that shows the right certificate only to clients that ask for this host (SNI)."""

    def choose(session: ssl.SSLObject | ssl.SSLSocket, name: str | None, _: ssl.SSLContext) -> None:
        if name == host:
            session.context = right

    default.sni_callback = choose
    return default


def wanting_client_certificate(context: ssl.SSLContext, ca_file: Path) -> ssl.SSLContext:
    """The same context, demanding a certificate from clients."""
    context.load_verify_locations(ca_file)
    context.verify_mode = ssl.CERT_REQUIRED
    return context


def _builder(
    subject: x509.Name, key: Key, issuer: x509.Name, signing: Key, dates: tuple[datetime, datetime]
) -> x509.CertificateBuilder:
    """What every certificate has."""
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(dates[0])
        .not_valid_after(dates[1])
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(signing.public_key()), critical=False)
    )


def _named(common_name: str) -> x509.Name:
    """A name with just a common name."""
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])


def _alternative(name: str) -> x509.GeneralName:
    """What a certificate calls this host: an address is an address, not a name."""
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def _new_key() -> ec.EllipticCurvePrivateKey:
    """A cheap good key."""
    return ec.generate_private_key(ec.SECP256R1())


def _pem(certificate: x509.Certificate) -> bytes:
    """As text."""
    return certificate.public_bytes(serialization.Encoding.PEM)
