"""How mail left while nobody looked: from the log alone, after a start of the bot. Pure.

A message's key holds the second of its arrival, which the log gives only as "so long ago", to the second or so. So each
outcome is told for the three seconds that it may have been: whoever stores them knows which of these messages waited,
and the others are nobody's. Mail that never waited for long was not seen waiting and is left out.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, timedelta
from math import floor

from bot.backends.postfix.mail_log import LogTerms, Outcome, outcomes
from bot.backends.postfix.queue import QueueTerms, message_key
from storage.records import MessageFacts

WAITED = timedelta(seconds=5)
_TAKEN_UP = re.compile(rb": ([0-9A-Za-z]{5,32}): from=<([^>]{0,320})>, size=(\d{1,18}), nrcpt=\d+ \(queue active\)")


def recalled(lines: list[bytes], log: LogTerms, queue: QueueTerms) -> Iterator[tuple[Outcome, MessageFacts]]:
    """Each outcome with the messages that it may be about. The queue manager names the sender before every attempt."""
    taken_up = _taken_up(lines)
    for outcome in outcomes(lines, log):
        if outcome.recipient is None or outcome.waited is None or outcome.waited < WAITED:
            continue
        if outcome.queue_id in taken_up:
            yield from ((outcome, guess) for guess in _guesses(outcome, *taken_up[outcome.queue_id], queue))


def _taken_up(lines: Iterable[bytes]) -> dict[str, tuple[str, int]]:
    """Sender and size by queue id; the latest counts."""
    found = (_TAKEN_UP.search(line) for line in lines if b"(queue active)" in line)
    return {m[1].decode(): (m[2].decode("utf-8", "replace"), int(m[3])) for m in found if m}


def _guesses(outcome: Outcome, sender: str, size: int, queue: QueueTerms) -> Iterator[MessageFacts]:
    assert outcome.recipient is not None and outcome.waited is not None
    about = floor((outcome.at - outcome.waited).timestamp())
    lifetime = queue.lifetime if sender else min(queue.lifetime, queue.bounce_lifetime)
    for arrived in (about - 1, about, about + 1):
        received = datetime.fromtimestamp(arrived, UTC)
        yield MessageFacts(
            backend=queue.backend,
            key=message_key(queue.host, outcome.queue_id, arrived),
            recipient=outcome.recipient,
            sender=sender,
            received_at=received,
            expires_at=received + lifetime,
            size=size,
            connector_key=queue.connector_key(outcome.recipient),
        )
