"""Whatever a banner, name or pasted text holds, it never becomes live markup: every template × every hostile sample."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from bot.core.blockkit import problems
from bot.core.events import EventKind
from bot.core.fix_plan import Plan, PlanStep, SenderCount
from bot.core.foresight import Warned
from bot.core.permissions import Admins, Decision
from bot.core.views import Disagreement, IncidentView
from bot.services.destination import Fit, OurConnector
from bot.slack import queues, replies
from bot.slack.alert import render_alert
from bot.slack.blocks import Message, sections_only, text_only
from bot.slack.explain_modal import answer_view, paste_view
from bot.slack.explain_modal import loading_view as explain_loading
from bot.slack.explained import explain_reply, paste_reply
from bot.slack.home import home_view
from bot.slack.plan_modal import loading_view, plan_view, refused_view
from bot.slack.text import Mrkdwn, prose, sentence
from bot.slack.thread import render_event
from bot.slack.vocabulary import help_lines, help_reply, unknown_word
from knowledge.articles import articles
from knowledge.diagnose import explain
from knowledge.diagnosis import Diagnosis
from knowledge.explanation import Explanation
from storage.records import WARNING_PREFIX, Action, ActionState, ConnectorKind, IncidentState, StepKind
from tests.security.hostile_texts import HOSTILE
from tests.slack.world import World

ABOUT = articles().for_code("4.4.316")
DISAGREES, DAY = Disagreement.FIREWALL_ADMITS_BOT_ONLY, timedelta(days=1)

OURS = re.compile(
    r"<@[UW][A-Z0-9]+>|<!subteam\^S[A-Z0-9]+>"
    r"|<!date\^\d+\^\{date_short_pretty\} \{time\}\|[\d: -]+ UTC>"
    r"|<https://(?:learn\.microsoft\.com|admin\.exchange\.microsoft\.com|slack\.com|www\.rfc-editor\.org)[^<>|\s]*\|[^<>|]*>"
)
"""Live markup that our own templates make. Foreign text must not be able to: the ids in it are called EVIL."""
KNOWN = re.compile(r"https://learn\.microsoft\.com/\S*")
"""In text to copy, where `<` and `@` are only letters, links to the documentation stay whole."""
LINK = re.compile(r"\w+://|\bwww\.\w|\b(?:mailto|tel|javascript|data):|[\w-]\.[a-z]{2,}/\w", re.IGNORECASE)


def _texts(value: object) -> Iterator[tuple[str, str]]:
    """Every text object (type, text) in a payload; table cells and the text of preformatted blocks, too."""
    if isinstance(value, Mapping):
        if value.get("type") in ("mrkdwn", "plain_text", "raw_text", "text") and isinstance(value.get("text"), str):
            yield value["type"], value["text"]
        for inner in value.values():
            yield from _texts(inner)
    elif isinstance(value, list | tuple):
        for inner in value:
            yield from _texts(inner)


def check(payload: Mapping[str, Any]) -> None:
    """No live markup, no invisible characters, every code span closed."""
    found = [*_texts(payload)]
    if isinstance(payload.get("text"), str):
        found.append(("mrkdwn", payload["text"]))
    assert found
    for kind, text in found:
        for char in text:
            assert char == "\n" or unicodedata.category(char) not in ("Cc", "Cf", "Cs", "Co", "Cn"), (char, text)
        assert not any("EVIL" in live for live in OURS.findall(text)), text
        if kind == "text":
            assert not LINK.search(KNOWN.sub("", text)), text
            continue
        rest = OURS.sub("", text)
        assert "<" not in rest and ">" not in rest, (kind, text)
        assert not LINK.search(rest), (kind, text)
        if kind == "mrkdwn":
            assert text.count("`") % 2 == 0, text
            assert "``" not in text, text
            for entity in re.findall(r"&[^\s;]{0,6};?", text):
                assert entity in ("&amp;", "&lt;", "&gt;") or entity.startswith(("&amp;", "&lt;", "&gt;")), (
                    entity,
                    text,
                )
        else:
            assert "`" not in text, text


def action_and_plan(foreign: str) -> tuple[Action, Plan]:
    step = PlanStep(
        kind=StepKind.REJECT_INVALID, title=foreign, effect=foreign, count=3, irreversible=foreign,
        senders=(SenderCount(sender=foreign, count=2),), more_senders=1,
    )  # fmt: skip
    plan = Plan(
        incident_id=12, backend="lab", connector_key="k", connector_name=foreign, code="4.4.316", dry_run=True,
        waiting=9, valid_waiting=2, unknown_waiting=1, invalid_recipients=4, steps=(step,), by_hand=(foreign,),
        notes=(foreign,),
    )  # fmt: skip
    now = World().now
    action = Action(
        id="a1b2", incident_id=12, connector_id=7, state=ActionState.OFFERED, offered_at=now, expires_at=now, plan=""
    )
    return action, plan


EVENT_DATA: dict[str, Callable[[str], dict[str, Any]]] = {
    EventKind.OPENED: lambda f: {"code": f, "by": f},
    EventKind.EVIDENCE: lambda f: {"code": f},
    EventKind.CRITICAL: lambda f: {"reason": f},
    EventKind.ESCALATED: lambda f: {"mark": f, "waiting": 3, "first_bounce_at": f},
    EventKind.WARNED: lambda f: {"mark": f},
    EventKind.FLAPPING: lambda f: {"times": f},
    EventKind.ACKNOWLEDGED: lambda f: {},
    EventKind.REPROBED: lambda f: {"ok": False, "code": f, "status": f, "stage": f, "elapsed_ms": 12},
    EventKind.FIX_REQUESTED: lambda f: {"action_id": "a1", "steps": [f, f], "expires_at": f},
    EventKind.FIX_DECLINED: lambda f: {"action_id": f, "requested_by": f},
    EventKind.FIX_LAPSED: lambda f: {"action_id": f, "requested_by": f},
    EventKind.FIX_CLAIMED: lambda f: {"action_id": f, "steps": [f, f], "dry_run": False, "requested_by": f},
    EventKind.FIX_STEP: lambda f: {"step": f, "state": f, "detail": f},
    EventKind.FIX_FINISHED: lambda f: {"action_id": "a1", "verify_at": f, "detail": [f]},
    EventKind.FIX_FAILED: lambda f: {"action_id": "a1", "detail": f, "what": f},
    EventKind.FIX_VERIFIED: lambda f: {"action_id": "a1", "detail": [f, f]},
    EventKind.FIX_NOT_YET: lambda f: {"action_id": "a1", "detail": [f], "next_at": f},
    EventKind.FIX_UNDONE: lambda f: {"action_id": "a1", "detail": [f]},
    EventKind.RESOLVED: lambda f: {"reason": f},
}


def _warning(foreign: str, code: str, state: IncidentState = IncidentState.FIRING) -> IncidentView:
    """A warning whose every fact is foreign."""
    server = {"host": foreign, "ip": foreign, "code": foreign, "cause": foreign}
    told = server | {"subject": foreign, "not_after": foreign, "stops_mail": True, "others": 2, "down": [server] * 3}
    told |= {"up": 1, "before": [foreign] * 2, "left": [foreign], "lost": [foreign]}
    world = World(foreign)
    partner = world.connector(kind=ConnectorKind.PARTNER)
    view: IncidentView = world.view(incident=world.incident(state, code=code), connector=partner, told=told)
    return view


Template = Callable[[str], "Message | dict[str, Any]"]


def _templates() -> Iterator[tuple[str, Template]]:
    for state in IncidentState:
        yield f"alert {state}", lambda f, s=state: render_alert(World(f).view(s), ABOUT)
    for code in ("4.4.312", "4.4.315", "4.4.317", "4.4.318", "4.7.320", "other"):
        yield f"alert {code}", lambda f, c=code: _alert_of(f, c)
    yield "alert partner", _partner
    for code in (*Warned, f"{WARNING_PREFIX}new"):
        for state in (IncidentState.FIRING, IncidentState.RESOLVED):
            yield f"{code} {state}", lambda f, c=code, s=state: render_alert(_warning(f, c, s), ABOUT)
        yield (
            f"{code} thread",
            lambda f, c=code: render_event(World(f).event(EventKind.WARNED, mark=f), _warning(f, c)),
        )
    for state in IncidentState:
        yield f"unassigned {state}", lambda f, s=state: render_alert(World(f).unassigned_view(s), ABOUT, f)
    for kind in (EventKind.CRITICAL, EventKind.ESCALATED, EventKind.RESOLVED):
        yield (
            f"unassigned thread {kind}",
            lambda f, k=kind: render_event(World(f).event(k, actor=f, **EVENT_DATA[k](f)), World(f).unassigned_view()),
        )
    yield "queue of no connector", lambda f: queues.unassigned_reply(World(f).unassigned())
    yield "empty queue of no connector", lambda f: queues.unassigned_reply(World(f).unassigned(queue=World(f).queue(0)))
    yield "alert unknown code", lambda f: render_alert(_recoded(World(f), f), articles().for_code(f))
    yield "alert monitor", lambda f: render_alert(World(f).view(connector=None), ABOUT)
    yield (
        "alert different codes",
        lambda f: render_alert(World(f).view(disagreement=Disagreement.DIFFERENT_CODES, queue_stale=True), ABOUT),
    )
    for kind in EventKind:
        yield (
            f"thread {kind}",
            lambda f, k=kind: render_event(World(f).event(k, actor=f, **EVENT_DATA[k](f)), World(f).view()),
        )
    yield "thread unknown", lambda f: render_event(World(f).event(f or "x"), World(f).view())
    yield "plan", lambda f: plan_view(*action_and_plan(f or "x"))
    yield "refused", lambda f: refused_view(prose(f))
    yield "refused, with people", lambda f: refused_view(sentence(f, ("U0CLICKER",)))
    yield "loading", lambda f: loading_view(12)
    yield "explain", lambda f: explain_reply(explain(f))
    yield (
        "explain in an error",
        lambda f: explain_reply(
            explain(f"550 5.4.316 Message expired, {f} [LastAttemptedServerName={f}] {{LED=450 4.4.316 {f}}}")
        ),
    )
    yield (
        "explain with a recipient",
        lambda f: explain_reply(explain(f"<{f}@contoso.com>: 450 4.4.317 {f} in reply to RCPT")),
    )
    yield "explain several errors", lambda f: explain_reply(explain(_several(f)))
    yield "explain in a window", lambda f: answer_view(explain_reply(explain(_several(f)), _ours(f)))
    yield "explain with a connector", lambda f: explain_reply(_everything(f), _ours(f), workspace=f)
    for code in ("4.4.316", "4.7.320", "5.7.1"):
        yield f"explain for a partner {code}", lambda f, c=code: explain_reply(_everything(f, c), _ours(f, PARTNER))
    yield "explain without a connector", lambda f: explain_reply(_everything(f, "5.7.1"))
    yield "explain with others", lambda f: explain_reply(explain(f), None, articles().search("certificate"))
    yield "paste", lambda f: paste_reply(prose(f))
    yield "window to paste into", lambda f: paste_view(prose(f), shared_as="a1b2")
    yield "window while reading", lambda f: explain_loading()
    yield "unknown word", unknown_word
    yield "unknown connector", lambda f: replies.unknown_connector("probe", f, [World(f).connector()])
    yield "no connector at all", lambda f: replies.unknown_connector("probe", f, [])
    yield "candidates", lambda f: replies.candidates("queue", f, [World(f).connector()] * 12, share=True)
    yield "status", lambda f: replies.status_reply(World(f).status(), f)
    yield (
        "status with warnings",
        lambda f: replies.status_reply(
            World(f).status(World(f).row(warnings=(_warning(f, f"warning:{f}").incident,)), late=(f,)), f
        ),
    )
    yield "connectors", lambda f: replies.connectors_reply([World(f).row()] * 20)
    yield "queue", lambda f: queues.queue_reply(World(f).waits(*[World(f).row()] * 20, stale=True))
    yield "empty queue", lambda f: queues.queue_reply(replace(World(f).waits(unassigned=0, stale=True), connectors=()))
    yield "queue of one", lambda f: queues.one_queue_reply(World(f).one_queue(disagreement=DISAGREES, queue_stale=True))
    yield (
        "queue of one, which differs, with foreign ranges",
        lambda f: queues.one_queue_reply(World(f).one_queue(disagreement=DISAGREES, allowed_from=World(f).allowed(f))),
    )
    yield "empty queue of one", lambda f: queues.one_queue_reply(World(f).one_queue(queue=World(f).queue(0)))
    yield "bounced", lambda f: queues.bounced_reply([World(f).bounce(code=f)] * 3, DAY, f, most=3)
    yield "probing", lambda f: replies.probing(World(f).connector())
    yield "probe", lambda f: replies.probe_reply(World(f).connector(), World(f).probe(cause=f, stage=f))
    yield "probe fine", lambda f: replies.probe_reply(World(f).connector(), World(f).probe(True))
    yield "probes", lambda f: replies.probes_reply([(World(f).connector(), World(f).probe())] * 30)
    yield (
        "incident",
        lambda f: replies.incident_reply(
            World(f).view(events=tuple(World(f).event(k, **EVENT_DATA[k](f)) for k in EventKind)), ABOUT, f
        ),
    )
    yield "whoami", lambda f: replies.whoami_reply(f, Decision(False, f), Admins.of(["U0PERSON", "S0GROUP"]))
    yield "refusal", lambda f: replies.refusal(Decision(False, f), Admins())
    yield "help", lambda f: help_reply()
    yield "home", lambda f: home_view(World(f).status(), f, help_lines())


PARTNER = ConnectorKind.PARTNER


def _several(foreign: str) -> str:
    """Two errors about this."""
    line = foreign.replace("\n", " ")[:300]
    return (
        f"450 4.4.316 {line} [LastAttemptedServerName={line}]\n"
        f"550 5.1.10 {line} to=<{line}@x.test>: Recipient not found\n450 5.4.1 {line}"
    )


def _everything(foreign: str, code: str = "4.4.316") -> Explanation:
    """An explanation in which whatever can be foreign is."""
    known = explain(_several("x"))
    hostile = Diagnosis(
        code=code, reported=foreign or "x", reply="450", smart_host=foreign, ip=foreign, recipient=foreign,
        retry_at=foreign, reason=foreign, detail=foreign, evidence=(0, 999), others=(foreign,),
    )  # fmt: skip
    rows = tuple(replace(row, diagnosis=replace(hostile, code=foreign), title=foreign) for row in known.errors)
    article = articles().for_code(code)
    return replace(known, diagnosis=hostile, article=article, errors=rows, conflict=foreign)


def _ours(foreign: str, kind: ConnectorKind = ConnectorKind.ON_PREMISES) -> OurConnector:
    world = World(foreign)
    connector = world.connector(kind=kind)
    warned = _warning(foreign, f"{WARNING_PREFIX}new").incident
    incident = world.incident(code=foreign, channel=foreign, ts=foreign)
    view = replace(world.row(connector=connector), incidents=(incident,), warnings=(warned,))
    return OurConnector(view=view, fit=Fit.SERVER)


def _recoded(world: Any, code: str) -> Any:
    return world.view(incident=world.incident(code=code))


def _alert_of(foreign: str, code: str) -> Message:
    return render_alert(_recoded(World(foreign), code), articles().for_code(code))


def _partner(foreign: str) -> Message:
    world = World(foreign)
    connector = world.connector(kind=ConnectorKind.PARTNER, smart_hosts=(), use_mx=True)
    return render_alert(world.view(connector=connector, probe=None), ABOUT)


TEMPLATES = dict(_templates())


@pytest.mark.parametrize("template", TEMPLATES.values(), ids=TEMPLATES.keys())
def test_foreign_text_never_becomes_live_markup_in_blocks_or_text(template: Template) -> None:
    for foreign in HOSTILE:
        made = template(foreign)
        if not isinstance(made, Message):
            check(made)
            assert not problems(made, "home" if made["type"] == "home" else "modal"), foreign[:60]
            continue
        for form in (made, sections_only(made), text_only(made)):
            payload = form.payload()
            check(payload)
            assert not problems(payload, "message", update=True), foreign[:60]


def test_the_corpus_is_large_enough_to_mean_something() -> None:
    assert len(set(HOSTILE)) >= 60
    assert len(TEMPLATES) >= 45


@pytest.mark.parametrize(
    "bad",
    ["<!channel>", "a <b> c", "https://evil.test", "`open", "``", "\u202e", "&nbsp;"],
)
def test_the_checker_itself_sees_live_markup(bad: str) -> None:
    with pytest.raises(AssertionError):
        check({"text": Mrkdwn(bad)})
