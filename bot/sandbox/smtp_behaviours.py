"""How the sandbox's mail servers behave, and which server has which behaviour: two tables.

The second one says also what a probe must find there: it is the oracle of the probe's tests and the cast of the demo.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from bot.sandbox.certificates import Flaw
from storage.records import TlsSetting


class Behaviour(StrEnum):
    """What a server does to whoever connects. The CERT_… ones are good servers with a bad certificate."""

    GOOD = "good"
    GOOD_PLAIN = "good_plain"
    GOOD_TLS12 = "good_tls12"
    GOOD_WILDCARD = "good_wildcard"
    GOOD_NO_QUIT = "good_no_quit"
    GOOD_BARE_LF = "good_bare_lf"
    GOOD_SPLIT = "good_split"
    HELO_ONLY = "helo_only"
    REFUSED = "refused"
    BLACK_HOLE = "black_hole"
    CLOSES = "closes"
    RESETS = "resets"
    SILENT = "silent"
    DRIP = "drip"
    FLOOD = "flood"
    ENDLESS = "endless"
    CUT = "cut"
    BUSY = "busy"
    REJECTS = "rejects"
    NOT_SMTP = "not_smtp"
    BINARY = "binary"
    EHLO_CLOSES = "ehlo_closes"
    EHLO_SILENT = "ehlo_silent"
    EHLO_REJECTED = "ehlo_rejected"
    STARTTLS_REJECTED = "starttls_rejected"
    STARTTLS_CLOSES = "starttls_closes"
    STARTTLS_ACCEPTS_CLOSES = "starttls_accepts_closes"
    STARTTLS_SILENT = "starttls_silent"
    STARTTLS_PLAIN = "starttls_plain"
    INJECTION = "injection"
    TLS_ALERT = "tls_alert"
    TLS10_ONLY = "tls10_only"
    CLIENT_CERTIFICATE = "client_certificate"
    CLIENT_CERTIFICATE_TLS12 = "client_certificate_tls12"
    CERT_EXPIRED = "cert_expired"
    CERT_NOT_YET_VALID = "cert_not_yet_valid"
    CERT_WRONG_NAME = "cert_wrong_name"
    CERT_EXPIRED_WRONG_NAME = "cert_expired_wrong_name"
    CERT_SELF_SIGNED = "cert_self_signed"
    CERT_UNKNOWN_CA = "cert_unknown_ca"
    CERT_MISSING_INTERMEDIATE = "cert_missing_intermediate"
    CERT_EXPIRED_INTERMEDIATE = "cert_expired_intermediate"
    CERT_EXPIRING_SOON = "cert_expiring_soon"
    CERT_CN_ONLY = "cert_cn_only"
    CERT_WEAK = "cert_weak"
    CERT_PURPOSE = "cert_purpose"


B = Behaviour

FLAWS = {
    B.GOOD_WILDCARD: Flaw.WILDCARD,
    B.CERT_EXPIRED: Flaw.EXPIRED,
    B.CERT_NOT_YET_VALID: Flaw.NOT_YET_VALID,
    B.CERT_WRONG_NAME: Flaw.WRONG_NAME,
    B.CERT_EXPIRED_WRONG_NAME: Flaw.EXPIRED_WRONG_NAME,
    B.CERT_SELF_SIGNED: Flaw.SELF_SIGNED,
    B.CERT_UNKNOWN_CA: Flaw.UNKNOWN_CA,
    B.CERT_MISSING_INTERMEDIATE: Flaw.MISSING_INTERMEDIATE,
    B.CERT_EXPIRED_INTERMEDIATE: Flaw.EXPIRED_INTERMEDIATE,
    B.CERT_EXPIRING_SOON: Flaw.EXPIRING_SOON,
    B.CERT_CN_ONLY: Flaw.CN_ONLY,
    B.CERT_WEAK: Flaw.WEAK,
    B.CERT_PURPOSE: Flaw.NOT_FOR_SERVERS,
}
"""The certificate flaw of each behaviour that has one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerSpec:
    """One stand-in: where it is, what a connector to it demands, and what a probe of it must find.

    `behaviour` None: only a name in the DNS, broken there; then `ip` is None too. `use_mx`: `host` is to be probed as
    an MX domain. `expected_cause` is the cause's name; `expected_warning` one that must be among the warnings.
    """

    name: str
    host: str
    port: int
    ip: str | None = None
    behaviour: Behaviour | None = None
    tls_setting: TlsSetting = TlsSetting.OPPORTUNISTIC
    tls_domain: str | None = None
    use_mx: bool = False
    expected_code: str | None = None
    expected_cause: str | None = None
    expected_warning: str | None = None


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the cast."""

    name: str
    behaviour: Behaviour
    tls_setting: TlsSetting
    code: str | None = None
    cause: str | None = None
    warning: str | None = None
    tls_domain: str | None = None


_NONE, _OPPORTUNISTIC = TlsSetting.NONE, TlsSetting.OPPORTUNISTIC
_ENCRYPTION, _CERTIFICATE, _DOMAIN = TlsSetting.ENCRYPTION, TlsSetting.CERTIFICATE, TlsSetting.DOMAIN

CAST: tuple[Row, ...] = (
    Row("good", B.GOOD, _OPPORTUNISTIC),
    Row("good-none", B.GOOD, _NONE),
    Row("good-plain", B.GOOD_PLAIN, _OPPORTUNISTIC, warning="no_starttls"),
    Row("good-encryption", B.CERT_SELF_SIGNED, _ENCRYPTION, warning="cert_self_signed"),
    Row("good-certificate", B.CERT_WRONG_NAME, _CERTIFICATE, warning="cert_name"),
    Row("good-domain", B.GOOD, _DOMAIN),
    Row("good-wildcard", B.GOOD_WILDCARD, _DOMAIN, tls_domain="*.mail.test"),
    Row("good-tls12", B.GOOD_TLS12, _DOMAIN),
    Row("good-no-quit", B.GOOD_NO_QUIT, _CERTIFICATE),
    Row("good-bare-lf", B.GOOD_BARE_LF, _OPPORTUNISTIC, warning="bare_lf"),
    Row("good-split", B.GOOD_SPLIT, _OPPORTUNISTIC),
    Row("good-opportunistic", B.CERT_EXPIRED, _OPPORTUNISTIC, warning="cert_expired"),
    Row("helo-only", B.HELO_ONLY, _OPPORTUNISTIC, warning="helo_only"),
    Row("expiring-soon", B.CERT_EXPIRING_SOON, _CERTIFICATE, warning="expiring_soon"),
    Row("cn-only", B.CERT_CN_ONLY, _DOMAIN, warning="cn_only"),
    Row("refused", B.REFUSED, _OPPORTUNISTIC, "4.4.316", "refused"),
    Row("black-hole", B.BLACK_HOLE, _OPPORTUNISTIC, "4.4.315", "connect_timeout"),
    Row("closes", B.CLOSES, _OPPORTUNISTIC, "4.4.318", "closed"),
    Row("resets", B.RESETS, _OPPORTUNISTIC, "4.4.318", "reset"),
    Row("silent", B.SILENT, _OPPORTUNISTIC, "4.4.318", "stalled"),
    Row("drip", B.DRIP, _OPPORTUNISTIC, "4.4.318", "stalled"),
    Row("cut", B.CUT, _OPPORTUNISTIC, "4.4.318", "closed"),
    Row("ehlo-closes", B.EHLO_CLOSES, _OPPORTUNISTIC, "4.4.318", "closed"),
    Row("ehlo-silent", B.EHLO_SILENT, _OPPORTUNISTIC, "4.4.318", "stalled"),
    Row("flood", B.FLOOD, _OPPORTUNISTIC, "4.4.317", "flood"),
    Row("endless", B.ENDLESS, _OPPORTUNISTIC, "4.4.317", "flood"),
    Row("busy", B.BUSY, _OPPORTUNISTIC, "4.4.317", "rate_limited"),
    Row("rejects", B.REJECTS, _OPPORTUNISTIC, "4.4.317", "smtp_error"),
    Row("not-smtp", B.NOT_SMTP, _OPPORTUNISTIC, "4.4.317", "not_smtp"),
    Row("binary", B.BINARY, _OPPORTUNISTIC, "4.4.317", "not_smtp"),
    Row("ehlo-rejected", B.EHLO_REJECTED, _OPPORTUNISTIC, "4.4.317", "smtp_error"),
    Row("no-starttls", B.GOOD_PLAIN, _ENCRYPTION, "4.4.317", "no_starttls"),
    Row("helo-only-tls", B.HELO_ONLY, _ENCRYPTION, "4.4.317", "no_starttls", "helo_only"),
    Row("starttls-rejected", B.STARTTLS_REJECTED, _ENCRYPTION, "4.4.317", "starttls_rejected"),
    Row("injection", B.INJECTION, _ENCRYPTION, "4.4.317", "starttls_injection"),
    Row("starttls-plain", B.STARTTLS_PLAIN, _ENCRYPTION, "4.4.317", "tls_failed"),
    Row("tls-alert", B.TLS_ALERT, _ENCRYPTION, "4.4.317", "tls_alert"),
    Row("tls10-only", B.TLS10_ONLY, _ENCRYPTION, "4.4.317", "tls_version"),
    Row("client-certificate", B.CLIENT_CERTIFICATE, _ENCRYPTION, "4.4.317", "client_certificate_wanted"),
    Row("client-certificate-12", B.CLIENT_CERTIFICATE_TLS12, _ENCRYPTION, "4.4.317", "client_certificate_wanted"),
    Row("starttls-closes", B.STARTTLS_CLOSES, _ENCRYPTION, "4.4.318", "closed"),
    Row("starttls-accepts-closes", B.STARTTLS_ACCEPTS_CLOSES, _ENCRYPTION, "4.4.318", "closed"),
    Row("starttls-silent", B.STARTTLS_SILENT, _ENCRYPTION, "4.4.318", "stalled"),
    Row("cert-expired", B.CERT_EXPIRED, _CERTIFICATE, "4.7.320", "cert_expired"),
    Row("cert-not-yet-valid", B.CERT_NOT_YET_VALID, _CERTIFICATE, "4.7.320", "cert_not_yet_valid"),
    Row("cert-wrong-name", B.CERT_WRONG_NAME, _DOMAIN, "4.7.320", "cert_name"),
    Row("cert-expired-wrong-name", B.CERT_EXPIRED_WRONG_NAME, _DOMAIN, "4.7.320", "cert_expired"),
    Row("cert-self-signed", B.CERT_SELF_SIGNED, _CERTIFICATE, "4.7.320", "cert_self_signed"),
    Row("cert-unknown-ca", B.CERT_UNKNOWN_CA, _CERTIFICATE, "4.7.320", "cert_untrusted"),
    Row("cert-missing-intermediate", B.CERT_MISSING_INTERMEDIATE, _CERTIFICATE, "4.7.320", "cert_missing_intermediate"),
    Row("cert-expired-intermediate", B.CERT_EXPIRED_INTERMEDIATE, _CERTIFICATE, "4.7.320", "cert_intermediate_expired"),
    Row("cert-weak", B.CERT_WEAK, _CERTIFICATE, "4.7.320", "cert_weak"),
    Row("cert-purpose", B.CERT_PURPOSE, _CERTIFICATE, "4.7.320", "cert_purpose"),
)
"""Every server that listens (or refuses to) on loopback."""
