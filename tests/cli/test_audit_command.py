"""`mfi audit`: the log for people, machines and spreadsheets, and the proof that nobody changed it."""

from __future__ import annotations

import json
import sqlite3
from datetime import UTC, datetime
from pathlib import Path

import pytest

from bot.cli import run
from storage import audit
from storage.connection import Store
from storage.journal_records import AuditEntry

AT = datetime(2026, 11, 24, 8, 0, tzinfo=UTC)


@pytest.fixture(autouse=True)
async def log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MFI_DATABASE", raising=False)
    store = await Store.open(tmp_path / "mfi.db")
    for n, detail in enumerate(("=1+1", "not an admin"), start=1):
        entry = AuditEntry(at=AT, actor=f"U{n}", verb="fix", target=f"#{n}", allowed=n == 1, detail=detail)
        await store.write(lambda db, e=entry: audit.append(db, e))
    await store.close()


def tamper(statement: str) -> None:
    with sqlite3.connect("mfi.db") as db:
        db.execute("DROP TRIGGER audit_is_append_only")
        db.execute("DROP TRIGGER audit_keeps_everything")
        db.execute(statement)
    db.close()


def verdict(capsys: pytest.CaptureFixture[str], *more: str) -> dict[str, object]:
    run(["audit", "verify", "--json", *more])
    return dict(json.loads(capsys.readouterr().out))


def test_people_see_who_did_what_and_who_was_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["audit"]) == 0
    shown = capsys.readouterr().out
    assert shown.index("#2") < shown.index("#1"), "the newest comes first"
    assert "refused" in shown


def test_the_whole_log_comes_oldest_first_as_json_and_as_csv(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["audit", "--all", "--json"]) == 0
    assert [row["actor"] for row in json.loads(capsys.readouterr().out)["audit"]] == ["U1", "U2"]
    assert run(["audit", "--csv"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "id,at,actor,verb,target,allowed,detail"
    assert lines[1] == "1,2026-11-24T08:00:00Z,U1,fix,#1,yes,'=1+1"
    assert run(["audit", "--csv", "--json"]) == 2


def test_an_untouched_log_is_proved_and_knows_its_earlier_head(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["audit", "verify"]) == 0
    assert "as it was written: 2 entries" in capsys.readouterr().out
    head = str(verdict(capsys)["head"])
    assert verdict(capsys, "--noted", head.upper())["knows_noted"] is True
    assert run(["audit", "verify", "--noted", head]) == 0
    assert "nothing up to there was rewritten" in capsys.readouterr().out
    assert run(["audit", "verify", "--noted", "a" * 64]) == 1
    assert "not in it" in capsys.readouterr().out
    assert run(["audit", "verify", "--noted", "abc"]) == 2


@pytest.mark.parametrize(
    ("statement", "entry"), [("UPDATE audit SET actor = 'U9' WHERE id = 1", 1), ("DELETE FROM audit WHERE id = 2", 2)]
)
def test_a_changed_log_fails_and_says_from_where(
    statement: str, entry: int, capsys: pytest.CaptureFixture[str]
) -> None:
    tamper(statement)
    assert run(["audit", "verify"]) == 1
    assert f"entry {entry} is not as it was written" in capsys.readouterr().out
    assert (verdict(capsys)["ok"], verdict(capsys)["broken_at"]) == (False, entry)


def test_without_a_database_there_is_nothing_to_verify(capsys: pytest.CaptureFixture[str]) -> None:
    Path("mfi.db").unlink()
    assert run(["audit", "verify"]) == 2
    assert "there is no database" in capsys.readouterr().err
