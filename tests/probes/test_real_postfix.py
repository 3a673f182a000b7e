"""A real Postfix on loopback, with its own configuration and high ports, probed in each of its TLS settings.

Needs Debian's package `postfix`, and root (Postfix starts only so); else skipped with a reason, and failed in CI.
"""

from __future__ import annotations

import asyncio
import os
import shlex
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from bot.core.advice_words import OWN
from bot.core.capabilities import Family
from bot.core.probe_result import ProbeResult
from bot.probes.runner import Prober, ProbeRequest
from bot.sandbox.certificates import CertificateShop, Flaw
from storage.records import TlsSetting

HOST = "postfix.mail.test"

SERVICES: Mapping[str, tuple[str, ...]] = {
    "plain": ("smtpd_tls_security_level=none",),
    "may": ("smtpd_tls_security_level=may", "smtpd_tls_chain_files={good}"),
    "encrypt": ("smtpd_tls_security_level=encrypt", "smtpd_tls_chain_files={good}"),
    "tls12": (
        "smtpd_tls_security_level=encrypt",
        "smtpd_tls_chain_files={good}",
        "smtpd_tls_mandatory_protocols=TLSv1.2",
    ),
    "tls13": (
        "smtpd_tls_security_level=encrypt",
        "smtpd_tls_chain_files={good}",
        "smtpd_tls_mandatory_protocols=TLSv1.3",
    ),
    "expired": ("smtpd_tls_security_level=may", "smtpd_tls_chain_files={expired}"),
    "selfsigned": ("smtpd_tls_security_level=may", "smtpd_tls_chain_files={self_signed}"),
    "incomplete": ("smtpd_tls_security_level=may", "smtpd_tls_chain_files={missing_intermediate}"),
    "othername": ("smtpd_tls_security_level=may", "smtpd_tls_chain_files={wrong_name}"),
    "clientcert": (
        "smtpd_tls_security_level=encrypt",
        "smtpd_tls_chain_files={good}",
        "smtpd_tls_req_ccert=yes",
        "smtpd_tls_CAfile={ca}",
    ),
    "nokey": ("smtpd_tls_security_level=may", "smtpd_tls_chain_files={absent}"),
    "rejects": ("smtpd_client_restrictions=reject", "smtpd_delay_reject=no"),
    "noehlo": ("smtpd_discard_ehlo_keywords=starttls", "smtpd_tls_security_level=may", "smtpd_tls_chain_files={good}"),
}
"""Services of one Postfix and what distinguishes them."""

MAIN = """
compatibility_level = 3.6
queue_directory = {home}/spool
data_directory = {home}/data
mail_owner = postfix
setgid_group = postdrop
myhostname = {host}
inet_interfaces = 127.0.0.1
inet_protocols = ipv4
mynetworks =
mydestination = {host}
local_recipient_maps = inline:{{ {{ postmaster@{host} = x }} }}
alias_maps =
smtpd_peername_lookup = no
smtpd_relay_restrictions = reject_unauth_destination
smtpd_recipient_restrictions =
smtpd_tls_session_cache_database =
maillog_file = {home}/log
maillog_file_prefixes = {home}
"""

MASTER = """
postlog unix-dgram n - n - 1 postlogd
pickup unix n - n 60 1 pickup
cleanup unix n - n - 0 cleanup
qmgr unix n - n 300 1 qmgr
tlsmgr unix - - n 1000? 1 tlsmgr
rewrite unix - - n - - trivial-rewrite
bounce unix - - n - 0 bounce
defer unix - - n - 0 bounce
trace unix - - n - 0 bounce
verify unix - - n - 1 verify
flush unix n - n 1000? 0 flush
proxymap unix - - n - - proxymap
error unix - - n - - error
retry unix - - n - - error
discard unix - - n - - discard
local unix - n n - - local
anvil unix - - n - 1 anvil
"""


@dataclass(frozen=True, slots=True)
class Postfix:
    """A running Postfix: its ports by service, and the root of its certificates."""

    ports: Mapping[str, int]
    ca_file: Path


def _missing() -> str | None:
    """Why it can't be run here."""
    if shutil.which("postfix", path="/usr/sbin:/usr/bin") is None:
        return "Debian's package postfix is not installed"
    return None if os.geteuid() == 0 else "Postfix starts only as root"


@pytest.fixture(scope="module")
def open_directory() -> Iterator[Path]:
    """Not in pytest's own directory: that one only its owner may enter."""
    with TemporaryDirectory(prefix="mfi-postfix-") as made:
        Path(made).chmod(0o755)
        yield Path(made)


@pytest.fixture(scope="module")
def postfix(open_directory: Path) -> Iterator[Postfix]:
    if reason := _missing():
        (pytest.fail if os.environ.get("CI") else pytest.skip)(reason)
    home = open_directory
    ports, ca_file = _configure(home)
    command = ["/usr/sbin/postfix", "-c", str(home / "etc")]
    environment = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin"}
    master = subprocess.Popen(
        [*command, "start-fg"], env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        _await_ports(ports.values(), master)
        yield Postfix(ports, ca_file)
    finally:
        subprocess.run([*command, "stop"], env=environment, check=False, capture_output=True, timeout=30)
        master.wait(30)


def _configure(home: Path) -> tuple[dict[str, int], Path]:
    """Write certificates and configuration."""
    for name in ("etc", "spool", "data", "pem"):
        (home / name).mkdir()
    shutil.chown(home / "data", "postfix")
    shop = CertificateShop(home / "pem", datetime.now(UTC))
    flaws = (Flaw.EXPIRED, Flaw.SELF_SIGNED, Flaw.MISSING_INTERMEDIATE, Flaw.WRONG_NAME)
    files = {"good": shop.file(HOST), "ca": shop.ca_file, "absent": home / "pem" / "absent.pem"}
    files |= {flaw.value: shop.file(HOST, flaw) for flaw in flaws}
    ports = dict(zip(SERVICES, _free_ports(len(SERVICES)), strict=True))
    lines = [MASTER]
    for name, options in SERVICES.items():
        lines.append(f"127.0.0.1:{ports[name]} inet n - n - - smtpd\n")
        lines += [f"  -o {option.format(**files)}\n" for option in options]
    (home / "etc" / "main.cf").write_text(MAIN.format(home=home, host=HOST))
    (home / "etc" / "master.cf").write_text("".join(lines))
    return ports, shop.ca_file


def _free_ports(count: int) -> list[int]:
    """Ports that nobody listens on."""
    held = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [each.getsockname()[1] for each in held]
    for each in held:
        each.close()
    return ports


def _await_ports(ports: object, master: subprocess.Popen[bytes]) -> None:
    """Wait until all services listen."""
    until = time.monotonic() + 30
    for port in ports:
        while True:
            try:
                socket.create_connection(("127.0.0.1", port), 1).close()
                break
            except OSError:
                assert master.poll() is None, "Postfix did not start"
                assert time.monotonic() < until, "Postfix does not listen"
                time.sleep(0.05)


async def probed(postfix: Postfix, service: str, setting: str, rcpt: str | None = None) -> ProbeResult:
    """Probe one service of it as a connector with this TLS setting would."""
    request = ProbeRequest(
        hosts=("127.0.0.1",),
        port=postfix.ports[service],
        tls_setting=TlsSetting(setting),
        tls_domain=HOST,
        timeout=15,
        rcpt=rcpt,
    )
    return await Prober(ca_file=postfix.ca_file).probe(request)


@pytest.mark.parametrize(
    ("service", "verdicts"),
    [
        ("plain", {"none": None, "opportunistic": None, "encryption": "no_starttls", "domain": "no_starttls"}),
        ("may", {"none": None, "opportunistic": None, "encryption": None, "certificate": None, "domain": None}),
        ("encrypt", {"opportunistic": None, "encryption": None, "certificate": None, "domain": None}),
        ("tls12", {"domain": None}),
        ("tls13", {"domain": None}),
        ("expired", {"encryption": None, "certificate": "cert_expired", "domain": "cert_expired"}),
        ("selfsigned", {"encryption": None, "certificate": "cert_self_signed"}),
        ("incomplete", {"encryption": None, "certificate": "cert_missing_intermediate"}),
        ("othername", {"certificate": None, "domain": "cert_name"}),
        ("clientcert", {"encryption": "client_certificate_wanted"}),
        ("nokey", {"opportunistic": None, "encryption": "tls_alert"}),
        ("rejects", {"none": "smtp_error", "domain": "smtp_error"}),
        ("noehlo", {"opportunistic": None, "encryption": "no_starttls"}),
    ],
)
async def test_postfix_is_probed_right(postfix: Postfix, service: str, verdicts: Mapping[str, str | None]) -> None:
    results = await asyncio.gather(*(probed(postfix, service, setting) for setting in verdicts))
    assert dict(zip(verdicts, (r.cause for r in results), strict=True)) == verdicts
    assert all(r.targets[0].banner.startswith(("220 " + HOST, "554 ")) for r in results)


@pytest.mark.parametrize(("service", "version"), [("tls12", "TLSv1.2"), ("tls13", "TLSv1.3")])
async def test_its_certificate_is_described(postfix: Postfix, service: str, version: str) -> None:
    tls = (await probed(postfix, service, "domain")).targets[0].tls
    assert (tls.version, tls.verified, tls.san) == (version, True, (HOST,))


@pytest.mark.parametrize("code", ["4.4.317", "4.7.320"])
async def test_the_command_that_we_advise_tells_a_trusted_certificate_from_another(postfix: Postfix, code: str) -> None:
    """posttls-finger takes no root from main.cf: without one of its own, every certificate is untrusted to it."""
    step = next(step for step in OWN[Family.POSTFIX][code].steps if "posttls-finger" in step)
    command = (
        step.partition("`")[2].partition("`")[0].replace("/etc/ssl/certs/ca-certificates.crt", str(postfix.ca_file))
    )

    async def said(service: str) -> str:
        line = command.replace("[mail.contoso.com]:25", f"[127.0.0.1]:{postfix.ports[service]}")
        line += "" if " -l " in line else " -c -l verify"
        words = ["/usr/sbin/posttls-finger", *shlex.split(line)[1:], HOST]
        program = await asyncio.create_subprocess_exec(*words, stdout=-1, stderr=-2, env={"PATH": "/usr/sbin:/usr/bin"})
        return (await program.communicate())[0].decode()

    assert "Verified TLS connection" in await said("may")
    assert "Untrusted TLS connection" in await said("selfsigned")


@pytest.mark.parametrize("service", ["plain", "may"])
@pytest.mark.parametrize(
    ("address", "cause", "code"),
    [
        (f"postmaster@{HOST}", "rcpt_ok", "2.1.5"),
        (f"nobody@{HOST}", "rcpt_rejected", "5.1.1"),
        ("nobody@elsewhere.test", "rcpt_relay_denied", "5.7.1"),
    ],
)
async def test_its_recipients_are_told_apart(
    postfix: Postfix, service: str, address: str, cause: str, code: str
) -> None:
    result = await probed(postfix, service, "opportunistic", address)
    assert (result.ok, result.rcpt.cause, result.rcpt.code) == (True, cause, code)
