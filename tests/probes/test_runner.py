"""Several targets, the address policy, and what a probe must never do."""

from __future__ import annotations

import asyncio
import errno
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from bot.core.probe_result import TargetResult, judged, overall
from bot.core.targets import AddressPolicy
from bot.probes import connecting
from bot.probes.broken import Broken
from bot.probes.deadline import Deadline
from bot.probes.runner import Prober, ProbeRequest, forgive_ipv6, request_for
from bot.probes.truststore import NoTrustStore
from bot.sandbox.dns_server import Node
from knowledge.classify import Cause, Fault, Stage, judge
from storage.records import Connector, ConnectorKind, TlsSetting

NOW = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.mark.parametrize(
    ("domain", "code", "degraded", "hosts"),
    [
        ("good", None, False, ["good"]),
        ("mx-failover", None, True, ["refused", "good"]),
        ("mx-dead", "4.4.317", False, ["refused", "busy", "nxdomain"]),
        ("mx-implicit", None, False, ["mx-implicit"]),
        ("null-mx", "4.4.312", False, ["null-mx"]),
        ("mx-servfail", "4.4.312", False, ["mx-servfail"]),
        ("nxdomain", "4.4.312", False, ["nxdomain"]),
    ],
)
async def test_mx_hosts_are_tried_in_order(
    lab, domain: str, code: str | None, degraded: bool, hosts: list[str]
) -> None:
    result = await lab.prober.probe(lab.request(mx_domain=f"{domain}.mail.test"))
    assert (result.code, result.degraded) == (code, degraded)
    assert [t.host for t in result.targets] == [f"{h}.mail.test" for h in hosts]
    assert all(t.timings[Stage.DNS] > 0 for t in result.targets)


@pytest.mark.parametrize("name", ["alias", "aaaa-servfail", "truncated"])
async def test_odd_but_working_names_are_fine(lab, name: str) -> None:
    assert (await lab.probe_host(name)).ok


async def test_a_silent_aaaa_does_not_eat_the_time_of_a_good_a(lab) -> None:
    result = await lab.probe_host("aaaa-timeout", timeout=0.6)
    assert result.ok
    assert result.elapsed_ms < 400


async def test_every_address_of_a_name_gets_its_own_line(lab) -> None:
    result = await lab.probe_host("two-addresses")
    assert sorted((t.ip, t.ok) for t in result.targets) == [
        (lab.servers.servers["good"].ip, True),
        (lab.servers.servers["refused"].ip, False),
    ]
    assert result.degraded
    assert Cause.TARGET_DOWN in result.warnings


async def test_addresses_are_dialled_at_once(lab) -> None:
    ips = tuple(lab.servers.servers[n].ip for n in ("silent", "drip", "black-hole", "good"))
    result = await lab.prober.probe(lab.request(hosts=ips, timeout=0.8))
    assert result.ok
    assert result.elapsed_ms < 1000
    assert [t.code for t in result.targets] == ["4.4.318", "4.4.318", "4.4.315", None]


async def test_one_connection_per_address_at_a_time() -> None:
    talking, most = 0, 0

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal talking, most
        talking += 1
        most = max(most, talking)
        writer.write(b"220 hi\r\n")
        while line := await reader.readline():
            if line == b"QUIT\r\n":
                talking -= 1
            writer.write(b"250 fine\r\n")
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    request = ProbeRequest(hosts=("127.0.0.1",), port=server.sockets[0].getsockname()[1])
    prober = Prober()
    results = await asyncio.gather(*(prober.probe(request) for _ in range(8)))
    server.close()
    await asyncio.sleep(0.01)
    assert all(r.ok for r in results)
    assert most == 1


async def test_a_probe_does_not_wait_for_ever_for_its_turn(lab) -> None:
    request = lab.request(hosts=("silent.mail.test",), timeout=0.6)
    results = await asyncio.gather(*(lab.prober.probe(request) for _ in range(3)))
    assert [r.cause for r in results] == [Cause.STALLED] * 3
    assert all(r.elapsed_ms < 800 for r in results)


@pytest.mark.parametrize(
    ("allow", "ok"), [(AddressPolicy(), False), (AddressPolicy.parse(["127.0.0.0/8"]), True), (None, True)]
)
async def test_the_policy_is_asked_after_resolution_and_blames_no_server(
    lab, allow: AddressPolicy | None, ok: bool
) -> None:
    prober = Prober(nameservers=[lab.dns.address], ca_file=lab.servers.ca_file, allow=allow)
    for host in ("good.mail.test", lab.servers.servers["good"].ip):
        said: list[str] = []
        result = await prober.probe(lab.request(hosts=(host,)), said.append)
        assert (result.ok, result.code) == (True, None)
        assert result.nothing_probed != ok
        assert any(s.startswith("connect") for s in said) == ok
        if not ok:
            assert "loopback address (see MFI_PROBE_ALLOW)" in result.targets[0].detail


@pytest.mark.parametrize("host", ["2130706433", "0x7f.1", "127.1", "<!channel>.com", "a b", "", "." * 300])
async def test_what_is_no_host_is_never_dialled(lab, host: str) -> None:
    result = await lab.prober.probe(lab.request(hosts=(host,)))
    assert (result.code, result.cause) == ("4.4.312", Cause.DNS_ERROR)
    assert not lab.dns.queries


async def test_a_hostile_mx_name_is_never_asked_for(lab) -> None:
    lab.dns.put("evil.test", Node({"MX": ("10 <!channel>.test.", "20 127.0.0.1.", "30 good.mail.test.")}))
    result = await lab.prober.probe(lab.request(mx_domain="evil.test"))
    assert [t.cause for t in result.targets] == [Cause.DNS_ERROR, Cause.DNS_ERROR, None]


async def test_a_range_is_named_and_not_swept(lab) -> None:
    only = await lab.prober.probe(lab.request(hosts=("127.25.0.0/24",)))
    assert only.ok
    assert only.nothing_probed
    assert "not probed" in only.targets[0].detail
    both = await lab.prober.probe(lab.request(hosts=("127.25.0.0/24", "refused.mail.test")))
    assert both.code == "4.4.316"


async def test_nothing_to_probe_is_no_failure(lab) -> None:
    result = await lab.prober.probe(lab.request())
    assert result.ok
    assert result.nothing_probed


async def test_the_domain_may_be_given_as_an_address(lab) -> None:
    assert (await lab.prober.probe(lab.request(mx_domain=lab.servers.servers["good"].ip))).ok


async def test_too_many_addresses_are_cut(lab) -> None:
    hosts = tuple(f"127.25.9.{n}" for n in range(1, 60))
    result = await lab.prober.probe(lab.request(hosts=hosts))
    assert len(result.targets) == 20


async def test_an_address_is_not_held_against_a_certificate_unless_a_name_is_demanded(lab) -> None:
    ip = lab.servers.servers["good"].ip
    for setting, code in [("certificate", None), ("domain", "4.7.320")]:
        result = await lab.prober.probe(lab.request(hosts=(ip,), tls_setting=setting))
        assert result.code == code
        assert result.warnings == ()


async def test_ipv6_works_where_it_is(lab) -> None:
    result = await lab.prober.probe(lab.request(hosts=("::1",)))
    assert result.cause in (Cause.REFUSED, Cause.UNREACHABLE)


def beyond(ip: str) -> TargetResult:
    """A target that could not be reached because there is no IPv6 here."""
    faults = [Fault(c, Stage.CONNECT) for c in (Cause.UNREACHABLE, Cause.NO_IPV6_HERE)]
    return judged(judge(faults, "opportunistic"), host="dual.test", ip=ip, port=25)


def test_no_ipv6_here_is_our_limit_and_not_the_hosts_fault() -> None:
    four = TargetResult(host="dual.test", ip="192.0.2.1", port=25)
    result = overall(forgive_ipv6([beyond("2001:db8::25"), four]), 1)
    assert (result.ok, result.degraded, result.warnings) == (True, False, (Cause.NO_IPV6_HERE,))
    assert [t.skipped for t in result.targets] == [True, False]
    alone = overall(forgive_ipv6([beyond("2001:db8::25"), beyond("2001:db8::26")]), 1)
    assert (alone.code, alone.warnings) == ("4.4.315", (Cause.NO_IPV6_HERE,))


async def test_progress_tells_each_stage(lab) -> None:
    said: list[str] = []
    await lab.prober.probe(lab.request(hosts=("good.mail.test",)), said.append)
    shown = f"good.mail.test [{lab.servers.servers['good'].ip}]"
    assert said == ["dns: good.mail.test", *(f"{s}: {shown}" for s in ("connect", "banner", "ehlo", "starttls", "tls"))]


async def test_no_probe_ever_says_mail_from(lab) -> None:
    await lab.prober.probe(lab.request(hosts=tuple(s.host for s in lab.servers.servers.values()), timeout=0.5))
    assert not lab.servers.accepted


async def test_two_hundred_probes_at_once(lab) -> None:
    names = ("good", "good-domain", "refused", "busy", "not-smtp", "cert-expired", "nxdomain", "closes")
    specs = [lab.servers.servers[n] for n in names]
    jobs = [(s, lab.prober.probe(lab.request_for(s, 10))) for s in specs for _ in range(25)]
    results = await asyncio.gather(*(job for _, job in jobs))
    assert [r.code for r in results] == [s.expected_code for s, _ in jobs]


@pytest.mark.parametrize(
    ("targets", "is_open"),
    [
        ([("good.mail.test", 0)], True),
        ([("refused.mail.test", 0), ("black-hole.mail.test", 0)], False),
        ([("black-hole.mail.test", 0), ("silent.mail.test", 0)], True),
        ([("nxdomain.mail.test", 0)], False),
        ([], True),
    ],
)
async def test_egress_is_open_if_anybody_accepts(lab, targets: list[tuple[str, int]], is_open: bool) -> None:
    asked = [(host, lab.servers.port) for host, _ in targets]
    assert await lab.prober.egress_open(asked, 0.5) == is_open


@pytest.mark.parametrize(
    ("error", "cause"),
    [
        (OSError(errno.EHOSTUNREACH, "x"), Cause.UNREACHABLE),
        (OSError(errno.ENETUNREACH, "x"), Cause.UNREACHABLE),
        (ConnectionResetError(errno.ECONNRESET, "x"), Cause.RESET),
        (TimeoutError(errno.ETIMEDOUT, "x"), Cause.CONNECT_TIMEOUT),
        (OSError(errno.EMFILE, "x"), None),
    ],
)
def test_what_the_kernel_says_is_named_and_our_own_lack_is_raised(error: OSError, cause: Cause | None) -> None:
    class Loop(asyncio.SelectorEventLoop):
        async def create_connection(self, *args: object, **kwargs: object) -> object:
            raise error

    async def run() -> None:
        with pytest.raises(Broken if cause else OSError) as failed:
            await connecting.connect("192.0.2.1", 25, Deadline(1))
        if cause:
            assert failed.value.cause is cause

    with asyncio.Runner(loop_factory=Loop) as runner:
        runner.run(run())


def test_a_missing_or_empty_ca_file_is_told_in_one_line(tmp_path: Path) -> None:
    with pytest.raises(NoTrustStore, match="cannot read the CA file"):
        Prober(ca_file=tmp_path / "absent.pem")
    empty = tmp_path / "empty.pem"
    empty.write_text("nothing here")
    with pytest.raises(NoTrustStore, match="no certificate in PEM form"):
        Prober(ca_file=empty)


def connector(**changes: object) -> Connector:
    facts = {
        **{"backend": "files", "key": "k", "name": "n", "kind": ConnectorKind.PARTNER},
        **{"id": 1, "next_probe_at": NOW, "changed_at": NOW, "smart_hosts": ("a.test", "b.test")},
        **changes,
    }
    return Connector(**facts)


@pytest.mark.parametrize(
    ("changes", "request_"),
    [
        ({}, ProbeRequest(hosts=("a.test", "b.test"))),
        ({"port": 2525}, ProbeRequest(hosts=("a.test", "b.test"), port=2525)),
        (
            {"use_mx": True, "smart_hosts": (), "recipient_domains": ("*", "*.contoso.test", "fabrikam.test")},
            ProbeRequest(mx_domain="contoso.test", checks=True),
        ),
        ({"use_mx": True, "smart_hosts": (), "recipient_domains": ("*",)}, ProbeRequest()),
        (
            {"use_mx": True, "recipient_domains": ("*", "contoso.test")},
            ProbeRequest(mx_domain="a.test", hosts=("b.test",), checks=True),
        ),
        (
            {"tls_setting": TlsSetting.DOMAIN, "tls_domain": "*.a.test"},
            ProbeRequest(hosts=("a.test", "b.test"), tls_setting=TlsSetting.DOMAIN, tls_domain="*.a.test"),
        ),
    ],
)
def test_a_connector_becomes_a_request(changes: dict[str, object], request_: ProbeRequest) -> None:
    assert request_for(connector(**changes), 25) == request_
    assert request_.empty == (not request_.hosts and not request_.mx_domain)


async def test_the_clock_judges_certificates(lab) -> None:
    later = Prober(
        nameservers=[lab.dns.address],
        ca_file=lab.servers.ca_file,
        clock=lambda: datetime.now(UTC) + timedelta(days=1000),
    )
    result = await later.probe(lab.request(hosts=("good.mail.test",), tls_setting="certificate"))
    assert result.cause is Cause.CERT_EXPIRED


async def test_ehlo_says_the_given_name_or_an_address_literal(lab) -> None:
    heard: list[bytes] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"220 hi\r\n")
        heard.append(await reader.readline())
        writer.transport.abort()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    named = Prober(helo_name="probe.contoso.test")
    nameless = Prober()
    nameless._helo = None
    for prober in (named, nameless):
        await prober.probe(ProbeRequest(hosts=("127.0.0.1",), port=port))
    server.close()
    assert heard == [b"EHLO probe.contoso.test\r\n", b"EHLO [127.0.0.1]\r\n"]


def test_whether_there_is_ipv6_is_asked_without_sending_anything() -> None:
    assert connecting.ipv6_here() in (True, False)
