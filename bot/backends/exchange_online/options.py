"""The settings of one Exchange Online instance (`MFI_<NAME>_…`), read and checked.

A problem names the setting, never its value: it may be a secret.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from uuid import UUID

from bot.backends.exchange_online.budget import TENANT_QUOTA
from bot.backends.exchange_online.clouds import CLOUDS, Endpoints, endpoints, origin
from bot.backends.options import BadOptions, Problems, number

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
    """The options in `settings` (without their prefix). Raises BadOptions."""
    given = {name: text.strip() for name, text in settings.items() if text.strip()}
    problems = Problems()

    def figure(name: str, default: float, least: float, most: float) -> float:
        return problems.caught(lambda: number(given, name, default, (least, most)), default)

    reader = _registration(given, "", problems)
    fixer = _registration(given, "FIXER_", problems)
    cloud = _one_of(given, "CLOUD", tuple(CLOUDS), problems)
    domains_api = _one_of(given, "ACCEPTED_DOMAINS_API", DOMAIN_APIS, problems)
    ca_file = problems.caught(lambda: _file(given, "CA_FILE"), None)
    found = _endpoints(given, cloud, ca_file, problems)
    quota = int(figure("QUOTA", TENANT_QUOTA, 10, 100_000))
    budget = int(figure("BUDGET", 60, 10, quota))
    settle, timeout = figure("SETTLE", 900, 0, 86400), figure("TIMEOUT", 30, 0.1, 300)
    if reader is None:
        problems.add("CLIENT_ID", f"is missing: {REQUIRED['CLIENT_ID']}")
    problems.told()
    assert reader is not None and found is not None
    return Options(
        endpoints=found,
        reader=reader,
        fixer=fixer,
        budget=budget,
        quota=quota,
        settle=timedelta(seconds=settle),
        domains_api=domains_api,
        timeout=timeout,
    )


def _one_of(given: Mapping[str, str], name: str, words: Sequence[str], problems: Problems) -> str:
    """One of the words; the first where none is given, or a wrong one."""
    word = given.get(name, words[0]).lower()
    if word in words:
        return word
    problems.add(name, f"has to be one of {', '.join(words)}")
    return words[0]


def _endpoints(given: Mapping[str, str], cloud: str, ca_file: Path | None, problems: Problems) -> Endpoints | None:
    tenant = given.get("TENANT", "")
    if not tenant or not all(c.isalnum() or c in "-." for c in tenant):
        problems.add("TENANT", f"has to be {REQUIRED['TENANT']}")
    urls = {name: given.get(name) for name in ("AUTHORITY", "GRAPH_URL", "EXO_URL")}
    odd = [name for name, url in urls.items() if url is not None and origin(url) is None]
    for name in odd:
        problems.add(name, "has to be an address that starts with https://")
    if odd:
        return None
    return endpoints(tenant, CLOUDS[cloud], **{name.lower(): url for name, url in urls.items()}, ca_file=ca_file)


def _registration(given: Mapping[str, str], prefix: str, problems: Problems) -> Registration | None:
    """The app registration; None where there is none. What is wrong with it goes to `problems`."""
    client_id = given.get(f"{prefix}CLIENT_ID")
    if client_id is None:
        return None
    try:
        UUID(client_id)
    except ValueError:
        problems.add(f"{prefix}CLIENT_ID", "has to be a GUID: the app registration's application id")
    certificate = problems.caught(lambda: _file(given, f"{prefix}CERTIFICATE_FILE"), None)
    secret = given.get(f"{prefix}CLIENT_SECRET")
    if certificate is None and secret is None:
        problems.add(f"{prefix}CERTIFICATE_FILE", f"is missing: {OPTIONAL[f'{prefix}CERTIFICATE_FILE']}")
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
    raise BadOptions((name, "wants a file that exists and can be read"))
