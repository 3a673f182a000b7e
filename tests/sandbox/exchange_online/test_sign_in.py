"""Sign-ins: MSAL itself gets tokens with a secret and with a certificate; every refusal has Microsoft's number."""

from __future__ import annotations

import asyncio
from base64 import urlsafe_b64encode
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import jwt
import msal
import pytest
import requests
from cryptography.hazmat.primitives import hashes

from bot.sandbox.exchange_online import App, Kind, SandboxTenant, TenantFault, write_certificate
from tests.sandbox.exchange_online.plain_client import Client

GRAPH, EXCHANGE = "https://graph.microsoft.com", "https://outlook.office365.com"


@pytest.fixture
def browser(tenant: SandboxTenant) -> Iterator[requests.Session]:
    with requests.Session() as session:
        session.verify, session.trust_env = str(tenant.ca_file), False
        yield session


def parts(path: Path) -> dict[str, str]:
    """A PEM file as MSAL wants it."""
    key, begin, certificate = path.read_text().partition("-----BEGIN CERTIFICATE-----")
    return {"private_key": key, "public_certificate": begin + certificate}


async def sign_in(
    tenant: SandboxTenant, browser: requests.Session, credential: Any, scope: str = f"{GRAPH}/.default"
) -> dict[str, Any]:
    def ask() -> dict[str, Any]:
        app = msal.ConfidentialClientApplication(
            tenant.reader.client_id,
            authority=tenant.authority,
            client_credential=credential,
            instance_discovery=False,
            http_client=browser,
        )
        found: dict[str, Any] = app.acquire_token_for_client(scopes=[scope])
        return found

    return await asyncio.to_thread(ask)


@pytest.mark.parametrize("kind", ["secret", "certificate"])
@pytest.mark.parametrize("resource", [GRAPH, EXCHANGE])
async def test_msal_signs_in(tenant: SandboxTenant, browser: requests.Session, kind: str, resource: str) -> None:
    app = tenant.reader
    credential = app.secret if kind == "secret" else parts(app.certificate_file)
    answer = await sign_in(tenant, browser, credential, f"{resource}/.default")
    claims = jwt.decode(answer["access_token"], options={"verify_signature": False})
    assert answer["token_type"] == "Bearer" and answer["expires_in"] > 3000
    assert (claims["aud"], claims["tid"], claims["appid"]) == (resource, tenant.tenant_id, app.client_id)
    assert "Exchange.ManageAsApp" in claims["roles"]
    assert tenant.faults.seen == {Kind.OPENID: 1, Kind.SIGN_IN: 1}


@pytest.mark.parametrize(
    ("fault", "kind", "number"),
    [
        (TenantFault.CREDENTIAL_EXPIRED, "secret", 7000222),
        (TenantFault.CERTIFICATE_UNKNOWN, "certificate", 700027),
        (TenantFault.CLOCK_SKEW, "certificate", 700024),
    ],
)
async def test_a_refused_sign_in_says_why_and_the_next_one_works(
    tenant: SandboxTenant, browser: requests.Session, fault: TenantFault, kind: str, number: int
) -> None:
    credential = tenant.reader.secret if kind == "secret" else parts(tenant.reader.certificate_file)
    tenant.faults.set(fault, times=1)
    refused = await sign_in(tenant, browser, credential)
    assert refused["error"] == "invalid_client" and refused["error_codes"] == [number]
    assert refused["error_description"].startswith(f"AADSTS{number}: ")
    assert "access_token" in await sign_in(tenant, browser, credential)


async def test_a_certificate_that_is_not_registered_is_unknown(
    tenant: SandboxTenant, browser: requests.Session, tmp_path: Path
) -> None:
    path = tmp_path / "other.pem"
    certificate = write_certificate(path, "other", datetime.now(UTC))
    assert (await sign_in(tenant, browser, parts(path)))["error_codes"] == [700027]
    tenant.reader.register(certificate)
    assert "access_token" in await sign_in(tenant, browser, parts(path))


async def test_an_expired_certificate_signs_nobody_in(
    tenant: SandboxTenant, browser: requests.Session, tmp_path: Path
) -> None:
    path = tmp_path / "old.pem"
    tenant.reader.register(write_certificate(path, "old", datetime.now(UTC), lasts=timedelta(minutes=-1)))
    answer = await sign_in(tenant, browser, parts(path))
    assert answer["error_codes"] == [700027] and "expired" in answer["error_description"]


@pytest.mark.parametrize("ahead", [timedelta(minutes=20), timedelta(minutes=-20)])
async def test_a_wrong_server_clock_refuses_assertions_but_not_secrets(
    tenant: SandboxTenant, browser: requests.Session, ahead: timedelta
) -> None:
    tenant.faults.ahead = ahead
    assert (await sign_in(tenant, browser, parts(tenant.reader.certificate_file)))["error_codes"] == [700024]
    assert "access_token" in await sign_in(tenant, browser, tenant.reader.secret)


async def test_a_secret_ends_at_its_date(tenant: SandboxTenant, browser: requests.Session) -> None:
    tenant.reader.secret_ends = datetime.now(UTC)
    assert (await sign_in(tenant, browser, tenant.reader.secret))["error_codes"] == [7000222]


GOOD = {"grant_type": "client_credentials", "scope": f"{GRAPH}/.default"}


@pytest.mark.parametrize(
    ("change", "status", "error", "number"),
    [
        ({"client_secret": "wrong"}, 401, "invalid_client", 7000215),
        ({"client_secret": ""}, 401, "invalid_client", 7000218),
        ({"client_id": "00000000-0000-0000-0000-000000000000"}, 400, "unauthorized_client", 700016),
        ({"scope": f"{GRAPH}/User.Read"}, 400, "invalid_scope", 1002012),
        ({"scope": "https://nowhere.test/.default"}, 400, "invalid_resource", 500011),
        ({"grant_type": "password"}, 400, "unsupported_grant_type", 70003),
    ],
)
async def test_a_wrong_form_gets_its_number(
    tenant: SandboxTenant, client: Client, change: dict[str, str], *, status: int, error: str, number: int
) -> None:
    form = {**GOOD, "client_id": tenant.reader.client_id, "client_secret": tenant.reader.secret, **change}
    reply = await client.form(f"{tenant.authority}/oauth2/v2.0/token", **form)
    assert (reply.status, reply.json["error"], reply.json["error_codes"]) == (status, error, [number])


async def test_another_tenant_is_unknown(tenant: SandboxTenant, client: Client) -> None:
    other = tenant.authority.replace(tenant.tenant_id, "fabrikam.test")
    assert (await client.form(f"{other}/oauth2/v2.0/token", **GOOD)).json["error_codes"] == [90002]
    assert (await client.get(f"{other}/v2.0/.well-known/openid-configuration")).json["error_codes"] == [90002]


def assertion(app: App, endpoint: str, *, thumbprint_of: App | None = None, **claims: Any) -> str:
    certificate = next(iter((thumbprint_of or app).certificates.values()))
    thumbprint = urlsafe_b64encode(certificate.fingerprint(hashes.SHA256())).rstrip(b"=").decode()
    now = int(datetime.now(UTC).timestamp())
    content = {
        "aud": endpoint,
        "iss": app.client_id,
        "sub": app.client_id,
        "jti": "1",
        "nbf": now,
        "exp": now + 600,
        **claims,
    }
    key = parts(app.certificate_file)["private_key"]
    return jwt.encode(content, key, algorithm="PS256", headers={"x5t#S256": thumbprint})


@pytest.mark.parametrize(
    ("claims", "number"),
    [({"aud": "https://nowhere.test"}, 700023), ({"iss": "somebody"}, 50027), ({"exp": 1}, 700024)],
)
async def test_a_wrong_claim_is_refused(
    tenant: SandboxTenant, client: Client, claims: dict[str, Any], number: int
) -> None:
    endpoint = f"{tenant.authority}/oauth2/v2.0/token"
    reply = await client.form(endpoint, **signed(tenant.reader, assertion(tenant.reader, endpoint, **claims)))
    assert reply.json["error_codes"] == [number]


async def test_a_signature_of_another_key_is_refused(tenant: SandboxTenant, client: Client) -> None:
    endpoint = f"{tenant.authority}/oauth2/v2.0/token"
    forged = assertion(tenant.fixer, endpoint, thumbprint_of=tenant.reader, iss=tenant.reader.client_id)
    reply = await client.form(endpoint, **signed(tenant.reader, forged))
    assert reply.json["error_codes"] == [700027]
    reply = await client.form(endpoint, **signed(tenant.reader, "no.jwt"))
    assert reply.json["error_codes"] == [50027]


def signed(app: App, text: str) -> dict[str, str]:
    kind = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
    return {**GOOD, "client_id": app.client_id, "client_assertion_type": kind, "client_assertion": text}


async def test_a_token_is_good_for_its_own_service_and_until_it_is_revoked(
    tenant: SandboxTenant, client: Client
) -> None:
    exchange = {"Authorization": f"Bearer {await client.token(EXCHANGE)}"}
    wrong = await client.traces(**exchange)
    assert (wrong.status, wrong.json["error"]["code"]) == (401, "InvalidAuthenticationToken")
    graph = await client.invoke("Get-AcceptedDomain", Authorization=f"Bearer {await client.token(GRAPH)}")
    assert graph.status == 401 and graph.body == b"" and "Invalid audience" in graph.headers["x-ms-diagnostics"]
    assert (await client.traces()).status == 200
    tenant.revoke_tokens()
    assert (await client.traces()).status == 401
    client.forget()
    assert (await client.traces()).status == 200


async def test_a_token_ends(tenant: SandboxTenant, client: Client) -> None:
    assert (await client.traces()).status == 200
    tenant.faults.ahead = timedelta(hours=2)
    late = await client.traces()
    assert late.status == 401 and "expired" in late.json["error"]["message"]


def test_the_backend_settings_name_every_address_and_one_proof(tenant: SandboxTenant) -> None:
    found = tenant.environment("contoso")
    assert found["MFI_CONTOSO_AUTHORITY"].endswith(f"/{tenant.tenant_id}")
    assert found["MFI_CONTOSO_GRAPH_URL"].endswith("/v1.0")
    assert Path(found["MFI_CONTOSO_FIXER_CERTIFICATE_FILE"]).stat().st_mode & 0o077 == 0
    plain = tenant.environment("contoso", certificate=False, fixer=False)
    assert plain["MFI_CONTOSO_CLIENT_SECRET"] == tenant.reader.secret
    assert not [name for name in plain if "FIXER" in name or "CERTIFICATE" in name]
