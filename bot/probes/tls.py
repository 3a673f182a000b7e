"""The TLS handshake of a probe, without verification: what the certificate is worth is judged afterwards by name.

Promises: nothing but the handshake and EHLO/QUIT ever travels over such a session, so nothing can be lost to an
impostor; every failure becomes a cause.
"""

from __future__ import annotations

import _ssl
import ssl
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from bot.probes import flight
from bot.probes.reply import sanitise
from knowledge.classify import Cause

VERSION_REASONS = frozenset(
    {
        "UNSUPPORTED_PROTOCOL",
        "TLSV1_ALERT_PROTOCOL_VERSION",
        "NO_PROTOCOLS_AVAILABLE",
        "WRONG_SSL_VERSION",
        "VERSION_TOO_LOW",
        "UNKNOWN_PROTOCOL",
        "LEGACY_SIGALG_DISALLOWED_OR_UNSUPPORTED",
    }
)


ANSWERED_BY_CERTIFICATE = "the server's certificate had come already"
"""Note on a handshake error: what the server disliked is on our side, and all that we withhold is a certificate."""
ALERT_REASONS = ("SSLV3_ALERT_", "TLSV1_", "TLSV13_")
"""How OpenSSL's names of what a peer's alert said begin; not all of them say ALERT."""
CLIENT_REASONS = frozenset(
    {"SSLV3_ALERT_HANDSHAKE_FAILURE", "SSLV3_ALERT_BAD_CERTIFICATE", "SSLV3_ALERT_NO_CERTIFICATE"}
)


class ObservedSession(ssl.SSLObject):
    """A session that notes on a failed handshake how far it had come."""

    def do_handshake(self) -> None:
        """Shake hands; a failure after the server's certificate bears a note."""
        try:
            super().do_handshake()
        except ssl.SSLError as error:
            if error.reason and chain_of(self):
                error.add_note(ANSWERED_BY_CERTIFICATE)
            raise


def make_context() -> ssl.SSLContext:
    """A context for looking, not for trusting: TLS 1.2 or newer, no verification, one for all probes."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.sslobject_class = ObservedSession
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    return context


@dataclass(frozen=True, slots=True)
class Sight:
    """What a session shows of itself. `chain`: the certificates as sent, DER, leaf first.

    `finished`: the handshake came to its end, so the server has proven that the certificate is its own.
    """

    version: str | None
    cipher: str | None
    chain: tuple[bytes, ...]
    finished: bool


def finished(session: ssl.SSLObject) -> Sight:
    """A session after its handshake."""
    cipher = session.cipher()
    return Sight(session.version(), cipher[0] if cipher else None, tuple(chain_of(session)), True)


def unfinished(session: ssl.SSLObject | None, words: bytes) -> Sight | None:
    """A session whose handshake failed: what was known by then, from OpenSSL or from the server's own `words`.

    None if no certificate had come, or only an encrypted one.
    """
    if session is None:
        return None
    heard = flight.read(words)
    chain = tuple(chain_of(session)) or heard.chain
    return Sight(heard.version, _cipher_name(session, heard.cipher), chain, False) if chain else None


def _cipher_name(session: ssl.SSLObject, number: int | None) -> str | None:
    """The cipher of this number, if we know it."""
    return next((c["name"] for c in session.context.get_ciphers() if c["id"] & 0xFFFF == number), None)


def chain_of(session: ssl.SSLObject) -> Sequence[bytes]:
    """The certificates as the server sent them, DER, leaf first."""
    public = getattr(session, "get_unverified_chain", None)
    if public is not None:
        return [bytes(der) for der in public()]
    # Before Python 3.13 it is only one level down.
    inner: Any = getattr(session, "_sslobj")  # noqa: B009
    return [c.public_bytes(_ssl.ENCODING_DER) for c in inner.get_unverified_chain() or ()]


def cause_of(error: BaseException) -> tuple[Cause, str]:
    """What a broken handshake or session means, and the words for it."""
    if isinstance(error, TimeoutError):
        return Cause.STALLED, "silent during the TLS handshake"
    if isinstance(error, ssl.SSLError) and not isinstance(error, ssl.SSLEOFError | ssl.SSLZeroReturnError):
        late = ANSWERED_BY_CERTIFICATE in getattr(error, "__notes__", ())
        return _of_reason(error.reason or "", late=late)
    if isinstance(error, ConnectionResetError) and error.errno:
        return Cause.RESET, "reset during the TLS handshake"
    return Cause.CLOSED, "closed during the TLS handshake"


def _of_reason(reason: str, *, late: bool) -> tuple[Cause, str]:
    """OpenSSL's own word for what went wrong, sorted. `late`: after the server had sent its certificate."""
    words = sanitise(reason.lower().replace("_", " ")) or "TLS handshake failed"
    if reason in VERSION_REASONS:
        return Cause.TLS_VERSION, f"{words}: the server speaks nothing newer than TLS 1.1"
    if "CERTIFICATE_REQUIRED" in reason or (late and reason in CLIENT_REASONS):
        return Cause.CLIENT_CERTIFICATE_WANTED, words
    if reason.startswith(ALERT_REASONS):
        return Cause.TLS_ALERT, words
    if reason == "WRONG_VERSION_NUMBER":
        return Cause.TLS_FAILED, "plain text where TLS was expected"
    return Cause.TLS_FAILED, words
