"""The cast of the sandbox: which server behaves how, what its connector demands, and what a probe must find there.

It is the oracle of the probe's tests and the stock that the demo picks from.
"""

from __future__ import annotations

from dataclasses import dataclass

from bot.sandbox.smtp_behaviours import Behaviour
from storage.records import TlsSetting

B = Behaviour


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
    rcpt: str | None = None


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
    Row("good-tls13", B.GOOD_TLS13, _DOMAIN),
    Row("good-multiline", B.GOOD_MULTILINE, _DOMAIN),
    Row("good-slow-greeting", B.GOOD_SLOW_GREETING, _OPPORTUNISTIC),
    Row("good-slow-ehlo", B.GOOD_SLOW_EHLO, _ENCRYPTION),
    Row("good-long-line", B.GOOD_LONG_LINE, _ENCRYPTION),
    Row("good-odd-ehlo", B.GOOD_ODD_EHLO, _ENCRYPTION),
    Row("good-sni", B.GOOD_SNI, _DOMAIN),
    Row("xn--bcher-kva", B.GOOD, _DOMAIN),
    Row("good-tls-domain", B.CERT_WRONG_NAME, _DOMAIN, tls_domain="other.example.test"),
    Row("good-tls12-certificate", B.GOOD_TLS12, _CERTIFICATE),
    Row("good-tls13-encryption", B.GOOD_TLS13, _ENCRYPTION),
    Row("good-no-quit", B.GOOD_NO_QUIT, _CERTIFICATE),
    Row("good-bare-lf", B.GOOD_BARE_LF, _OPPORTUNISTIC, warning="bare_lf"),
    Row("good-split", B.GOOD_SPLIT, _OPPORTUNISTIC),
    Row("good-opportunistic", B.CERT_EXPIRED, _OPPORTUNISTIC, warning="cert_expired"),
    Row("helo-only", B.HELO_ONLY, _OPPORTUNISTIC, warning="helo_only"),
    Row("helo-only-none", B.HELO_ONLY, _NONE, warning="helo_only"),
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
    Row("ehlo-resets", B.EHLO_RESETS, _OPPORTUNISTIC, "4.4.318", "reset"),
    Row("ehlo-cut", B.EHLO_CUT, _OPPORTUNISTIC, "4.4.318", "closed"),
    Row("flood", B.FLOOD, _OPPORTUNISTIC, "4.4.317", "flood"),
    Row("endless", B.ENDLESS, _OPPORTUNISTIC, "4.4.317", "flood"),
    Row("busy", B.BUSY, _OPPORTUNISTIC, "4.4.317", "rate_limited"),
    Row("rejects", B.REJECTS, _OPPORTUNISTIC, "4.4.317", "smtp_error"),
    Row("rejects-later", B.REJECTS_LATER, _OPPORTUNISTIC, "4.4.317", "smtp_error"),
    Row("not-smtp", B.NOT_SMTP, _OPPORTUNISTIC, "4.4.317", "not_smtp"),
    Row("not-smtp-pop3", B.NOT_SMTP_POP3, _OPPORTUNISTIC, "4.4.317", "not_smtp"),
    Row("not-smtp-http", B.NOT_SMTP_HTTP, _OPPORTUNISTIC, "4.4.317", "not_smtp"),
    Row("ftp", B.FTP, _OPPORTUNISTIC, "4.4.317", "smtp_error"),
    Row("binary", B.BINARY, _OPPORTUNISTIC, "4.4.317", "not_smtp"),
    Row("ehlo-rejected", B.EHLO_REJECTED, _OPPORTUNISTIC, "4.4.317", "smtp_error"),
    Row("ehlo-busy", B.EHLO_BUSY, _OPPORTUNISTIC, "4.4.317", "rate_limited"),
    Row("ehlo-endless", B.EHLO_ENDLESS, _OPPORTUNISTIC, "4.4.317", "flood"),
    Row("helo-closes", B.HELO_CLOSES, _OPPORTUNISTIC, "4.4.317", "smtp_error"),
    Row("no-starttls", B.GOOD_PLAIN, _ENCRYPTION, "4.4.317", "no_starttls"),
    Row("helo-only-tls", B.HELO_ONLY, _ENCRYPTION, "4.4.317", "no_starttls", "helo_only"),
    Row("starttls-rejected", B.STARTTLS_REJECTED, _ENCRYPTION, "4.4.317", "starttls_rejected"),
    Row("starttls-unknown", B.STARTTLS_UNKNOWN, _CERTIFICATE, "4.4.317", "starttls_rejected"),
    Row("starttls-rejected-opportunistic", B.STARTTLS_REJECTED, _OPPORTUNISTIC, warning="starttls_rejected"),
    Row("starttls-busy", B.STARTTLS_BUSY, _OPPORTUNISTIC, "4.4.317", "rate_limited"),
    Row("no-starttls-domain", B.GOOD_PLAIN, _DOMAIN, "4.4.317", "no_starttls"),
    Row("injection-opportunistic", B.INJECTION, _OPPORTUNISTIC, warning="starttls_injection"),
    Row("injection", B.INJECTION, _ENCRYPTION, "4.4.317", "starttls_injection"),
    Row("starttls-plain", B.STARTTLS_PLAIN, _ENCRYPTION, "4.4.317", "tls_failed"),
    Row("tls-alert", B.TLS_ALERT, _ENCRYPTION, "4.4.317", "tls_alert"),
    Row("tls-alert-internal", B.TLS_ALERT_INTERNAL, _ENCRYPTION, "4.4.317", "tls_alert"),
    Row("tls-alert-version", B.TLS_ALERT_VERSION, _ENCRYPTION, "4.4.317", "tls_version"),
    Row("tls-garbage", B.TLS_GARBAGE, _ENCRYPTION, "4.4.317", "tls_failed"),
    Row("tls11-only", B.TLS11_ONLY, _DOMAIN, "4.4.317", "tls_version"),
    Row("tls10-opportunistic", B.TLS10_ONLY, _OPPORTUNISTIC, warning="tls_version"),
    Row("tls10-only", B.TLS10_ONLY, _ENCRYPTION, "4.4.317", "tls_version"),
    Row("client-certificate", B.CLIENT_CERTIFICATE, _ENCRYPTION, "4.4.317", "client_certificate_wanted"),
    Row("client-certificate-12", B.CLIENT_CERTIFICATE_TLS12, _ENCRYPTION, "4.4.317", "client_certificate_wanted"),
    Row("starttls-closes", B.STARTTLS_CLOSES, _ENCRYPTION, "4.4.318", "closed"),
    Row("starttls-accepts-closes", B.STARTTLS_ACCEPTS_CLOSES, _ENCRYPTION, "4.4.318", "closed"),
    Row("starttls-resets", B.STARTTLS_RESETS, _ENCRYPTION, "4.4.318", "reset"),
    Row("tls-closes", B.TLS_CLOSES, _ENCRYPTION, "4.4.318", "closed"),
    Row("tls-resets", B.TLS_RESETS, _ENCRYPTION, "4.4.318", "reset"),
    Row("tls-closes-late", B.TLS_CLOSES_LATE, _ENCRYPTION, "4.4.318", "closed"),
    Row("tls-resets-late", B.TLS_RESETS_LATE, _ENCRYPTION, "4.4.318", "reset"),
    Row("tls-closes-after", B.TLS_CLOSES_AFTER, _ENCRYPTION, "4.4.318", "closed"),
    Row("tls-silent-after", B.TLS_SILENT_AFTER, _ENCRYPTION, "4.4.318", "stalled"),
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
    Row("cert-revoked", B.CERT_REVOKED, _CERTIFICATE, "4.7.320", "cert_revoked"),
    Row("cert-revoked-domain", B.CERT_REVOKED, _DOMAIN, "4.7.320", "cert_revoked"),
    Row("too.deep", B.CERT_WILDCARD_TOO_DEEP, _DOMAIN, "4.7.320", "cert_name"),
    Row("cert-other-domain", B.GOOD, _DOMAIN, "4.7.320", "cert_name", tls_domain="*.contoso.test"),
    Row("cert-expired-domain", B.CERT_EXPIRED, _DOMAIN, "4.7.320", "cert_expired"),
    Row("cert-self-signed-domain", B.CERT_SELF_SIGNED, _DOMAIN, "4.7.320", "cert_self_signed"),
    Row("rcpt-catch-all", B.GOOD, _CERTIFICATE, rcpt="rcpt_catch_all"),
    Row("rcpt-known", B.RCPT_KNOWN, _CERTIFICATE, rcpt="rcpt_ok"),
    Row("rcpt-known-plain", B.RCPT_KNOWN, _NONE, rcpt="rcpt_ok"),
    Row("rcpt-unknown", B.RCPT_UNKNOWN, _OPPORTUNISTIC, rcpt="rcpt_rejected"),
    Row("rcpt-blocked", B.RCPT_BLOCKED, _OPPORTUNISTIC, rcpt="rcpt_rejected"),
    Row("rcpt-greylisted", B.RCPT_GREYLISTED, _OPPORTUNISTIC, rcpt="rcpt_greylisted"),
    Row("rcpt-relay-denied", B.RCPT_RELAY_DENIED, _OPPORTUNISTIC, rcpt="rcpt_relay_denied"),
    Row("rcpt-closes", B.RCPT_CLOSES, _OPPORTUNISTIC, "4.4.318", "closed", rcpt="closed"),
    Row("rcpt-busy", B.RCPT_BUSY, _OPPORTUNISTIC, "4.4.317", "rate_limited", rcpt="rate_limited"),
)
"""Every server that listens (or refuses to) on loopback."""
