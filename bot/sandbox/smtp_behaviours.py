"""How the sandbox's mail servers can behave, and how a stand-in is described."""

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
    GOOD_TLS13 = "good_tls13"
    GOOD_MULTILINE = "good_multiline"
    GOOD_SLOW_GREETING = "good_slow_greeting"
    GOOD_SLOW_EHLO = "good_slow_ehlo"
    GOOD_LONG_LINE = "good_long_line"
    GOOD_ODD_EHLO = "good_odd_ehlo"
    GOOD_SNI = "good_sni"
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
    REJECTS_LATER = "rejects_later"
    NOT_SMTP = "not_smtp"
    NOT_SMTP_POP3 = "not_smtp_pop3"
    NOT_SMTP_HTTP = "not_smtp_http"
    FTP = "ftp"
    BINARY = "binary"
    EHLO_CLOSES = "ehlo_closes"
    EHLO_SILENT = "ehlo_silent"
    EHLO_RESETS = "ehlo_resets"
    EHLO_BUSY = "ehlo_busy"
    EHLO_ENDLESS = "ehlo_endless"
    EHLO_CUT = "ehlo_cut"
    EHLO_REJECTED = "ehlo_rejected"
    HELO_CLOSES = "helo_closes"
    STARTTLS_REJECTED = "starttls_rejected"
    STARTTLS_UNKNOWN = "starttls_unknown"
    STARTTLS_BUSY = "starttls_busy"
    STARTTLS_CLOSES = "starttls_closes"
    STARTTLS_RESETS = "starttls_resets"
    STARTTLS_ACCEPTS_CLOSES = "starttls_accepts_closes"
    STARTTLS_SILENT = "starttls_silent"
    STARTTLS_PLAIN = "starttls_plain"
    INJECTION = "injection"
    TLS_ALERT = "tls_alert"
    TLS_ALERT_INTERNAL = "tls_alert_internal"
    TLS_ALERT_VERSION = "tls_alert_version"
    TLS_GARBAGE = "tls_garbage"
    TLS_CLOSES = "tls_closes"
    TLS_RESETS = "tls_resets"
    TLS_CLOSES_LATE = "tls_closes_late"
    TLS_RESETS_LATE = "tls_resets_late"
    TLS_CLOSES_AFTER = "tls_closes_after"
    TLS_SILENT_AFTER = "tls_silent_after"
    TLS10_ONLY = "tls10_only"
    TLS11_ONLY = "tls11_only"
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
    CERT_REVOKED = "cert_revoked"
    CERT_WILDCARD_TOO_DEEP = "cert_wildcard_too_deep"
    RCPT_KNOWN = "rcpt_known"
    RCPT_UNKNOWN = "rcpt_unknown"
    RCPT_BLOCKED = "rcpt_blocked"
    RCPT_GREYLISTED = "rcpt_greylisted"
    RCPT_RELAY_DENIED = "rcpt_relay_denied"
    RCPT_CLOSES = "rcpt_closes"
    RCPT_BUSY = "rcpt_busy"


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
    B.CERT_REVOKED: Flaw.REVOKED,
    B.CERT_WILDCARD_TOO_DEEP: Flaw.WILDCARD_TOO_DEEP,
}
"""The certificate flaw of each behaviour that has one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerSpec:
    """One stand-in: where it is, what a connector to it demands, and what a probe of it must find.

    `behaviour` None: only a name in the DNS, broken there; then `ip` is None too. `use_mx`: `host` is to be probed as
    an MX domain. `expected_cause` is the cause's name; `expected_warning` one that must be among the warnings;
    `expected_rcpt` the cause of its answer about its postmaster, where that is part of the case.
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
    expected_degraded: bool = False
    expected_rcpt: str | None = None
