"""What differs between the last good and the first bad observation."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from bot.core.changes import capabilities, certificate, differences, first_bad, same_settings
from bot.core.views import Difference
from storage.records import ProbeRecord

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)


def probe(code: str | None = None, *, minute: int = 0, stage: str = "done", **fingerprint: str) -> ProbeRecord:
    return ProbeRecord(
        connector_id=1,
        at=NOW + timedelta(minutes=minute),
        ok=code is None,
        code=code,
        cause="refused" if code else None,
        status=None,
        stage=stage,
        degraded=False,
        elapsed_ms=5,
        document="{}",
        fingerprint=fingerprint,
    )


def changed(before: dict[str, str], after: dict[str, str], **more: Any) -> list[tuple[str, str, str]]:
    return [(d.what, d.before, d.after) for d in differences(probe(**before), probe("4.4.317", **({} | more), **after))]


OLD = {
    "certificate": "aa11bb22cc",
    "certificate_subject": "mail.contoso.com",
    "certificate_expires": "2026-03-01T00:00:00Z",
}
NEW = {
    "certificate": "dd44ee55ff",
    "certificate_subject": "mail.contoso.com",
    "certificate_expires": "2027-03-01T00:00:00Z",
}


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        ({"port": "25", "banner": "old"}, {"port": "26", "banner": "new"},
         [("port", "25", "26"), ("banner", "old", "new")]),
        ({"smart_hosts": "a.test"}, {"smart_hosts": "b.test"}, [("smart hosts", "a.test", "b.test")]),
        ({"tls_setting": "none", "tls_domain": "none"}, {"tls_setting": "domain", "tls_domain": "a.test"},
         [("TLS setting", "none", "domain"), ("TLS domain", "none", "a.test")]),
        ({"mx": "a.test, b.test"}, {"mx": "b.test, c.test"}, [("MX", "a.test", "c.test")]),
        ({"addresses": "192.0.2.1, 192.0.2.2"}, {"addresses": "192.0.2.2"}, [("DNS answer", "192.0.2.1", "gone")]),
        ({"addresses": "192.0.2.1"}, {"addresses": "192.0.2.1, 192.0.2.9"},
         [("DNS answer", "not there", "192.0.2.9")]),
        ({"addresses": "192.0.2.1"}, {}, []),
        (OLD, NEW, [("certificate", "mail.contoso.com, until 2026-03-01, SHA-256 aa11bb22…",
                     "mail.contoso.com, until 2027-03-01, SHA-256 dd44ee55…")]),
        (OLD, {}, []),
        ({"capabilities": "8BITMIME, SIZE 100, STARTTLS"}, {"capabilities": "8BITMIME, SIZE 90"},
         [("EHLO answer", "STARTTLS", "gone")]),
        ({"capabilities": "8BITMIME"}, {"capabilities": "8BITMIME, CHUNKING"}, []),
        ({"capabilities": "8BITMIME"}, {}, []),
        ({"capabilities": "8BITMIME", **OLD}, {"capabilities": "8BITMIME, STARTTLS, AUTH LOGIN"}, []),
        ({"banner": "same"}, {"banner": "same"}, []),
        ({"tls_setting": "none"}, {"banner": "first seen now"}, []),
    ],
)  # fmt: skip
def test_only_what_both_saw_and_what_means_something_is_told(
    before: dict[str, str], after: dict[str, str], expected: list[tuple[str, str, str]]
) -> None:
    assert changed(before, after) == expected


def test_vanished_addresses_count_as_a_change_when_names_could_not_be_resolved() -> None:
    good, bad = probe(addresses="192.0.2.1"), probe("4.4.312", stage="dns")
    assert differences(good, bad) == (Difference(what="DNS answer", before="192.0.2.1", after="none"),)


def test_nothing_changed_without_two_observations() -> None:
    assert differences(None, probe("4.4.316")) == differences(probe(), None) == ()


def test_the_first_bad_probe_is_the_oldest_of_the_present_failures() -> None:
    newest_first = [probe(c, minute=m) for m, c in enumerate(["4.4.315", None, "4.4.316", "4.4.316"])][::-1]
    bad = first_bad(newest_first)
    assert bad is not None
    assert bad.at == NOW + timedelta(minutes=2)
    assert first_bad([probe(), probe("4.4.316")]) is None
    assert first_bad([]) is None


def test_capabilities_are_keywords_on_which_delivery_may_depend() -> None:
    seen = {"capabilities": "8BITMIME, SIZE 35882577, AUTH LOGIN PLAIN, XFORWARD NAME, HELP", "certificate": "aa"}
    assert capabilities(seen) == {"8BITMIME", "STARTTLS"}
    assert capabilities({}) == frozenset()


def test_a_certificate_is_told_in_one_line() -> None:
    assert certificate({"certificate": "aabbccddee"}) == "SHA-256 aabbccdd…"
    assert certificate({"certificate_subject": "x"}) is None


def test_settings_are_the_same_or_not() -> None:
    assert same_settings({"port": "25", "banner": "a"}, {"port": "25", "banner": "b"})
    assert not same_settings({"port": "25"}, {"port": "26"})
