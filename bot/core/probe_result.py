"""What a probe saw, as frozen values, and the verdict over several targets.

Promises: `document` is exactly the JSON of `mfi probe --json`; every text in here was sanitised and bounded by the
probe before it got in. The verdict is what mail would meet after failover in order.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any

from bot.core.checks import NOT_MADE, Checks
from bot.core.recipient import RcptFacts
from knowledge.classify import Cause, Judgement, Stage

PHASES = (Stage.DNS, Stage.CONNECT, Stage.BANNER, Stage.EHLO, Stage.STARTTLS, Stage.TLS)
"""The timed phases of a probe, in order."""

STATUS: Mapping[str, str] = {
    "4.4.312": "450 4.4.312 DNS query failed",
    "4.4.315": "450 4.4.315 Connection timed out",
    "4.4.316": "450 4.4.316 Connection refused",
    "4.4.317": "450 4.4.317 Cannot connect to remote server",
    "4.4.318": "450 4.4.318 Connection was closed abruptly",
    "4.7.320": "450 4.7.320 Certificate validation failed",
}
"""How the mail system would word each code for a waiting message."""

_ANSWERED = frozenset({Stage.BANNER, Stage.EHLO, Stage.STARTTLS, Stage.TLS, Stage.DONE})
_CALENDAR = re.compile(r"(?i)\b(mon|tue|wed|thu|fri|sat|sun|jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec)\b,?")


@dataclass(frozen=True, slots=True, kw_only=True)
class TlsFacts:
    """The TLS session and the certificate of one target. `verified`: no certificate fault at all, whatever the setting.

    `sha256` (of the leaf), `key` (kind and size), `not_before` and `chain` (the subjects of what the server sent, leaf
    first) are for the fingerprint and the terminal only, not part of the document.
    """

    version: str | None = None
    cipher: str | None = None
    verified: bool = False
    verify_error: str | None = None
    subject: str | None = None
    issuer: str | None = None
    san: tuple[str, ...] = ()
    not_after: datetime | None = None
    days_left: int | None = None
    sha256: str | None = None
    key: str | None = None
    not_before: datetime | None = None
    chain: tuple[str, ...] = ()

    def document(self) -> dict[str, Any]:
        """The `tls` object of the JSON."""
        return {
            "version": self.version,
            "cipher": self.cipher,
            "verified": self.verified,
            "verify_error": self.verify_error,
            "subject": self.subject,
            "issuer": self.issuer,
            "san": list(self.san),
            "not_after": _to_text(self.not_after),
            "days_left": self.days_left,
        }

    @classmethod
    def from_document(cls, document: Mapping[str, Any]) -> TlsFacts:
        """Back from `document`."""
        changed = {"san": tuple(document["san"]), "not_after": _to_moment(document["not_after"])}
        return cls(**{**document, **changed})


@dataclass(frozen=True, slots=True, kw_only=True)
class TargetResult:
    """One address (or one name without any) and how far mail would get there.

    `skipped`: it was not dialled for a reason of ours (an address range; IPv6 without a route here), so it neither
    fails nor vouches. `capabilities` are for the fingerprint only.
    """

    host: str
    port: int
    ip: str | None = None
    ok: bool = True
    code: str | None = None
    cause: Cause | None = None
    causes: tuple[Cause, ...] = ()
    warnings: tuple[Cause, ...] = ()
    stage: Stage = Stage.DONE
    detail: str = ""
    banner: str | None = None
    timings: Mapping[Stage, float] = field(default_factory=dict)
    """Milliseconds per phase that was entered, the failing one included."""
    tls: TlsFacts | None = None
    capabilities: tuple[str, ...] = ()
    rcpt: RcptFacts | None = None
    """What it said about the recipient that was asked for; shows only in the whole result's document."""

    @property
    def skipped(self) -> bool:
        """Was it left out? Such a target never came to the end, and nothing is said against it."""
        return self.ok and self.stage is not Stage.DONE

    @property
    def answered(self) -> bool:
        """Did it accept a connection?"""
        return self.stage in _ANSWERED

    def document(self) -> dict[str, Any]:
        """One element of `targets` of the JSON."""
        return {
            "host": self.host,
            "ip": self.ip,
            "port": self.port,
            "ok": self.ok,
            "code": self.code,
            "cause": self.cause,
            "causes": list(self.causes),
            "warnings": list(self.warnings),
            "stage": self.stage,
            "detail": self.detail,
            "banner": self.banner,
            "timings_ms": {phase: self.timings.get(phase) for phase in PHASES},
            "tls": self.tls and self.tls.document(),
        }

    @classmethod
    def from_document(cls, document: Mapping[str, Any]) -> TargetResult:
        """Back from `document`."""
        return cls(
            host=document["host"],
            ip=document["ip"],
            port=document["port"],
            ok=document["ok"],
            code=document["code"],
            cause=_to_cause(document["cause"]),
            causes=_to_causes(document["causes"]),
            warnings=_to_causes(document["warnings"]),
            stage=Stage(document["stage"]),
            detail=document["detail"],
            banner=document["banner"],
            timings={Stage(name): ms for name, ms in document["timings_ms"].items() if ms is not None},
            tls=TlsFacts.from_document(document["tls"]) if document["tls"] else None,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class ProbeResult:
    """The verdict of one probe and all its targets, most preferred first. Made by `overall`."""

    ok: bool
    code: str | None
    cause: Cause | None
    stage: Stage
    degraded: bool
    warnings: tuple[Cause, ...]
    targets: tuple[TargetResult, ...]
    elapsed_ms: float
    rcpt: RcptFacts | None = None
    checks: Checks = NOT_MADE

    @property
    def status(self) -> str | None:
        """The reply that the mail system would give for a waiting message; None when mail would flow."""
        return STATUS[self.code] if self.code else None

    @property
    def detail(self) -> str:
        """The peer's or resolver's own words behind the verdict; empty when mail would flow or nothing was said."""
        return next(
            (t.detail for t in self.targets if not self.ok and t.code == self.code and t.stage is self.stage), ""
        )

    @property
    def nothing_probed(self) -> bool:
        """Was there nothing to dial (no target, or only address ranges)? Then `ok` says nothing."""
        return all(t.skipped for t in self.targets)

    def document(self) -> dict[str, Any]:
        """Exactly the JSON of `mfi probe --json`, ready for json.dumps."""
        return {
            "ok": self.ok,
            "code": self.code,
            "cause": self.cause,
            "status": self.status,
            "stage": self.stage,
            "degraded": self.degraded,
            "warnings": list(self.warnings),
            "checks": self.checks.document(),
            "rcpt": self.rcpt and self.rcpt.document(),
            "targets": [t.document() for t in self.targets],
            "elapsed_ms": self.elapsed_ms,
        }

    @classmethod
    def from_document(cls, document: Mapping[str, Any] | str) -> ProbeResult:
        """Back from `document`, or from its JSON text; what is only in the fingerprint is not restored."""
        document = json.loads(document) if isinstance(document, str) else document
        return cls(
            ok=document["ok"],
            code=document["code"],
            cause=_to_cause(document["cause"]),
            stage=Stage(document["stage"]),
            degraded=document["degraded"],
            warnings=_to_causes(document["warnings"]),
            targets=tuple(TargetResult.from_document(t) for t in document["targets"]),
            elapsed_ms=document["elapsed_ms"],
            rcpt=RcptFacts.from_document(document["rcpt"]) if document["rcpt"] else None,
            checks=Checks.from_document(document["checks"]),
        )

    def fingerprint(self) -> dict[str, str]:
        """What may explain a later failure, to be compared key by key: only what was seen has a key.

        Keys: addresses, banner, capabilities, certificate (SHA-256), certificate_subject, certificate_expires. All but
        the addresses come from the most preferred target that showed them; a banner loses what changes by itself.
        """
        tls = next((t.tls for t in self.targets if t.tls and t.tls.sha256), TlsFacts())
        every = {
            "addresses": ", ".join(sorted({t.ip for t in self.targets if t.ip})),
            "banner": steady(next((t.banner for t in self.targets if t.banner), "")),
            "capabilities": ", ".join(sorted(next((t.capabilities for t in self.targets if t.capabilities), ()))),
            "certificate": tls.sha256,
            "certificate_subject": tls.subject,
            "certificate_expires": _to_text(tls.not_after),
        }
        return {key: value for key, value in every.items() if value}


def overall(targets: Iterable[TargetResult], elapsed_ms: float, checks: Checks = NOT_MADE) -> ProbeResult:
    """The verdict over targets in the order in which mail would try them; `checks` play no part in it.

    One good target is enough (degraded if another failed). All dead: the code of the most preferred target that
    accepted a connection, else of the first.
    """
    every = tuple(targets)
    tried = [t for t in every if not t.skipped]
    down = [t for t in tried if not t.ok]
    ok = len(down) < len(tried) or not tried
    warnings = [w for t in every for w in t.warnings] + ([Cause.TARGET_DOWN] if ok and down else [])
    worst = None if ok else next((t for t in down if t.answered), down[0])
    reached = Stage.DONE if tried else Stage.DNS
    return ProbeResult(
        ok=ok,
        code=worst.code if worst else None,
        cause=worst.cause if worst else None,
        stage=worst.stage if worst else reached,
        degraded=ok and bool(down),
        warnings=tuple(dict.fromkeys(warnings)),
        targets=every,
        elapsed_ms=round(elapsed_ms, 1),
        checks=checks,
        rcpt=next((t.rcpt for t in [*(t for t in tried if t.ok), *down] if t.rcpt), None),
    )


def judged(judgement: Judgement, **facts: Any) -> TargetResult:
    """A target's result from its verdict and what else was seen there."""
    return TargetResult(
        ok=judgement.ok,
        code=judgement.code,
        cause=judgement.cause,
        causes=judgement.causes,
        warnings=judgement.warnings,
        stage=judgement.stage,
        detail=judgement.detail,
        **facts,
    )


def steady(banner: str) -> str:
    """A banner without dates, session numbers and the like, so that two of the same server are equal."""
    code, host, rest = (*banner.split(" ", 2), "", "")[:3]
    words = [w for w in _CALENDAR.sub("", rest).split() if not any(c.isdigit() for c in w)]
    return " ".join(filter(None, [code, host, *words]))


@lru_cache(maxsize=4096)
def _to_text(moment: datetime | None) -> str | None:
    """ISO 8601 with Z, whole seconds."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ") if moment else None


def _to_moment(text: str | None) -> datetime | None:
    """Back from `_to_text`."""
    return datetime.fromisoformat(text) if text else None


def _to_cause(text: str | None) -> Cause | None:
    """A cause by its name."""
    return Cause(text) if text else None


def _to_causes(texts: Sequence[str]) -> tuple[Cause, ...]:
    """Causes by their names."""
    return tuple(Cause(text) for text in texts)
