"""DANE and MTA-STS beside the verdict: each fault by Exchange Online's name, and none of it in the verdict."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from bot.core.targets import AddressPolicy
from bot.probes.dane import Association, Demand, fitting
from bot.probes.runner import Prober
from bot.sandbox.dns_server import DnsFault, Node
from bot.sandbox.policy_server import Page, PolicyServer


def value(certificate: x509.Certificate, selector: int, matching: int) -> bytes:
    """The data of a TLSA record about this certificate."""
    spki = certificate.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    data = spki if selector else certificate.public_bytes(Encoding.DER)
    return {0: lambda d: d, 1: lambda d: hashlib.sha256(d).digest(), 2: lambda d: hashlib.sha512(d).digest()}[matching](
        data
    )


def sign(lab: Any, name: str, *records: str, secure: bool = True, fault: DnsFault | None = None) -> None:
    """Put a server's name, its MX and its TLSA records under DNSSEC."""
    spec = lab.servers.servers[name]
    lab.dns.put(spec.host, Node({"A": (spec.ip,), "MX": (f"10 {spec.host}.",)}, secure=True))
    lab.dns.put(f"_{spec.port}._tcp.{spec.host}", Node({"TLSA": records} if records else {}, fault, secure=secure))


def about(lab: Any, name: str, usage: int = 3, selector: int = 1, matching: int = 1, *, issuer: bool = False) -> str:
    """A record about a server's certificate, or about its issuer's."""
    shop = lab.servers.shop
    certificate = shop.intermediate if issuer else shop.leaves[f"{name}.mail.test"]
    return f"{usage} {selector} {matching} {value(certificate, selector, matching).hex()}"


@pytest.mark.parametrize("usage", [2, 3])
@pytest.mark.parametrize("selector", [0, 1])
@pytest.mark.parametrize("matching", [0, 1, 2])
async def test_a_certificate_that_fits_is_fine(lab, usage: int, selector: int, matching: int) -> None:
    sign(lab, "good", about(lab, "good", usage, selector, matching, issuer=usage == 2))
    result = await lab.probe_host("good", checks=True)
    assert (result.checks.dane.result, result.checks.dane.code, result.checks.mta_sts) == ("ok", None, None)


OTHER = "3 1 1 " + "ab" * 32


@pytest.mark.parametrize(
    ("name", "records", "result", "code"),
    [
        ("good", [OTHER], "tlsa-invalid", "4.7.323"),
        ("good", ["1 1 1 " + "ab" * 32, "3 2 1 " + "ab" * 32, "3 1 9 abcd"], "tlsa-invalid", "4.7.323"),
        ("good", ["2 1 1 " + "ab" * 32], "tlsa-invalid", "4.7.323"),
        ("good-plain", [OTHER], "starttls-not-supported", "4.7.321"),
        ("tls-alert", [OTHER], "starttls-not-supported", "4.7.321"),
        ("tls10-only", [OTHER], "starttls-not-supported", "4.7.321"),
        ("cert-expired", ["2"], "certificate-expired", "4.7.322"),
        ("cert-wrong-name", ["2"], "certificate-host-mismatch", "4.7.325"),
        ("cert-expired", ["3"], "ok", None),
        ("cert-wrong-name", ["3"], "ok", None),
        ("good", [OTHER, "3"], "ok", None),
        ("refused", [OTHER], "unknown", None),
        ("busy", [OTHER], "unknown", None),
        ("good", [], "none", None),
    ],
)
async def test_each_dane_fault_has_its_name_and_code(
    lab, name: str, records: list[str], result: str, code: str | None
) -> None:
    made = [about(lab, name, int(r), issuer=r == "2") if len(r) == 1 else r for r in records]
    sign(lab, name, *made)
    probed = await lab.probe_host(name, checks=True)
    plain = await lab.probe_host(name)
    assert (probed.checks.dane.result, probed.checks.dane.code) == (result, code)
    assert (probed.ok, probed.code) == (plain.ok, plain.code)


@pytest.mark.parametrize(
    ("fault", "result", "code"),
    [
        (DnsFault.BOGUS, "dnssec-invalid", "4.7.324"),
        (DnsFault.SERVFAIL, "dnssec-invalid", "4.7.324"),
        (DnsFault.REFUSED, "unknown", None),
    ],
)
async def test_a_failed_tlsa_question_is_no_permission(lab, fault: DnsFault, result: str, code: str | None) -> None:
    sign(lab, "good", OTHER, fault=fault)
    dane = (await lab.probe_host("good", checks=True)).checks.dane
    assert (dane.result, dane.code) == (result, code)


async def test_what_nobody_signed_counts_for_nothing(lab) -> None:
    spec = lab.servers.servers["good"]
    lab.dns.put(f"_{spec.port}._tcp.{spec.host}", Node({"TLSA": (OTHER,)}, secure=True))
    assert (await lab.probe_host("good", checks=True)).checks.dane.result == "none"
    sign(lab, "good", OTHER, secure=False)
    assert (await lab.probe_host("good", checks=True)).checks.dane.detail == (
        "the TLSA records are not signed with DNSSEC"
    )
    assert (await lab.prober.probe(lab.request(hosts=(spec.ip,), checks=True))).checks.dane.result == "none"


async def test_a_domain_is_signed_only_if_its_mx_is(lab) -> None:
    sign(lab, "good", OTHER)
    mx = Node({"MX": ("10 good.mail.test.", "20 nxdomain.mail.test.")}, secure=True)
    lab.dns.put("signed.test", mx)
    lab.dns.put("unsigned.test", Node(mx.records))
    lab.dns.put("implicit.test", Node({"A": (lab.servers.servers["good"].ip,)}, secure=True))
    lab.dns.put("broken.test", Node(mx.records, DnsFault.BOGUS))
    found = {}
    for name in ("signed", "unsigned", "implicit", "broken"):
        result = await lab.prober.probe(lab.request(mx_domain=f"{name}.test", checks=True))
        found[name] = [h.result for h in result.checks.dane.hosts]
    assert found == {
        "signed": ["tlsa-invalid", "unknown"],
        "unsigned": ["none", "none"],
        "implicit": ["none"],
        "broken": ["dnssec-invalid"],
    }


async def test_ipv6_alone_may_be_signed_too(lab) -> None:
    lab.dns.put("six.test", Node({"AAAA": ("::1",)}, secure=True))
    lab.dns.put(f"_{lab.servers.port}._tcp.six.test", Node({"TLSA": (OTHER,)}, secure=True))
    dane = (await lab.prober.probe(lab.request(hosts=("six.test",), checks=True))).checks.dane
    assert (dane.result, dane.detail) == ("unknown", "the server could not be talked to")


async def test_a_silent_name_server_costs_the_probe_no_more_than_its_time(lab) -> None:
    sign(lab, "good", OTHER, fault=DnsFault.SILENT)
    result = await lab.probe_host("good", checks=True, timeout=0.8)
    assert result.ok
    assert result.elapsed_ms < 1000
    assert (result.checks.dane.result, result.checks.dane.detail) == ("unknown", "no answer in time")


def test_a_chain_of_junk_fits_nothing() -> None:
    demand = Demand((Association(3, 1, 1, b"x"),))
    now = datetime(2026, 1, 1, tzinfo=UTC)
    assert fitting(demand, [b"junk"], ["a.test"], now) == ("tlsa-invalid", "the certificate can't be read")
    assert fitting(demand, [], ["a.test"], now)[0] == "tlsa-invalid"


# --- MTA-STS ---------------------------------------------------------------------------------------------------------

POLICY = "version: STSv1\nmode: {mode}\nmx: {mx}\nmax_age: 604800\n"


@pytest.fixture
async def pages(lab) -> AsyncIterator[PolicyServer]:
    """The policy server of contoso.test, and its DNS."""
    async with PolicyServer(lab.servers.shop.context("mta-sts.contoso.test"), {}) as server:
        lab.dns.put("contoso.test", Node({"MX": ("10 good.mail.test.",)}))
        lab.dns.put("_mta-sts.contoso.test", Node({"TXT": ('"v=STSv1; id=1;"', '"v=spf1 -all"')}))
        lab.dns.put("mta-sts.contoso.test", Node({"A": ("127.0.0.1",)}))
        yield server


async def sts(lab: Any, server: PolicyServer, page: Page | None, prober: Prober | None = None, **changes: Any) -> Any:
    """The outcome of a probe of contoso.test whose policy is this page."""
    server.pages = {"mta-sts.contoso.test": page} if page else {}
    request = lab.request(mx_domain="contoso.test", checks=True, **changes)
    result = await (prober or made(lab, server)).probe(request)
    assert result.ok
    return result.checks.mta_sts


def made(lab: Any, server: PolicyServer, **changes: Any) -> Prober:
    """A prober that looks for policies at the server's port."""
    facts = {"nameservers": [lab.dns.address], "ca_file": lab.servers.ca_file, "policy_port": server.port, **changes}
    return Prober(**facts)


@pytest.mark.parametrize(
    ("policy", "target", "expected"),
    [
        (("good.mail.test", "enforce"), "good", ("ok", None)),
        (("*.mail.test", "enforce"), "good", ("ok", None)),
        (("*.test", "enforce"), "good", ("mx-mismatch", "4.4.8")),
        (("other.mail.test", "enforce"), "good", ("mx-mismatch", "4.4.8")),
        (("other.mail.test", "testing"), "good", ("mx-mismatch", None)),
        (("other.mail.test", "none"), "good", ("none", None)),
        (("*.mail.test", "enforce"), "cert-expired", ("certificate-expired", "4.7.5")),
        (("*.mail.test", "enforce"), "cert-wrong-name", ("certificate-host-mismatch", "4.7.5")),
        (("*.mail.test", "enforce"), "cert-self-signed", ("certificate-not-trusted", "4.7.5")),
        (("*.mail.test", "enforce"), "good-plain", ("starttls-not-supported", "4.7.5")),
    ],
)
async def test_a_policy_is_held_against_every_server(
    lab, pages, policy: tuple[str, str], target: str, expected
) -> None:
    mx, mode = policy
    lab.dns.put("contoso.test", Node({"MX": (f"10 {target}.mail.test.",)}))
    found = await sts(lab, pages, Page(text=POLICY.format(mode=mode, mx=mx)))
    assert (found.result, found.code, found.mode) == (*expected, mode)
    assert pages.asked == ["mta-sts.contoso.test"]


@pytest.mark.parametrize(
    ("page", "result", "words"),
    [
        (None, "sts-policy-fetch-error", "answered 404"),
        (Page(status=302, location="https://elsewhere.test/"), "sts-policy-fetch-error", "answered 302"),
        (Page(text="x" * 70000), "sts-policy-fetch-error", "too big"),
        (Page(text="x", content_type="text/html"), "sts-policy-fetch-error", "text/html instead of"),
        (Page(text="version: STSv9"), "sts-policy-invalid", "does not begin with"),
    ],
)
async def test_a_policy_that_cannot_be_had_is_told(lab, pages, page: Page | None, result: str, words: str) -> None:
    found = await sts(lab, pages, page)
    assert (found.result, found.code) == (result, None)
    assert words in found.detail


async def test_a_silent_policy_server_costs_the_probe_no_more_than_its_time(lab, pages) -> None:
    found = await sts(lab, pages, Page(silent=True), timeout=0.8)
    assert (found.result, found.detail) == ("unknown", "no answer in time")


async def test_only_a_valid_certificate_may_speak_for_the_domain(lab, pages) -> None:
    lab.dns.put("mta-sts.contoso.test", Node({"A": ("127.0.0.1",)}))
    stranger = made(lab, pages, ca_file=None)
    found = await sts(lab, pages, Page(text="x"), stranger)
    assert found.result == "sts-policy-fetch-error"
    assert "no valid certificate" in found.detail


async def test_the_address_policy_holds_for_policies_too(lab, pages) -> None:
    allowed = AddressPolicy.parse([lab.servers.servers["good"].ip])
    found = await sts(lab, pages, Page(text="x"), made(lab, pages, allow=allowed))
    assert (found.result, pages.asked) == ("sts-policy-fetch-error", [])
    assert "not dialled" in found.detail


@pytest.mark.parametrize(
    ("node", "result"),
    [
        (None, "none"),
        (Node({"TXT": ('"v=STSv1; id=1"', '"v=STSv1; id=2"')}), "sts-policy-invalid"),
        (Node(fault=DnsFault.SERVFAIL), "unknown"),
    ],
)
async def test_the_record_says_whether_there_is_a_policy(lab, pages, node: Node | None, result: str) -> None:
    lab.dns.put("_mta-sts.contoso.test", node)
    assert (await sts(lab, pages, Page(text="x"))).result == result
    assert pages.asked == []


async def test_a_policy_without_a_host_cannot_be_fetched(lab, pages) -> None:
    lab.dns.put("mta-sts.contoso.test", None)
    found = await sts(lab, pages, Page(text="x"))
    assert found.result == "sts-policy-fetch-error"
    assert "does not exist" in found.detail


async def test_a_policy_is_fetched_again_only_when_its_id_changes(lab, pages) -> None:
    prober, page = made(lab, pages), Page(text=POLICY.format(mode="enforce", mx="*.mail.test"))
    for _ in range(3):
        assert (await sts(lab, pages, page, prober)).result == "ok"
    assert len(pages.asked) == 1
    lab.dns.put("_mta-sts.contoso.test", Node({"TXT": ('"v=STSv1; id=2;"',)}))
    await sts(lab, pages, page, prober)
    assert len(pages.asked) == 2


async def test_without_asking_there_are_no_checks(lab) -> None:
    result = await lab.prober.probe(lab.request(mx_domain="mx-good.mail.test"))
    assert result.document()["checks"] == {"dane": None, "mta_sts": None}


async def test_where_tls_is_not_tried_nothing_is_said_about_it(lab) -> None:
    sign(lab, "good", OTHER)
    result = await lab.probe_host("good", tls_setting="none", checks=True)
    assert result.checks.dane.detail == "STARTTLS was not tried"


def test_dates_matter_for_an_authority(lab) -> None:
    shop = lab.servers.shop
    chain = [c.public_bytes(Encoding.DER) for c in (shop.leaves["good.mail.test"], shop.intermediate)]
    demand = Demand((Association(2, 1, 1, value(shop.intermediate, 1, 1)),))
    later = datetime.now(UTC) + timedelta(days=3000)
    assert fitting(demand, chain, ["good.mail.test"], later)[0] == "certificate-expired"
