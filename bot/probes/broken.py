"""How a conversation with a peer ends early."""

from __future__ import annotations

from knowledge.classify import Cause, Stage


class Broken(Exception):
    """The conversation can't go on. Caught in this package; becomes a fault at the stage that was reached."""

    def __init__(self, cause: Cause, detail: str, stage: Stage | None = None) -> None:
        super().__init__(detail)
        self.cause = cause
        self.stage = stage
