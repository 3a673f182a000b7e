"""A greeting is no error text."""

from __future__ import annotations

import pytest

from knowledge.articles import articles
from knowledge.diagnose import explain


@pytest.mark.parametrize("text", ["hello", "Hello!", "hello world"])
def test_a_greeting_finds_no_error(text: str) -> None:
    assert not explain(text).found
    assert articles().search(text) == []
