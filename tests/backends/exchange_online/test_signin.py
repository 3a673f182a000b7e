"""Sign-in as an application: what works, and the exact fix for each way in which it doesn't."""

from __future__ import annotations

import logging
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, pkcs12

from bot.backends.exchange_online import ExchangeOnlineBackend
from bot.backends.exchange_online.credentials import UnusableCertificate, certificate_ends, credential
from bot.backends.exchange_online.options import Registration
from bot.backends.exchange_online.signin import SignInFailed
from bot.backends.exchange_online.signin_errors import explanation
from bot.backends.ports import Unreachable
from bot.sandbox.exchange_online import Kind, SandboxTenant, TenantFault, write_certificate
from tests.backends.exchange_online.bench import Waits
from tests.backends.exchange_online.conftest import Make

NOW = datetime(2026, 11, 24, 8, 0, tzinfo=UTC)


async def test_a_certificate_signs_in(make: Make) -> None:
    snapshot = await make(certificate=True).snapshot()
    assert len(snapshot.connectors or ()) == 2


async def test_one_token_per_service_serves_all_reads(backend: ExchangeOnlineBackend, tenant: SandboxTenant) -> None:
    await backend.snapshot()
    await backend.connector("d0d71cb9-0000-4000-8000-000000000001")
    assert tenant.faults.seen[Kind.SIGN_IN] == 2
    assert tenant.faults.seen[Kind.OPENID] == 1


@pytest.mark.parametrize(
    ("options", "number", "says", "fix"),
    [
        ({"CLIENT_SECRET": "guessed-value"}, "7000215", "secret is wrong", "the secret's value, not its id"),
        ({"CLIENT_ID": "00000000-0000-4000-8000-00000000000f"}, "700016", "no such application", "CLIENT_ID"),
    ],
)
async def test_wrong_settings_are_named(options: dict[str, str], number: str, says: str, fix: str, make: Make) -> None:
    with pytest.raises(SignInFailed, match=f"the reader can't sign in: .*{says}") as caught:
        await make(**options).snapshot()
    assert caught.value.number == number
    assert fix in caught.value.fix
    assert "guessed-value" not in str(caught.value)


async def test_a_wrong_tenant_is_named(make: Make, tenant: SandboxTenant) -> None:
    wrong = tenant.authority.replace(tenant.tenant_id, "00000000-0000-4000-8000-000000000000")
    with pytest.raises(SignInFailed, match=r"no such tenant \(AADSTS90002\); put the directory's id into TENANT"):
        await make(AUTHORITY=wrong).snapshot()


async def test_an_expired_secret_is_named_with_the_way_to_a_new_one(make: Make, tenant: SandboxTenant) -> None:
    tenant.faults.set(TenantFault.CREDENTIAL_EXPIRED, on=Kind.SIGN_IN)
    with pytest.raises(SignInFailed, match=r"expired \(AADSTS7000222\).*Certificates & secrets: make a new one"):
        await make().snapshot()
    tenant.faults.clear()
    assert (await make().snapshot()).messages is not None


async def test_a_certificate_that_was_just_exchanged_is_waited_for(
    make: Make, tenant: SandboxTenant, waits: Waits
) -> None:
    tenant.faults.set(TenantFault.CERTIFICATE_UNKNOWN, on=Kind.SIGN_IN, times=2)
    assert (await make(certificate=True).snapshot()).messages is not None
    assert waits.long_ones == [10.0, 10.0]


async def test_a_certificate_that_stays_unknown_is_named_after_three_tries(
    make: Make, tenant: SandboxTenant, waits: Waits
) -> None:
    tenant.faults.set(TenantFault.CERTIFICATE_UNKNOWN, on=Kind.SIGN_IN)
    with pytest.raises(SignInFailed, match=r"AADSTS700027.*upload the certificate of CERTIFICATE_FILE"):
        await make(certificate=True).snapshot()
    assert waits.long_ones == [10.0, 10.0]


async def test_a_new_file_with_a_new_certificate_is_taken_up(make: Make, tenant: SandboxTenant) -> None:
    backend = make(certificate=True)
    tenant.reader.certificates.clear()
    with pytest.raises(SignInFailed):
        await backend.snapshot()
    fresh = write_certificate(tenant.reader.certificate_file, "reader", datetime.now(UTC), lasts=timedelta(days=9))
    tenant.reader.register(fresh)
    assert (await backend.snapshot()).messages is not None


async def test_a_wrong_clock_is_named(make: Make, tenant: SandboxTenant) -> None:
    tenant.faults.ahead = timedelta(minutes=20)
    with pytest.raises(
        SignInFailed, match=r"clock is wrong \(AADSTS700024\); set it .* 1[12]\d\d s behind Microsoft's"
    ):
        await make(certificate=True).snapshot()


@pytest.mark.parametrize("fault", [TenantFault.SERVER_ERROR, TenantFault.NOT_JSON, TenantFault.RESET])
async def test_a_sign_in_service_in_trouble_is_unreachable_not_a_wrong_secret(
    fault: TenantFault, make: Make, tenant: SandboxTenant
) -> None:
    for kind in (Kind.SIGN_IN, Kind.OPENID):
        tenant.faults.set(fault, on=kind)
        with pytest.raises(Unreachable):
            await make().snapshot()
        tenant.faults.clear()
    assert (await make().snapshot()).messages is not None


async def test_a_refusal_in_another_shape_is_a_failed_sign_in(make: Make, tenant: SandboxTenant) -> None:
    tenant.faults.set(TenantFault.ODD_REFUSAL, on=Kind.SIGN_IN)
    with pytest.raises(SignInFailed, match="gave no reason"):
        await make().snapshot()


async def test_no_secret_reaches_a_log_or_an_error(
    make: Make, tenant: SandboxTenant, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    await make().snapshot()
    tenant.faults.set(TenantFault.CREDENTIAL_EXPIRED, on=Kind.SIGN_IN)
    with pytest.raises(SignInFailed) as caught:
        await make().snapshot()
    shown = caplog.text + str(caught.value) + repr(caught.value)
    assert tenant.reader.secret not in shown
    assert "Bearer ey" not in shown and "client_assertion=ey" not in shown


# --- certificate files ---------------------------------------------------------------------------------------------


def registration(path: Path, password: str | None = None) -> Registration:
    return Registration(client_id="id", certificate=path, password=password)


def pair(tmp_path: Path) -> tuple[rsa.RSAPrivateKey, x509.Certificate]:
    certificate = write_certificate(tmp_path / "made.pem", "reader", NOW)
    key = serialization.load_pem_private_key((tmp_path / "made.pem").read_bytes(), None)
    assert isinstance(key, rsa.RSAPrivateKey)
    return key, certificate


def test_pem_in_any_order_and_pfx_give_the_same_credential(tmp_path: Path) -> None:
    key, certificate = pair(tmp_path)
    plain = credential(registration(tmp_path / "made.pem"))
    private, _, public = (tmp_path / "made.pem").read_bytes().partition(b"-----BEGIN CERTIFICATE-----")
    (tmp_path / "turned.pem").write_bytes(b"-----BEGIN CERTIFICATE-----" + public + private)
    pfx = pkcs12.serialize_key_and_certificates(b"r", key, certificate, None, BestAvailableEncryption(b"pass"))
    (tmp_path / "made.pfx").write_bytes(pfx)
    assert credential(registration(tmp_path / "turned.pem")) == plain
    assert credential(registration(tmp_path / "made.pfx", "pass")) == plain
    assert certificate_ends(registration(tmp_path / "made.pem")) == NOW + timedelta(days=365)


def test_a_secret_has_no_file() -> None:
    assert credential(Registration(client_id="id", secret="s")) == "s"
    assert certificate_ends(Registration(client_id="id", secret="s")) is None


def test_files_that_cannot_serve_say_why(tmp_path: Path) -> None:
    key, certificate = pair(tmp_path)
    pem = serialization.Encoding.PEM
    locked = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, BestAvailableEncryption(b"pass"))
    curve = ec.generate_private_key(ec.SECP256R1())
    open_curve = curve.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    pfx = pkcs12.serialize_key_and_certificates(b"r", key, certificate, None, BestAvailableEncryption(b"pass"))
    for content, password, problem in (
        (b"nonsense", None, "neither PEM nor PFX"),
        (pfx, "wrong", "password is wrong"),
        (certificate.public_bytes(pem), None, "no private key"),
        (locked, "wrong", "no private key that opens"),
        (locked, None, "no private key that opens"),
        (locked, "pass", "not the certificate that belongs"),
        (open_curve, None, "no RSA key"),
    ):
        (tmp_path / "file").write_bytes(content)
        with pytest.raises(UnusableCertificate, match=problem):
            credential(registration(tmp_path / "file", password))
    with pytest.raises(UnusableCertificate, match="can't be read"):
        credential(replace(registration(tmp_path / "file"), certificate=tmp_path))


async def test_an_unusable_certificate_is_a_failed_sign_in_with_its_setting(make: Make, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"nonsense")
    with pytest.raises(SignInFailed, match=r"neither PEM nor PFX.*CERTIFICATE_FILE"):
        await make(CERTIFICATE_FILE=str(tmp_path / "file")).snapshot()


@pytest.mark.parametrize(
    ("number", "says", "fix"),
    [
        ("7000229", "no application made from it", "grant admin consent"),
        ("53003", "Conditional Access", "names the policy"),
        ("500011", "does not have the service", "compare {tenant} and CLOUD"),
        ("900382", "different clouds", "set CLOUD"),
        ("1000502", "not valid yet or has expired", "name it in {file}"),
        ("7000277", "revoked", "name it in {file}"),
    ],
)
def test_refusals_that_no_setting_of_the_stand_in_brings_about_have_their_fix_too(
    number: str, says: str, fix: str
) -> None:
    found, words, template = explanation(["9999", number], certificate=True)
    assert found == number
    assert says in words and fix in template
    assert template.format(id="i", tenant="t", client="c", secret="s", file="f", clock="k")
