"""What a self-check says of one thing."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One checked thing. fault: mail-flow watching does not work as it should until `fix` is done."""

    level: Literal["ok", "note", "fault"]
    what: str
    says: str
    fix: str = ""

    def document(self) -> dict[str, str]:
        """As JSON."""
        return {"level": self.level, "what": self.what, "says": self.says, "fix": self.fix}
