"""DANE and MTA-STS: what a sender that honours them would make of a destination. Shown beside the verdict.

Promises: never part of the verdict; names and codes are those that Exchange Online gives (the names are the result
types of TLS reporting, RFC 8460); a code stands only where mail would be held back.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any


class Check(StrEnum):
    """What became of a check. The last ones are faults."""

    OK = "ok"
    NONE = "none"
    """The destination does not ask for it."""
    UNKNOWN = "unknown"
    """It could not be seen from here."""
    STARTTLS_NOT_SUPPORTED = "starttls-not-supported"
    CERTIFICATE_EXPIRED = "certificate-expired"
    TLSA_INVALID = "tlsa-invalid"
    DNSSEC_INVALID = "dnssec-invalid"
    CERTIFICATE_HOST_MISMATCH = "certificate-host-mismatch"
    CERTIFICATE_NOT_TRUSTED = "certificate-not-trusted"
    MX_MISMATCH = "mx-mismatch"
    STS_POLICY_FETCH_ERROR = "sts-policy-fetch-error"
    STS_POLICY_INVALID = "sts-policy-invalid"


C = Check

DANE_CODES: Mapping[Check, str] = {
    C.STARTTLS_NOT_SUPPORTED: "4.7.321",
    C.CERTIFICATE_EXPIRED: "4.7.322",
    C.TLSA_INVALID: "4.7.323",
    C.DNSSEC_INVALID: "4.7.324",
    C.CERTIFICATE_HOST_MISMATCH: "4.7.325",
}
STS_CODES: Mapping[Check, str] = {
    C.MX_MISMATCH: "4.4.8",
    C.STARTTLS_NOT_SUPPORTED: "4.7.5",
    C.CERTIFICATE_EXPIRED: "4.7.5",
    C.CERTIFICATE_HOST_MISMATCH: "4.7.5",
    C.CERTIFICATE_NOT_TRUSTED: "4.7.5",
}

_MILD = (C.OK, C.NONE, C.UNKNOWN)


@dataclass(frozen=True, slots=True, kw_only=True)
class HostCheck:
    """The outcome for one server."""

    host: str
    ip: str | None
    result: Check
    code: str | None = None
    detail: str = ""

    def document(self) -> dict[str, Any]:
        """One element of `hosts` of the JSON."""
        return {
            "host": self.host,
            "ip": self.ip,
            "result": self.result,
            "code": self.code,
            "detail": self.detail,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckResult:
    """The outcome for the destination: the first fault among its servers. `mode`: of an MTA-STS policy."""

    result: Check
    code: str | None = None
    detail: str = ""
    mode: str | None = None
    hosts: tuple[HostCheck, ...] = ()

    @property
    def ok(self) -> bool:
        """Is nothing wrong?"""
        return self.result in _MILD

    def document(self) -> dict[str, Any]:
        """One member of `checks` of the JSON."""
        return {
            "result": self.result,
            "code": self.code,
            "detail": self.detail,
            "mode": self.mode,
            "hosts": [h.document() for h in self.hosts],
        }

    @classmethod
    def from_document(cls, document: Mapping[str, Any]) -> CheckResult:
        """Back from `document`."""
        hosts = tuple(HostCheck(**{**h, "result": Check(h["result"])}) for h in document["hosts"])
        return cls(**{**document, "result": Check(document["result"]), "hosts": hosts})


@dataclass(frozen=True, slots=True, kw_only=True)
class Checks:
    """Both checks; None: not made."""

    dane: CheckResult | None = None
    mta_sts: CheckResult | None = None

    def document(self) -> dict[str, Any]:
        """The `checks` object of the JSON."""
        return {"dane": self.dane and self.dane.document(), "mta_sts": self.mta_sts and self.mta_sts.document()}

    @classmethod
    def from_document(cls, document: Mapping[str, Any]) -> Checks:
        """Back from `document`, also from one of before there were checks."""
        dane, sts = document.get("dane"), document.get("mta_sts")
        return cls(
            dane=CheckResult.from_document(dane) if dane else None,
            mta_sts=CheckResult.from_document(sts) if sts else None,
        )


NOT_MADE = Checks()


def summed_up(hosts: Iterable[HostCheck], mode: str | None = None) -> CheckResult:
    """The first fault among the servers in the order in which mail tries them; else what most can be said."""
    every = tuple(hosts)
    telling: Sequence[HostCheck] = [h for h in every if h.result not in _MILD]
    telling = telling or sorted(every, key=lambda h: _MILD.index(h.result))
    if not telling:
        return CheckResult(result=C.UNKNOWN, detail="no server to look at", mode=mode)
    first = telling[0]
    return CheckResult(result=first.result, code=first.code, detail=first.detail, mode=mode, hosts=every)
