"""The probe's view: every word there, without colour, within 80 columns, no live markup."""

from __future__ import annotations

import io
from dataclasses import replace
from datetime import UTC, datetime

import pytest
from rich.console import Console

from bot.core.checks import Check, CheckResult, Checks
from bot.core.probe_result import ProbeResult, TargetResult, TlsFacts, judged, overall
from bot.core.recipient import RcptFacts
from bot.terminal.probe import progress_line, render_probe
from knowledge.classify import Cause, Fault, Stage, judge

TLS = TlsFacts(
    version="TLSv1.2",
    cipher="ECDHE",
    verify_error="expired on 2026-01-01; wanted [bold]x[/bold]",
    subject="CN=[red]mail.contoso.test[/red]",
    issuer="CN=CA",
    san=tuple(f"n{n}.test" for n in range(8)),
    not_after=datetime(2026, 1, 1, tzinfo=UTC),
    days_left=-3,
    key="EC secp256r1",
    not_before=datetime(2025, 1, 1, tzinfo=UTC),
    chain=("CN=[red]mail.contoso.test[/red]", "CN=CA"),
)
GOOD = TargetResult(
    host="good.test",
    ip="192.0.2.1",
    port=25,
    banner="220 [blink]good[/blink]",
    warnings=(Cause.CN_ONLY,),
    timings={Stage.DNS: 1.25, Stage.CONNECT: 12.6, Stage.BANNER: 1500.0},
    tls=TLS,
)
FAULTS = [Fault(Cause.CERT_EXPIRED, Stage.TLS, "expired"), Fault(Cause.CERT_NAME, Stage.TLS)]
BAD = judged(
    judge(FAULTS, "domain"), host="192.0.2.9", ip="192.0.2.9", port=2525, timings={Stage.CONNECT: 0.2}, tls=TlsFacts()
)
RANGE = TargetResult(host="192.0.2.0/24", port=25, stage=Stage.DNS, detail="an address range is not probed")


def shown(result: ProbeResult, title: str | None = None) -> str:
    console = Console(file=io.StringIO(), width=80, color_system=None)
    console.print(render_probe(result, title))
    text = console.file.getvalue()
    assert all(len(line) <= 80 for line in text.splitlines())
    assert "\x1b" not in text
    return text


def test_a_good_target_shows_phases_certificate_and_verdict() -> None:
    text = shown(overall([GOOD], 1234), "To [on-prem]")
    for words in (
        *("To [on-prem], as seen from this machine", "✓ good.test [192.0.2.1] port 25"),
        *("dns ✓      connect ✓  banner ✓   ehlo       starttls   tls", "banner: 220 [blink]good[/blink]"),
        *("1.2ms      13ms       1.5s       –          –          –", "! the certificate names the host only in"),
        *(
            "key         EC secp256r1",
            "chain sent  CN=[red]mail",
            "valid from  2025-01-01",
            "CN=[red]mail.contoso.test[/red]",
        ),
        *("n5.test and 2", "2026-01-01 00:00 UTC (expired)", "wanted [bold]x[/bold]", "✓ Mail would flow (1.2s)"),
    ):
        assert words in text


def test_a_bad_target_marks_where_it_failed_and_all_that_is_wrong() -> None:
    text = shown(overall([BAD], 5))
    assert "✗ 192.0.2.9 port 2525: 4.7.320 cert expired" in text
    assert "connect ✓  banner     ehlo       starttls   tls ✗" in text
    assert (
        "why: the certificate has expired\n    detail: expired\n    also: the certificate is for another name\n" in text
    )
    assert text.splitlines()[-1] == "✗ 450 4.7.320 Certificate validation failed: cert expired (5.0ms)"


def test_words_are_not_said_twice_and_fit_what_the_setting_makes_of_them() -> None:
    refused = judged(judge([Fault(Cause.REFUSED, Stage.CONNECT, "connection refused")], "none"), host="h.test", port=25)
    assert "why: connection refused\n✗ 450" in shown(overall([refused], 5))
    plain = judged(judge([Fault(Cause.NO_STARTTLS, Stage.STARTTLS)], "none"), host="h.test", port=25)
    assert "! STARTTLS is not offered: mail would go in clear text\n" in shown(overall([plain], 5))


def test_degraded_skipped_and_empty_results_say_so() -> None:
    assert "but not by every server" in shown(overall([BAD, GOOD], 5))
    text = shown(overall([RANGE], 5))
    assert "! 192.0.2.0/24 port 25: left out" in text
    assert "Nothing was probed" in text
    assert "Nothing was probed" in shown(overall([], 5))


@pytest.mark.parametrize(
    ("cause", "line"),
    [
        ("rcpt_ok", "✓ a@b.test: the recipient is accepted: 250 [b]said[/b]"),
        ("rcpt_greylisted", "✗ a@b.test: not now, try again later (greylisting or the like): 250"),
        ("closed", "✗ a@b.test: the server broke off (closed): 250 [b]said[/b]"),
    ],
)
def test_the_recipients_answer_stands_above_the_verdict(cause: str, line: str) -> None:
    rcpt = RcptFacts(address="a@b.test", cause=cause, status="250 [b]said[/b]")
    assert line in shown(overall([replace(GOOD, rcpt=rcpt)], 5))
    assert "a@b.test: the recipient is refused\n" in shown(
        overall([replace(GOOD, rcpt=RcptFacts(address="a@b.test", cause="rcpt_rejected"))], 5)
    )


def test_checks_stand_above_the_verdict_if_they_say_something() -> None:
    checks = Checks(
        dane=CheckResult(result=Check.TLSA_INVALID, code="4.7.323", detail="[b]no[/b]"),
        mta_sts=CheckResult(result=Check.MX_MISMATCH, detail="not among them", mode="testing"),
    )
    text = shown(overall([GOOD], 5, checks))
    assert "✗ DANE: 4.7.323 tlsa-invalid: [b]no[/b]" in text
    assert "! MTA-STS (testing): mx-mismatch: not among them" in text
    fine = Checks(dane=CheckResult(result=Check.OK, detail="fits"), mta_sts=CheckResult(result=Check.NONE))
    text = shown(overall([GOOD], 5, fine))
    assert "✓ DANE: ok: fits" in text
    assert "MTA-STS" not in text


@pytest.mark.parametrize("cause", list(Cause))
def test_the_verdict_is_one_line_for_every_cause(cause: Cause) -> None:
    verdict = judge([Fault(cause, Stage.TLS)], "domain")
    last = shown(overall([judged(verdict, host="h.test", port=25)], 29999)).splitlines()[-1]
    assert last.startswith(("✗ 450 4.", "✓ Mail would flow"))


@pytest.mark.parametrize("enabled", [True, False])
def test_progress_is_silent_away_from_a_terminal(enabled: bool, capsys: pytest.CaptureFixture[str]) -> None:
    with progress_line(enabled=enabled) as progress:
        progress("dns: mail.test")
    assert capsys.readouterr() == ("", "")


def test_progress_is_drawn_on_a_terminal(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    with progress_line() as progress:
        progress("dns: [red]mail.test")
    out, err = capsys.readouterr()
    assert out == ""
    assert "dns: [red]mail.test" in err


def test_a_hop_that_is_delivered_over_lmtp_is_said_to_be_and_not_to_have_no_server() -> None:
    text = " ".join(shown(overall([], 5), "store.internal (LMTP: not probed)").split())
    assert "Nothing was probed: it is delivered over LMTP" in text
    assert "no server that may be dialled" in " ".join(shown(overall([], 5), "Contoso").split())
