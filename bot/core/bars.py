"""Numbers as blocks: people look before they read. Pure text, no wider than asked for; Slack and terminal share it."""

from __future__ import annotations

from collections.abc import Sequence

FULL, EMPTY = "█", "░"
_EIGHTHS = "▏▎▍▌▋▊▉"
_LEVELS = "▁▂▃▄▅▆▇█"
_NOTHING = "·"


def bar(part: float, whole: float, width: int) -> str:
    """As much of `width` cells as `part` is of `whole`; anything above nothing is seen, and no blanks fill it up."""
    share = min(max(part / whole, 0.0), 1.0) if whole > 0 else 0.0
    full, rest = divmod(round(share * width * 8), 8)
    drawn = FULL * full + (_EIGHTHS[rest - 1] if rest else "")
    return drawn or (_EIGHTHS[0] if part > 0 else "")


def gauge(part: float, whole: float, width: int) -> str:
    """The same, always `width` cells wide: what is used up, then what is left."""
    share = min(max(part / whole, 0.0), 1.0) if whole > 0 else 0.0
    full = round(share * width)
    return FULL * full + EMPTY * (width - full)


def spark(counts: Sequence[int]) -> str:
    """One character per number, as high as it is of the largest; a dot where there is nothing."""
    most = max(counts, default=0)
    return "".join(_LEVELS[-(-count * 8 // most) - 1] if count > 0 else _NOTHING for count in counts)
