"""A handshake that fails still shows the server's certificate, if that had come: real servers, damaged on the way."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.probes import flight
from bot.probes.runner import Prober, ProbeRequest
from bot.sandbox.certificates import CertificateShop, Flaw, only, wanting_client_certificate
from storage.records import TlsSetting

Damage = Callable[[bytes], bytes]
HOST = "127.0.0.1"
UNFINISHED = "the handshake did not finish"


def records(data: bytes) -> list[bytes]:
    """The TLS records in these bytes."""
    found = []
    while data:
        end = 5 + int.from_bytes(data[3:5])
        found.append(data[:end])
        data = data[end:]
    return found


def last_record(data: bytes) -> bytes:
    """The end of the last record is not what was signed or sealed."""
    return data[:-1] + bytes([data[-1] ^ 1])


def key_exchange(data: bytes) -> bytes:
    """A byte of the server's signature of its key exchange (TLS 1.2, the message before the last) is another."""
    *first, exchange, done = records(data)
    return b"".join(first) + last_record(exchange) + done


def old_version(data: bytes) -> bytes:
    """The server chooses TLS 1.0, as one without any newer version does."""
    return data[:9] + b"\x03\x01" + data[11:]


async def probed(
    context: ssl.SSLContext,
    damage: Damage = bytes,
    *,
    setting: str = "encryption",
    pieces: int = 65536,
    timeout: float = 5,
) -> dict[str, object]:
    """The target's document, after a probe of a server whose first flight is damaged."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        session = context.wrap_bio(incoming, outgoing, server_side=True)
        for said in (b"220 mail ESMTP\r\n", b"250-mail\r\n250 STARTTLS\r\n", b"220 go\r\n"):
            writer.write(said)
            if not said.endswith(b"go\r\n"):
                await reader.readline()
        spoil, over = damage, False
        while not over and (data := await reader.read(4096)):
            incoming.write(data)
            try:
                session.do_handshake()
                over = True
            except ssl.SSLWantReadError:
                pass
            except ssl.SSLError:
                over = True
            sent, spoil = spoil(outgoing.read()) if outgoing.pending else b"", bytes
            for at in range(0, len(sent), pieces):
                writer.write(sent[at : at + pieces])
                await writer.drain()
                await asyncio.sleep(0)
        writer.close()

    async with await asyncio.start_server(serve, HOST, 0) as server:
        port = server.sockets[0].getsockname()[1]
        request = ProbeRequest(hosts=(HOST,), port=port, tls_setting=TlsSetting(setting), timeout=timeout)
        result = await Prober(helo_name="probe.test").probe(request)
    await asyncio.sleep(0.01)
    (target,) = result.document()["targets"]
    return target


@pytest.fixture
def shop(tmp_path: Path) -> CertificateShop:
    return CertificateShop(tmp_path, datetime.now(UTC))


def tls12(shop: CertificateShop, flaw: Flaw = Flaw.NONE) -> ssl.SSLContext:
    return only(shop.context("mail.test", flaw), ssl.TLSVersion.TLSv1_2)


def tls13(shop: CertificateShop, flaw: Flaw = Flaw.NONE) -> ssl.SSLContext:
    return only(shop.context("mail.test", flaw), ssl.TLSVersion.TLSv1_3)


@pytest.mark.parametrize(
    ("damaged", "cause", "version"),
    [
        ((tls12, key_exchange), "tls_failed", "TLSv1.2"),
        ((tls13, last_record), "tls_failed", "TLSv1.3"),
        ((tls12, old_version), "tls_version", "TLSv1"),
    ],
)
@pytest.mark.parametrize("pieces", [65536, 100])
async def test_the_certificate_shows_though_the_handshake_fails_after_it(
    shop, damaged, cause: str, version: str, pieces: int
) -> None:
    make, damage = damaged
    target = await probed(make(shop), damage, pieces=pieces)
    assert (target["code"], target["cause"], target["stage"]) == ("4.4.317", cause, "tls")
    if version == "TLSv1" and pieces < 1000:
        assert target["tls"] is None  # refused at the hello: nobody waits for what would have come
        return
    tls = target["tls"]
    assert (tls["version"], tls["subject"], tls["san"]) == (version, "CN=mail.test", ["mail.test"])
    assert (tls["issuer"], tls["days_left"]) == ("CN=Sandbox Intermediate", 824)
    assert tls["cipher"] or version == "TLSv1"
    assert tls["verified"] is False
    assert tls["verify_error"].endswith(UNFINISHED)


async def test_the_certificates_own_faults_are_named_beside_the_one_that_ended_the_handshake(shop) -> None:
    target = await probed(tls12(shop, Flaw.EXPIRED), key_exchange, setting="certificate")
    assert (target["code"], target["cause"]) == ("4.4.317", "tls_failed")
    assert target["causes"][:2] == ["tls_failed", "cert_expired"]
    assert target["tls"]["verify_error"].startswith("expired on ")
    target = await probed(tls12(shop, Flaw.EXPIRED), key_exchange)
    assert target["causes"] == ["tls_failed"]
    assert "cert_expired" in target["warnings"]


@pytest.mark.parametrize("make", [tls12, tls13])
async def test_a_server_that_wants_a_client_certificate_still_shows_its_own(shop, make) -> None:
    context = wanting_client_certificate(make(shop), shop.ca_file)
    target = await probed(context)
    assert target["cause"] == "client_certificate_wanted"
    assert target["tls"]["subject"] == "CN=mail.test"
    assert target["tls"]["version"] == ("TLSv1.2" if make is tls12 else "TLSv1.3")


async def test_an_encrypted_certificate_that_never_became_readable_is_not_shown(shop) -> None:
    target = await probed(tls13(shop), lambda data: records(data)[0], timeout=0.4)
    assert (target["code"], target["cause"]) == ("4.4.318", "stalled")
    assert target["tls"] is None


def message(kind: int, body: bytes) -> bytes:
    return bytes([kind]) + len(body).to_bytes(3) + body


def record(data: bytes) -> bytes:
    return b"\x16\x03\x01" + len(data).to_bytes(2) + data


CERTIFICATES = message(11, b"\0\0\x0b" + b"\0\0\3abc" + b"\0\0\2de")
HELLO = message(2, b"\x03\x02" + b"r" * 32 + b"\x02id" + b"\x00\x2f\x00")


@pytest.mark.parametrize(
    ("data", "seen"),
    [
        (record(HELLO + CERTIFICATES), flight.Flight("TLSv1.1", 0x2F, (b"abc", b"de"))),
        (
            record(HELLO) + record(CERTIFICATES[:9]) + record(CERTIFICATES[9:]),
            flight.Flight("TLSv1.1", 0x2F, (b"abc", b"de")),
        ),
        (record(HELLO) + b"\x17\x03\x03\x00\x02ab", flight.Flight("TLSv1.1", 0x2F)),
        (record(HELLO + CERTIFICATES[:-1]), flight.Flight("TLSv1.1", 0x2F)),
        (record(message(11, b"\0\0\x09" + b"\0\0\3abc" + b"\0\0\2d")), flight.Flight(chain=(b"abc",))),
        (record(message(2, b"\x03\x03" + b"r" * 32 + b"\x00\x13\x01")), flight.Flight("TLSv1.3", 0x1301)),
        (record(message(2, b"\x03\x03")), flight.Flight()),
        (b"220 plain text\r\n", flight.Flight()),
        (b"", flight.Flight()),
    ],
)
def test_a_flight_in_clear_text_is_read(data: bytes, seen: flight.Flight) -> None:
    assert flight.read(data) == seen


@given(st.binary(max_size=300), st.booleans())
def test_no_flight_makes_the_reader_stumble(data: bytes, framed: bool) -> None:
    seen = flight.read(record(data) if framed else data)
    assert sum(map(len, seen.chain)) <= len(data)
