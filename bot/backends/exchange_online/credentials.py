"""What proves an app registration: its certificate with the private key (PEM or PFX), or its secret."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import pkcs12

from bot.backends.exchange_online.options import Registration

MAX_FILE = 1024 * 1024


class UnusableCertificate(Exception):
    """The file holds no certificate with its key. The text says what is wrong, never what is in it."""


def credential(registration: Registration) -> str | dict[str, Any]:
    """In MSAL's form. Reads the file: call it in a thread. Raises UnusableCertificate."""
    if registration.certificate is None:
        return registration.secret or ""
    key, certificate = _opened(registration.certificate, registration.password)
    return {
        "private_key": key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        ).decode(),
        "public_certificate": certificate.public_bytes(serialization.Encoding.PEM).decode(),
    }


def certificate_ends(registration: Registration) -> datetime | None:
    """Until when its certificate is good; None for a secret. Reads the file: call it in a thread."""
    if registration.certificate is None:
        return None
    return _opened(registration.certificate, registration.password)[1].not_valid_after_utc


def _opened(path: Path, password: str | None) -> tuple[rsa.RSAPrivateKey, x509.Certificate]:
    try:
        with path.open("rb") as file:
            content = file.read(MAX_FILE)
    except OSError:
        raise UnusableCertificate("its certificate file can't be read") from None
    if b"-----BEGIN" in content:
        return _pem(content, password.encode() if password else None)
    try:
        key, certificate, _ = pkcs12.load_key_and_certificates(content, password.encode() if password else None)
    except (ValueError, TypeError):
        raise UnusableCertificate("its certificate file is neither PEM nor PFX, or the password is wrong") from None
    return _checked(key, certificate)


def _pem(content: bytes, password: bytes | None) -> tuple[rsa.RSAPrivateKey, x509.Certificate]:
    """The private key, and the certificate that belongs to it: a file may hold a chain, in any order."""
    try:
        key = serialization.load_pem_private_key(content, password)
    except (ValueError, TypeError):
        raise UnusableCertificate(
            "its certificate file has no private key that opens with the given password"
        ) from None
    try:
        listed = x509.load_pem_x509_certificates(content)
    except ValueError:
        listed = []
    own = key.public_key()
    return _checked(key, next((c for c in listed if c.public_key() == own), None))


def _checked(key: object, certificate: x509.Certificate | None) -> tuple[rsa.RSAPrivateKey, x509.Certificate]:
    if not isinstance(key, rsa.RSAPrivateKey):
        raise UnusableCertificate("its certificate file has no RSA key: Microsoft's sign-in wants one")
    if certificate is None:
        raise UnusableCertificate("its certificate file has the private key but not the certificate that belongs to it")
    return key, certificate
