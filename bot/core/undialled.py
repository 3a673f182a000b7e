"""Next hops that a mail system delivers to in a way that a probe does not speak: told as such, not as a gap. Pure.

Such a connector has no server to dial; its name says where it delivers and how, because that is all that is stored.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from storage.records import ConnectorFacts

LMTP, IMPLICIT_TLS = "LMTP", "implicit TLS"
_NAMED = re.compile(rf"(?P<server>.+) \((?P<how>{LMTP}|{IMPLICIT_TLS}): not probed\)", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Undialled:
    """Where it delivers, and how."""

    server: str
    how: str

    @property
    def words(self) -> str:
        """In a sentence: why no probe tells of it, and what does."""
        return f"delivered over {self.how}: mfi doesn't probe that, its queue alone tells of trouble"

    @property
    def short(self) -> str:
        """In a list."""
        return f"not probed: {self.how}"


def undialled_name(name: str, how: str) -> str:
    """What such a connector is called."""
    return f"{name} ({how}: not probed)"


def undialled(connector: ConnectorFacts | None) -> Undialled | None:
    """None: it is probed, or names no server at all."""
    if connector is None or connector.use_mx or connector.smart_hosts:
        return None
    return undialled_by(connector.name)


def undialled_by(name: str | None) -> Undialled | None:
    """What the name says of a connector that has no server to dial."""
    found = _NAMED.fullmatch(name or "")
    return Undialled(found["server"], found["how"]) if found else None
