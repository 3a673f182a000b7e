"""The roots that certificates are judged against: the system's and those of one PEM file. Read once."""

from __future__ import annotations

import ssl
import warnings
from collections.abc import Iterable, Iterator
from datetime import datetime
from functools import cached_property
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.utils import CryptographyDeprecationWarning

SYSTEM_FILES = (
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
)


class NoTrustStore(Exception):
    """The file with the roots can't be used. The text is one line that names it."""


class TrustStore:
    """Certificates that need no further proof, found by name."""

    def __init__(self, anchors: Iterable[x509.Certificate]) -> None:
        self._by_subject: dict[bytes, list[x509.Certificate]] = {}
        for anchor in anchors:
            self._by_subject.setdefault(anchor.subject.public_bytes(), []).append(anchor)

    def issuers_of(self, certificate: x509.Certificate) -> Iterator[x509.Certificate]:
        """The anchors that really signed this certificate."""
        candidates = self._by_subject.get(certificate.issuer.public_bytes(), [])
        return (a for a in candidates if signed_by(certificate, a))

    def __contains__(self, certificate: x509.Certificate) -> bool:
        return certificate in self._by_subject.get(certificate.subject.public_bytes(), [])

    @cached_property
    def expiries(self) -> tuple[datetime, ...]:
        """When the anchors expire."""
        return tuple({a.not_valid_after_utc for group in self._by_subject.values() for a in group})

    @cached_property
    def organisations(self) -> frozenset[str]:
        """The organisations of all anchors, in lower case."""
        anchors = (a for group in self._by_subject.values() for a in group)
        return frozenset(name for a in anchors for name in organisations(a.subject))


def signed_by(certificate: x509.Certificate, issuer: x509.Certificate) -> bool:
    """Do names and signature agree?"""
    try:
        certificate.verify_directly_issued_by(issuer)
    except (ValueError, TypeError, InvalidSignature, UnsupportedAlgorithm):
        return False
    return True


def organisations(name: x509.Name) -> frozenset[str]:
    """The organisations in a name, in lower case."""
    attributes = name.get_attributes_for_oid(x509.NameOID.ORGANIZATION_NAME)
    return frozenset(str(a.value).casefold() for a in attributes)


def load(ca_file: Path | None) -> TrustStore:
    """The system's roots and those in `ca_file`. Raises NoTrustStore if that file is unreadable or holds none.

    A system without any list of roots is no error: then every public certificate is untrusted, which is the truth.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", CryptographyDeprecationWarning)
            own = x509.load_pem_x509_certificates(ca_file.read_bytes()) if ca_file else ()
            return TrustStore((*own, *_system()))
    except OSError as error:
        raise NoTrustStore(f"cannot read the CA file {ca_file}: {error.strerror}") from None
    except ValueError:
        raise NoTrustStore(f"no certificate in PEM form in the CA file {ca_file}") from None


def _system() -> Iterator[x509.Certificate]:
    """The system's roots from the first file that exists; a root that can't be parsed is left out."""
    named = ssl.get_default_verify_paths().cafile
    path = next((p for p in (named, *SYSTEM_FILES) if p and Path(p).is_file()), None)
    for block in _blocks(Path(path).read_bytes()) if path else ():
        try:
            yield x509.load_pem_x509_certificate(block)
        except ValueError:
            continue


def _blocks(text: bytes) -> Iterator[bytes]:
    """The PEM blocks of a bundle, one by one."""
    end = b"-----END CERTIFICATE-----"
    return (block + end for block in text.split(end)[:-1])
