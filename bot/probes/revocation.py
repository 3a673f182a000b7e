"""Revoked certificates, from a file of CRLs that the administrator keeps. Nothing is ever fetched."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm

from bot.probes.truststore import NoTrustStore

_BEGIN, _END = b"-----BEGIN X509 CRL-----", b"-----END X509 CRL-----"


class Revocations:
    """Revocation lists, found by their issuer's name.

    A list counts only if the issuer signed it, as far as the issuer's certificate is at hand. One that is out of date
    counts all the same: what was revoked stays revoked.
    """

    def __init__(self, lists: Iterable[x509.CertificateRevocationList] = ()) -> None:
        self._by_issuer: dict[bytes, list[x509.CertificateRevocationList]] = {}
        for each in lists:
            self._by_issuer.setdefault(each.issuer.public_bytes(), []).append(each)

    def of(self, certificate: x509.Certificate, issuer: x509.Certificate | None) -> str | None:
        """When and why this certificate was revoked, in words; None if no list names it."""
        for each in self._by_issuer.get(certificate.issuer.public_bytes(), ()):
            entry = each.get_revoked_certificate_by_serial_number(certificate.serial_number)
            if entry is not None and (issuer is None or _signed_by(each, issuer)):
                return f"revoked on {entry.revocation_date_utc:%Y-%m-%d %H:%M} UTC{_reason(entry)}"
        return None


def _signed_by(revoked: x509.CertificateRevocationList, issuer: x509.Certificate) -> bool:
    """Did this CA sign the list?"""
    try:
        return revoked.is_signature_valid(issuer.public_key())  # type: ignore[arg-type]
    except (TypeError, ValueError, UnsupportedAlgorithm):
        return False


def _reason(entry: x509.RevokedCertificate) -> str:
    """The reason code, if there is one."""
    try:
        reason = entry.extensions.get_extension_for_class(x509.CRLReason).value.reason
    except (x509.ExtensionNotFound, ValueError):
        return ""
    return f" ({reason.name.replace('_', ' ')})"


def load(crl_file: Path | None) -> Revocations:
    """The CRLs of a PEM (any number) or DER (one) file; none without a file. Raises NoTrustStore if it is unusable."""
    if crl_file is None:
        return Revocations()
    try:
        text = crl_file.read_bytes()
        if _BEGIN not in text:
            return Revocations([x509.load_der_x509_crl(text)])
        blocks = text.split(_END)[:-1]
        return Revocations(x509.load_pem_x509_crl(_BEGIN + b.partition(_BEGIN)[2] + _END + b"\n") for b in blocks)
    except OSError as error:
        raise NoTrustStore(f"cannot read the CRL file {crl_file}: {error.strerror}") from None
    except ValueError:
        raise NoTrustStore(f"no revocation list in PEM form in the CRL file {crl_file}") from None
