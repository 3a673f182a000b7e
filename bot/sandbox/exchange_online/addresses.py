"""The list of addresses that Microsoft 365 publishes, in short: what firewalls have to let in, and something else."""

from __future__ import annotations

from typing import Any

PATH = "/endpoints/worldwide"
SMTP = ("40.92.0.0/15", "40.107.0.0/16", "52.100.0.0/14", "104.47.0.0/17", "2a01:111:f400::/48", "2a01:111:f403::/48")
"""Whence Exchange Online sends mail."""


def published() -> list[dict[str, Any]]:
    """Three sets of endpoints: for browsers, for mail, and of another service."""
    mail = {"urls": ["*.mail.protection.outlook.com"], "ips": list(SMTP), "tcpPorts": "25"}
    office = {"urls": ["outlook.office.com"], "ips": ["13.107.6.152/31", "40.96.0.0/13"], "tcpPorts": "80,443"}
    elsewhere = {"urls": ["*.sharepoint.com"], "ips": ["13.107.136.0/22"], "tcpPorts": "80,443"}
    return [
        {"id": 1, "serviceArea": "Exchange", "category": "Optimize", "required": True, **office},
        {"id": 10, "serviceArea": "Exchange", "category": "Allow", "required": True, **mail},
        {"id": 31, "serviceArea": "SharePoint", "category": "Optimize", "required": True, **elsewhere},
    ]
