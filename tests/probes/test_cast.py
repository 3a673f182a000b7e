"""Every server of the sandbox gets its verdict, within its time."""

from __future__ import annotations

import asyncio
import json

import pytest

from bot.core.probe_result import ProbeResult
from bot.core.recipient import RcptCause
from bot.sandbox.smtp_behaviours import Behaviour
from bot.sandbox.smtp_cast import CAST
from bot.sandbox.smtp_names import NAMES
from bot.sandbox.smtp_servers import ServerSpec
from knowledge.classify import TABLE, Cause

TIMEOUT = 2.0
AT_ONCE = 40


async def test_every_server_of_the_sandbox_gets_its_code_and_cause_in_time(lab) -> None:
    specs = list(lab.servers.servers.values())
    gate = asyncio.Semaphore(AT_ONCE)

    async def probed(spec: ServerSpec) -> ProbeResult:
        async with gate:
            return await lab.prober.probe(lab.request_for(spec, TIMEOUT))

    results = await asyncio.gather(*map(probed, specs))
    wrong = {}
    for spec, result in zip(specs, results, strict=True):
        got = (result.code, result.cause)
        warned = spec.expected_warning is None or spec.expected_warning in result.warnings
        rcpt = result.rcpt and result.rcpt.cause
        if got != (spec.expected_code, spec.expected_cause) or not warned or rcpt != spec.expected_rcpt:
            wrong[spec.name] = (got, result.warnings, result.detail, rcpt)
        if result.degraded != spec.expected_degraded:
            wrong[spec.name] = "degraded" if result.degraded else "not degraded"
        if result.elapsed_ms > TIMEOUT * 1000 + 200:
            wrong[spec.name] = result.elapsed_ms
        assert ProbeResult.from_document(json.dumps(result.document())).document() == result.document()
    assert wrong == {}


def test_the_cast_has_every_code_and_every_cause_that_loopback_can_show() -> None:
    codes = {row.code for row in CAST} | {name.code for name in NAMES}
    assert codes == {None, *(code for code, _ in TABLE)}
    causes = {row.cause for row in CAST} | {name.cause for name in NAMES}
    assert {c for _, row in TABLE for c in row} - causes == {Cause.UNREACHABLE}
    assert {row.behaviour for row in CAST} == set(Behaviour)
    assert {row.rcpt for row in CAST} >= set(RcptCause)
    assert len({row.name for row in CAST} | {name.name for name in NAMES}) == len(CAST) + len(NAMES)


@pytest.mark.parametrize("name", ["drip", "silent", "black-hole", "starttls-silent", "ehlo-silent", "dns-timeout"])
async def test_one_stubborn_peer_costs_its_timeout_and_no_more(lab, name: str) -> None:
    spec = lab.servers.servers[name]
    result = await lab.prober.probe(lab.request_for(spec, 0.6))
    assert result.code == spec.expected_code
    assert 500 <= result.elapsed_ms <= 800


async def test_expired_and_wrong_name_are_both_named(lab) -> None:
    result = await lab.probe_host("cert-expired-wrong-name", tls_setting="domain")
    (target,) = result.targets
    assert target.causes == (Cause.CERT_EXPIRED, Cause.CERT_NAME)
    assert "expired on" in target.tls.verify_error
    assert "wanted cert-expired-wrong-name.mail.test" in target.tls.verify_error
    assert target.tls.days_left < 0


@pytest.mark.parametrize(
    ("name", "setting", "code"),
    [
        ("cert-expired-wrong-name", "none", None),
        ("cert-expired-wrong-name", "opportunistic", None),
        ("cert-expired-wrong-name", "encryption", None),
        ("cert-expired-wrong-name", "certificate", "4.7.320"),
        ("cert-wrong-name", "certificate", None),
        ("cert-wrong-name", "domain", "4.7.320"),
        ("good-plain", "opportunistic", None),
        ("good-plain", "encryption", "4.4.317"),
        ("starttls-closes", "opportunistic", None),
        ("injection", "opportunistic", None),
        ("busy", "none", "4.4.317"),
    ],
)
async def test_the_setting_decides_what_counts(lab, name: str, setting: str, code: str | None) -> None:
    assert (await lab.probe_host(name, tls_setting=setting)).code == code


@pytest.mark.parametrize(
    ("tls_domain", "code"),
    [
        (None, None),
        ("good.mail.test", None),
        ("*.mail.test", None),
        ("other.mail.test", "4.7.320"),
        ("*.other.test", "4.7.320"),
        ("not a name", "4.7.320"),
    ],
)
async def test_the_tls_domain_is_the_name_that_must_match(lab, tls_domain: str | None, code: str | None) -> None:
    result = await lab.probe_host("good", tls_setting="domain", tls_domain=tls_domain)
    assert result.code == code


async def test_a_repaired_server_is_good_and_a_broken_one_is_not(lab) -> None:
    for name in ("refused", "black-hole", "cert-expired"):
        await lab.servers.set_behaviour(name, "good")
        assert (await lab.probe_host(name, tls_setting="certificate")).ok
    await lab.servers.set_behaviour("good", Behaviour.REFUSED)
    assert (await lab.probe_host("good")).code == "4.4.316"
    await lab.servers.set_behaviour("good", Behaviour.BLACK_HOLE)
    assert (await lab.probe_host("good", timeout=0.4)).code == "4.4.315"


async def test_the_fingerprint_tells_a_renewed_certificate(lab) -> None:
    before = (await lab.probe_host("good")).fingerprint()
    await lab.servers.set_behaviour("good", "good")
    after = (await lab.probe_host("good")).fingerprint()
    assert {key for key in before if before[key] != after[key]} == {"certificate"}
    assert before["addresses"] == lab.servers.servers["good"].ip
