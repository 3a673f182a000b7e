"""The real Postfix of these tests.

It needs Debian's package `postfix`, and root (Postfix starts only so); else skipped with a reason, and failed in CI.
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from tests.backends.postfix.real_postfix import RealPostfix, missing, running


@pytest.fixture
def open_directory() -> Iterator[Path]:
    """Not in pytest's own directory: that one only its owner may enter."""
    with TemporaryDirectory(prefix="mfi-postfix-") as made:
        Path(made).chmod(0o755)
        yield Path(made)


@pytest.fixture
async def postfix(open_directory: Path) -> AsyncIterator[RealPostfix]:
    if reason := missing():
        (pytest.fail if os.environ.get("CI") else pytest.skip)(reason)
    async with running(open_directory) as started:
        yield started
