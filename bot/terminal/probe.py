"""A probe's result for people at a terminal: a tree of targets, their phases with times, the certificate, the verdict.

Promises: says everything in words and marks, so that it reads without colour and at 80 columns; foreign text is drawn
as text, never as markup.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console, Group, RenderableType
from rich.markup import escape
from rich.panel import Panel
from rich.table import Table
from rich.text import Text
from rich.tree import Tree

from bot.core.checks import Check, Checks
from bot.core.probe_result import PHASES, ProbeResult, TargetResult, TlsFacts
from bot.core.recipient import RcptCause, RcptFacts
from bot.core.undialled import undialled_by
from knowledge.causes import CAUSE_WORDS
from knowledge.classify import Cause

GOOD, BAD, NOTE, UNREACHED = "✓", "✗", "!", "–"
COLUMN = 10
"""Characters of a phase's column: the longest name and its mark."""
NAMES_SHOWN = 6
WARNING_WORDS = {Cause.NO_STARTTLS: "STARTTLS is not offered: mail would go in clear text"}
"""Causes that read otherwise where they do not stop mail."""
RECIPIENT_WORDS: dict[str, str] = {
    RcptCause.OK: "the recipient is accepted",
    RcptCause.REJECTED: "the recipient is refused",
    RcptCause.GREYLISTED: "not now, try again later (greylisting or the like)",
    RcptCause.RELAY_DENIED: "the server does not take mail for that domain",
    RcptCause.CATCH_ALL: "accepted, but so is any made-up recipient",
}


@contextmanager
def progress_line(*, enabled: bool = True) -> Iterator[Callable[[str], None]]:
    """A line on stderr that says what the probe is at; gone at the end. Silent unless stderr is a terminal."""
    console = Console(stderr=True)
    if not (enabled and console.is_terminal):
        yield lambda _: None
        return
    with console.status("probing …") as status:
        yield lambda text: status.update(escape(text))


def render_probe(result: ProbeResult, title: str | None = None) -> RenderableType:
    """The whole result; the last line is the verdict."""
    tree = Tree(Text.assemble((title or "Probe", "bold"), (", as seen from this machine", "dim")))
    for target in result.targets:
        tree.add(_target(target))
    recipient = [_recipient(result.rcpt)] if result.rcpt else []
    return Group(tree, *_checks(result.checks), *recipient, _verdict(result, title))


def _checks(checks: Checks) -> Iterator[Text]:
    """A line for each check that has something to say."""
    for name, check in (("DANE", checks.dane), ("MTA-STS", checks.mta_sts)):
        if check is not None and check.result is not Check.NONE:
            mark = GOOD if check.result is Check.OK else NOTE if check.ok or not check.code else BAD
            mode = f" ({check.mode})" if check.mode else ""
            code = f"{check.code} " if check.code else ""
            style = {GOOD: "green", NOTE: "yellow", BAD: "bold red"}[mark]
            yield Text(f"{mark} {name}{mode}: {code}{check.result}: {check.detail}", style=style)


def _recipient(rcpt: RcptFacts) -> Text:
    """One line: would the recipient be accepted, and in the server's own words why not."""
    said = f": {rcpt.status}" if rcpt.status else ""
    words = RECIPIENT_WORDS.get(rcpt.cause, f"the server broke off ({rcpt.cause.replace('_', ' ')})")
    return Text(f"{GOOD if rcpt.ok else BAD} {rcpt.address}: {words}{said}", style="green" if rcpt.ok else "bold red")


def _verdict(result: ProbeResult, connector: str | None) -> Text:
    """One line: would mail flow, and if not, why."""
    took = f"({_time(result.elapsed_ms)})"
    if result.status:
        return Text(f"{BAD} {result.status}: {_words(result.cause)} {took}", style="bold red")
    if result.nothing_probed and (told := undialled_by(connector)):
        return Text(f"{NOTE} Nothing was probed: it is {told.words} {took}", style="yellow")
    if result.nothing_probed:
        return Text(f"{NOTE} Nothing was probed: there is no server that may be dialled {took}", style="yellow")
    if result.degraded:
        return Text(f"{NOTE} Mail would flow, but not by every server {took}", style="bold yellow")
    return Text(f"{GOOD} Mail would flow {took}", style="bold green")


def _target(target: TargetResult) -> Group:
    """One target: a headline, its phases, and what there is to say."""
    parts: list[RenderableType] = [_headline(target), _phases(target)]
    if target.banner:
        parts.append(Text(f"banner: {target.banner}", style="dim"))
    if target.cause:
        parts.append(Text(f"why: {CAUSE_WORDS[target.cause]}"))
    if target.detail and target.detail != CAUSE_WORDS.get(target.cause or Cause.REFUSED):
        parts.append(Text(f"detail: {target.detail}"))
    others = [CAUSE_WORDS[c] for c in target.causes if c is not target.cause]
    parts += [Text(f"also: {words}", style="red") for words in others]
    parts += [Text(f"{NOTE} {WARNING_WORDS.get(w, CAUSE_WORDS[w])}", style="yellow") for w in target.warnings]
    if target.tls:
        parts.append(_certificate(target.tls))
    return Group(*parts)


def _headline(target: TargetResult) -> Text:
    """Which one, and how it is."""
    where = target.host if target.ip in (None, target.host) else f"{target.host} [{target.ip}]"
    if target.skipped:
        return Text(f"{NOTE} {where} port {target.port}: left out", style="yellow")
    if target.ok:
        return Text(f"{GOOD} {where} port {target.port}", style="green")
    return Text(f"{BAD} {where} port {target.port}: {target.code} {_words(target.cause)}", style="bold red")


def _phases(target: TargetResult) -> Table:
    """All phases in columns that agree between targets: what each took, where it failed, and what was not reached."""
    failed = None if target.ok else target.stage
    grid = Table.grid(padding=(0, 1, 0, 0))
    for _ in PHASES:
        grid.add_column(min_width=COLUMN, no_wrap=True)
    marks = {p: BAD if p is failed else GOOD if p in target.timings else "" for p in PHASES}
    styles = {BAD: "bold red", GOOD: "green", "": "dim"}
    grid.add_row(*(Text(f"{phase} {marks[phase]}".rstrip(), style=styles[marks[phase]]) for phase in PHASES))
    grid.add_row(*(_time(target.timings[phase]) if phase in target.timings else UNREACHED for phase in PHASES))
    return grid


def _certificate(tls: TlsFacts) -> Panel:
    """The certificate box."""
    until = f"{tls.not_after:%Y-%m-%d %H:%M} UTC ({_left(tls.days_left or 0)})" if tls.not_after else "unknown"
    names = ", ".join(tls.san[:NAMES_SHOWN]) + (
        f" and {len(tls.san) - NAMES_SHOWN} more" * (len(tls.san) > NAMES_SHOWN)
    )
    rows = (
        ("subject", tls.subject or "unknown"),
        ("issuer", tls.issuer or "unknown"),
        ("names", names or "none"),
        ("valid from", f"{tls.not_before:%Y-%m-%d %H:%M} UTC" if tls.not_before else ""),
        ("valid until", until),
        ("key", tls.key or ""),
        ("sha256", tls.sha256 or ""),
        ("chain sent", " < ".join(tls.chain)),
        ("session", " ".join(filter(None, (tls.version, tls.cipher))) or "unknown"),
        ("verified", f"{GOOD} yes" if tls.verified else f"{BAD} {tls.verify_error}"),
    )
    grid = Table.grid(padding=(0, 1))
    grid.add_column(no_wrap=True, style="dim")
    grid.add_column(overflow="fold")
    for label, value in rows:
        if value:
            grid.add_row(label, Text(value))
    return Panel(grid, title="certificate", title_align="left", expand=False, border_style="dim")


def _left(days: int) -> str:
    """How long a certificate still holds."""
    return f"{days} days left" if days >= 0 else "expired"


def _time(ms: float) -> str:
    """A duration in at most six characters."""
    return f"{ms / 1000:.1f}s" if ms >= 1000 else f"{ms:.0f}ms" if ms >= 10 else f"{ms:.1f}ms"


def _words(cause: Cause | None) -> str:
    """A cause's name as words."""
    return cause.replace("_", " ") if cause else ""
