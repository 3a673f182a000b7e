"""What all tests share: how they are dealt to the workers of pytest-xdist."""

from __future__ import annotations

from pathlib import Path

import pytest

WAITING = {"acceptance", "chaos"}
"""Folders whose tests mostly wait: for a browser, for mail that is tried again, for a server to come back."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Two groups, one for each of two workers: those that mostly wait, beside all others in their usual order."""
    tests = Path(__file__).parent
    for item in items:
        folder = item.path.relative_to(tests).parts[0]
        item.add_marker(pytest.mark.xdist_group("waiting" if folder in WAITING else "others"))
