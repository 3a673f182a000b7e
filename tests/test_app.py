"""The bot as a process: when it refuses to start, with which exit code, and that it stops when told."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from bot.sandbox.slack import AppConfig, SandboxSlack
from bot.sandbox.slack.seed import ADMIN_ONE, ALERTS
from bot.slack.client import make_client
from bot.slack.manifest import manifest
from bot.slack.preflight import TokenRefused, check_tokens
from storage import connectors, syncs
from storage.connection import Store
from storage.records import ConnectorFacts, ConnectorKind


@pytest.fixture
async def slack() -> AsyncIterator[SandboxSlack]:
    async with SandboxSlack(app=AppConfig.from_manifest(manifest())) as server:
        yield server


async def start(slack: SandboxSlack, directory: Path, **changes: str) -> asyncio.subprocess.Process:
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("MFI_", "SLACK_"))}
    environ = kept | {
        "SLACK_API_URL": slack.api_url,
        "SLACK_BOT_TOKEN": slack.bot_token,
        "SLACK_APP_TOKEN": slack.app_token,
        "MFI_ALERT_CHANNEL": ALERTS,
        "MFI_ADMINS": ADMIN_ONE,
        "MFI_DATABASE": str(directory / "mfi.db"),
        **changes,
    }
    return await asyncio.create_subprocess_exec(
        sys.executable, "-m", "bot", "run", env=environ, cwd=directory, stderr=asyncio.subprocess.PIPE
    )


async def ended(process: asyncio.subprocess.Process) -> tuple[int, str]:
    _, said = await asyncio.wait_for(process.communicate(), 20)
    assert process.returncode is not None
    return process.returncode, said.decode()


@pytest.mark.parametrize(
    ("changes", "code", "says"),
    [
        ({"SLACK_BOT_TOKEN": "xoxb-wrong"}, 2, "SLACK_BOT_TOKEN: Slack answers invalid_auth"),
        ({"SLACK_APP_TOKEN": "xapp-wrong"}, 2, "SLACK_APP_TOKEN: Slack answers"),
        ({"MFI_BACKENDS": "main=lab"}, 2, "MFI_MAIN_URL is missing"),
        ({"MFI_BACKENDS": "main=magic"}, 2, "MFI_BACKENDS"),
    ],
)
async def test_a_start_that_cannot_work_ends_at_once_and_says_why(slack, tmp_path, changes, code, says):
    exit_code, said = await ended(await start(slack, tmp_path, **changes))
    assert exit_code == code
    assert says in said
    assert "Traceback" not in said
    assert "xoxb-wrong" not in said


async def test_a_corrupt_database_ends_the_start_with_3_and_is_kept(slack, tmp_path):
    (tmp_path / "mfi.db").write_bytes(b"no database" * 500)
    exit_code, said = await ended(await start(slack, tmp_path))
    assert exit_code == 3
    assert "nothing was deleted" in said
    assert (tmp_path / "mfi.db").read_bytes() == b"no database" * 500


async def test_it_runs_and_stops_cleanly_when_told(slack, tmp_path):
    process = await start(slack, tmp_path)
    await slack.wait_for(lambda: slack.connected, 15)
    (answer,) = await slack.command(ADMIN_ONE, ALERTS, "/mfi status")
    assert "no open incident" in answer.visible
    process.send_signal(signal.SIGTERM)
    exit_code, said = await ended(process)
    assert exit_code == 0
    assert "Traceback" not in said
    assert slack.bot_token not in said
    assert slack.app_token not in said


async def test_a_mail_system_that_is_no_longer_configured_is_let_go_at_the_start(slack, tmp_path):
    async with await Store.open(tmp_path / "mfi.db", sole=True) as store:
        for name in ("renamed", "files"):
            facts = ConnectorFacts(backend=name, key="k", name=name, kind=ConnectorKind.PARTNER)
            await store.write(
                lambda db, f=facts: connectors.sync(db, f.backend, [f], datetime.now(UTC), complete=False)
            )
        await store.write(lambda db: syncs.begin(db, "renamed", datetime.now(UTC)))
    process = await start(slack, tmp_path)
    await slack.wait_for(lambda: slack.connected, 15)
    (answer,) = await slack.command(ADMIN_ONE, ALERTS, "/mfi status")
    process.send_signal(signal.SIGTERM)
    await ended(process)
    assert "renamed" not in answer.visible
    async with await Store.open(tmp_path / "mfi.db", sole=True) as store:
        assert [c.name for c in await store.read(connectors.every)] == ["files"]


async def test_a_mail_system_that_hangs_does_not_hold_up_the_stop(slack, tmp_path):
    asked = asyncio.Event()

    async def never_answers(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked.set()
        await reader.read()
        writer.close()

    async with await asyncio.start_server(never_answers, "127.0.0.1", 0) as server:
        host, port = server.sockets[0].getsockname()
        process = await start(slack, tmp_path, MFI_BACKENDS="main=lab", MFI_MAIN_URL=f"http://{host}:{port}")
        await slack.wait_for(lambda: slack.connected, 15)
        await asyncio.wait_for(asked.wait(), 15)
        process.send_signal(signal.SIGTERM)
        began = asyncio.get_running_loop().time()
        exit_code, said = await ended(process)
    assert exit_code == 0
    assert "Traceback" not in said
    assert asyncio.get_running_loop().time() - began < 8


async def test_good_tokens_pass_the_check(slack):
    said = await check_tokens(make_client(slack.bot_token, slack.api_url), slack.app_token)
    assert said is not None
    assert said["team_id"] == slack.workspace.team_id


async def test_a_slack_that_is_away_or_confused_does_not_fail_the_check(slack):
    slack.faults.html("auth.test")
    slack.faults.error("internal_error", "apps.connections.open")
    assert await check_tokens(make_client(slack.bot_token, slack.api_url), slack.app_token) is None
    await slack.down()
    assert await check_tokens(make_client(slack.bot_token, slack.api_url), slack.app_token) is None


async def test_a_refused_token_is_named(slack):
    with pytest.raises(TokenRefused, match="SLACK_BOT_TOKEN"):
        await check_tokens(make_client("xoxb-wrong", slack.api_url), slack.app_token)
    with pytest.raises(TokenRefused, match="SLACK_APP_TOKEN"):
        await check_tokens(make_client(slack.bot_token, slack.api_url), "xapp-wrong")
