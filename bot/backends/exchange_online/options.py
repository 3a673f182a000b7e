"""The settings of one Exchange Online instance (`MFI_<NAME>_…`), read and checked.

A problem names the setting, never its value: it may be a secret.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from uuid import UUID

from bot.backends.exchange_online.budget import TENANT_QUOTA
from bot.backends.exchange_online.clouds import CLOUDS, Endpoints, endpoints

REQUIRED: Mapping[str, str] = {
    "TENANT": "the tenant's id (a GUID) or its first domain (….onmicrosoft.com)",
    "CLIENT_ID": "application id of the reader's app registration",
}
OPTIONAL: Mapping[str, str] = {
    "CERTIFICATE_FILE": "the reader's certificate with its private key: PEM or PFX (preferred)",
    "CERTIFICATE_PASSWORD": "password of that file",
    "CLIENT_SECRET": "the reader's secret, where there is no certificate",
    "FIXER_CLIENT_ID": "application id of the second app registration, which may change settings; empty: read-only",
    "FIXER_CERTIFICATE_FILE": "the fixer's certificate with its private key",
    "FIXER_CERTIFICATE_PASSWORD": "password of that file",
    "FIXER_CLIENT_SECRET": "the fixer's secret, where there is no certificate",
    "CLOUD": "global, gcc_high, dod or china (global)",
    "BUDGET": "message trace requests per 5 minutes that mfi's reading may use (60)",
    "QUOTA": "message trace requests per 5 minutes that Microsoft lets the tenant's tools have together (100)",
    "SETTLE": "seconds; younger pending mail is in flight and left out (900)",
    "ACCEPTED_DOMAINS_API": "invoke, or v2: Microsoft's official preview API (invoke)",
    "TIMEOUT": "seconds that one request may take (30)",
    "AUTHORITY": "another sign-in address, with the tenant",
    "GRAPH_URL": "another address of Graph, with its version",
    "EXO_URL": "another address of Exchange",
    "CA_FILE": "PEM file of authorities to trust besides the system's",
}
SECRETS = frozenset(
    ("CLIENT_SECRET", "CERTIFICATE_PASSWORD", "FIXER_CLIENT_SECRET", "FIXER_CERTIFICATE_PASSWORD"),
)
DOMAIN_APIS = ("invoke", "v2")


class BadOption(ValueError):
    """An option is missing or senseless."""

    def __init__(self, option: str, problem: str) -> None:
        super().__init__(f"{option} {problem}")
        self.option = option
        self.problem = problem


@dataclass(frozen=True, slots=True, kw_only=True)
class Registration:
    """One app registration and its proof: a certificate or a secret. `prefix`: of its options' names."""

    client_id: str
    prefix: str = ""
    secret: str | None = field(default=None, repr=False)
    certificate: Path | None = None
    password: str | None = field(default=None, repr=False)

    @property
    def role(self) -> str:
        """What people call it."""
        return "fixer" if self.prefix else "reader"


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """Everything that an instance needs to know. `fixer` None: it only reads."""

    endpoints: Endpoints
    reader: Registration
    fixer: Registration | None
    budget: int
    quota: int
    settle: timedelta
    domains_api: str
    timeout: float


def read_options(settings: Mapping[str, str]) -> Options:
    """The options in `settings` (without their prefix). Raises BadOption."""
    given = {name: text.strip() for name, text in settings.items() if text.strip()}
    reader = _registration(given, "")
    if reader is None:
        raise BadOption("CLIENT_ID", f"is missing: {REQUIRED['CLIENT_ID']}")
    cloud = given.get("CLOUD", "global").lower()
    if cloud not in CLOUDS:
        raise BadOption("CLOUD", f"has to be one of {', '.join(CLOUDS)}")
    quota = int(_number(given, "QUOTA", TENANT_QUOTA, 10, 100_000))
    domains_api = given.get("ACCEPTED_DOMAINS_API", "invoke").lower()
    if domains_api not in DOMAIN_APIS:
        raise BadOption("ACCEPTED_DOMAINS_API", f"has to be one of {', '.join(DOMAIN_APIS)}")
    return Options(
        endpoints=_endpoints(given, cloud),
        reader=reader,
        fixer=_registration(given, "FIXER_"),
        budget=int(_number(given, "BUDGET", 60, 10, quota)),
        quota=quota,
        settle=timedelta(seconds=_number(given, "SETTLE", 900, 0, 86400)),
        domains_api=domains_api,
        timeout=_number(given, "TIMEOUT", 30, 0.1, 300),
    )


def _endpoints(given: Mapping[str, str], cloud: str) -> Endpoints:
    tenant = given.get("TENANT", "")
    if not tenant or not all(c.isalnum() or c in "-." for c in tenant):
        raise BadOption("TENANT", f"has to be {REQUIRED['TENANT']}")
    urls = {name.lower(): given.get(name) for name in ("AUTHORITY", "GRAPH_URL", "EXO_URL")}
    try:
        return endpoints(tenant, CLOUDS[cloud], **urls, ca_file=_file(given, "CA_FILE"))
    except ValueError as error:
        name, _, problem = str(error).partition(" ")
        raise BadOption(name, problem) from None


def _registration(given: Mapping[str, str], prefix: str) -> Registration | None:
    client_id = given.get(f"{prefix}CLIENT_ID")
    if client_id is None:
        return None
    try:
        UUID(client_id)
    except ValueError:
        raise BadOption(f"{prefix}CLIENT_ID", "has to be a GUID: the app registration's application id") from None
    certificate = _file(given, f"{prefix}CERTIFICATE_FILE")
    secret = given.get(f"{prefix}CLIENT_SECRET")
    if certificate is None and secret is None:
        raise BadOption(f"{prefix}CERTIFICATE_FILE", f"is missing: {OPTIONAL[f'{prefix}CERTIFICATE_FILE']}")
    return Registration(
        client_id=client_id,
        prefix=prefix,
        secret=None if certificate else secret,
        certificate=certificate,
        password=given.get(f"{prefix}CERTIFICATE_PASSWORD"),
    )


def _file(given: Mapping[str, str], name: str) -> Path | None:
    if name not in given:
        return None
    with suppress(OSError):  # too long for a name: most likely the certificate itself, and not to be told
        if Path(given[name]).is_file():
            return Path(given[name])
    raise BadOption(name, "wants a file that exists and can be read")


def _number(given: Mapping[str, str], name: str, default: float, least: float, most: float) -> float:
    try:
        found = float(given.get(name, default))
    except ValueError:
        found = least - 1
    if not least <= found <= most:
        raise BadOption(name, f"has to be a number from {least:g} to {most:g}")
    return found
