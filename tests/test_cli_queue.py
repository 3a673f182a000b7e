"""`mfi queue`: for people, as JSON and as CSV, from a database that an import filled."""

from __future__ import annotations

import asyncio
import csv
import io
import json
import os
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from bot.cli import run
from bot.cli.frame import read_settings, with_store
from bot.terminal.queue_rows import bounce_rows
from bot.terminal.queues import render_bounced
from storage import syncs
from storage.queue_records import Bounce
from storage.records import MessageStatus

NOW = datetime.now(UTC)
CONNECTORS = [
    {
        "Name": name,
        "Guid": f"d0d71cb9-0000-4000-8000-00000000000{n}",
        "Enabled": True,
        "ConnectorType": "OnPremises",
        "UseMXRecord": False,
        "SmartHosts": ["127.0.0.1"],
        "RecipientDomains": [domain],
    }
    for n, (name, domain) in enumerate((("To head office", "contoso.test"), ("To partner", "fabrikam.test")))
]
REASON = "450 4.4.316 Connection refused [Message=Socket error code 10061]"


@pytest.fixture(autouse=True)
def alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An empty directory, no setting from outside, and a terminal that is wide enough."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "150")
    for name in [n for n in os.environ if n.startswith(("MFI_", "SLACK_"))]:
        monkeypatch.delenv(name)


def rows(count: int, age: timedelta, to: str, status: str = "Pending", sender: str = "app@contoso.test") -> list[Any]:
    return [
        {
            "MessageTraceId": f"{to}-{status}-{age}-{n}",
            "Received": f"{NOW - age:%Y-%m-%dT%H:%M:%SZ}",
            "SenderAddress": sender,
            "RecipientAddress": f"user{n}@{to}",
            "Status": status,
            "Detail": REASON,
        }
        for n in range(count)
    ]


@pytest.fixture
def imported(capsys: pytest.CaptureFixture[str]) -> None:
    """Six wait for the head office, two for nobody that we know; two came back to whom a formula is a name."""
    Path("connectors.json").write_text(json.dumps(CONNECTORS))
    assert run(["import", "connectors", "connectors.json"]) == 0
    hour = timedelta(hours=1)
    waiting = [*rows(4, 5 * hour, "contoso.test"), *rows(2, 2 * hour, "contoso.test"), *rows(2, hour, "nowhere.test")]
    failed = rows(2, 3 * hour, "fabrikam.test", sender="=cmd@contoso.test")
    Path("queue.json").write_text(json.dumps([*waiting, *failed]))
    assert run(["import", "messages", "queue.json"]) == 0
    Path("failed.json").write_text(json.dumps([{**one, "Status": "Failed"} for one in failed]))
    assert run(["import", "messages", "failed.json"]) == 0
    print(capsys.readouterr())


def told(capsys: pytest.CaptureFixture[str], *argv: str, code: int = 0) -> str:
    capsys.readouterr()
    assert run(["queue", *argv]) == code
    return capsys.readouterr().out


def failing(backend: str) -> None:
    """A try to read this mail system that failed."""

    def tried(db: Any) -> None:
        syncs.finish(db, syncs.begin(db, backend, NOW), NOW, {}, "HTTP 401")

    asyncio.run(with_store(read_settings(), lambda store: store.write(tried)))


def test_the_queue_is_a_table_with_bars_and_what_belongs_to_nobody(imported: None, capsys: Any) -> None:
    said = told(capsys)
    for part in ("To head office", "██░░░░░░", " 18 h", "8 within 24 h", "6 × 4.4.316", "(no known connector)"):
        assert part in said, part


def test_what_belongs_to_no_connector_is_shown_in_full(imported: None, capsys: Any) -> None:
    assert "What belongs to no known connector: mfi queue unassigned" in told(capsys)
    said = told(capsys, "unassigned")
    for part in (
        "Belonging to no known connector: 2 waiting, the oldest for 1 h", "in files", "How long it has waited",
        "2 × 4.4.316: 450 4.4.316 Connection refused", "nowhere.test", "app@contoso.test",
    ):  # fmt: skip
        assert part in said, part
    assert "contoso.test " not in said.replace("app@contoso.test ", "")
    document = json.loads(told(capsys, "unassigned", "--json"))
    assert [(r["connector"], r["code"], r["waiting"]) for r in document["queue"]] == [(None, "4.4.316", 2)]
    (row,) = document["connectors"]
    assert (row["connector"], row["waiting"], row["systems"]) == (None, 2, ["files"])
    assert row["top"]["domains"] == [{"domain": "nowhere.test", "waiting": 2}]
    assert document["stale"] == []


def test_what_bounced_of_it_is_listed_alone_and_nothing_is_good_news(imported: None, capsys: Any) -> None:
    assert json.loads(told(capsys, "--bounced", "unassigned", "--json")) == {"bounced": []}
    gone = [{**one, "Status": "Failed"} for one in rows(2, timedelta(hours=1), "nowhere.test")]
    Path("gone.json").write_text(json.dumps(gone))
    assert run(["import", "messages", "gone.json"]) == 0
    bounced = json.loads(told(capsys, "--bounced", "unassigned", "--json"))["bounced"]
    assert {(b["recipient"], b["connector"]) for b in bounced} == {(f"user{n}@nowhere.test", None) for n in range(2)}
    assert "Nothing waits that belongs to no known connector." in told(capsys, "unassigned")


def test_without_a_database_nothing_waits_that_belongs_to_no_connector(capsys: Any) -> None:
    assert told(capsys, "unassigned") == "Nothing waits.\n"
    assert json.loads(told(capsys, "unassigned", "--json")) == {"queue": []}
    assert told(capsys, "contoso", code=2) == ""


def test_a_connector_that_is_called_unassigned_wins(imported: None, capsys: Any) -> None:
    Path("more.json").write_text(json.dumps([{**CONNECTORS[0], "Name": "Unassigned", "Guid": "another"}]))
    assert run(["import", "connectors", "more.json"]) == 0
    assert told(capsys, "unassigned").startswith("Nothing waits at Unassigned.")


def test_the_queue_as_json_has_rows_by_code_and_a_clock_for_each_connector(imported: None, capsys: Any) -> None:
    document = json.loads(told(capsys, "--json"))
    assert {(r["connector"], r["code"], r["waiting"]) for r in document["queue"]} == {
        ("To head office", "4.4.316", 6), (None, "4.4.316", 2),
    }  # fmt: skip
    by_name = {r["connector"]: r for r in document["connectors"]}
    office = by_name["To head office"]
    assert (office["waiting"], office["overdue"], office["stale"]) == (6, 0, False)
    assert {k: v for k, v in office["ages"].items() if v} == {"1-4 h": 2, "4-8 h": 4}
    assert office["bounces"] == {"1h": 0, "2h": 0, "4h": 0, "8h": 0, "24h": 6}
    assert sum(office["bounces_by_hour"]) == 6
    assert office["peak"]["bounces"] in (4, 6)
    assert by_name[None]["waiting"] == 2
    assert document["stale"] == []


def test_one_connector_is_drawn_with_ages_bounces_reasons_and_top_lists(imported: None, capsys: Any) -> None:
    said = told(capsys, "To head")
    for part in (
        "To head office: 6 waiting", "How long it has waited", "4-8 h", "Bounces unless it leaves", "within 24 h",
        "6 × 4.4.316: 450 4.4.316 Connection refused", "contoso.test", "app@contoso.test",
    ):  # fmt: skip
        assert part in said, part
    row = json.loads(told(capsys, "To head", "--json"))["connectors"][0]
    assert row["top"]["domains"] == [{"domain": "contoso.test", "waiting": 6}]
    assert row["top"]["looked_at"] == 6


def test_an_empty_connector_says_so(imported: None, capsys: Any) -> None:
    assert "Nothing waits at To partner." in told(capsys, "To partner")


def test_a_mail_system_that_was_never_read_is_told_before_what_waits_elsewhere(imported: None, capsys: Any) -> None:
    failing("hub")
    assert told(capsys).startswith("hub was never read: what waits there is unknown; the last try failed: HTTP 401\n")
    unread = [{"backend": "hub", "read_at": None, "error": "HTTP 401"}]
    assert json.loads(told(capsys, "--json"))["stale"] == unread
    assert "never read" not in told(capsys, "To head")
    assert json.loads(told(capsys, "To head", "--json"))["stale"] == []


def test_a_connector_of_a_mail_system_that_was_never_read_is_not_called_empty(capsys: Any) -> None:
    Path("connectors.json").write_text(json.dumps(CONNECTORS))
    assert run(["import", "connectors", "connectors.json"]) == 0
    failing("files")
    first = "files was never read: what waits there is unknown; the last try failed: HTTP 401\n"
    assert told(capsys, "To head") == f"{first}Nothing is known to wait at To head office.\n"
    assert json.loads(told(capsys, "To head", "--json"))["stale"] == [
        {"backend": "files", "read_at": None, "error": "HTTP 401"}
    ]


def test_nothing_waits_is_not_said_while_the_only_mail_system_was_never_read(capsys: Any) -> None:
    failing("hub")
    assert told(capsys) == (
        "hub was never read: what waits there is unknown; the last try failed: HTTP 401\nNothing is known to wait.\n"
    )


def test_bounced_mail_is_listed_for_resending_and_no_cell_is_a_formula(imported: None, capsys: Any) -> None:
    assert "=cmd@contoso.test" in told(capsys, "--bounced", "--since", "7d")
    lines = list(csv.DictReader(io.StringIO(told(capsys, "--bounced", "--csv"))))
    assert len(lines) == 2
    assert {line["sender"] for line in lines} == {"'=cmd@contoso.test"}
    assert {line["recipient"] for line in lines} == {"user0@fabrikam.test", "user1@fabrikam.test"}
    assert {line["connector"] for line in lines} == {"To partner"}
    assert {line["presumed"] for line in lines} == {"no"}
    document = json.loads(told(capsys, "--bounced", "--json", "To partner"))
    assert [row["status"] for row in document["bounced"]] == ["rejected", "rejected"]
    assert json.loads(told(capsys, "--bounced", "--json", "To head"))["bounced"] == []
    assert "raw" not in lines[0]
    assert "No mail bounced in the last 1 h" in told(capsys, "--bounced", "--since", "60m", "To head")


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        (
            f"Reason: [{{LED={REASON} [LastAttemptedServerName=mx.test]}};{{MSG=}};{{FQDN=mx.test}};{{IP=}};{{LRT=}}]",
            REASON,
        ),
        (REASON, REASON),
        (None, None),
    ],
)
def test_why_mail_bounced_is_told_in_the_servers_words_and_as_read_beside_them(
    raw: str | None, reason: str | None
) -> None:
    bounce = Bounce(
        backend="contoso", key="1", sender="a@x.test", recipient="b@y.test", connector=None, code=None, reason=raw,
        received_at=NOW, ended_at=NOW, status=MessageStatus.EXPIRED,
    )  # fmt: skip
    (row,) = bounce_rows([bounce])
    assert (row["reason"], row["raw"]) == (reason, raw)


def test_bounces_that_nobody_told_are_said_to_be_presumed() -> None:
    row = {"ended_at": NOW, "sender": "a@b.test", "recipient": "c@d.test", "connector": None, "code": None}
    told_and_not = [row | {"presumed": False}, row | {"presumed": True}]
    assert "1 of these presumably: gone when the time was up" in render_bounced(told_and_not, "1 d")
    assert "presumably" not in render_bounced(told_and_not[:1], "1 d")


def test_many_bounces_are_cut_on_a_terminal(imported: None, capsys: pytest.CaptureFixture[str]) -> None:
    many = rows(230, timedelta(hours=1), "fabrikam.test")
    for status in ("Pending", "Failed"):
        Path("more.json").write_text(json.dumps([{**one, "Status": status} for one in many]))
        assert run(["import", "messages", "more.json"]) == 0
    assert "… and 32 more: --csv has them all" in told(capsys, "--bounced")


@pytest.mark.parametrize(
    ("argv", "says"),
    [
        (["--csv"], "--csv goes with --bounced"),
        (["--bounced", "--csv", "--json"], "--csv goes with --bounced"),
        (["--bounced", "--since", "yesterday"], "wants a number with m, h or d"),
        (["--bounced", "--since", "0h"], "wants a number with m, h or d"),
        (["--bounced", "--since", "91d"], "90 days at most"),
        (["nobody"], "no connector 'nobody'"),
        (["To"], "'To' fits 2: To head office, To partner"),
        (["--bounced", "nobody"], "no connector 'nobody'"),
    ],
)
def test_bad_usage_is_one_line_and_exit_2(argv: list[str], says: str, imported: None, capsys: Any) -> None:
    capsys.readouterr()
    assert run(["queue", *argv]) == 2
    said = capsys.readouterr().err
    assert says in said
    assert said.count("\n") == 1


@pytest.mark.parametrize(
    ("argv", "out"),
    [
        ([], "Nothing waits.\n"),
        (["--json"], '{"queue": []}\n'),
        (["--bounced"], "No mail bounced in the last 24 h, as far as the mail systems tell.\n"),
        (["--bounced", "--json"], '{"bounced": []}\n'),
        (
            ["--bounced", "--csv"],
            "ended_at,status,sender,recipient,connector,code,reason,received_at,backend,key,presumed\n",
        ),
    ],
)
def test_without_a_database_nothing_is_known_and_none_is_made(argv: list[str], out: str, capsys: Any) -> None:
    assert told(capsys, *argv) == out
    assert list(Path().iterdir()) == []


def test_without_a_database_no_connector_can_be_meant(capsys: Any) -> None:
    assert told(capsys, "zzz", code=2) == ""
    assert told(capsys, "--bounced", "zzz", code=2) == ""


@pytest.mark.usefixtures("imported")
def test_a_reason_is_told_without_the_frame_of_a_message_trace_and_what_is_cut_is_seen(
    capsys: pytest.CaptureFixture[str],
) -> None:
    said = "441 4.4.1 Error " + "x" * 400
    (mail,) = rows(1, timedelta(hours=1), "contoso.test")
    framed = [{**mail, "Detail": f"[{{LRT=11/24/2026 4:10:12 AM}};{{LED={said}}};{{FQDN=}};{{IP=}}]"}]
    Path("queue.json").write_text(json.dumps(framed))
    assert run(["import", "messages", "queue.json"]) == 0
    shown = "".join(told(capsys, "To head office").split())
    assert "LED=" not in shown
    assert "441 4.4.1 Error".replace(" ", "") in shown
    assert "x…" in shown
    document = json.loads(told(capsys, "To head office", "--json"))
    assert said in [group["reason"] for group in document["queue"]]
