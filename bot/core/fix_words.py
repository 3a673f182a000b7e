"""What the steps of a plan are called in each mail system, and what they do there. Pure.

Exchange knows domain types; Postfix knows tables. The steps are the same ones.
"""

from __future__ import annotations

from dataclasses import dataclass

from bot.core.capabilities import Family
from storage.records import DomainType

_POSTFIX_STATES = {
    DomainType.AUTHORITATIVE: "accepts known recipients only",
    DomainType.INTERNAL_RELAY: "accepts any recipient",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class StepWords:
    """A step's title, what it brings about, and what can't be taken back."""

    title: str
    effect: str
    irreversible: str | None = None


def domain_words(family: Family, names: str) -> StepWords:
    """Only recipients that the directory has are accepted from now on, in these domains."""
    if family is Family.POSTFIX:
        return StepWords(
            title=f"Accept mail for {names} only for known recipients",
            effect="relay_recipient_maps lists them then. Mail to any other address is refused as it comes in (5.1.1), "
            "so its sender knows at once. Mail that waits already is not looked at again.",
            irreversible="Mail that is refused meanwhile has to be sent again; the table itself can be set back.",
        )
    return StepWords(
        title=f"Make {names} Authoritative",
        effect="Internal Relay until now. Mail to addresses that the directory doesn't have is rejected then.",
        irreversible="Mail that is rejected meanwhile doesn't come back; the type itself can be set back.",
    )


def domain_state(family: Family, domain_type: str) -> str:
    """What a domain does about recipients, as its administrators say it; what is no type of ours is said as it is."""
    if domain_type not in list(DomainType):
        return f"is {domain_type}"
    known = DomainType(domain_type)
    words = f"is {known.replace('_', ' ').title()}"
    return _POSTFIX_STATES.get(known, words) if family is Family.POSTFIX else words


def connector_words(family: Family, name: str, where: str, queued: str) -> StepWords:
    """Nothing is tried there any more. `queued`: what stays, and until when."""
    if family is Family.POSTFIX:
        return StepWords(
            title=f"Hold all mail for the next hop “{name}”",
            effect=f"No more attempts to reach {where}. Still queued then: {queued}. New mail for its domains is put "
            "off with 450 4.3.2, so it stays with its sender, who tries again.",
        )
    return StepWords(
        title=f"Disable the connector “{name}”",
        effect=f"No more attempts to reach {where}. Still queued then: {queued}.",
    )


def subdomains_note(family: Family, name: str) -> str:
    """Why a domain that stands for its sub-domains, too, is left as it is."""
    why = "" if family is Family.POSTFIX else ", which needs Internal Relay"
    return f"{name} matches sub-domains{why}: left alone."
