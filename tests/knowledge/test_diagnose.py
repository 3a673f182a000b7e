"""Any pasted text becomes a diagnosis: a table of samples, what is read besides the code, and totality."""

from __future__ import annotations

import json
import re
import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from knowledge.classify import Cause
from knowledge.codes import FAMILY, parse
from knowledge.diagnose import Confidence, diagnose, explain


def samples() -> list[tuple[str, str | None, str | None, str | None, bool]]:
    """The blocks of both sample files: text, code, server, address, expired."""
    files = [Path(__file__).parent / name for name in ("samples.txt", "samples_wild.txt")]
    blocks = [block for file in files for block in file.read_text("utf-8").split("\n\n")[1:]]
    read = []
    for block in blocks:
        head, _, text = block.partition("\n")
        code, server, ip, state = (None if word == "-" else word for word in head.split())
        read.append((re.sub(r" # codespell:ignore", "", text).strip("\n"), code, server, ip, state == "expired"))
    return read


@pytest.mark.parametrize(("text", "code", "server", "ip", "expired"), samples(), ids=lambda v: str(v)[:60])
def test_each_sample_gets_its_code_destination_and_expiry(
    text: str, code: str | None, server: str | None, ip: str | None, expired: bool
) -> None:
    found = diagnose(text)
    assert (found.code, found.smart_host, found.ip, found.expired) == (code, server, ip, expired)


@pytest.mark.parametrize("code", FAMILY)
@pytest.mark.parametrize("form", ["{4}", "450 {4} some words", "{{LED=450 {4} some words}}", "Status: {4}", "(#{4})"])
def test_a_waiting_family_code_is_found_in_every_plain_form(code: str, form: str) -> None:
    found = diagnose(form.replace("{4}", code).replace("{{", "{").replace("}}", "}"))
    assert (found.code, found.reported, found.expired, found.confidence) == (code, code, False, Confidence.EXACT)


@pytest.mark.parametrize("code", FAMILY)
@pytest.mark.parametrize("form", ["5{}", "550 5{} Message expired, so it is", "554 5{}", "550-5{} more\n550 5{} end"])
def test_an_expired_family_code_is_folded_to_its_family(code: str, form: str) -> None:
    found = diagnose(form.replace("{}", code[1:]))
    assert (found.code, found.reported, found.expired) == (code, "5" + code[1:], True)
    assert found.confidence is Confidence.EXACT


@pytest.mark.parametrize(
    "text",
    [
        "",
        "   \n ",
        "hello, is anybody there?",
        "10.4.4.316 is no address",
        "4.4.316.7",
        "72.4.4.1",
        "5.7.x.x",
        "4.16.50",
        "4.04.1",
        "version 4.4.1",
        "Postfix 4.4.1 and exim 5.1.1",
        "4.5.24 10:31 the post came",
        "v4.4.316",
        "4-4.316",
    ],
)
def test_look_alikes_are_no_codes(text: str) -> None:
    assert diagnose(text).code is None


def test_what_exchange_online_says_is_read_in_full() -> None:
    text = (
        "Reason: [{LED=450 4.4.317 Cannot connect to remote server [Message=SubjectMismatch Expected Subject: "
        "*.fabrikam.com. Presented Subject: CN=OLD01. Thumbprint: 00FF.] [LastAttemptedServerName=mx.fabrikam.com] "
        "[LastAttemptedIP=198.51.100.4:25] [SmtpSecurity=-1;-1] [AB1.eop-eur01.prod.protection.outlook.com]};"
        "{MSG=SubjectMismatch};{FQDN=other.fabrikam.com};{IP=198.51.100.9};{LRT=11/19/2026 5:08:35 PM}]"
    )
    found = diagnose(text)
    assert (found.code, found.reply, found.advice, found.cause) == ("4.4.317", "450", ("4.7.320",), Cause.CERT_NAME)
    assert (found.smart_host, found.ip) == ("mx.fabrikam.com", "198.51.100.4")
    assert (found.retry_at, found.reason) == ("2026-11-19T17:08:35Z", "SubjectMismatch")
    assert found.detail is not None and found.detail.endswith("Thumbprint: 00FF.")
    assert text[slice(*found.evidence)] == "450 4.4.317"


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("450 4.4.316 Connection refused [Message=Socket error code 10061] [X=y]", "Socket error code 10061"),
        ("550 5.4.316 Message expired, connection refused(Socket error code 10061)'", "Socket error code 10061"),
        ("450 4.4.312 DNS query failed};{MSG=ErrorRetry};{FQDN=}", "ErrorRetry"),
        (
            "450 4.4.317 Cannot connect [Message=451 5.7.3 STARTTLS is required to send mail]",
            "STARTTLS is required to send mail",
        ),
        ("connect to mx.fabrikam.com[198.51.100.4]:25: Connection refused", "Connection refused"),
        ("450 4.4.316 Connection refused", "Connection refused"),
        ("450 4.4.316 Connection refused [Message= ]", "Connection refused"),
        ("450 4.4.316 Connection refused [Message=.]", "Connection refused"),
        ("550 5.1.1 nobody here", None),
    ],
)
def test_the_reason_is_what_the_system_wrote(text: str, reason: str | None) -> None:
    assert diagnose(text).reason == reason


def test_a_definite_code_brings_its_line_as_detail() -> None:
    assert diagnose("first line\n550 5.1.1 nobody here\nlast").detail == "550 5.1.1 nobody here"


@pytest.mark.parametrize(
    ("detail", "advice"),
    [
        ("CertificateExpired", ("4.7.320",)),
        ("UntrustedRoot", ("4.7.320",)),
        ("Certificate revoked", ("4.7.320",)),
        ("451 5.7.3 STARTTLS is required to send mail", ()),
        ("451 4.4.0 TLS negotiation failed with error SocketError", ()),
    ],
)
def test_certificate_reasons_inside_cannot_connect_bring_the_certificates_advice(
    detail: str, advice: tuple[str, ...]
) -> None:
    assert diagnose(f"450 4.4.317 Cannot connect to remote server [Message={detail}]").advice == advice


def test_a_cause_is_kept_only_where_it_fits_the_code() -> None:
    assert diagnose("450 4.4.315 Connection timed out, then CertificateExpired").cause is None
    assert diagnose("450 4.4.316 Lost connection").cause is None
    assert diagnose("450 4.4.315 Connection timed out").cause is Cause.CONNECT_TIMEOUT
    assert diagnose("Lost connection. 450 4.4.318").cause is Cause.CLOSED


def test_microsofts_sending_hosts_are_never_the_destination() -> None:
    lines = [
        "Server at AB1.eurprd01.prod.outlook.com returned '550 5.4.316 Message expired, connection refused'",
        "Server at mx.contoso.com (203.0.113.8) returned '450 4.4.316 Connection refused'",
    ]
    found = diagnose("\n".join(lines))
    assert (found.smart_host, found.ip, found.expired) == ("mx.contoso.com", "203.0.113.8", True)
    assert diagnose(lines[0]).smart_host is None
    proxied = "450 4.4.316 x [AB1FT01.eop-nam01.prod.protection.outlook.com [198.51.100.1]: y"
    assert diagnose(proxied).smart_host is None


@pytest.mark.parametrize(
    ("host", "ip"),
    [
        ("xxx", "x.x.x.x"),
        ("***", "***.***"),
        ("", ""),
        ("72.x.x.x", "72.x.x.x"),
        ("0.0.0.0", "0.0.0.0"),
        ("a*b", "999.1.1.1"),
    ],
)
def test_masked_and_impossible_destinations_are_none(host: str, ip: str) -> None:
    found = diagnose(f"450 4.4.316 x [LastAttemptedServerName={host}] [LastAttemptedIP={ip}:25]")
    assert (found.smart_host, found.ip) == (None, None)


@pytest.mark.parametrize(
    ("text", "recipient"),
    [
        ("Final-Recipient: rfc822; ann@contoso.com\nStatus: 5.1.1", "ann@contoso.com"),
        ("to=<bob@contoso.com>, dsn=4.4.1, status=deferred (Connection refused)", "bob@contoso.com"),
        ("550 5.1.10 RESOLVER.ADR.RecipientNotFound; Recipient cy@contoso.com not found", "cy@contoso.com"),
        ("550 5.1.1 <dee@contoso.com>: nobody", "dee@contoso.com"),
        ("ed@contoso.com\nRemote Server returned '550 5.4.316 Message expired'", "ed@contoso.com"),
        ("administrators: fay@contoso.com Remote Server at mx.contoso.com returned '550 5.1.1 no'", "fay@contoso.com"),
        ("550 5.1.1 from=<eve@contoso.com> nobody", None),
        ("550 5.1.1 nobody", None),
    ],
)
def test_the_recipient_is_found_where_it_is_named(text: str, recipient: str | None) -> None:
    assert diagnose(text).recipient == recipient


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("{LED=450 4.4.316 x};{LRT=1/2/2027 12:05:00 AM}", "2027-01-02T00:05:00Z"),
        ("{LED=450 4.4.316 x};{LRT=1/2/2027 12:05:00 PM}", "2027-01-02T12:05:00Z"),
        ("{LED=450 4.4.316 x};{LRT=31.12.2026 17:08:35}", "31.12.2026 17:08:35"),
        ("{LED=450 4.4.316 x};{LRT=13/12/2026 5:08:35 PM}", "13/12/2026 5:08:35 PM"),
        ("{LED=450 4.4.316 x};{LRT=     }", None),
        ("Status: 4.4.1\nWill-Retry-Until: Tue, 5 Jan 2027 10:00:00 +0000", "Tue, 5 Jan 2027 10:00:00 +0000"),
        ("3/4/2027 5:06:07 PM - Server at mx.contoso.com returned '450 4.4.316 x'", "2027-03-04T17:06:07Z"),
        ("450 4.4.316 x", None),
    ],
)
def test_the_time_of_the_last_try_is_iso_where_its_form_is_certain(text: str, moment: str | None) -> None:
    assert diagnose(text).retry_at == moment


def test_other_codes_in_the_text_are_listed_once_and_folded() -> None:
    text = "550 5.4.316 expired\n450 4.4.316 refused\n450 4.4.315 timed out\n550 5.4.315 too\n250 2.0.0 ok"
    assert diagnose(text).others == ("4.4.315", "2.0.0")


@pytest.mark.parametrize(
    ("text", "confidence"),
    [
        ("450 4.4.316", Confidence.EXACT),
        ("550 5.7.1 no", Confidence.EXACT),
        ("connection refused", Confidence.INFERRED),
        ("dsn=4.4.1 Connection refused", Confidence.INFERRED),
        ("status=expired, returned to sender", Confidence.INFERRED),
        ("421", Confidence.CLASS),
        ("nothing", Confidence.CLASS),
    ],
)
def test_it_says_how_sure_it_is(text: str, confidence: Confidence) -> None:
    assert diagnose(text).confidence is confidence


def test_delay_notices_are_not_expiries() -> None:
    notice = "Action: delayed\nStatus: 4.4.7\nThe message expired? No: it will be retried"
    assert not diagnose(notice).expired
    assert diagnose("Status: 5.7.5 Remote certificate failed MTA-STS validation").expired


def test_evidence_points_into_what_was_pasted_even_if_it_had_to_be_cleaned() -> None:
    pasted = "&lt;mx&gt; said &quot;550 5.1.1 no&quot;"
    assert pasted[slice(*diagnose(pasted).evidence)] == "550 5.1.1"
    cleaned = "&amp;&amp;&amp; 450\u00a04.4.316"
    start, end = diagnose(cleaned).evidence
    assert end > start


def test_bytes_are_read_like_text() -> None:
    assert diagnose(b"450 4.4.316 Connection refused") == diagnose("450 4.4.316 Connection refused")


def test_wrappers_inside_wrappers_end() -> None:
    assert diagnose("451 4.4.0 responded with: " * 40 + "421 4.4.1 Connection refused").code is not None
    assert diagnose("451 4.4.0 responded with nothing").code == "4.4.0"


@settings(max_examples=300, deadline=None)
@given(st.one_of(st.text(), st.binary(), st.text("0123456789.- \n[]<>=()'\"45:;@abc", max_size=300)))
def test_no_input_whatever_raises(text: str | bytes) -> None:
    found = diagnose(text)
    assert found.code is None or found.code.isdigit() or parse(found.code) is not None


WORDS = [
    "450 4.4.316 ",
    "5.4.317",
    "451 4.4.0 ",
    "responded with: ",
    '"',
    "-> ",
    "Connection refused",
    "[Message=",
    "]",
]
MORE = [
    "421 ",
    "dsn=4.4.1 ",
    "host mx.a.test[192.0.2.1] said: ",
    "{LRT=",
    "}",
    "\n",
    " ",
    "certificate expired",
    "&lt;",
]


@settings(max_examples=300, deadline=None)
@given(st.lists(st.sampled_from(WORDS + MORE), max_size=20))
def test_mangled_errors_never_raise_and_always_explain(parts: list[str]) -> None:
    document = explain("".join(parts)).document()
    assert json.loads(json.dumps(document)) == document
    assert document["meaning"]


HOSTILE = [
    "a",
    "1.",
    "4.4.1 ",
    "[Message=",
    "a.b[",
    "connect to x ",
    "(",
    "\n",
    "certificate ",
    "name server: ",
    "-> 4.4.0 ",
]
ALSO_HOSTILE = [
    "x 554 connection refused ",
    "450 ",
    "::1 ",
    "to=<aaaaa",
    "&lt;",
    "lookup of ",
    "\u0130",
    "a.b[1.2.3.4]: ",
]


@pytest.mark.parametrize("piece", HOSTILE + ALSO_HOSTILE)
def test_a_hostile_megabyte_costs_no_more_than_a_bounded_moment(piece: str) -> None:
    text = piece * (1024 * 1024 // len(piece))
    started = time.process_time()
    diagnose(text)
    assert time.process_time() - started < 0.5
