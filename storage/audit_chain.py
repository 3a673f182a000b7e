"""How an audit entry is tied to all before it: its hash covers its own words and the hash of the entry before.

Whoever changes, removes or inserts an entry in between breaks every hash after it. Somebody who may write the file can
still make a whole new chain; that shows only against a hash that was noted elsewhere. Pure.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence

GENESIS = "0" * 64
"""What stands before the first entry."""


def link(before: str, words: Sequence[str | int]) -> str:
    """The hash (64 hex digits) of an entry after the one with hash `before`.

    `words`: id, moment in milliseconds, actor, verb, target, allowed (0 or 1), detail.
    """
    return hashlib.sha256(json.dumps([before, *words], ensure_ascii=True).encode()).hexdigest()
