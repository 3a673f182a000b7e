"""What speaks against a fix: guards of the whole plan, and guards that turn one step into a refusal.

Pure. Every refusal says why, and the way out. "Unknown" is never "invalid"; what was true too long ago is not true.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from bot.core.capabilities import Capability
from bot.core.evidence import NAMELESS
from bot.core.fix_mail import Mail, domain_of, plural, recipients_of
from bot.core.fix_plan import RefusedStep, connector_facts
from bot.core.fix_situation import NEEDS, Situation
from bot.core.forecast import plain_span
from bot.core.policy import Policy
from storage.records import Caution, IncidentState, StepKind

MICROSOFT_MX = (".mail.protection.outlook.com", ".mx.microsoft")
"""Mail exchangers with these endings are Exchange Online's own: mail sent there comes back."""
ALIVE_FOR = timedelta(minutes=15)
"""A good probe that is not older than this says that the server is alive."""


# Of the whole plan

Guard = Callable[[Situation, Policy, datetime], str | None]


def why_not(situation: Situation, policy: Policy, now: datetime, *, guards: Sequence[Guard]) -> str | None:
    """What the first of these guards says against it."""
    return next((why for guard in guards if (why := guard(situation, policy, now))), None)


def still_open(situation: Situation, _policy: Policy, _now: datetime) -> str | None:
    """Only an open incident with no other fix of its connector."""
    incident = situation.incident
    if incident.state is IncidentState.RESOLVED:
        return f"#{incident.id} is resolved already: there is nothing to fix."
    if incident.state is IncidentState.VERIFYING:
        return f"A fix of #{incident.id} was done and is being verified; its thread will tell."
    if situation.fix_running or incident.state is IncidentState.FIXING:
        return f"A fix of “{situation.connector.name}” is running right now."
    return None


def allowed_by_article(situation: Situation, _policy: Policy, _now: datetime) -> str | None:
    """Only where the article says that Fix now is a cure, and for this kind of connector."""
    code, rule = situation.incident.code, situation.rule
    if rule is None and code == NAMELESS:
        return "Fix now is no cure for this error: the steps in the alert say what to do."
    if rule is None:
        return f"Fix now is no cure for {code}: “/mfi explain {code}” says what is."
    if situation.connector.kind not in rule.kinds:
        return f"“{situation.connector.name}” leads to a partner: its servers are theirs to repair, so contact them."
    return None


def on_present_facts(situation: Situation, policy: Policy, now: datetime) -> str | None:
    """Never on a connector that changed, or on a queue that was read too long ago."""
    name, seen = situation.connector.name, situation.seen
    if seen is None:
        return f"The mail system no longer has the connector “{name}”: there is nothing to fix."
    stored, fresh = dict(connector_facts(situation.connector)), dict(connector_facts(seen))
    if changed := [fact for fact in stored if stored[fact] != fresh[fact]]:
        return (
            f"“{name}” was changed in the mail system ({', '.join(changed)}): wait for the next sync, then look again."
        )
    can_act = any(situation.can(kind) for kind in NEEDS)
    if can_act and (situation.queue_read_at is None or now - situation.queue_read_at > policy.stale_after):
        return f"What waits at “{name}” was last read too long ago to act on it: sync first."
    return None


def server_is_dead(situation: Situation, _policy: Policy, now: datetime) -> str | None:
    """A server that our own probe just reached is not one that nobody needs any more."""
    probe = situation.probe
    if probe is None or not probe.ok or probe.nothing_probed or now - probe.at > ALIVE_FOR:
        return None
    return (
        f"Our probe reached the servers of “{situation.connector.name}” {plain_span(now - probe.at)} ago: they are "
        "alive, so mail is not to be rejected. If the mail system is still refused there, its addresses are blocked: "
        "have the firewall opened. If mail only waits for its next try, use Retry now."
    )


def not_too_many(situation: Situation, policy: Policy, _now: datetime) -> str | None:
    """A cap on how many fixes are begun in an hour."""
    if situation.begun_lately < policy.fixes_per_hour:
        return None
    return (
        f"{situation.begun_lately} fixes were begun within the last hour, which is the most that is allowed: look "
        "first whether they helped, or do it by hand."
    )


OF_A_FIX: tuple[Guard, ...] = (still_open, allowed_by_article, on_present_facts, server_is_dead, not_too_many)
OF_A_RETRY: tuple[Guard, ...] = (still_open, on_present_facts, not_too_many)
OF_A_CLAIM: tuple[Guard, ...] = (allowed_by_article, server_is_dead)
"""What is asked once more of a fix that was claimed; what it changes itself is compared on its own."""


# Of one step


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """What the guards of a step look at."""

    situation: Situation
    mail: Mail
    policy: Policy
    now: datetime
    domains: tuple[str, ...] = ()
    """The domains that a domain step would change."""


StepGuard = Callable[[Case], tuple[str, str] | None]
"""(why not, the way out), or None."""


def refusal_of(kind: StepKind, title: str, case: Case) -> RefusedStep | None:
    """The first thing that speaks against this step."""
    for guard in _OF_STEP.get(kind, ()):
        if found := guard(case):
            return RefusedStep(kind=kind, title=title, why=found[0], way_out=found[1])
    return None


def _whole_answer(case: Case) -> tuple[str, str] | None:
    if not case.mail.partial:
        return None
    if Capability.READ_RECIPIENTS not in case.situation.capabilities:
        why = "Nobody here can say which recipients exist: this mail system shows no directory."
        return why, "Give mfi a list of the recipients (README), or do it by hand."
    why = f"The directory gave no answer for {recipients_of(case.mail.unanswered)}, and unknown is not invalid."
    return why, "Check that the directory can be read (`mfi doctor`), then open Fix now again."


def _fresh_directory(case: Case) -> tuple[str, str] | None:
    at = case.situation.directory_at
    if at is None or case.now - at <= case.policy.directory_stale_after:
        return None
    why = f"The list of recipients is {plain_span(case.now - at)} old."
    return why, "Give mfi a fresh list, then open Fix now again."


def _plausible_share(case: Case) -> tuple[str, str] | None:
    known = {m.recipient.lower() for m in (*case.mail.valid, *case.mail.invalid)}
    bad = {m.recipient.lower() for m in case.mail.invalid}
    if len(known) < case.policy.invalid_share_from or len(bad) <= case.policy.invalid_share * len(known):
        return None
    why = f"{len(bad)} of {len(known)} recipients look invalid: more likely the directory is not whole."
    return why, "Check that all recipients are in the directory (synchronisation); if it is right, do it by hand."


def _all_looked_at(case: Case) -> tuple[str, str] | None:
    if not case.mail.unseen:
        return None
    why = f"{case.mail.unseen} of {case.mail.total} waiting messages were not looked at one by one."
    return why, "Reject the invalid ones first; when fewer wait, open Fix now again."


def _nobody_lives_only_there(case: Case) -> tuple[str, str] | None:
    """Also of addresses for which nothing waits just now: their next mail would be rejected."""
    before = {address for address in case.situation.delivered_before if domain_of(address) in case.domains}
    lost = before - case.situation.valid
    if not lost:
        return None
    who = plural(len(lost), "recipient")
    why = f"{who} unknown to the directory got mail through this connector before: they exist on-premises only."
    return why, "Add them to the directory as mail users or contacts, then open Fix now again."


def _not_all_mail(case: Case) -> tuple[str, str] | None:
    seen = case.situation.seen or case.situation.connector
    if Caution.ROUTES_ALL_MAIL in seen.cautions:
        why = "All outbound mail of the organisation goes through this connector (RouteAllMessagesViaOnPremises)."
        return why, "Change the routing first: Set-OutboundConnector -RouteAllMessagesViaOnPremises $false."
    if Caution.RULE_SCOPED in seen.cautions:
        why = "Mail flow rules send mail to this connector, whatever its domains say."
        return why, "Change or disable the rules that use it first."
    return None


def _no_loop(case: Case) -> tuple[str, str] | None:
    """Without the connector, mail of a relay domain goes by MX; where that is Exchange Online itself, it comes back."""
    loops = [
        name
        for name in looping_domains(case.situation)
        if name not in case.domains or not case.situation.can(StepKind.DOMAIN_AUTHORITATIVE)
    ]
    if not loops:
        return None
    untold = [name for name in loops if case.situation.mail_exchangers[name] is None]
    why = (
        f"DNS doesn't tell the MX of {', '.join(untold)}: without the connector its mail could loop."
        if untold
        else f"The MX of {', '.join(loops)} is Exchange Online itself: without the connector its mail would loop."
    )
    return why, f"Make {'it' if len(loops) == 1 else 'them'} Authoritative first, or point the MX at the servers."


def looping_domains(situation: Situation) -> tuple[str, ...]:
    """Relay domains of this connector whose mail would, or for all we know could, come back if it were off."""
    if Capability.REJECTS_AT_RETRY not in situation.capabilities:
        return ()
    return tuple(
        name
        for name, hosts in sorted(situation.mail_exchangers.items())
        if hosts is None or any(host.lower().rstrip(".").endswith(MICROSOFT_MX) for host in hosts)
    )


_OF_STEP: dict[StepKind, tuple[StepGuard, ...]] = {
    StepKind.REJECT_INVALID: (_whole_answer, _fresh_directory, _plausible_share),
    StepKind.DOMAIN_AUTHORITATIVE: (
        _whole_answer,
        _fresh_directory,
        _nobody_lives_only_there,
        _plausible_share,
        _all_looked_at,
    ),
    StepKind.DISABLE_CONNECTOR: (_not_all_mail, _no_loop),
}
