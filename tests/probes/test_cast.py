"""Every server of the sandbox gets its verdict, within its time."""

from __future__ import annotations

import asyncio
import json

import pytest

from bot.core.probe_result import ProbeResult
from bot.sandbox.smtp_behaviours import CAST, Behaviour
from bot.sandbox.smtp_names import DNS_CAST
from knowledge.classify import TABLE, Cause

TIMEOUT = 1.5


async def test_every_server_of_the_sandbox_gets_its_code_and_cause_in_time(lab) -> None:
    specs = list(lab.servers.servers.values())
    results = await asyncio.gather(*(lab.prober.probe(lab.request_for(s, TIMEOUT)) for s in specs))
    wrong = {}
    for spec, result in zip(specs, results, strict=True):
        got = (result.code, result.cause)
        warned = spec.expected_warning is None or spec.expected_warning in result.warnings
        if got != (spec.expected_code, spec.expected_cause) or not warned:
            wrong[spec.name] = (got, result.warnings, result.detail)
        if result.elapsed_ms > TIMEOUT * 1000 + 200:
            wrong[spec.name] = result.elapsed_ms
        assert ProbeResult.from_document(json.dumps(result.document())).document() == result.document()
    assert wrong == {}


def test_the_cast_has_every_code_and_every_cause_that_loopback_can_show() -> None:
    codes = {row.code for row in CAST} | {"4.4.312"}
    assert codes == {None, *(code for code, _ in TABLE)}
    causes = {row.cause for row in CAST} | {cause for _, cause, _ in DNS_CAST}
    elsewhere = {Cause.UNREACHABLE, Cause.BOGUS, Cause.CERT_REVOKED}
    assert {c for _, row in TABLE for c in row} - causes == elsewhere
    assert {row.behaviour for row in CAST} == set(Behaviour)


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
