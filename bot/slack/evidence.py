"""The two kinds of evidence, kept apart, as lines of Slack text. Pure.

queue = what the mail system itself saw; probe = what we saw from where we stand. When they disagree, the conclusion
says what that means instead of leaving two contradicting lines to a tired reader.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from bot.core.evidence import Sample, SampleKind, code_words, own_words
from bot.core.two_views import ABOUT_ADDRESSES, MAIL_SYSTEM
from bot.core.two_views import conclusion as in_words
from bot.core.undialled import undialled
from bot.core.views import AllowedFrom, Difference, Disagreement, IncidentView
from bot.slack.text import Mrkdwn, code, joined, lines, mrkdwn, prose, source, when
from bot.slack.wording import SEEN_FROM_HERE, STAGE_WORDS, ago, count, seconds
from knowledge.causes import CAUSE_WORDS
from knowledge.classify import Cause
from storage.records import CodeCount, Connector, ConnectorKind, ProbeRecord, QueueSummary

RANGES_SHOWN = 8
RANGES_LINK = "https://learn.microsoft.com/microsoft-365/enterprise/microsoft-365-ip-web-service"

_WORDS: dict[str, str] = {str(cause): words for cause, words in CAUSE_WORDS.items()}

SAY_NO_MORE = frozenset({Cause.REFUSED, Cause.CONNECT_TIMEOUT})
"""Causes whose words only repeat the code: the article's own first cause helps more."""


def cause_words(cause: str | None) -> str | None:
    """A cause in people's words; an unknown name as it is, without underscores."""
    return None if cause is None else _WORDS.get(cause, cause.replace("_", " "))


@dataclass(frozen=True, slots=True)
class Target:
    """One server as a stored probe saw it; every text in it is foreign."""

    host: str
    ip: str | None
    port: int | None
    ok: bool
    code: str | None
    cause: str | None
    stage: str
    detail: str
    banner: str
    timings: Mapping[str, float]


def targets(probe: ProbeRecord) -> tuple[Target, ...]:
    """The servers in a stored probe, at most 16; an unreadable document has none."""
    try:
        document = json.loads(probe.document)
    except ValueError:
        return ()
    found = document.get("targets") if isinstance(document, dict) else None
    return tuple(_target(t) for t in found[:16] if isinstance(t, dict)) if isinstance(found, list) else ()


def _target(raw: Mapping[str, Any]) -> Target:
    timings = raw.get("timings_ms")
    port = raw.get("port")
    return Target(
        host=str(raw.get("host") or "?"),
        ip=str(raw["ip"]) if raw.get("ip") else None,
        port=port if isinstance(port, int) else None,
        ok=raw.get("ok") is True,
        code=str(raw["code"]) if raw.get("code") else None,
        cause=str(raw["cause"]) if raw.get("cause") else None,
        stage=str(raw.get("stage") or ""),
        detail=str(raw.get("detail") or ""),
        banner=str(raw.get("banner") or ""),
        timings={str(k): float(v) for k, v in timings.items() if isinstance(v, int | float)}
        if isinstance(timings, dict)
        else {},
    )


def shown_host(host: str, ip: str | None, port: int | None = None) -> Mrkdwn:
    """`mail.contoso.com:25` (`192.0.2.7`)."""
    name = code(f"{host}:{port}" if port else host, 120)
    return mrkdwn("{} ({})", name, code(ip, 60)) if ip and ip != host else name


def destination(view: IncidentView) -> Mrkdwn:
    """The destination server: as the queue's error names it, else as the probe met it, else as configured."""
    group = relevant(view)
    if group and (group.remote_host or group.remote_ip):
        return shown_host(group.remote_host or group.remote_ip or "", group.remote_ip)
    met = targets(view.probe) if view.probe else ()
    if met:
        worst = next((t for t in met if not t.ok), met[0])
        return shown_host(worst.host, worst.ip, worst.port)
    return configured(view.connector)


def configured(connector: Connector | None) -> Mrkdwn:
    """Where the connector is set to deliver."""
    if connector is None:
        return Mrkdwn("")
    if connector.smart_hosts:
        return joined([shown_host(h, None, connector.port) for h in connector.smart_hosts[:4]], ", ")
    if told := undialled(connector):
        return mrkdwn("{} over {}", code(told.server, 120), told.how)
    domains = joined([code(d, 80) for d in connector.recipient_domains[:4]], ", ")
    return mrkdwn("the MX of {}", domains) if connector.use_mx and domains else Mrkdwn("not named by the connector")


def relevant(view: IncidentView) -> CodeCount | None:
    """The waiting messages that this incident is about."""
    return view.queue.for_code(view.incident.code) or next(iter(view.queue.by_code), None)


def queue_line(view: IncidentView) -> Mrkdwn:
    """What the mail system says, in its own words, and how fresh that is."""
    if view.queue_read_at is None and not view.queue.total:
        return Mrkdwn("no queue source: the probe decides alone")
    read = mrkdwn("read {}", ago(view.queue_read_at, view.now)) if view.queue_read_at else Mrkdwn("")
    if view.queue_stale:
        read = mrkdwn("⚠️ stale: {}", read or "never read")
    groups = view.queue.by_code if view.sample is None else [g for g in view.queue.by_code if g.code]
    shown = [code_line(each) for each in groups[:3]] or [Mrkdwn("nothing waits")]
    return lines(sample_line(view.sample), *shown, read)


def code_line(group: CodeCount) -> Mrkdwn:
    """ "42 with 4.4.316: `450 4.4.316 Connection refused…`"."""
    what = mrkdwn("*{}* with {}", group.count, code_words(group.code) if group.code else "no reason known yet")
    return mrkdwn("{}: {}", what, code(own_words(group.reason), 160)) if group.reason else what


def probe_line(probe: ProbeRecord | None, view_now: IncidentView) -> Mrkdwn:
    """What our probe saw, where it stopped, and when."""
    if told := undialled(view_now.connector):
        return prose(told.words)
    if probe is None:
        return Mrkdwn("not probed yet")
    met = targets(probe)
    moment = mrkdwn("{}, {}, {}", when(probe.at), ago(probe.at, view_now.now), SEEN_FROM_HERE)
    if probe.nothing_probed:
        return lines(Mrkdwn("nothing to dial: no server is named"), moment)
    if probe.ok:
        note = "gets through, but not to every server" if probe.degraded else "gets through"
        return lines(mrkdwn("{} in {}", note, seconds(probe.elapsed_ms)), moment)
    worst = next((t for t in met if not t.ok), None)
    cause = cause_words(probe.cause) or "failed"
    own_words = (worst.detail or worst.banner) if worst else ""
    failed = sum(not t.ok for t in met)
    return lines(
        mrkdwn("{}: {}", code(probe.status or probe.code or "failed", 120), cause),
        joined(
            [
                mrkdwn("stopped at {}", STAGE_WORDS.get(probe.stage, probe.stage)),
                mrkdwn("{} of {}", failed, count(len(met), "server")) if len(met) > 1 else Mrkdwn(""),
            ],
            ", ",
        ),
        mrkdwn("details {}", code(own_words, 160)) if own_words and own_words.casefold() != cause else None,
        moment,
    )


def conclusion(view: IncidentView) -> Mrkdwn:
    """What it means when the two disagree, and which server fails where only some do; empty when they agree."""
    some = view.disagreement is Disagreement.SOME_SERVERS and view.probe is not None
    down = [t for t in targets(view.probe) if not t.ok][:4] if some and view.probe else []
    failing = joined([shown_host(t.host, t.ip, t.port) for t in down], ", ")
    return lines(
        differ(view.disagreement, view.allowed_from), mrkdwn("Failing: {}.", failing) if failing else Mrkdwn("")
    )


def differ(kind: Disagreement | None, allowed: AllowedFrom | None) -> Mrkdwn:
    """The same of any connector, with the mail system's own addresses where they help."""
    if kind is None:
        return Mrkdwn("")
    ranges = _ranges(allowed) if allowed is not None and kind in ABOUT_ADDRESSES else Mrkdwn("")
    return lines(mrkdwn("⚖️ *Queue and probe disagree.* {}", differ_words(kind, allowed)), ranges)


def differ_words(kind: Disagreement, allowed: AllowedFrom | None) -> Mrkdwn:
    """The conclusion alone."""
    return prose(in_words(kind, allowed.system if allowed else MAIL_SYSTEM), 600)


def _ranges(allowed: AllowedFrom) -> Mrkdwn:
    if not allowed.ranges or allowed.read_at is None:
        return mrkdwn("{} connects from the ranges in {}.", allowed.system, source(RANGES_LINK, "Microsoft's list"))
    shown = joined([code(network, 60) for network in allowed.ranges[:RANGES_SHOWN]], " ")
    more = mrkdwn(" and {} more", len(allowed.ranges) - RANGES_SHOWN) if len(allowed.ranges) > RANGES_SHOWN else ""
    return mrkdwn("{} connects from {}{} (list of {}).", allowed.system, shown, more, when(allowed.read_at))


def sample_line(sample: Sample | None) -> Mrkdwn:
    """How far the known reasons speak for what waits; empty where all are known, or none is."""
    if sample is None:
        return Mrkdwn("")
    if sample.kind is SampleKind.AGREES:
        return mrkdwn("{} wait; {} of {} looked at say {}", sample.waiting, sample.known, sample.known, sample.code)
    if sample.kind is SampleKind.FEW:
        return mrkdwn("{} wait; {} looked at so far, the rest unknown", sample.waiting, sample.known)
    return mrkdwn("{} wait; {} looked at say different things, the rest unknown", sample.waiting, sample.known)


def changes(differences: tuple[Difference, ...]) -> Mrkdwn:
    """What changed between the last good and the first bad observation: usually the cause."""
    if not differences:
        return Mrkdwn("")
    shown = [mrkdwn("• {}: {} → {}", prose(d.what, 60), code(d.before, 80), code(d.after, 80)) for d in differences[:5]]
    more = mrkdwn("• and {} more", len(differences) - 5) if len(differences) > 5 else None
    return lines(Mrkdwn("*What changed since it last worked*"), *shown, more)


def by_code(summary: QueueSummary) -> Mrkdwn:
    """ "42 × 4.4.316, 3 × 4.4.317"."""
    return joined([mrkdwn("{} × {}", g.count, code_words(g.code)) for g in summary.by_code[:6]], ", ")


def reasons(summary: QueueSummary, sample: Sample | None) -> Mrkdwn:
    """The same, in which a sample that agrees speaks for all: "4.4.316 (10 of 10 looked at)"."""
    if sample is None or sample.kind is not SampleKind.AGREES:
        return by_code(summary)
    return mrkdwn("{} ({} of {} looked at)", sample.code, sample.known, sample.known)


def is_partner(connector: Connector | None) -> bool:
    """Does the next hop belong to somebody else?"""
    return connector is not None and connector.kind is ConnectorKind.PARTNER
