"""What `/mfi …` answers. Pure: read models in, Message out. Compact: an answer is read on a phone."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from difflib import get_close_matches

from bot.core.events import EventKind
from bot.core.permissions import Admins, Decision
from bot.core.undialled import undialled
from bot.core.views import ConnectorView, IncidentView, StaleSource, StatusView
from bot.slack.alert import render_alert
from bot.slack.blocks import Message, actions, button, context, message, section
from bot.slack.countdown import stale_words
from bot.slack.evidence import Target, cause_words, configured, shown_host, targets
from bot.slack.lists import (
    LOOK,
    SHOWN,
    health_line,
    incident_line,
    monitor_line,
    some,
    stranded_lines,
    urgent_first,
    warning_lines,
)
from bot.slack.text import Mrkdwn, code, group, joined, lines, mrkdwn, num, plain, prose, sentence, user, when
from bot.slack.thread import event_line
from bot.slack.unreadable import monitor_words
from bot.slack.wording import (
    KIND_WORDS,
    SEEN_FROM_HERE,
    STAGE_WORDS,
    TLS_WORDS,
    ago,
    count,
    emoji,
    seconds,
    state_words,
)
from knowledge.article import Article
from storage.records import Connector, Incident, IncidentState, OutboxState, ProbeRecord

PICK = "mfi.pick"
"""Action id prefix of the buttons that choose one of several candidates: mfi.pick.<word>.<number>."""


def note(text: Mrkdwn) -> Message:
    """A short answer."""
    return message(text, [section(text)])


def refusal(decision: Decision, admins: Admins) -> Message:
    """Why not, and who may."""
    return note(lines(mrkdwn("🚫 {}", prose(decision.reason, 400)), who_may(admins)))


def who_may(admins: Admins) -> Mrkdwn:
    """The people and groups of MFI_ADMINS. For ephemeral answers only: elsewhere a group mention calls everybody."""
    people = [user(one) for one in sorted(admins.users)[:10]] + [group(one) for one in sorted(admins.groups)[:10]]
    return mrkdwn("These may: {}", joined(people, ", ")) if people else Mrkdwn("")


def candidates(verb: str, typed: str, found: Sequence[Connector], *, share: bool = False) -> Message:
    """Several connectors fit, or none did and these exist."""
    ask = (
        mrkdwn("{} fits more than one connector. Which one?", code(typed, 80)) if typed else Mrkdwn("Which connector?")
    )
    return _choice(ask, verb, found, share=share)


def unknown_connector(verb: str, typed: str, near: Sequence[Connector], *, share: bool = False) -> Message:
    """No such connector; the nearest ones, if any."""
    if not near:
        return note(
            mrkdwn("No connector is called {}. `/mfi connectors` lists them; `mfi import connectors` adds some.",
                   code(typed, 80))
        )  # fmt: skip
    ask = mrkdwn("No connector is called {}. Did you mean one of these?", code(typed, 80))
    return _choice(ask, verb, near, share=share)


def _choice(ask: Mrkdwn, verb: str, found: Sequence[Connector], *, share: bool) -> Message:
    shown = list(found)[:10]
    how = f"{PICK}.{'share-' if share else ''}{verb}"
    names = [mrkdwn("• {}", code(c.name, 100)) for c in shown]
    more = mrkdwn("and {} more: type more of the name", len(found) - 10) if len(found) > 10 else None
    picks = [button(plain(c.name, 70), f"{how}.{i}", str(c.id)) for i, c in enumerate(shown)]
    return message(lines(ask, *names, more), [section(ask), actions(*picks), section(more or Mrkdwn(""))])


def status_reply(view: StatusView, socket: str) -> Message:
    """Is mfi well, and is mail?"""
    head = health_line(view)
    return message(
        head,
        [
            section(head),
            section(_monitor_lines(view)),
            section(some([incident_line(i, v) for i, v in urgent_first(view.connectors)])),
            section(stranded_lines(view.connectors)),
            section(warning_lines(view.connectors)),
            section(lines(Mrkdwn("*mfi itself*"), *_own_lines(view, socket))),
        ],
    )


def _monitor_lines(view: StatusView) -> Mrkdwn:
    return lines(*(monitor_line(incident, view) for incident in view.monitor))


def _own_lines(view: StatusView, socket: str) -> Iterable[Mrkdwn]:
    yield mrkdwn("Slack: {}", prose(socket, 160))
    waiting = sum(view.outbox.get(state, 0) for state in (OutboxState.PENDING, OutboxState.SENDING))
    yield mrkdwn("Outbox: {} to send, {} undeliverable", waiting, view.outbox.get(OutboxState.DEAD, 0))
    yield from (mrkdwn("• ⚠️ late, still tried: {}", prose(line, 300)) for line in view.late[:5])
    yield from (mrkdwn("• ⚠️ undeliverable: {}", prose(line, 300)) for line in view.dead[:5])
    probes = [v.probe.at for v in view.connectors if v.probe]
    yield mrkdwn("Last probe: {}", ago(max(probes), view.now)) if probes else Mrkdwn("Last probe: none yet")
    yield from (mrkdwn("Mail system {}: {}", code(name, 60), prose(said, 300)) for name, said in view.syncs.items())
    if view.unassigned.total:
        yield mrkdwn(
            "{} to no known connector: {}",
            count(view.unassigned.total, "waiting message belongs", "waiting messages belong"), LOOK,
        )  # fmt: skip


def connectors_reply(views: Sequence[ConnectorView], unread: Sequence[StaleSource] = ()) -> Message:
    """Every connector, the failing ones first; `unread`: mail systems that were never read."""
    hints = lines(*map(_never_read, unread[:SHOWN]))
    if not views and unread:
        return note(hints)
    if not views:
        return note(
            Mrkdwn("No connectors are known yet. Import them: `mfi import connectors FILE`, or set `MFI_BACKENDS`.")
        )
    ordered = sorted(
        views, key=lambda v: (not v.incidents, _probe_is_fine(v), not v.warnings, v.connector.name.casefold())
    )
    head = mrkdwn(
        "*{}*, {} with an open incident", count(len(views), "connector"), sum(bool(v.incidents) for v in views)
    )
    rows = [_connector_row(v) for v in ordered[:SHOWN]]
    more = mrkdwn("… and {} more", len(views) - SHOWN) if len(views) > SHOWN else None
    return message(
        lines(head, *rows[:5]),
        [section(head), *(section(row) for row in rows), section(more or Mrkdwn("")), section(hints)],
    )


def _never_read(source: StaleSource) -> Mrkdwn:
    failed = mrkdwn("; the last try failed: {}", prose(source.error, 200)) if source.error else Mrkdwn("")
    return mrkdwn(
        "⚠️ {} was never read, so its connectors are unknown{}. {} reads it, `mfi doctor` says what is wrong.",
        code(source.backend, 60), failed, code(f"mfi sync {source.backend}", 80),
    )  # fmt: skip


def _probe_is_fine(view: ConnectorView) -> bool:
    return view.probe is None or view.probe.ok


def _connector_row(view: ConnectorView) -> Mrkdwn:
    connector = view.connector
    picture = _picture(view)
    facts = [
        prose(KIND_WORDS[connector.kind]),
        configured(connector),
        prose(TLS_WORDS[connector.tls_setting]),
        _probe_words(view),
        mrkdwn("{} waiting", view.queue.total),
        stale_words(view.queue_read_at, view.now, stale=view.queue_stale),
    ]
    numbers = joined([mrkdwn("*#{}*", num(i.id)) for i in (*view.incidents, *view.warnings)], " ")
    return lines(joined([mrkdwn("{} *{}*", picture, code(connector.name, 100)), numbers], " "), joined(facts))


def _picture(view: ConnectorView) -> str:
    if view.incidents:
        return "🔴"
    if not view.connector.enabled:
        return "⏸️"
    if view.warnings:
        return "⚠️"
    return "✅" if view.probe and view.probe.ok and not view.probe.nothing_probed else "⚪"


def _probe_words(view: ConnectorView) -> Mrkdwn:
    if not view.connector.enabled:
        return Mrkdwn("disabled")
    if told := undialled(view.connector):
        return prose(told.short)
    if view.probe is None:
        return Mrkdwn("not probed yet")
    if view.probe.nothing_probed:
        return mrkdwn("nothing to dial {}", ago(view.probe.at, view.now))
    result = "probe fine" if view.probe.ok else f"probe {view.probe.code or 'failed'}"
    return mrkdwn("{} {}", result, ago(view.probe.at, view.now))


def probing(connector: Connector) -> Message:
    """Said at once; the result follows."""
    return note(mrkdwn("🔎 Probing {} → {} …", code(connector.name, 100), configured(connector)))


def probing_many(number: int) -> Message:
    """Said at once; the results follow."""
    return note(mrkdwn("🔎 Probing {} …", count(number, "connector")))


def probe_reply(connector: Connector, probe: ProbeRecord) -> Message:
    """The verdict, then each server with how far it came and how long that took."""
    verdict = probe_verdict(connector, probe)
    rows = [_target_row(t) for t in targets(probe)[:8]]
    return message(verdict, [section(verdict), *(section(row) for row in rows), context(SEEN_FROM_HERE)])


def probe_verdict(connector: Connector, probe: ProbeRecord) -> Mrkdwn:
    """One line on one probe."""
    name, took = code(connector.name, 100), seconds(probe.elapsed_ms)
    if told := undialled(connector):
        return mrkdwn("⚪ {}: {}", name, told.words)
    if probe.nothing_probed:
        return mrkdwn("⚪ {}: there is nothing to dial", name)
    if probe.ok:
        limits = Mrkdwn(", but not to every server") if probe.degraded else Mrkdwn("")
        return mrkdwn("✅ {} gets through{} ({})", name, limits, took)
    said = cause_words(probe.cause) or "failed"
    return mrkdwn(
        "❌ {}: {}, {}; stopped at {} ({})",
        name, code(probe.status or probe.code or "failed", 120), said, STAGE_WORDS.get(probe.stage, probe.stage), took,
    )  # fmt: skip


STAGES = ("dns", "connect", "banner", "ehlo", "starttls", "tls")


def _target_row(target: Target) -> Mrkdwn:
    steps = []
    for stage in STAGES:
        if stage == target.stage and not target.ok:
            steps.append(mrkdwn("*❌ {}*", STAGE_WORDS[stage]))
            break
        if stage in target.timings:
            steps.append(mrkdwn("✓ {} {}", STAGE_WORDS[stage], f"{target.timings[stage]:.0f} ms"))
    said = target.detail or ("" if target.ok else target.banner)
    return lines(
        joined([mrkdwn("{}", "✅" if target.ok else "❌"), shown_host(target.host, target.ip, target.port)], " "),
        joined(steps),
        code(said, 160) if said else None,
    )


def probes_reply(results: Sequence[tuple[Connector, ProbeRecord]]) -> Message:
    """One line for each of several connectors, failing ones first."""
    ordered = sorted(results, key=lambda r: (r[1].ok, r[0].name.casefold()))
    bad = sum(not probe.ok for _, probe in results)
    head = mrkdwn("*{} probed*, {} failing", count(len(results), "connector"), bad)
    rows = [probe_verdict(connector, probe) for connector, probe in ordered]
    return message(
        lines(head, *rows[:10]),
        [
            section(head),
            *(section(lines(*rows[i : i + 8])) for i in range(0, len(rows), 8)),
            context(SEEN_FROM_HERE),
        ],
    )


def incident_reply(view: IncidentView, about: Article, workspace: str) -> Message:
    """The alert as it stands, without buttons, and the last lines of its timeline: among them who began a fix."""
    drawn = render_alert(view, about, workspace)
    shown = [block for block in drawn.blocks if block["type"] != "actions"]
    told = [e for e in view.events if e.kind != EventKind.EVIDENCE]
    begun = [e for e in told[:-8] if e.kind == EventKind.FIX_CLAIMED]
    last = [mrkdwn("{} {}", when(e.at), event_line(e, view)) for e in (*begun[-1:], *told[-8:])]
    return message(drawn.text, [*shown, section(lines(Mrkdwn("*Timeline*"), *last)) if last else None])


def whoami_reply(user_id: str, decision: Decision, admins: Admins) -> Message:
    """Who Slack says you are, and what follows from it."""
    may = "You may probe, acknowledge and fix." if decision.allowed else "You may read."
    why = mrkdwn("({})", prose(decision.reason, 300))
    others = None if decision.allowed else who_may(admins)
    return note(
        lines(mrkdwn("You are {}, id {}.", user(user_id), code(user_id, 40)), mrkdwn("{} {}", may, why), others)
    )


def already(reason: str, incident: Incident | None) -> Mrkdwn:
    """Why an acknowledgement came too late, and when that came about: the end of it, else who was first."""
    if incident is None:
        return lines(sentence(reason))
    over = incident.state is IncidentState.RESOLVED
    at = incident.resolved_at if over else incident.acknowledged_at
    return lines(sentence(reason, (incident.acknowledged_by,)), mrkdwn("That was {}.", when(at)) if at else None)


def open_incidents(views: Sequence[ConnectorView], own: Sequence[Incident] = ()) -> Mrkdwn:
    """The open incidents, one line each: those without a connector (`own`), then the most urgent; then the warnings."""
    shown = [mrkdwn("{} *#{}* {} · {}", emoji(i), num(i.id), monitor_words(i), state_words(i)) for i in own]
    shown += [incident_line(incident, view) for incident, view in urgent_first(views)]
    now = lines(Mrkdwn("*Open now*"), some(shown)) if shown else Mrkdwn("No incident is open.")
    return lines(now, warning_lines(views))


def nearest_connectors(typed: str, every: Sequence[Connector]) -> list[Connector]:
    """Those whose names are most like what was typed; the few there are, if nothing is alike."""
    names = {connector.name.casefold(): connector for connector in every}
    alike = get_close_matches(typed.casefold()[:200], names, n=5, cutoff=0.4)
    return [names[name] for name in alike] or (list(every) if len(every) <= 5 else [])
