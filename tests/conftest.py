"""What all tests share: how they are dealt to the workers of pytest-xdist."""

from __future__ import annotations

from pathlib import Path

import pytest

WAITING = {"acceptance"}
"""Folders whose tests mostly wait for a browser and for mail that is tried again: they run beside all others."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Two groups, one for each of two workers: nothing that is timed runs beside its like."""
    tests = Path(__file__).parent
    for item in items:
        folder = item.path.relative_to(tests).parts[0]
        item.add_marker(pytest.mark.xdist_group("waiting" if folder in WAITING else "others"))
