"""`mfi probe --rcpt`: how often, of whom, and what stays in the database."""

from __future__ import annotations

import json
import os
import socketserver
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from bot.cli import run

CONNECTORS = [
    {
        "Name": name,
        "Guid": f"d0d71cb9-0000-4000-8000-00000000000{number}",
        "Enabled": True,
        "ConnectorType": kind,
        "UseMXRecord": False,
        "SmartHosts": [host],
        "RecipientDomains": [domain],
        "TlsSettings": "EncryptionOnly" if kind == "Partner" else None,
    }
    for number, name, kind, host, domain in (
        (1, "To on-prem", "OnPremises", "127.0.0.1", "contoso.test"),
        (2, "To partner", "Partner", "127.0.0.2", "fabrikam.test"),
    )
]


class Post(socketserver.StreamRequestHandler):
    """A mail server that knows one recipient."""

    def handle(self) -> None:
        self.wfile.write(b"220 mail ESMTP\r\n")
        for line in self.rfile:
            self.server.heard.append(line.decode().strip())
            unknown = line.startswith(b"RCPT") and b"<known@" not in line
            self.wfile.write(b"550 5.1.1 unknown\r\n" if unknown else b"250 2.1.5 fine\r\n")


@pytest.fixture
def heard(tmp_path, monkeypatch) -> Iterator[list[str]]:
    """What the server of both connectors hears, in an empty directory."""
    monkeypatch.chdir(tmp_path)
    for name in [n for n in os.environ if n.startswith(("MFI_", "SLACK_"))]:
        monkeypatch.delenv(name)
    with socketserver.ThreadingTCPServer(("0.0.0.0", 0), Post) as server:
        server.heard = []
        serving = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        serving.start()
        monkeypatch.setenv("MFI_SMTP_PORT", str(server.server_address[1]))
        monkeypatch.setenv("MFI_PROBE_ALLOW", "127.0.0.0/8")
        yield server.heard
        server.shutdown()
        serving.join()


@pytest.fixture
def known(heard: list[str]) -> list[str]:
    """The same, and a database that knows both connectors."""
    Path("connectors.json").write_text(json.dumps(CONNECTORS))
    assert run(["import", "connectors", "connectors.json"]) == 0
    return heard


def asked(heard: list[str]) -> list[str]:
    return [line for line in heard if line.startswith("RCPT TO:<") and "mfi-probe-" not in line]


def test_our_own_connector_is_asked_and_the_recipient_is_not_stored(known, capsys):
    capsys.readouterr()
    assert run(["probe", "to on-prem", "--rcpt", "known@contoso.test", "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert (document["connector"], document["rcpt"]["cause"]) == ("To on-prem", "rcpt_ok")
    assert asked(known) == ["RCPT TO:<known@contoso.test>"]
    assert all(b"known@contoso.test" not in path.read_bytes() for path in Path().glob("mfi.db*"))


@pytest.mark.parametrize("words", [["to partner"], ["--host", "127.0.0.2"], ["--mx", "fabrikam.test"]])
def test_a_partner_is_asked_only_on_purpose(known, capsys, words):
    capsys.readouterr()
    assert run(["probe", *words, "--rcpt", "known@fabrikam.test"]) == 2
    out, err = capsys.readouterr()
    assert (out, err.count("\n")) == ("", 1)
    assert "add --partner-ok if the partner agreed" in err
    assert known == []


def test_a_partner_who_agreed_is_asked_where_mail_gets_through(known, capsys):
    capsys.readouterr()
    assert run(["probe", "to partner", "--rcpt", "other@fabrikam.test", "--partner-ok"]) == 1
    assert asked(known) == []
    assert run(["probe", "--host", "127.0.0.2", "--rcpt", "other@fabrikam.test", "--partner-ok"]) == 0
    assert "the recipient is refused: 550 5.1.1 unknown" in capsys.readouterr().out
    assert asked(known) == ["RCPT TO:<other@fabrikam.test>"]


def test_the_sixth_run_within_a_minute_has_to_wait(known, capsys):
    words = ["probe", "--host", "127.0.0.1", "--rcpt", "known@contoso.test", "--json"]
    assert [run(words) for _ in range(6)] == [0] * 5 + [2]
    assert "again in " in capsys.readouterr().err
    assert run(["probe", "to on-prem", "--rcpt", "known@contoso.test"]) == 2
    assert len(asked(known)) == 5


def test_without_a_database_none_is_made(heard):
    assert run(["probe", "--host", "127.0.0.1", "--rcpt", "known@contoso.test"]) == 0
    assert not list(Path().glob("mfi.db*"))
    assert len(asked(heard)) == 1


def test_all_connectors_are_never_asked_at_once(known, capsys):
    assert run(["probe", "all", "--rcpt", "known@contoso.test"]) == 2
    assert "name it instead" in capsys.readouterr().err
    assert known == []
