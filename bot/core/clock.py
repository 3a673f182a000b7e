"""How time enters: as a value that someone passes in, or as a Clock that the composition root made."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

Clock = Callable[[], datetime]
"""Returns the present moment as an aware UTC datetime. Tests pass a fake one; only bot/app.py makes the real one."""
