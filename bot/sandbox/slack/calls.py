"""The record of every Web API call, for tests to read."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One call and what became of it. `status` 0: the connection was cut or left hanging."""

    method: str
    at: float
    args: dict[str, Any]
    status: int
    answer: dict[str, Any]
    early: bool = False
    """It came before the Retry-After that the caller had been told was over."""

    @property
    def ok(self) -> bool:
        """Whether the caller was told that it worked."""
        return self.answer.get("ok") is True


class Ledger(deque[Call]):
    """The latest calls, oldest first; bounded."""

    def __init__(self) -> None:
        super().__init__(maxlen=50_000)

    def of(self, method: str) -> list[Call]:
        """Only the calls of one method."""
        return [call for call in self if call.method == method]

    @property
    def early(self) -> list[Call]:
        """Calls that did not wait as long as they were told."""
        return [call for call in self if call.early]
