"""How servers may say the same thing in other ways, or the wrong thing: real sockets, one answer changed at a time."""

from __future__ import annotations

import asyncio

import pytest

from bot.core.probe_result import ProbeResult
from bot.probes.runner import Prober, ProbeRequest
from storage.records import TlsSetting

OFFER = b"250-mail.test\r\n250-SIZE 1000\r\n250 STARTTLS\r\n"
ANSWERS = {
    b"EHLO": OFFER,
    b"HELO": b"250 mail\r\n",
    b"STARTTLS": b"454 4.7.0 TLS not available\r\n",
    b"QUIT": b"221 bye\r\n",
}


async def met(
    *, banner: bytes = b"220 mail.test ESMTP\r\n", pieces: int = 4096, setting: str = "opportunistic", **said: bytes
) -> ProbeResult:
    """A probe of a server with this banner and these answers, sent in pieces of so many bytes.

    What it says to STARTTLS comes instead of a handshake when `tls` is given: bytes in answer to the ClientHello.
    """
    answers = {**ANSWERS, **{verb.upper().encode(): answer for verb, answer in said.items() if verb != "tls"}}

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        async def say(data: bytes) -> None:
            for at in range(0, len(data), pieces):
                writer.write(data[at : at + pieces])
                await writer.drain()
                await asyncio.sleep(0)

        await say(banner)
        while line := await reader.readline():
            verb = line.split()[0].upper()
            await say(answers.get(verb, b"500 what\r\n"))
            if verb == b"QUIT":
                break
            if verb == b"STARTTLS" and "tls" in said:
                await reader.read(4096)
                await say(said["tls"])
                break
        writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        request = ProbeRequest(hosts=("127.0.0.1",), port=port, tls_setting=TlsSetting(setting), timeout=3)
        result = await Prober(helo_name="probe.test").probe(request)
    await asyncio.sleep(0.01)
    return result


@pytest.mark.parametrize(
    "banner",
    [
        b"220\r\n",
        b"220-\r\n220 \r\n",
        b"220-mail\r\n220-second line\r\n220 third\r\n",
        b"220 mail\n",
        "220 mäil ✓\r\n".encode(),
        b"220 " + b"x" * 900 + b"\r\n",
    ],
)
@pytest.mark.parametrize("pieces", [1, 4096])
async def test_a_greeting_is_one_in_every_dialect(banner: bytes, pieces: int) -> None:
    result = await met(banner=banner, pieces=pieces)
    assert (result.ok, result.warnings) == (True, ("starttls_rejected",))


@pytest.mark.parametrize(
    "ehlo",
    [
        b"250-mail\r\n250 StartTls\r\n",
        b"250-mail\r\n250-starttls\r\n250\r\n",
        b"250-mail\r\n250-  STARTTLS \r\n250 X\r\n",
        b"250-mail\r\n250 STARTTLS\t\r\n",
        b"250-mail\r\n250 STARTTLS REQUIRED\r\n",
        OFFER.replace(b"\r\n", b"\r\r\n"),
    ],
)
@pytest.mark.parametrize("pieces", [1, 4096])
async def test_starttls_is_understood_in_every_dialect(ehlo: bytes, pieces: int) -> None:
    result = await met(ehlo=ehlo, pieces=pieces, setting="encryption")
    assert (result.code, result.cause, result.stage) == ("4.4.317", "starttls_rejected", "starttls")


@pytest.mark.parametrize(
    "ehlo", [b"250\r\n", b"250 mail STARTTLS\r\n", b"250 STARTTLS\r\n", b"250-mail\r\n250 XXXXXXXA\r\n"]
)
async def test_what_only_looks_like_starttls_is_none(ehlo: bytes) -> None:
    result = await met(ehlo=ehlo, setting="encryption")
    assert (result.code, result.cause) == ("4.4.317", "no_starttls")


@pytest.mark.parametrize(
    ("banner", "cause"),
    [
        (b"554-no\r\n554 5.7.1 service\r\n", "smtp_error"),
        (b"421-too\r\n421 busy\r\n", "rate_limited"),
        (b"220-hello\r\n421 changed my mind\r\n", "rate_limited"),
        (b"2200 four digits\r\n", "not_smtp"),
        (b"354 go ahead\r\n", "not_smtp"),
        (b"* OK IMAP4rev1\r\n", "not_smtp"),
        (b"<html>\r\n", "not_smtp"),
        (b"\x15\x03\x01\x00\x02\x02\x0a", "not_smtp"),
        (b"\xff\xfd\x18\xff\xfd", "not_smtp"),
    ],
)
async def test_what_is_no_greeting_is_told_apart(banner: bytes, cause: str) -> None:
    result = await met(banner=banner)
    assert (result.code, result.cause, result.stage) == ("4.4.317", cause, "banner")


@pytest.mark.parametrize(
    ("answer", "cause", "stage"),
    [
        (b"250 not yet\r\n", "starttls_rejected", "starttls"),
        (b"554-5.7.3 no\r\n554 5.7.3 never\r\n", "starttls_rejected", "starttls"),
        (b"what?\r\n", "not_smtp", "starttls"),
        (b"220 go\r\n\r\n", "starttls_injection", "starttls"),
        (b"220 go\n250 injected\n", "starttls_injection", "starttls"),
    ],
)
async def test_what_is_no_answer_to_starttls_is_told_apart(answer: bytes, cause: str, stage: str) -> None:
    strict = await met(starttls=answer, setting="encryption")
    assert (strict.code, strict.cause, strict.stage) == ("4.4.317", cause, stage)
    lax = await met(starttls=answer)
    assert (lax.ok, lax.warnings) == (True, (cause,))


def alert(description: int, level: int = 2) -> bytes:
    return bytes([0x15, 3, 3, 0, 2, level, description])


@pytest.mark.parametrize(
    ("said", "code", "cause"),
    [
        *((alert(n), "4.4.317", "tls_alert") for n in (10, 40, 42, 47, 48, 71, 80, 90, 109, 110, 112)),
        (alert(70), "4.4.317", "tls_version"),
        (alert(116), "4.4.317", "client_certificate_wanted"),
        (alert(0, level=1), "4.4.318", "closed"),
        (b"", "4.4.318", "closed"),
        (b"500 5.5.1 what?\r\n", "4.4.317", "tls_failed"),
    ],
)
async def test_each_way_to_answer_a_client_hello_has_its_cause(said: bytes, code: str, cause: str) -> None:
    result = await met(starttls=b"220 go\r\n", tls=said, setting="encryption")
    assert (result.code, result.cause, result.stage) == (code, cause, "tls")
