"""A next hop that no probe speaks to is told as such, never as a gap in the settings."""

from __future__ import annotations

from typing import Any

import pytest

from bot.core.undialled import IMPLICIT_TLS, LMTP, undialled, undialled_by, undialled_name
from tests.core.fix_world import connector


@pytest.mark.parametrize("how", [LMTP, IMPLICIT_TLS])
def test_the_name_that_is_given_tells_where_and_how(how: str) -> None:
    found = undialled(connector(name=undialled_name("store.internal:2003", how), smart_hosts=()))
    assert found is not None
    assert (found.server, found.how) == ("store.internal:2003", how)
    assert found.words == f"delivered over {how}: mfi doesn't probe that, its queue alone tells of trouble"
    assert found.short == f"not probed: {how}"


@pytest.mark.parametrize("changes", [{"smart_hosts": ("a.test",)}, {"smart_hosts": (), "use_mx": True}])
def test_one_that_can_be_dialled_is_probed_whatever_its_name_says(changes: dict[str, Any]) -> None:
    assert undialled(connector(name=undialled_name("a.test", LMTP), **changes)) is None


def test_others_have_nothing_to_tell() -> None:
    assert undialled(None) is None
    assert undialled(connector(name="Contoso", smart_hosts=())) is None
    assert undialled_by(None) is None
