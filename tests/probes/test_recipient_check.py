"""What is said to a server about a recipient, and what is never said."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

import pytest

from bot.probes.runner import Prober, ProbeRequest
from storage.records import TlsSetting

ANSWERS = {"EHLO": "250 mail", "MAIL": "250 ok", "RCPT": "250 ok", "RSET": "250 ok", "QUIT": "221 bye"}


async def asked(answers: Mapping[str, str], rcpt: str | None = "a@b.test") -> tuple[dict[str, object], list[str]]:
    """The result's document, and the commands that the server heard. An empty answer closes the connection."""
    heard: list[str] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"220 hi\r\n")
        while line := (await reader.readline()).decode().rstrip():
            heard.append(line)
            answer = answers.get(line.split("@")[0], answers.get(line.split(" ")[0], "500 what"))
            if not answer:
                break
            writer.write(answer.encode() + b"\r\n")
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    request = ProbeRequest(
        hosts=("127.0.0.1",), port=server.sockets[0].getsockname()[1], tls_setting=TlsSetting.NONE, rcpt=rcpt
    )
    result = await Prober(helo_name="probe.test").probe(request)
    server.close()
    await asyncio.sleep(0.01)
    return result.document(), heard


async def test_nothing_is_asked_unless_somebody_wants_to_know() -> None:
    document, heard = await asked(ANSWERS, rcpt=None)
    assert document["rcpt"] is None
    assert heard == ["EHLO probe.test", "QUIT"]


async def test_a_known_recipient_and_a_made_up_one_then_reset_and_quit() -> None:
    document, heard = await asked({**ANSWERS, "RCPT": "550 5.1.1 no", "RCPT TO:<a": "250 2.1.5 ok"})
    assert document["rcpt"] == {
        **{"address": "a@b.test", "ok": True, "cause": "rcpt_ok", "code": "2.1.5", "status": "250 2.1.5 ok"},
        **{"host": "127.0.0.1", "ip": "127.0.0.1"},
    }
    assert [line.split(" ")[0] for line in heard] == ["EHLO", "MAIL", "RCPT", "RCPT", "RSET", "QUIT"]
    assert heard[1:3] == ["MAIL FROM:<>", "RCPT TO:<a@b.test>"]
    assert heard[3].startswith("RCPT TO:<mfi-probe-")
    assert heard[3].endswith("@b.test>")


@pytest.mark.parametrize(
    ("changes", "cause", "code", "verbs"),
    [
        ({"MAIL": "550 5.7.1 no null sender"}, "rcpt_rejected", "5.7.1", "EHLO MAIL RSET QUIT"),
        ({"RCPT": "550 no such user"}, "rcpt_rejected", "550", "EHLO MAIL RCPT RSET QUIT"),
        ({"RCPT": "450 4.7.1 later"}, "rcpt_greylisted", "4.7.1", "EHLO MAIL RCPT RSET QUIT"),
        ({"RSET": ""}, "rcpt_catch_all", "250", "EHLO MAIL RCPT RCPT RSET"),
    ],
)
async def test_a_refusal_is_an_answer_and_no_failure(
    changes: dict[str, str], cause: str, code: str, verbs: str
) -> None:
    document, heard = await asked({**ANSWERS, **changes})
    assert (document["ok"], document["rcpt"]["cause"], document["rcpt"]["code"]) == (True, cause, code)
    assert [line.split(" ")[0] for line in heard] == verbs.split()


@pytest.mark.parametrize(
    ("answer", "code", "cause"),
    [
        ("", "4.4.318", "closed"),
        ("421 4.7.0 busy", "4.4.317", "rate_limited"),
        ("354 go on", "4.4.317", "not_smtp"),
    ],
)
async def test_a_session_that_breaks_at_the_recipient_would_break_for_mail_too(
    answer: str, code: str, cause: str
) -> None:
    document, _ = await asked({**ANSWERS, "RCPT": answer})
    assert (document["code"], document["cause"], document["stage"]) == (code, cause, "done")
    assert (document["rcpt"]["ok"], document["rcpt"]["cause"]) == (False, cause)


async def test_a_recipient_is_not_asked_for_where_mail_would_not_get_through(lab) -> None:
    result = await lab.probe_host("cert-expired", tls_setting="certificate", rcpt="a@b.test")
    assert (result.code, result.rcpt) == ("4.7.320", None)


async def test_the_most_preferred_good_server_answers_for_all(lab) -> None:
    hosts = tuple(f"{n}.mail.test" for n in ("rcpt-closes", "rcpt-unknown", "good"))
    result = await lab.prober.probe(lab.request(hosts=hosts, rcpt="a@b.test"))
    assert (result.rcpt.host, result.rcpt.cause) == ("rcpt-unknown.mail.test", "rcpt_rejected")
    assert not lab.servers.accepted


@pytest.mark.parametrize("rcpt", ["a@b.test\r\nDATA", "nobody", "a@B.test", ""])
def test_what_is_no_plain_address_never_becomes_a_request(rcpt: str) -> None:
    with pytest.raises(ValueError, match="not an address"):
        ProbeRequest(hosts=("h.test",), rcpt=rcpt)
