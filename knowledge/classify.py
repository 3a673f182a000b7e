"""From what a probe saw to Microsoft's codes: ONE table, first match wins.

A probe reports faults by cause name. Which of them count depends on what the connector demands of TLS: `judge` sorts
them into the verdict and warnings. Rules: README, Causes; certificate and TLS faults that the setting does not look at
are warnings, because mail would still flow.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum


class Stage(StrEnum):
    """How far a probe came."""

    DNS = "dns"
    CONNECT = "connect"
    BANNER = "banner"
    EHLO = "ehlo"
    STARTTLS = "starttls"
    TLS = "tls"
    DONE = "done"


class Cause(StrEnum):
    """Every cause that a probe can name."""

    NXDOMAIN = "nxdomain"
    NODATA = "nodata"
    SERVFAIL = "servfail"
    DNS_REFUSED = "dns_refused"
    DNS_TIMEOUT = "dns_timeout"
    DNS_ERROR = "dns_error"
    BOGUS = "bogus"
    CNAME_LOOP = "cname_loop"
    LAME = "lame"
    NULL_MX = "null_mx"
    REFUSED = "refused"
    CONNECT_TIMEOUT = "connect_timeout"
    UNREACHABLE = "unreachable"
    STALLED = "stalled"
    CLOSED = "closed"
    RESET = "reset"
    RATE_LIMITED = "rate_limited"
    SMTP_ERROR = "smtp_error"
    NOT_SMTP = "not_smtp"
    FLOOD = "flood"
    NO_STARTTLS = "no_starttls"
    STARTTLS_REJECTED = "starttls_rejected"
    STARTTLS_INJECTION = "starttls_injection"
    TLS_VERSION = "tls_version"
    TLS_ALERT = "tls_alert"
    TLS_FAILED = "tls_failed"
    CLIENT_CERTIFICATE_WANTED = "client_certificate_wanted"
    CERT_EXPIRED = "cert_expired"
    CERT_NOT_YET_VALID = "cert_not_yet_valid"
    CERT_REVOKED = "cert_revoked"
    CERT_NAME = "cert_name"
    CERT_SELF_SIGNED = "cert_self_signed"
    CERT_MISSING_INTERMEDIATE = "cert_missing_intermediate"
    CERT_INTERMEDIATE_EXPIRED = "cert_intermediate_expired"
    CERT_UNTRUSTED = "cert_untrusted"
    CERT_PURPOSE = "cert_purpose"
    CERT_WEAK = "cert_weak"
    EXPIRING_SOON = "expiring_soon"
    CN_ONLY = "cn_only"
    BARE_LF = "bare_lf"
    SLOW = "slow"
    HELO_ONLY = "helo_only"
    TARGET_DOWN = "target_down"
    NO_IPV6_HERE = "no_ipv6_here"


C = Cause

TABLE: tuple[tuple[str | None, frozenset[Cause]], ...] = (
    (
        "4.4.312",
        frozenset(
            {C.NXDOMAIN, C.NODATA, C.SERVFAIL, C.DNS_REFUSED, C.DNS_TIMEOUT, C.DNS_ERROR, C.BOGUS}
            | {C.CNAME_LOOP, C.LAME, C.NULL_MX}
        ),
    ),
    ("4.4.315", frozenset({C.CONNECT_TIMEOUT, C.UNREACHABLE})),
    ("4.4.316", frozenset({C.REFUSED})),
    ("4.4.318", frozenset({C.STALLED, C.CLOSED, C.RESET})),
    (
        "4.4.317",
        frozenset(
            {C.RATE_LIMITED, C.SMTP_ERROR, C.NOT_SMTP, C.FLOOD, C.NO_STARTTLS, C.STARTTLS_REJECTED}
            | {C.STARTTLS_INJECTION, C.TLS_VERSION, C.TLS_ALERT, C.TLS_FAILED, C.CLIENT_CERTIFICATE_WANTED}
        ),
    ),
    (
        "4.7.320",
        frozenset(
            {C.CERT_EXPIRED, C.CERT_NOT_YET_VALID, C.CERT_REVOKED, C.CERT_NAME, C.CERT_SELF_SIGNED}
            | {C.CERT_MISSING_INTERMEDIATE, C.CERT_INTERMEDIATE_EXPIRED, C.CERT_UNTRUSTED, C.CERT_PURPOSE}
            | {C.CERT_WEAK}
        ),
    ),
)
"""Code → the causes that mean it. Causes in no row are warnings only. The first row with a counting fault wins."""

CERTIFICATE_CAUSES = TABLE[-1][1]


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing that a probe found wrong, and where. `detail` holds the peer's own words, already sanitised."""

    cause: Cause
    stage: Stage
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Judgement:
    """The verdict on one target. `code` and `cause` are None exactly when mail would flow."""

    code: str | None
    cause: Cause | None
    stage: Stage
    detail: str
    causes: tuple[Cause, ...]
    warnings: tuple[Cause, ...]

    @property
    def ok(self) -> bool:
        """Would mail flow?"""
        return self.code is None


def counts(fault: Fault, tls_setting: str) -> bool:
    """Does this fault stop mail on a connector with this TLS setting?

    none/opportunistic: trouble with TLS never does, because clear text would work. encryption: any certificate will do.
    certificate: chain and dates must hold, the name need not. domain: everything must hold.
    """
    if code_of(fault.cause) is None:
        return False
    if tls_setting in ("none", "opportunistic"):
        return fault.stage not in (Stage.STARTTLS, Stage.TLS)
    if fault.cause in CERTIFICATE_CAUSES:
        if tls_setting == "encryption":
            return False
        return tls_setting == "domain" or fault.cause is not Cause.CERT_NAME
    return True


def code_of(cause: Cause) -> str | None:
    """The code that this cause means by itself; None for mere warnings."""
    return next((code for code, causes in TABLE if cause in causes), None)


def judge(faults: Iterable[Fault], tls_setting: str) -> Judgement:
    """Sort the faults of one target into verdict and warnings."""
    seen = list(faults)
    stopping = [f for f in seen if counts(f, tls_setting)]
    warnings = tuple(dict.fromkeys(f.cause for f in seen if f not in stopping))
    for code, causes in TABLE:
        for fault in stopping:
            if fault.cause in causes:
                every = tuple(dict.fromkeys(f.cause for f in (fault, *stopping)))
                return Judgement(code, fault.cause, fault.stage, fault.detail, every, warnings)
    return Judgement(None, None, Stage.DONE, "", (), warnings)
