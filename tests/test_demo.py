"""The demo's own parts: the guide, and breaking and repairing servers from the terminal."""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path

import pytest

from bot.backends.postfix import SHIPPED_WRAPPER
from bot.demo import Guide, bot_process, obey
from bot.sandbox import relay
from bot.sandbox.postfix import missing
from bot.sandbox.slack import Message
from bot.sandbox.slack.seed import ALERTS
from bot.sandbox.world import ROUTES, World
from bot.slack.manifest import manifest


@pytest.fixture
async def world():
    async with World(manifest=manifest()) as world:
        yield world


async def test_a_server_is_broken_and_repaired_by_its_connectors_name(world):
    assert await obey(world, "repair plant gateway") == "Plant gateway: its mail server works now. Watch its alert."
    assert world.servers.servers["no-starttls"].behaviour == "good"
    assert "refuses connections" in await obey(world, "break Head office")
    assert world.servers.servers["good-domain"].behaviour == "refused"


async def test_the_beginning_of_a_name_is_enough(world):
    assert await obey(world, "repair plant") == "Plant gateway: its mail server works now. Watch its alert."


@pytest.mark.parametrize("line", ["", "repair", "repair the world", "mend Head office"])
async def test_anything_else_says_what_can_be_typed(world, line):
    answer = await obey(world, line)
    assert answer.startswith("Type: repair or break")
    assert all(route.name in answer for route in ROUTES)


async def test_a_name_that_does_not_exist_cannot_be_mended(world):
    assert "does not exist in the DNS" in await obey(world, "repair Branch office")


async def test_the_postfix_relays_next_hop_is_mended_too_where_there_is_one(world):
    assert "Postfix relay" not in await obey(world, "help")
    if reason := missing():
        pytest.skip(reason)
    async with World(manifest=manifest(), postfix_wrapper=SHIPPED_WRAPPER) as with_postfix:
        assert "Postfix relay" in await obey(with_postfix, "help")
        assert (
            await obey(with_postfix, "repair postfix") == "Postfix relay: its mail server works now. Watch its alert."
        )
        assert with_postfix.servers.servers[relay.NEXT_HOP.name].behaviour == "good"


async def test_the_guide_says_each_hint_once_and_in_order(world):
    said: list[str] = []
    guide = asyncio.create_task(Guide(world, said.append).run())
    workspace = world.slack.workspace
    for route in ROUTES:
        text = f"#1 {route.code} {route.name}"
        workspace.store(Message(ts=workspace.next_ts(), channel=ALERTS, user=workspace.app.bot_user, text=text))
    await world.slack.wait_for(lambda: any("The six alerts" in line for line in said))
    assert said.count("The first alert is in #mail-alerts.") == 1
    guide.cancel()
    await asyncio.gather(guide, return_exceptions=True)


async def test_the_bot_gets_the_worlds_settings_and_none_of_ours(world, tmp_path: Path, monkeypatch):
    monkeypatch.setenv("MFI_SMTP_PORT", "1")
    monkeypatch.setenv("SLACK_BOT_TOKEN", "xoxb-somebody-elses")
    async with bot_process(world, tmp_path / "mfi.db") as process:
        await world.slack.wait_for(lambda: world.slack.connected, 15)
        assert process.returncode is None
    assert process.returncode == 0


async def test_a_demo_without_a_terminal_starts_and_ends_without_a_complaint(tmp_path: Path):
    none, pipe = asyncio.subprocess.DEVNULL, asyncio.subprocess.PIPE
    demo = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "bot", "demo", stdin=none, stdout=pipe, stderr=pipe, cwd=tmp_path
    )
    assert demo.stdout
    for _ in range(4):  # until it has begun to listen
        await asyncio.wait_for(demo.stdout.readline(), 20)
    demo.terminate()
    _, complaints = await demo.communicate()
    assert complaints == b""
    assert demo.returncode == 0


async def test_whether_fixes_act_and_need_a_second_person_can_be_chosen(tmp_path: Path):
    choice = {**os.environ, "MFI_FIX_APPROVALS": "3", "MFI_SMTP_PORT": "1"}
    pipe = asyncio.subprocess.PIPE
    demo = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "bot", "demo", stdout=pipe, stderr=pipe, cwd=tmp_path, env=choice
    )
    said, complaints = await asyncio.wait_for(demo.communicate(), 30)
    assert complaints.startswith(b"mfi: MFI_FIX_APPROVALS wants 1 or 2\n")
    assert b"MFI_SMTP_PORT" not in complaints
    assert b"The bot ended by itself with exit code 2." in said


def descendants(pid: str) -> list[str]:
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [one for child in children for one in (child, *descendants(child))]


async def test_a_killed_demo_takes_its_bot_and_its_postfix_along(tmp_path: Path):
    demo = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "bot", "demo", stdout=asyncio.subprocess.PIPE, cwd=tmp_path
    )
    assert demo.stdout
    try:
        await asyncio.wait_for(demo.stdout.readline(), 20)
        offspring = await asyncio.to_thread(descendants, str(demo.pid))
    finally:
        demo.kill()
        await demo.wait()
    assert offspring
    async with asyncio.timeout(15):
        while any(Path(f"/proc/{one}").exists() for one in offspring):  # noqa: ASYNC110, ASYNC240 - not our processes
            await asyncio.sleep(0.1)
