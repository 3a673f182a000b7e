"""Where a domain's mail would go without its connector: told, certainly nowhere, or not told by DNS."""

from __future__ import annotations

import pytest

from bot.sandbox.dns_server import DnsFault, DnsServer, Node
from bot.settings import load
from bot.wiring import make_mail_exchangers

ZONE = {
    "cloud.test": Node({"MX": ("10 cloud-test.mail.protection.outlook.com.",)}),
    "closed.test": Node({"MX": ("0 .",)}),
    "quiet.test": Node({"TXT": ('"x"',)}),
    "broken.test": Node(fault=DnsFault.SERVFAIL),
}


@pytest.mark.parametrize(
    ("domain", "expected"),
    [
        ("cloud.test", ["cloud-test.mail.protection.outlook.com"]),
        ("closed.test", []),
        ("quiet.test", []),
        ("absent.test", []),
        ("broken.test", None),
    ],
)
async def test_what_dns_does_not_tell_is_not_taken_for_nowhere(domain: str, expected: list[str] | None) -> None:
    async with DnsServer(ZONE) as server:
        host, port = server.address
        ask = make_mail_exchangers(load({"MFI_NAMESERVERS": f"{host}:{port}"}))
        found = await ask(domain)
    assert (found if found is None else list(found)) == expected
