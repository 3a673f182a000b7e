"""What the doctor says that a mail system can and can't do."""

from __future__ import annotations

import pytest

from bot.backends.abilities import abilities, lacks
from bot.backends.exchange_online.backend import ACTS, READS
from bot.core.capabilities import Capability


@pytest.mark.parametrize(
    ("can", "words"),
    [
        (frozenset[Capability](), "reads nothing"),
        ({Capability.READ_QUEUE}, "reads queue"),
        ({Capability.READ_CONNECTORS, Capability.RETRY_QUEUE}, "reads connectors; can retry"),
        (READS, "reads connectors, domains, queue with reasons, directory"),
        (
            READS | ACTS,
            "reads connectors, domains, queue with reasons, directory; can reject invalid recipients when their domain "
            "is authoritative, at their next retry, change domains, switch connectors",
        ),
    ],
)
def test_abilities_are_told_in_words(can: frozenset[Capability], words: str) -> None:
    assert abilities(can) == words


@pytest.mark.parametrize(
    ("can", "words"),
    [
        (READS, ["can't act"]),
        (READS | ACTS, ["can't retry at once"]),
        (frozenset(Capability) - {Capability.REJECTS_AT_RETRY}, []),
        (
            {Capability.RETRY_QUEUE},
            ["has no directory", "can't reject waiting mail", "can't change domains", "can't switch connectors"],
        ),
        (frozenset(Capability) - {Capability.REJECT_SINGLE_RECIPIENTS}, ["can only reject whole messages"]),
    ],
)
def test_what_it_lacks_is_told_with_what_that_means(can: frozenset[Capability], words: list[str]) -> None:
    told = list(lacks(can))
    assert len(told) == len(words)
    assert all(line.startswith(word) for line, word in zip(told, words, strict=True))
