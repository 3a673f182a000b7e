"""Which networks are taken from a published list, and what is left out."""

from __future__ import annotations

from typing import Any

import pytest

from bot.core.address_ranges import MOST, smtp_ranges


def endpoint(*ips: Any, area: str = "Exchange", ports: Any = "25") -> dict[str, Any]:
    return {"id": 10, "serviceArea": area, "tcpPorts": ports, "ips": list(ips)}


@pytest.mark.parametrize(
    ("document", "expected"),
    [
        (
            [
                endpoint("2a01:111:f400::/48", "52.100.0.0/14", "40.92.0.0/15"),
                endpoint("40.92.0.0/15", "104.47.0.0/17"),
            ],
            ("40.92.0.0/15", "52.100.0.0/14", "104.47.0.0/17", "2a01:111:f400::/48"),
        ),
        ([endpoint("40.92.0.0/15", ports="25,587")], ("40.92.0.0/15",)),
        ([endpoint("40.92.0.0/15", ports="80,443")], ()),
        ([endpoint("40.92.0.0/15", ports=None)], ()),
        ([endpoint("40.92.0.0/15", area="SharePoint")], ()),
        ([endpoint("10.0.0.0/8", "evil", "40.92.0.1/15", 7.5, None, "<!channel>")], ()),
        ([{"serviceArea": "Exchange", "tcpPorts": "25"}], ()),
        ([{"serviceArea": "Exchange", "tcpPorts": "25", "ips": "40.92.0.0/15"}], ()),
        ([7, None, "x"], ()),
        ({"serviceArea": "Exchange"}, ()),
        (None, ()),
    ],
)
def test_only_public_networks_that_send_mail_are_taken(document: Any, expected: tuple[str, ...]) -> None:
    assert smtp_ranges(document) == expected


def test_a_list_without_end_is_cut() -> None:
    networks = [f"40.{n % 200}.{n // 200}.0/24" for n in range(1000)]
    assert len(smtp_ranges([endpoint(*networks)])) == MOST
