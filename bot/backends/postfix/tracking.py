"""What became of mail that waited: the last listing, the mail log's outcomes, and who left since. No I/O.

A message that isn't listed any more left; the log says how. Outcomes are kept for messages that are known to wait,
because a line may be written before the listing notices. How each left is told in two reads in a row, so that one that
could not be stored loses nothing.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import timedelta

from bot.backends.postfix.mail_log import Outcome
from bot.backends.postfix.queue import queue_id_of
from storage.records import MessageFacts, MessageStatus

Ref = tuple[str, str]
MOST_KEPT = 50_000
_SLACK = timedelta(seconds=2)


class Tracker:
    """Follows one queue."""

    def __init__(self) -> None:
        self._waiting: Mapping[Ref, MessageFacts] = {}
        self._outcomes: dict[tuple[str, str | None], Outcome] = {}
        self._ended: OrderedDict[Ref, MessageFacts] = OrderedDict()
        self._untold: dict[Ref, MessageFacts] = {}
        self._told: dict[Ref, MessageFacts] = {}

    @property
    def waiting(self) -> Mapping[Ref, MessageFacts]:
        """What waited at the last look."""
        return self._waiting

    def learn(self, outcomes: Iterable[Outcome], listed: Mapping[Ref, MessageFacts]) -> None:
        """Take in what the log says of messages that wait or waited a moment ago."""
        known = {queue_id_of(key) for key, _ in self._waiting} | {queue_id_of(key) for key, _ in listed}
        for outcome in outcomes:
            if outcome.queue_id in known:
                self._outcomes[outcome.queue_id, outcome.recipient] = outcome

    def recall(self, guesses: Iterable[tuple[Outcome, MessageFacts]], listed: Mapping[Ref, MessageFacts]) -> None:
        """Take in how mail may have left before the first listing."""
        for outcome, message in guesses:
            ref = (message.key, message.recipient)
            if ref not in listed:
                self._untold[ref] = self._ended[ref] = _ended(message, outcome)
        for ref in list(self._untold)[:-MOST_KEPT]:
            del self._untold[ref]

    def unexplained(self, listed: Mapping[Ref, MessageFacts]) -> set[Ref]:
        """Who left, and nobody says how: a listing of a moving queue may also have missed them."""
        return {ref for ref, m in self._waiting.items() if ref not in listed and self._outcome(m) is None}

    def settle(self, listed: Mapping[Ref, MessageFacts]) -> None:
        """This is what waits now; whoever else waited has left."""
        for ref, message in self._waiting.items():
            if ref not in listed and (outcome := self._outcome(message)):
                ended = _ended(message, outcome)
                self._untold[ref] = self._ended[ref] = ended
        while len(self._ended) > MOST_KEPT:
            self._ended.popitem(last=False)
        self._waiting = listed
        waiting = {queue_id_of(key) for key, _ in listed}
        self._outcomes = {name: o for name, o in self._outcomes.items() if name[0] in waiting}

    def ended(self, ref: Ref) -> MessageFacts | None:
        """How this one left, if that is known."""
        return self._ended.get(ref)

    def news(self) -> tuple[MessageFacts, ...]:
        """How those left who left since the read before the last one."""
        news = {ref: m for ref, m in {**self._told, **self._untold}.items() if ref not in self._waiting}
        self._told, self._untold = self._untold, {}
        return tuple(news.values())

    def _outcome(self, message: MessageFacts) -> Outcome | None:
        queue_id = queue_id_of(message.key)
        found = self._outcomes.get((queue_id, message.recipient)) or self._outcomes.get((queue_id, None))
        return found if found and found.at >= message.received_at - _SLACK else None


def _ended(message: MessageFacts, outcome: Outcome) -> MessageFacts:
    """As it left. Why it waited stays, unless it was returned for another reason."""
    final = replace(message, status=outcome.status)
    if outcome.status is MessageStatus.DELIVERED or outcome.reason is None:
        return final
    return replace(final, code=None, reason=outcome.reason, remote_host=None, remote_ip=None, evidence_at=outcome.at)
