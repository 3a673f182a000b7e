"""What a mail system can do, in an administrator's words: for `mfi doctor`. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Set

from bot.core.capabilities import Capability

_READS = (
    (Capability.READ_CONNECTORS, "connectors"),
    (Capability.READ_DOMAINS, "domains"),
    (Capability.READ_RECIPIENTS, "directory"),
)
_DOES = (
    (Capability.REJECT_MESSAGES, "reject mail"),
    (Capability.REJECT_SINGLE_RECIPIENTS, "reject single recipients"),
    (Capability.REJECTS_AT_RETRY, "reject invalid recipients when their domain is authoritative, at their next retry"),
    (Capability.SET_DOMAIN_TYPE, "change domains"),
    (Capability.SET_CONNECTOR_ENABLED, "switch connectors"),
    (Capability.RETRY_QUEUE, "retry"),
)
ACTS = frozenset(capability for capability, _ in _DOES)


def abilities(can: Set[Capability]) -> str:
    """One line: what it reads, and what it can do."""
    reads = [word for capability, word in _READS if capability in can]
    if Capability.READ_QUEUE in can:
        reads.insert(min(2, len(reads)), "queue with reasons" if Capability.READ_REASONS in can else "queue")
    # Who can return one recipient's mail can return all of it.
    covered = {Capability.REJECT_MESSAGES} if Capability.REJECT_SINGLE_RECIPIENTS in can else set()
    does = [word for capability, word in _DOES if capability in can - covered]
    told = [f"reads {', '.join(reads)}"] if reads else []
    return "; ".join(told + ([f"can {', '.join(does)}"] if does else [])) or "reads nothing"


def lacks(can: Set[Capability]) -> Iterator[str]:
    """What it can't do, each with what that means for Fix now. One that only reads lacks one thing: to act."""
    if not can & ACTS:
        yield "can't act, so Fix now only shows what to do by hand"
        return
    if Capability.READ_RECIPIENTS not in can:
        yield "has no directory to ask, so Fix now can't tell invalid recipients and rejects nobody"
    if Capability.REJECT_MESSAGES not in can and Capability.REJECTS_AT_RETRY not in can:
        yield "can't reject waiting mail, so Fix now leaves invalid recipients to you"
    if Capability.REJECT_MESSAGES in can and Capability.REJECT_SINGLE_RECIPIENTS not in can:
        yield "can only reject whole messages, so Fix now keeps one that also has a valid recipient"
    if Capability.SET_DOMAIN_TYPE not in can:
        yield "can't change domains, so Fix now can't stop mail to unknown recipients at the door"
    if Capability.SET_CONNECTOR_ENABLED not in can:
        yield "can't switch connectors, so Fix now leaves one that is no longer needed to you"
    if Capability.RETRY_QUEUE not in can:
        yield "can't retry at once, so what a fix frees goes out at the mail system's own next retry"
