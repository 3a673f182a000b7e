"""The note to a partner's postmaster: complete, polite, bounded, and nothing foreign can add a line to it."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from knowledge.codes import FAMILY
from knowledge.diagnose import explain
from knowledge.partner_note import BOUNCED, CHECKS, LIMIT, WAITING, partner_note

ERROR = (
    "450 4.4.317 Cannot connect to remote server [Message=CertificateExpired Expected Subject: *.fabrikam.com.] "
    "[LastAttemptedServerName=mx.fabrikam.com] [LastAttemptedIP=203.0.113.7:25]"
)


def flat(text: str) -> str:
    return " ".join(text.split())


def test_a_note_holds_the_evidence_and_what_to_check() -> None:
    note = partner_note(explain(ERROR), when="24 November 2026, 08:00 UTC", connector="To Fabrikam")
    for line in (
        "Subject: Mail to mx.fabrikam.com fails: Cannot connect to remote server",
        "  Time:           24 November 2026, 08:00 UTC",
        "  From:           our connector To Fabrikam",
        "  To your server: mx.fabrikam.com [203.0.113.7]",
        "  Code:           450 4.4.317 (Cannot connect to remote server)",
        "  Exact words:    CertificateExpired Expected Subject: *.fabrikam.com.",
        "  That means:     the certificate has expired",
    ):
        assert line in note.splitlines()
    assert flat(WAITING) in flat(note)
    assert flat(CHECKS["4.7.320"][0]) in flat(note)
    assert note.endswith("Kind regards\n")


def test_a_note_without_facts_is_still_one() -> None:
    note = partner_note(explain("421"))
    assert "Mail to your mail server fails" in note
    assert "  From:           our mail system" in note
    assert "Time:" not in note and "To your server" not in note
    assert "  Code:           421 (Another delivery error)" in note


def test_the_time_of_the_last_try_stands_in_for_the_time() -> None:
    note = partner_note(explain("{LED=450 4.4.316 x};{LRT=1/2/2027 12:05:00 AM}"))
    assert "  Time:           2027-01-02T00:05:00Z" in note


@pytest.mark.parametrize(("text", "state"), [("550 5.4.316 Message expired", BOUNCED), ("450 4.4.316", WAITING)])
def test_a_note_says_whether_mail_has_bounced(text: str, state: str) -> None:
    assert flat(state) in flat(partner_note(explain(text)))


def test_every_code_of_the_family_has_its_own_checks() -> None:
    assert set(CHECKS) == {*FAMILY, ""}
    for code in FAMILY:
        assert flat(CHECKS[code][0]) in flat(partner_note(explain(code)))


def test_foreign_text_can_neither_add_lines_nor_hide_anything() -> None:
    said = explain(
        "450 4.4.316 refused [Message=evil\u202e\u200b\x1b[31m words here] [LastAttemptedServerName=mx.a.test]"
    )
    note = partner_note(said, when="now\nBcc: all@contoso.com", connector="x\r\n.\r\nQUIT" + "y" * 500)
    assert "\nBcc:" not in note and "\n." not in note
    assert not any(not letter.isprintable() for letter in note.replace("\n", ""))
    assert "…" in note


@settings(max_examples=200, deadline=None)
@given(st.text(max_size=4000), st.text(max_size=400))
def test_a_note_is_bounded_and_printable_whatever_stands_in_it(text: str, name: str) -> None:
    note = partner_note(explain("450 4.4.316 x [Message=" + text), when=name, connector=name)
    assert len(note) <= LIMIT
    assert all(letter.isprintable() for letter in note.replace("\n", ""))
