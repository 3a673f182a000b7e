"""The outcome of the checks over several servers, and their JSON."""

from __future__ import annotations

import pytest

from bot.core.checks import DANE_CODES, Check, CheckResult, Checks, HostCheck, summed_up


def host(result: Check, ip: str = "192.0.2.1") -> HostCheck:
    return HostCheck(host="mx.test", ip=ip, result=result, code=DANE_CODES.get(result), detail=f"it is {result}")


@pytest.mark.parametrize(
    ("results", "result", "code"),
    [
        ([], Check.UNKNOWN, None),
        ([Check.NONE, Check.NONE], Check.NONE, None),
        ([Check.NONE, Check.OK], Check.OK, None),
        ([Check.UNKNOWN, Check.NONE], Check.NONE, None),
        ([Check.OK, Check.TLSA_INVALID, Check.CERTIFICATE_EXPIRED], Check.TLSA_INVALID, "4.7.323"),
    ],
)
def test_the_first_fault_stands_for_all(results: list[Check], result: Check, code: str | None) -> None:
    summed = summed_up(map(host, results))
    assert (summed.result, summed.code) == (result, code)
    assert summed.ok == (code is None)


def test_the_document_has_its_keys_and_comes_back() -> None:
    checks = Checks(dane=summed_up([host(Check.DNSSEC_INVALID)]), mta_sts=CheckResult(result=Check.NONE, mode="none"))
    document = checks.document()
    assert document["dane"] == {
        "result": "dnssec-invalid",
        "code": "4.7.324",
        "detail": "it is dnssec-invalid",
        "mode": None,
        "hosts": [
            {
                "host": "mx.test",
                "ip": "192.0.2.1",
                "result": "dnssec-invalid",
                "code": "4.7.324",
                "detail": "it is dnssec-invalid",
            }
        ],
    }
    assert Checks.from_document(document) == checks
    assert Checks.from_document({}) == Checks()
    assert Checks().document() == {"dane": None, "mta_sts": None}
