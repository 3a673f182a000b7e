"""What it means when the queue and our probe do not see the same: one plain conclusion for every pair. Pure.

The queue is the authority on what stops the mail; the probe stands elsewhere and may meet another firewall, resolver or
server. Where they differ, the difference itself is the best hint.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from datetime import datetime, timedelta
from enum import StrEnum

from bot.core.evidence import (
    CANNOT_CONNECT,
    CERTIFICATE,
    DNS_FAILED,
    REFUSED,
    TIMED_OUT,
    ProbeRun,
    folded,
    is_certificate_trouble,
)
from bot.core.views import Disagreement
from storage.records import CodeCount, QueueSummary

CLOSED = "4.4.318"
TARGETS_READ = 16


class Seen(StrEnum):
    """What one side sees. NOTHING: it says nothing; SOME: our probe gets through, but not to every server."""

    NOTHING = "nothing"
    FINE = "fine"
    SOME = "some"
    DNS = "dns"
    REFUSED = "refused"
    SILENT = "silent"
    ANSWER = "answer"
    CUT_OFF = "cut_off"
    CERTIFICATE = "certificate"
    OTHER = "other"


_BY_CODE = {
    DNS_FAILED: Seen.DNS,
    REFUSED: Seen.REFUSED,
    TIMED_OUT: Seen.SILENT,
    CANNOT_CONNECT: Seen.ANSWER,
    CLOSED: Seen.CUT_OFF,
    CERTIFICATE: Seen.CERTIFICATE,
}
_UNREACHED = frozenset({Seen.REFUSED, Seen.SILENT})
_REACHED = frozenset({Seen.ANSWER, Seen.CUT_OFF, Seen.CERTIFICATE, Seen.OTHER})
_FINE_HERE = {
    Seen.REFUSED: Disagreement.FIREWALL_ADMITS_BOT_ONLY,
    Seen.SILENT: Disagreement.FIREWALL_ADMITS_BOT_ONLY,
    Seen.ANSWER: Disagreement.TURNED_AWAY,
    Seen.CUT_OFF: Disagreement.CLOSED_ON_MAIL,
    Seen.CERTIFICATE: Disagreement.OTHER_CERTIFICATE,
    Seen.OTHER: Disagreement.LATER_THAN_PROBED,
}

CONCLUSIONS = {
    Disagreement.FIREWALL_ADMITS_BOT_ONLY: "The firewall lets this bot in, but not {system}: check the address ranges "
    "that may connect to its mail port.",
    Disagreement.FIREWALL_THEN_MORE: "{System} does not even get a connection, this bot does: check first the address "
    "ranges that the firewall lets in. What our probe meets after that is the next obstacle.",
    Disagreement.JUST_REPAIRED: "Our probe gets through again, but not for long yet: what the queue says may be from "
    "before. {System} tries again within {soon}; if it fails then, it is treated in another way than this bot.",
    Disagreement.SOME_SERVERS: "One of several servers fails for our probe, too, and another works: mail that is "
    "handed to the failing one waits. Repair that server, or take it out of DNS or of the connector.",
    Disagreement.SPLIT_DNS: "The server's name resolves here, but not for {system}: the two ask different DNS servers "
    "(split horizon: often only your internal DNS knows a name), or a change of DNS has not got around. The name has "
    "to stand in {dns}.",
    Disagreement.SPLIT_DNS_HERE: "The server's name resolves for {system}, but not here: this host's resolver sees "
    "other DNS data (MFI_NAMESERVERS sets another one). Trust the queue.",
    Disagreement.OTHER_CERTIFICATE: "The certificate that our probe got is fine, the one that {system} met is not: "
    "another server or address answers there with another certificate, or {system} asks by another name (SNI, the "
    "connector's TLS domain). Look at every server behind that name.",
    Disagreement.CLOSED_ON_MAIL: "Our session is fine, {system}'s is cut off: a firewall that inspects SMTP, or a "
    "limit on connections from its addresses, treats the two differently.",
    Disagreement.TURNED_AWAY: "The server welcomes this bot, but answers {system} with an error: look for rules by "
    "source address, limits and block lists there, and at what it demands of TLS.",
    Disagreement.LATER_THAN_PROBED: "A session from here works. {System} fails at something that a probe does not do: "
    "the message itself, its sender, recipient or a policy. Start with the queue's own words.",
    Disagreement.BOT_IS_BLOCKED: "Our probe fails, yet mail leaves through this connector: it is this host that is "
    "blocked, not the mail.",
    Disagreement.BOT_IS_STRICTER: "Our probe rejects the certificate, yet mail leaves through this connector: "
    "{system} does not insist on it. Renew it before somebody does.",
    Disagreement.BOT_REACHES_LESS: "{System} reaches the server and fails there; this host does not even get so far: "
    "it is blocked besides. Trust the queue.",
    Disagreement.NEITHER_CONNECTS: "Neither gets a connection: one is refused, the other gets no answer. The server is "
    "down, or its firewall turns both away, each in another way.",
    Disagreement.DIFFERENT_CODES: "Both fail, each in its own way: the server may treat the two source addresses "
    "differently, or there are two faults. Start with what the queue says: that is what stops the mail.",
}
"""In words. {system}: what the mail system is called; {System}: the same at the beginning of a sentence. {dns}: where
it looks names up; {soon}: until when it tries again.
"""

CLOUD_TRIES_WITHIN = timedelta(hours=1)
"""Exchange Online tries waiting mail again after 15 to 60 minutes."""
OTHERS_TRY_WITHIN = timedelta(minutes=75)
"""Postfix: maximal_backoff_time and queue_run_delay, 4000 and 300 seconds. An Exchange Server is quicker."""
ABOUT_ADDRESSES = frozenset({Disagreement.FIREWALL_ADMITS_BOT_ONLY, Disagreement.FIREWALL_THEN_MORE})
"""Where a list of the mail system's own addresses helps."""
MAIL_SYSTEM = "the mail system"
"""What it is called where nobody knows better."""


def conclusion(kind: Disagreement, system: str = MAIL_SYSTEM) -> str:
    """The conclusion in one or two sentences. `system`: the name of a cloud service; no other mail system has one."""
    is_cloud = system != MAIL_SYSTEM
    return CONCLUSIONS[kind].format(
        system=system,
        System=system[:1].upper() + system[1:],
        dns="public DNS" if is_cloud else f"the DNS that {system} asks",
        soon="the hour" if is_cloud else "an hour and a quarter",
    )


def disagreement(
    queue: QueueSummary,
    run: ProbeRun,
    *,
    now: datetime,
    flows: bool,
    failing: Iterable[str] = (),
    is_cloud: bool = False,
) -> Disagreement | None:
    """How the two views differ; None while they agree or one of them is silent.

    `flows`: mail leaves all the same. `failing`: the codes of servers that fail while the probe as a whole is fine.
    `is_cloud`: the mail is a cloud service's, which tries again sooner.
    A connector whose mail waits for several reasons agrees if one of them is the probe's; else the first counts.
    """
    ours = _probed(run, failing)
    if ours is Seen.NOTHING:
        return None
    groups = [group for group in folded(queue).by_code if group.code]
    if not groups:
        return _flowing(ours) if flows else None
    within = CLOUD_TRIES_WITHIN if is_cloud else OTHERS_TRY_WITHIN
    if ours is Seen.FINE and run.fine_since is not None and now - run.fine_since < within:
        return Disagreement.JUST_REPAIRED
    theirs = [_queued(group) for group in groups]
    also = {_BY_CODE.get(code, Seen.OTHER) for code in failing}
    if any(_agree(group, seen, run, ours) for group, seen in zip(groups, theirs, strict=True)):
        return None
    return next((found for seen in theirs if (found := compare(seen, ours, also)) is not None), None)


def compare(theirs: Seen, ours: Seen, also: Iterable[Seen] = ()) -> Disagreement | None:
    """One pair: what the queue and what the probe saw. `also`: what single servers showed us while others work."""
    if Seen.NOTHING in (theirs, ours):
        return None
    if theirs is Seen.FINE:
        return _flowing(ours)
    if ours is Seen.SOME and theirs in also:
        return Disagreement.SOME_SERVERS
    if theirs is Seen.DNS or ours is Seen.DNS:
        return _names(theirs, ours)
    if ours in (Seen.FINE, Seen.SOME):
        return _FINE_HERE[theirs]
    return _both_fail(theirs, ours)


def failing_codes(document: str) -> tuple[str, ...]:
    """The codes of the servers that fail in a stored probe; an unreadable document has none."""
    try:
        targets = json.loads(document)["targets"]
        return tuple(str(t["code"]) for t in targets[:TARGETS_READ] if not t["ok"] and t["code"])
    except (ValueError, KeyError, TypeError):
        return ()


def _probed(run: ProbeRun, failing: Iterable[str]) -> Seen:
    if run.successes:
        return Seen.SOME if tuple(failing) else Seen.FINE
    return _BY_CODE.get(run.code, Seen.OTHER) if run.code else Seen.NOTHING


def _queued(group: CodeCount) -> Seen:
    if is_certificate_trouble(group):
        return Seen.CERTIFICATE
    return _BY_CODE.get(group.code or "", Seen.OTHER)


def _agree(group: CodeCount, theirs: Seen, run: ProbeRun, ours: Seen) -> bool:
    return group.code == run.code or (theirs is ours and theirs is not Seen.OTHER)


def _flowing(ours: Seen) -> Disagreement | None:
    if ours in (Seen.FINE, Seen.SOME):
        return None
    return {Seen.DNS: Disagreement.SPLIT_DNS_HERE, Seen.CERTIFICATE: Disagreement.BOT_IS_STRICTER}.get(
        ours, Disagreement.BOT_IS_BLOCKED
    )


def _names(theirs: Seen, ours: Seen) -> Disagreement | None:
    if theirs is ours:
        return None
    return Disagreement.SPLIT_DNS if theirs is Seen.DNS else Disagreement.SPLIT_DNS_HERE


def _both_fail(theirs: Seen, ours: Seen) -> Disagreement | None:
    if theirs is ours and theirs is not Seen.OTHER:
        return None
    if theirs in _UNREACHED:
        return Disagreement.NEITHER_CONNECTS if ours in _UNREACHED else Disagreement.FIREWALL_THEN_MORE
    return Disagreement.BOT_REACHES_LESS if ours in _UNREACHED else Disagreement.DIFFERENT_CODES
