"""Several errors in one paste are told apart, the main one first; contradictions are named in one sentence."""

from __future__ import annotations

import pytest

from knowledge.diagnose import explain
from knowledge.errors import PARTS, ROWS, parts

BOUNCE = """\
From: postmaster@contoso.com
Subject: Undelivered Mail Returned to Sender
MIME-Version: 1.0
Content-Type: multipart/report; report-type=delivery-status; boundary="B1"

--B1
Content-Type: text/plain; charset=us-ascii

This is the mail system at host gw.contoso.com.

<c@tailspin.test>: connect to mx.tailspin.test[198.51.100.7]:25: Connection refused

--B1
Content-Type: message/delivery-status

Reporting-MTA: dns; gw.contoso.com

Final-Recipient: rfc822; a@fabrikam.com
Action: failed
Status: 5.1.1
Remote-MTA: dns; mx.fabrikam.com
Diagnostic-Code: smtp; 550 5.1.1 <a@fabrikam.com>: User unknown

Final-Recipient: rfc822; b@fabrikam.com
Action: failed
Status: 5.1.1
Remote-MTA: dns; mx.fabrikam.com
Diagnostic-Code: smtp; 550 5.1.1 <b@fabrikam.com>: User unknown

Final-Recipient: rfc822; c@tailspin.test
Action: delayed
Status: 4.4.1
Diagnostic-Code: X-Postfix; connect to mx.tailspin.test[198.51.100.7]:25:
    Connection refused

--B1
Content-Type: message/rfc822

From: x@contoso.com
Subject: 550 5.7.1 not about this

hello
--B1--
"""


def table(text: str) -> list[tuple[str, str | None, int]]:
    return [(row.code, row.server, row.recipients) for row in explain(text).errors]


def test_each_recipient_of_a_bounce_counts_for_its_own_error_and_server() -> None:
    assert table(BOUNCE) == [("5.1.1", "mx.fabrikam.com", 2), ("4.4.316", "mx.tailspin.test", 1)]
    said = explain(BOUNCE)
    assert (said.diagnosis.smart_host, said.diagnosis.recipient) == ("mx.fabrikam.com", "a@fabrikam.com")
    assert [row.title for row in said.errors] == ["Recipient not found", "Connection refused"]
    assert said.conflict is None


@pytest.mark.parametrize(
    ("text", "rows"),
    [
        ("450 4.4.316 Connection refused", []),
        ("nothing at all", []),
        # The bounce of one message: the expiry and the last attempt are one error.
        ("550 5.4.316 Message expired\n450 4.4.316 Connection refused", []),
        ("550 5.4.317 Message expired\n450 4.4.315 earlier", [("4.4.317", None, 0), ("4.4.315", None, 0)]),
        ("450 4.4.316 refused; 550 5.1.10 not found", [("4.4.316", None, 0), ("5.1.10", None, 0)]),
        ("450 4.4.316 refused and 450 4.4.312 DNS query failed", [("4.4.316", None, 0), ("4.4.312", None, 0)]),
        # The same code at two servers is two incidents; a bad recipient is one error wherever it is.
        (
            "450 4.4.316 x [LastAttemptedServerName=a.contoso.com]\n450 4.4.316 x [LastAttemptedIP=203.0.113.9:25] "
            "[LastAttemptedServerName=b.contoso.com]",
            [("4.4.316", "a.contoso.com", 0), ("4.4.316", "b.contoso.com", 0)],
        ),
        (
            "to=<a@fabrikam.com>, dsn=4.4.1, status=deferred (connect to mx.fabrikam.com[203.0.113.7]:25: Connection "
            "refused)\nto=<b@fabrikam.com>, dsn=4.4.1, status=deferred (connect to mx.fabrikam.com[203.0.113.7]:25: "
            "Connection refused)\nto=<c@tailspin.test>, dsn=4.4.3, status=deferred (Host or domain name not found. "
            "Name service error for name=tailspin.test type=MX: Host not found, try again)",
            [("4.4.316", "mx.fabrikam.com", 2), ("4.4.312", "tailspin.test", 1)],
        ),
        # A wrapper is no second error, and a success is none.
        ('451 4.4.0 Primary target IP address responded with: "421 4.4.1 Connection timed out."', []),
        ("450 4.4.316 Connection refused\n250 2.0.0 ok\n421 4.4.0 wrapped", []),
        ("4.4.316 first\nto=<a@b.test> 421 4.4.2 lost connection with [203.0.113.9]: x", [("4.4.316", None, 0)]),
    ],
)
def test_different_errors_become_rows(text: str, rows: list[tuple[str, str | None, int]]) -> None:
    assert table(text)[: len(rows) or None] == rows


def test_an_address_stands_in_for_a_server_without_name() -> None:
    text = "550 5.1.1 nobody\nto=<a@b.test>, {LED=450 4.4.316 Connection refused};{IP=203.0.113.9}"
    assert ("4.4.316", "203.0.113.9", 1) in table(text)


def test_the_errors_come_by_the_number_of_recipients_after_the_main_one() -> None:
    lines = ["450 4.4.316 Connection refused", "550 5.7.1 for to=<a@b.test>"]
    lines += [f"550 5.1.1 to=<{name}@b.test> unknown" for name in "abc"]
    assert [(row.code, row.recipients) for row in explain("\n".join(lines)).errors] == [
        ("4.4.316", 0),
        ("5.1.1", 3),
        ("5.7.1", 1),
    ]


def test_rows_and_parts_are_bounded() -> None:
    flood = "\n".join(f"550 5.7.{number} no" for number in range(1, 300))
    assert len(explain(flood).errors) == ROWS
    assert len(parts(flood)) == PARTS
    assert len(parts("final-recipient: a\n" * 500)) <= PARTS
    assert all(len(part) <= 2000 for part in parts("450 4.4.316 " + "x" * 9000 + "; 450 4.4.315 y"))


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("450 5.1.1 no such user", "450 says try again later, but 5.1.1 says refused for good."),
        ("550 4.7.500 Server busy", "550 says refused for good, but 4.7.500 says try again later."),
        ("450 4.4.316 Connection refused [Message=Socket error code 10060]", "mean connection timed out (4.4.315)"),
        ("450 4.4.316 refused; 550 5.1.10 not found", "5.1.10 is final, but 4.4.316 is still tried again"),
        (
            "to=<a@b.test> 450 4.4.316 Connection refused\nto=<a@b.test> 550 5.1.1 User unknown",
            "both for the same recipient. They come",
        ),
        (
            "4F1: to=<x>, status=deferred (Connection refused)\n4F2: to=<x>, status=bounced (550 5.1.1 unknown)",
            "and nothing here says for whom. They come from different attempts or servers; for one recipient, the",
        ),
    ],
)
def test_contradictions_are_said_in_one_sentence(text: str, sentence: str) -> None:
    conflict = explain(text).conflict
    assert conflict is not None and sentence in conflict


@pytest.mark.parametrize(
    "text",
    [
        "450 4.4.316 Connection refused [Message=Socket error code 10061]",
        "450 4.4.316 Connection refused [Message=something else]",
        "450 4.4.316 Connection refused [Message=Unable to connect]",
        "450 4.4.316",
        # A collective code fits every detail; Exchange really says 451 5.7.3; an expiry is given in both classes.
        "450 4.4.317 Cannot connect to remote server [Message=CertificateExpired]",
        "451 5.7.3 Cannot achieve Exchange Server authentication",
        "550 4.4.7 QUEUE.Expired; message expired",
        "550 5.4.317 Message expired\n450 4.4.315 earlier",
        "to=<a@b.test> 450 4.4.316 Connection refused\nto=<c@b.test> 550 5.1.1 User unknown",
        "dsn=4.4.1, status=deferred (connect to mx.b.test[203.0.113.7]:25: Connection refused)",
        "421",
    ],
)
def test_what_only_looks_like_a_contradiction_is_none(text: str) -> None:
    assert explain(text).conflict is None
