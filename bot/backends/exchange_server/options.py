"""The settings of one Exchange Server instance (`MFI_<NAME>_…`), read from text. BadOptions names each bad one."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from bot.backends.options import Problems, number

REQUIRED: Mapping[str, str] = {
    "DROP": "the folder into which mfi-exchange.ps1 writes",
}
OPTIONAL: Mapping[str, str] = {
    "KEY_FILE": "file with the key that signs orders, shared with the script; empty: read only",
    "MAX_AGE": "seconds; an older document means that the script doesn't run (900)",
    "WAIT": "seconds that the script may take for an order (50)",
    "ON_PREMISES": "names or address spaces of send connectors that lead to your own servers",
    "PARTNER": "names or address spaces of send connectors that lead to a partner's",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """One instance. `on_premises`, `partner`: in lower case."""

    drop: Path
    key_file: Path | None = None
    max_age: timedelta = timedelta(minutes=15)
    wait: float = 50.0
    on_premises: frozenset[str] = frozenset()
    partner: frozenset[str] = frozenset()

    @classmethod
    def parse(cls, settings: Mapping[str, str]) -> Options:
        """From text; raises BadOptions. Whether the folder and the key are there is for check() and each read."""
        found = {name: text.strip() for name, text in settings.items() if text.strip()}
        problems = Problems()
        if "DROP" not in found:
            problems.add("DROP", f"is missing: {REQUIRED['DROP']}")
        max_age = problems.caught(lambda: number(found, "MAX_AGE", 900, (60, 86400), " of seconds"), 900.0)
        wait = problems.caught(lambda: number(found, "WAIT", 50, (1, 300), " of seconds"), 50.0)
        problems.told()
        key_file = found.get("KEY_FILE")
        return cls(
            drop=Path(found["DROP"]),
            key_file=Path(key_file) if key_file else None,
            max_age=timedelta(seconds=max_age),
            wait=wait,
            on_premises=_words(found.get("ON_PREMISES", "")),
            partner=_words(found.get("PARTNER", "")),
        )


def _words(text: str) -> frozenset[str]:
    """Split at commas only: names of connectors hold spaces."""
    return frozenset(word.strip().lower() for word in re.split(r"[,\n]+", text) if word.strip())
