"""What good probes show of trouble to come: a certificate that ends, a dead second server, a server that offers less.

Pure. A stored probe's document is read tolerantly: what an older or newer version wrote differently is left out.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from functools import lru_cache
from typing import Any

from bot.core.changes import capabilities, same_settings
from bot.core.incidents import Known
from bot.core.policy import Policy
from knowledge.classify import Stage
from storage.records import WARNING_PREFIX, Connector, Incident, ProbeRecord, TlsSetting

SHOWN = 8
"""So many servers are kept in one warning."""


class Warned(StrEnum):
    """What is warned of: the code of its incident."""

    CERTIFICATE = f"{WARNING_PREFIX}certificate"
    """A server's certificate expires soon."""
    TARGET_DOWN = f"{WARNING_PREFIX}target_down"
    """One of several servers is dead; mail takes another."""
    TARGET_GONE = f"{WARNING_PREFIX}target_gone"
    """There were several addresses, now there is one."""
    CAPABILITIES = f"{WARNING_PREFIX}capabilities"
    """The server no longer offers what it offered."""


WARNED_WORDS: Mapping[str, str] = {
    Warned.CERTIFICATE: "certificate expires soon",
    Warned.TARGET_DOWN: "a server is down",
    Warned.TARGET_GONE: "one address left",
    Warned.CAPABILITIES: "the server offers less",
}
"""What is warned of, in two or three words."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """One server as a stored probe saw it. Every text in it is foreign."""

    host: str
    ip: str
    ok: bool
    code: str | None
    cause: str | None
    subject: str | None
    not_after: datetime | None

    @property
    def mark(self) -> str:
        """What it is remembered by."""
        return f"{self.host} {self.ip}".strip()

    def document(self) -> dict[str, Any]:
        """As it is kept in the evidence."""
        return {"host": self.host, "ip": self.ip, "code": self.code, "cause": self.cause}


@dataclass(frozen=True, slots=True, kw_only=True)
class Outlook:
    """Everything that the warnings of one connector depend on.

    `newest`: its last probe. `good`: its last good ones, newest first, at least one more than `open_after` if there
    are. `known`: its open warnings; `past`: the last resolved one per code.
    """

    connector: Connector
    newest: ProbeRecord | None
    good: Sequence[ProbeRecord]
    policy: Policy
    now: datetime
    known: Sequence[Known] = ()
    past: Mapping[str, Incident] = field(default_factory=dict)

    @property
    def fine(self) -> bool:
        """Does its newest probe get through?"""
        return self.newest is not None and self.newest.ok

    def newest_good(self, number: int) -> Sequence[ProbeRecord]:
        """So many good probes in a row, or none if there are fewer."""
        return self.good[:number] if self.fine and len(self.good) >= number else ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Threat:
    """What is wrong already: the facts that its message shows, and the thresholds that it has passed."""

    code: Warned
    facts: Mapping[str, Any]
    marks: tuple[str, ...]


def endpoints(probe: ProbeRecord) -> tuple[Endpoint, ...]:
    """The servers that a stored probe dialled or could not resolve; an unreadable document has none."""
    return _read(probe.document)


@lru_cache(maxsize=256)
def _read(text: str) -> tuple[Endpoint, ...]:
    """One probe is looked at from several sides in a row."""
    try:
        document = json.loads(text)
    except ValueError:
        return ()
    listed = document.get("targets") if isinstance(document, dict) else None
    every = [_endpoint(raw) for raw in listed if isinstance(raw, dict)] if isinstance(listed, list) else []
    return tuple(e for e in every if e is not None)


def _endpoint(raw: Mapping[str, Any]) -> Endpoint | None:
    ok = raw.get("ok") is True
    if ok and raw.get("stage") != Stage.DONE:
        return None  # left out for a reason of ours: it says nothing
    tls = raw.get("tls")
    seen: Mapping[str, Any] = tls if isinstance(tls, dict) else {}
    return Endpoint(
        host=str(raw.get("host") or ""),
        ip=str(raw.get("ip") or ""),
        ok=ok,
        code=raw.get("code"),
        cause=raw.get("cause"),
        subject=seen.get("subject"),
        not_after=moment(seen.get("not_after")),
    )


def moment(text: object) -> datetime | None:
    """A moment from its ISO text; None for anything else."""
    try:
        found = datetime.fromisoformat(str(text)) if text else None
    except ValueError:
        return None
    return found if found is not None and found.tzinfo else None


def foreseen(outlook: Outlook) -> tuple[Threat, ...]:
    """Every threat that the newest good probes show."""
    if not outlook.fine:
        return ()
    found = (_expiring(outlook), _down(outlook), _vanished(outlook), _shrunk(outlook))
    return tuple(threat for threat in found if threat is not None)


def _expiring(outlook: Outlook) -> Threat | None:
    """The certificate that expires first, if it does so soon."""
    longest = max(outlook.policy.certificate_marks, default=timedelta(0))
    near = [
        e for e in endpoints(outlook.good[0]) if e.not_after and timedelta(0) < e.not_after - outlook.now <= longest
    ]
    if not near:
        return None
    first = min(near, key=lambda e: e.not_after or outlook.now)
    assert first.not_after is not None
    left = first.not_after - outlook.now
    return Threat(
        code=Warned.CERTIFICATE,
        facts={
            "host": first.host,
            "ip": first.ip,
            "subject": first.subject,
            "not_after": first.not_after.isoformat(),
            "days": left.days,
            "others": len(near) - 1,
            "stops_mail": outlook.connector.tls_setting in (TlsSetting.CERTIFICATE, TlsSetting.DOMAIN),
        },
        marks=tuple(f"{m.days} d" for m in sorted(outlook.policy.certificate_marks, reverse=True) if left <= m),
    )


def _down(outlook: Outlook) -> Threat | None:
    """Servers that are dead in each of the last probes, while another takes the mail."""
    runs = [endpoints(p) for p in outlook.newest_good(outlook.policy.open_after)]
    if not runs:
        return None
    always = set.intersection(*({e.mark for e in run if not e.ok} for run in runs))
    dead = [e for e in runs[0] if e.mark in always]
    if not dead:
        return None
    return Threat(
        code=Warned.TARGET_DOWN,
        facts={"down": [e.document() for e in dead[:SHOWN]], "up": sum(e.ok for e in runs[0])},
        marks=tuple(sorted(always)),
    )


def _vanished(outlook: Outlook) -> Threat | None:
    """Where mail had several addresses to go to, it has one by now; nobody changed the connector."""
    turn = _turn(outlook)
    if turn is None:
        return None
    before, after = turn
    old, new = addresses(before), frozenset[str]().union(*map(addresses, after))
    if len(old) < 2 or len(new) != 1:
        return None
    facts = {"before": sorted(old)[:SHOWN], "left": sorted(new), "settings": settings(after[0])}
    return Threat(code=Warned.TARGET_GONE, facts=facts, marks=("gone",))


def _shrunk(outlook: Outlook) -> Threat | None:
    """What the EHLO answer of the same destination no longer lists."""
    turn = _turn(outlook)
    if turn is None:
        return None
    before, after = turn
    lost = capabilities(before.fingerprint).difference(*(capabilities(p.fingerprint) for p in after))
    if not lost:
        return None
    facts = {"lost": sorted(lost)[:SHOWN], "settings": settings(after[0])}
    return Threat(code=Warned.CAPABILITIES, facts=facts, marks=tuple(sorted(lost)))


def _turn(outlook: Outlook) -> tuple[ProbeRecord, Sequence[ProbeRecord]] | None:
    """The good probe just before the last `open_after` ones, and these: a change is told when it has lasted so long."""
    number = outlook.policy.open_after
    seen = outlook.newest_good(number + 1)
    if not seen or not all(same_settings(seen[-1].fingerprint, p.fingerprint) for p in seen):
        return None
    return seen[-1], seen[:-1]


def addresses(probe: ProbeRecord) -> frozenset[str]:
    """Where mail would go: every address that was dialled."""
    return frozenset(e.ip for e in endpoints(probe) if e.ip)


def settings(probe: ProbeRecord) -> str:
    """The connector's settings that decide where mail goes and how, as one value to compare."""
    return " ".join(probe.fingerprint.get(key, "") for key in ("smart_hosts", "port", "tls_setting"))
