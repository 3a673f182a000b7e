"""App registrations: what signs in, with which credentials and rights."""

from __future__ import annotations

import functools
import secrets
import uuid
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509.oid import NameOID


class Permission(StrEnum):
    """Application permissions; they stand in the token's `roles`."""

    TRACE = "ExchangeMessageTrace.Read.All"
    MANAGE = "Exchange.ManageAsApp"
    MANAGE_V2 = "Exchange.ManageAsAppV2"


class Role(StrEnum):
    """Exchange roles of the service principal; without the right one a cmdlet answers 403."""

    VIEW_CONFIGURATION = "View-Only Configuration"
    VIEW_RECIPIENTS = "View-Only Recipients"
    DOMAINS = "Remote and Accepted Domains"
    TRACKING = "Message Tracking"
    VIEW_ORGANIZATION = "View-Only Organization Management"


READER = frozenset({Role.VIEW_CONFIGURATION, Role.VIEW_RECIPIENTS, Role.VIEW_ORGANIZATION})
FIXER = frozenset({Role.VIEW_CONFIGURATION, Role.VIEW_RECIPIENTS, Role.DOMAINS})


@dataclass(slots=True, kw_only=True)
class App:
    """One registration. `permissions` are granted with the next token, `roles` at once.

    `certificate_file`: PEM, private key first, then the certificate. `secret_ends` and the certificate's own end are
    looked at when it signs in. `certificates` maps SHA-256 thumbprints to what is registered.
    """

    name: str
    certificate_file: Path
    permissions: frozenset[Permission]
    roles: frozenset[Role]
    client_id: str = field(default_factory=lambda: str(uuid.uuid4()))
    secret: str = field(default_factory=lambda: f"sandbox~{secrets.token_urlsafe(24)}", repr=False)
    secret_ends: datetime | None = None
    certificates: dict[bytes, x509.Certificate] = field(default_factory=dict, repr=False)

    def register(self, certificate: x509.Certificate) -> None:
        """Accept assertions that this certificate's key signed."""
        self.certificates[certificate.fingerprint(hashes.SHA256())] = certificate


def registered(
    name: str, directory: Path, now: datetime, *, permissions: frozenset[Permission], roles: frozenset[Role]
) -> App:
    """A new registration with a secret and a certificate, written into `directory`."""
    path = directory / f"{name}.pem"
    app = App(name=name, certificate_file=path, permissions=permissions, roles=roles)
    app.register(write_certificate(path, name, now))
    return app


def write_certificate(
    path: Path, name: str, now: datetime, *, lasts: timedelta = timedelta(days=365)
) -> x509.Certificate:
    """A self-signed certificate and its key as one file that only its owner reads. Returns the certificate."""
    key = _key(name)
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + lasts)
        .sign(key, hashes.SHA256())
    )
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    path.touch(mode=0o600)
    path.write_bytes(private + certificate.public_bytes(serialization.Encoding.PEM))
    return certificate


@functools.cache
def _key(_name: str) -> rsa.RSAPrivateKey:
    """An RSA key, as PS256 wants it; one per name and process, because making it takes long."""
    return rsa.generate_private_key(65537, 2048)
