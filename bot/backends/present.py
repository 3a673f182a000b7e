"""What the mail systems can do at this moment: rights are found out as they are used, and may come and go."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from bot.backends.ports import Backend
from bot.core.capabilities import Capability, Place


def places(backends: Mapping[str, Backend]) -> dict[str, Place]:
    """Backend name → where people type what they do there by hand; that never changes."""
    return {name: backend.place for name, backend in backends.items()}


class PresentCapabilities(Mapping[str, frozenset[Capability]]):
    """Backend name → what it can do now; asked anew at every look."""

    def __init__(self, backends: Mapping[str, Backend]) -> None:
        self._backends = backends

    def __getitem__(self, name: str) -> frozenset[Capability]:
        return self._backends[name].capabilities

    def __iter__(self) -> Iterator[str]:
        return iter(self._backends)

    def __len__(self) -> int:
        return len(self._backends)
