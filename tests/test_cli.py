"""The command line: one line for a fault, the documented exit codes, one JSON document where it was asked for."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from bot.cli import cli, run
from tests.readme import commands

CONNECTORS = [
    {
        "Name": "To on-prem",
        "Guid": "d0d71cb9-0000-4000-8000-000000000001",
        "Enabled": True,
        "ConnectorType": "OnPremises",
        "UseMXRecord": False,
        "SmartHosts": ["127.0.0.1"],
        "RecipientDomains": ["onprem.contoso.test"],
        "TlsSettings": None,
    },
    {
        "Name": "To partner",
        "Guid": "d0d71cb9-0000-4000-8000-000000000002",
        "Enabled": True,
        "ConnectorType": "Partner",
        "UseMXRecord": False,
        "SmartHosts": ["127.0.0.2"],
        "RecipientDomains": ["fabrikam.test"],
        "TlsSettings": "EncryptionOnly",
    },
]


@pytest.fixture(autouse=True)
def alone(tmp_path, monkeypatch):
    """An empty directory, and no setting from outside."""
    monkeypatch.chdir(tmp_path)
    for name in [n for n in os.environ if n.startswith(("MFI_", "SLACK_"))]:
        monkeypatch.delenv(name)


@pytest.fixture
def imported(tmp_path):
    """A database that knows two connectors."""
    Path("connectors.json").write_text(json.dumps(CONNECTORS))
    assert run(["import", "connectors", "connectors.json"]) == 0


def closed_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def test_an_unknown_command_names_the_nearest(capsys):
    assert run(["explian"]) == 2
    assert "Did you mean “mfi explain”?" in capsys.readouterr().err


def test_no_command_shows_the_help_and_is_bad_usage(capsys):
    assert run([]) == 2
    assert "Start with: mfi demo" in capsys.readouterr().out


@pytest.mark.parametrize("command", sorted(cli.commands))
def test_every_command_has_help_and_a_line_in_the_readme(command, capsys):
    assert run([command, "--help"]) == 0
    assert "Usage: mfi" in capsys.readouterr().out
    assert f"`mfi {command}`" in commands()


@pytest.mark.parametrize(
    ("argv", "says"),
    [
        (["explain", "--json", " "], "nothing to explain"),
        (["probe"], "name one"),
        (["probe", "x", "--host", "y"], "name one"),
        (["probe", "--host", "h", "--tls", "maybe"], "maybe"),
        (["probe", "--host", "h", "--timeout", "0"], "0"),
        (["probe", "--host", "h", "--nameserver", "dns.example"], "--nameserver wants IP addresses"),
        (["probe", "--host", "http://mail.contoso.com/"], "--host wants a host name or an IP address"),
        (["probe", "--host", ""], "--host wants a host name or an IP address"),
        (["probe", "nobody"], "no connector 'nobody'"),
        (["probe", "all"], "there are no connectors yet"),
        (["import"], "connectors, domains, messages, recipients"),
        (["import", "connectors", "no-such-file"], "no-such-file can't be read"),
        (["import", "people", "x"], "people"),
        (["sync"], "MFI_BACKENDS is not set"),
        (["demo", "--port", "99999999"], "99999999"),
    ],
)
def test_bad_usage_is_one_line_and_exit_2(argv, says, capsys):
    assert run(argv) == 2
    captured = capsys.readouterr()
    assert says in captured.err
    assert captured.err.startswith("mfi: ")
    assert captured.err.count("\n") == 1
    assert "Traceback" not in captured.err


def test_run_without_tokens_says_how_to_get_them_and_that_the_demo_needs_none(capsys):
    assert run(["run"]) == 2
    said = capsys.readouterr().err
    assert all(name in said for name in ("SLACK_BOT_TOKEN", "SLACK_APP_TOKEN", "MFI_ALERT_CHANNEL", "`mfi demo`"))


def test_bad_settings_are_all_reported_and_no_secret_is_printed(monkeypatch, capsys):
    monkeypatch.setenv("SLACK_BOT_TOKEN", "hunter2")
    monkeypatch.setenv("MFI_SMTP_PORT", "many")
    assert run(["connectors"]) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 2
    assert "hunter2" not in said


def test_explain_prints_one_json_document(capsys):
    assert run(["explain", "450", "4.4.316", "Connection refused", "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["code"] == "4.4.316"
    assert document["fix_now"] is True


def test_explain_reads_a_whole_text_from_stdin(monkeypatch, capsys):
    text = b"[{LED=450 4.4.312 DNS query failed};{MSG=};{FQDN=mail.contoso.test};{IP=};{LRT=}]"
    read_end, write_end = os.pipe()
    os.write(write_end, text)
    os.close(write_end)
    with os.fdopen(read_end) as stdin:
        monkeypatch.setattr(sys, "stdin", stdin)
        assert run(["explain", "-"]) == 0
    assert "DNS query failed" in capsys.readouterr().out


def test_explain_takes_text_that_begins_with_a_dash(capsys):
    assert run(["explain", "--450", "4.4.317", "Cannot connect"]) == 0
    assert "4.4.317" in capsys.readouterr().out


def test_a_refused_host_fails_with_its_code_and_exit_1(capsys):
    assert run(["probe", "--host", "127.0.0.1", "--port", str(closed_port()), "--timeout", "3", "--json"]) == 1
    document = json.loads(capsys.readouterr().out)
    assert (document["ok"], document["code"], document["cause"]) == (False, "4.4.316", "refused")


def test_importing_again_changes_nothing(imported, capsys):
    capsys.readouterr()
    assert run(["import", "connectors", "connectors.json", "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert (document["added"], document["changed"], document["unchanged"]) == (0, 0, 2)


def test_a_known_connector_is_probed_and_the_probe_is_stored(imported, monkeypatch, capsys):
    monkeypatch.setenv("MFI_PROBE_ALLOW", "127.0.0.0/8")
    monkeypatch.setenv("MFI_SMTP_PORT", str(closed_port()))
    capsys.readouterr()
    assert run(["probe", "to on", "--json"]) == 1
    document = json.loads(capsys.readouterr().out)
    assert (document["connector"], document["code"]) == ("To on-prem", "4.4.316")
    run(["connectors", "--json"])
    by_name = {row["name"]: row for row in json.loads(capsys.readouterr().out)["connectors"]}
    assert by_name["To on-prem"]["ok"] is False
    assert by_name["To partner"]["ok"] is None


def test_all_connectors_give_one_document(imported, monkeypatch, capsys):
    monkeypatch.setenv("MFI_PROBE_ALLOW", "127.0.0.0/8")
    monkeypatch.setenv("MFI_SMTP_PORT", str(closed_port()))
    capsys.readouterr()
    assert run(["probe", "all", "--json"]) == 1
    assert {c["connector"] for c in json.loads(capsys.readouterr().out)["connectors"]} == {"To on-prem", "To partner"}


def test_an_ambiguous_connector_lists_the_candidates(imported, capsys):
    assert run(["probe", "to"]) == 2
    assert "To on-prem, To partner" in capsys.readouterr().err


def test_a_loopback_smart_host_of_a_stored_connector_is_not_dialled_unless_allowed(imported, capsys):
    capsys.readouterr()
    assert run(["probe", "to on", "--json"]) == 1
    assert "MFI_PROBE_ALLOW" in capsys.readouterr().out


@pytest.mark.parametrize("name", ["connectors", "queue", "incidents", "outbox", "audit"])
def test_every_listing_works_for_people_and_machines(name, imported, capsys):
    capsys.readouterr()
    assert run([name]) == 0
    assert capsys.readouterr().out.strip()
    assert run([name, "--json"]) == 0
    assert isinstance(json.loads(capsys.readouterr().out)[name], list)


def test_a_corrupt_database_is_refused_with_exit_3_and_kept(capsys):
    Path("mfi.db").write_bytes(b"this is not a database" * 100)
    assert run(["connectors"]) == 3
    assert Path("mfi.db").read_bytes().startswith(b"this is not")
    assert capsys.readouterr().err.count("\n") == 1


def test_the_installed_command_prints_its_version():
    told = subprocess.run([sys.executable, "-m", "bot", "--version"], capture_output=True, text=True, check=True)
    assert told.stdout.startswith("mfi, version")


def test_the_doctor_lists_what_is_wrong_and_fails(monkeypatch, capsys):
    monkeypatch.setenv("MFI_EGRESS_CHECK", "127.0.0.1:9")
    monkeypatch.setenv("MFI_NAMESERVERS", "127.0.0.1:9")
    assert run(["doctor"]) == 1
    assert "to fix." in capsys.readouterr().out
    assert run(["doctor", "--json"]) == 1
    document = json.loads(capsys.readouterr().out)
    assert document["ok"] is False
    assert {"level", "what", "says", "fix"} == set(document["findings"][0])


def test_what_goes_to_a_file_or_a_pipe_is_not_folded(monkeypatch, capsys):
    monkeypatch.delenv("COLUMNS", raising=False)
    monkeypatch.setenv("MFI_EGRESS_CHECK", "127.0.0.1:9")
    monkeypatch.setenv("MFI_NAMESERVERS", "127.0.0.1:9")
    assert run(["doctor"]) == 1
    lines = [line for line in capsys.readouterr().out.splitlines() if line and "to fix." not in line]
    assert [line for line in lines if not line.startswith(("✓ ", "· ", "✗ ", "    → "))] == []


def test_a_mail_system_that_does_not_answer_is_named_and_fails(monkeypatch, capsys):
    monkeypatch.setenv("MFI_BACKENDS", "main=lab")
    monkeypatch.setenv("MFI_MAIN_URL", "http://127.0.0.1:9")
    assert run(["sync", "--json"]) == 1
    (outcome,) = json.loads(capsys.readouterr().out)["backends"]
    assert outcome["backend"] == "main"
    assert outcome["error"]
    assert run(["sync"]) == 1
    assert "main" in capsys.readouterr().out
    assert run(["sync", "other"]) == 2


def test_an_import_reports_bad_rows_with_their_line_and_keeps_the_good_ones(imported, capsys):
    Path("m.csv").write_text(
        "date,sender,recipient,status,message id\n"
        "2026-01-01T00:00:00Z,s@contoso.test,r@onprem.contoso.test,Pending,<1@contoso.test>\n"
        "someday,s@contoso.test,r@onprem.contoso.test,Pending,<2@contoso.test>\n"
    )
    capsys.readouterr()
    assert run(["import", "messages", "m.csv"]) == 0
    said = capsys.readouterr().out
    assert "1 added" in said
    assert "1 row not used:\n  line 3: " in said


def test_an_imports_remarks_on_the_file_are_not_counted_as_rows(imported, capsys):
    Path("m.csv").write_text(
        "# of Tuesday\ndate,sender,recipient,status,mood\n"
        "2026-01-01T00:00:00Z,s@contoso.test,r@onprem.contoso.test,Delivered,good\nTotal: 1\n"
    )
    capsys.readouterr()
    assert run(["import", "messages", "m.csv"]) == 0
    said = capsys.readouterr().out
    assert "line 2: not used: column 'mood'\nline 4: taken for a remark of the file, no row: 'Total: 1'" in said
    assert "not used:\n" not in said


def test_the_manifest_is_yaml_for_the_slack_site(capsys):
    assert run(["manifest"]) == 0
    assert "socket_mode_enabled: true" in capsys.readouterr().out


def test_a_demo_database_in_a_missing_directory_is_refused(capsys):
    assert run(["demo", "--database", "no/such/dir/mfi.db"]) == 2
    assert "no directory" in capsys.readouterr().err


def test_an_unknown_kind_of_mail_system_is_one_line_and_exit_2(monkeypatch, capsys):
    monkeypatch.setenv("MFI_BACKENDS", "x=foo")
    assert run(["sync"]) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert "known kinds" in said


def test_a_dotenv_file_from_powershell_is_read_and_a_broken_one_is_named(capsys):
    Path(".env").write_text("MFI_SMTP_PORT=many\n", encoding="utf-16")
    assert run(["connectors"]) == 2
    assert "MFI_SMTP_PORT wants" in capsys.readouterr().err
    Path(".env").write_bytes(b"MFI_ADMINS=\xff\xfe\xfa")
    assert run(["connectors"]) == 2
    assert "save it as UTF-8" in capsys.readouterr().err
    Path(".env").write_text('MFI_ACTIONS=on\nthis is no setting = = "\n')
    assert run(["connectors"]) == 2
    assert ".env line 2 is not NAME=value" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["connectors", "queue", "incidents", "outbox", "audit"])
def test_looking_makes_no_database_where_there_is_none(name, capsys):
    assert run([name, "--json"]) == 0
    captured = capsys.readouterr()
    assert json.loads(captured.out) == {name: []}
    assert "there is no database mfi.db here" in captured.err
    assert list(Path().iterdir()) == []


@pytest.mark.parametrize("redirect", [">/dev/full", "<&- -", "| true"])
def test_a_closed_or_full_pipe_gives_no_traceback(redirect):
    line = f"{sys.executable} -m bot explain 4.4.316 {redirect}"
    if "<&-" in redirect:
        line = f"{sys.executable} -m bot explain - <&-"
    told = subprocess.run(["bash", "-c", line], capture_output=True, text=True, check=False)
    assert "Traceback" not in told.stderr
    assert "Exception ignored" not in told.stderr


def test_a_port_that_is_taken_is_one_line(capsys):
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        assert run(["demo", "--port", str(listener.getsockname()[1])]) == 2
    said = capsys.readouterr().err
    assert "the demo can't open what it needs" in said
    assert said.count("\n") == 1


def test_a_mail_system_that_was_never_read_is_named_where_its_connectors_are_missing(imported, monkeypatch, capsys):
    monkeypatch.setenv("MFI_BACKENDS", "contoso=lab")
    capsys.readouterr()
    assert run(["connectors"]) == 0
    said = capsys.readouterr().out
    assert said.count("\n") == 4
    assert (
        "contoso was never read, so its connectors are unknown: `mfi sync contoso` reads it, `mfi doctor` says" in said
    )
    monkeypatch.setenv("MFI_DATABASE", "none.db")
    assert run(["connectors"]) == 0
    assert capsys.readouterr().out.startswith("contoso was never read")
    assert run(["connectors", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"connectors": [], "never_read": ["contoso"]}
