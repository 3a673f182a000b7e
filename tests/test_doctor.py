"""The doctor: each fault is found, and said with its fix; a sound installation has none."""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from bot.core.finding import Finding
from bot.doctor import bounded, examine
from bot.sandbox.dns_server import DnsServer
from bot.sandbox.mail_system import MailSystem
from bot.sandbox.slack import AppConfig, SandboxSlack
from bot.sandbox.slack.seed import ALERTS
from bot.settings import load
from bot.slack.manifest import manifest
from bot.wiring import utc_now
from storage.connection import Store


@pytest.fixture
async def slack() -> AsyncIterator[SandboxSlack]:
    async with SandboxSlack(app=AppConfig.from_manifest(manifest())) as server:
        yield server


@pytest.fixture
async def environ(slack: SandboxSlack, tmp_path: Path) -> AsyncIterator[dict[str, str]]:
    """The settings of a sound installation."""
    async with DnsServer({}) as dns, MailSystem(clock=utc_now) as mail:
        host, port = dns.address
        slack_port = slack.api_url.split(":")[2].split("/")[0]
        store = await Store.open(tmp_path / "mfi.db", sole=True)
        await store.close()
        yield {
            "SLACK_BOT_TOKEN": slack.bot_token,
            "SLACK_APP_TOKEN": slack.app_token,
            "SLACK_API_URL": slack.api_url,
            "MFI_ALERT_CHANNEL": ALERTS,
            "MFI_ADMINS": "U0ADMINONE",
            "MFI_ACTIONS": "on",
            "MFI_DATABASE": str(tmp_path / "mfi.db"),
            "MFI_NAMESERVERS": f"{host}:{port}",
            "MFI_EGRESS_CHECK": f"127.0.0.1:{slack_port}",
            "MFI_BACKENDS": "contoso=lab",
            "MFI_CONTOSO_URL": mail.api_url,
        }


def faults(findings: list[Finding]) -> dict[str, Finding]:
    return {f.what: f for f in findings if f.level == "fault"}


async def test_a_sound_installation_has_no_fault(environ):
    findings = await examine(environ, online=True)
    assert faults(findings) == {}
    assert {f.what for f in findings if f.level == "ok"} == {
        "settings",
        "database",
        "Slack bot token",
        "Slack app token",
        "alert channel",
        "DNS",
        "port 25",
        "mail system contoso",
        "sample alert",
    }


async def test_no_settings_at_all_says_how_to_begin_and_that_the_demo_needs_none(tmp_path):
    environ = {"MFI_DATABASE": str(tmp_path / "none.db"), "MFI_EGRESS_CHECK": "127.0.0.1:9"}
    findings = await examine(environ)
    said = " ".join(f"{f.says} {f.fix}" for f in findings)
    assert "SLACK_BOT_TOKEN" in said
    assert "`mfi manifest`" in said
    assert "`mfi demo`" in said


async def test_a_bad_setting_is_reported_alone(environ):
    findings = await examine(environ | {"MFI_SMTP_PORT": "many"})
    assert [f.what for f in findings] == ["settings"]
    assert "many" not in findings[0].says


@pytest.mark.parametrize(
    ("change", "what", "fix"),
    [
        ({"SLACK_BOT_TOKEN": "xoxb-wrong"}, "Slack bot token", "OAuth & Permissions"),
        ({"SLACK_APP_TOKEN": "xapp-wrong"}, "Slack app token", "Basic Information"),
        ({"MFI_ALERT_CHANNEL": "C0NOWHERE"}, "alert channel", "must be a channel id"),
        ({"SLACK_API_URL": "http://127.0.0.1:9/api/"}, "Slack bot token", "SLACK_API_URL"),
        ({"MFI_EGRESS_CHECK": "127.0.0.1:9"}, "port 25", "let this machine connect outward"),
        ({"MFI_CONTOSO_URL": "http://127.0.0.1:9"}, "mail system contoso", "check its MFI_"),
        ({"MFI_CONTOSO_URL": "http://mail.example:80"}, "mail systems", "correct it"),
        ({"MFI_BACKENDS": "contoso=magic"}, "mail systems", "correct it"),
    ],
)
async def test_each_fault_is_said_with_its_fix(environ, change, what, fix):
    found = faults(await examine(environ | change))
    assert what in found
    assert fix in found[what].fix


async def test_a_bot_that_was_not_invited_is_told_to_be(environ, slack):
    slack.remove_bot(ALERTS)
    assert "/invite" in faults(await examine(environ))["alert channel"].fix


async def test_an_archived_channel_is_a_fault(environ, slack):
    slack.archive(ALERTS)
    assert "unarchive" in faults(await examine(environ))["alert channel"].fix


async def test_a_damaged_database_is_a_fault_and_stays_as_it_is(environ, tmp_path):
    broken = tmp_path / "broken.db"
    broken.write_bytes(b"SQLite format 3\x00" + b"\x00" * 5000)
    found = faults(await examine(environ | {"MFI_DATABASE": str(broken)}))
    assert "database" in found
    assert broken.read_bytes().endswith(b"\x00" * 5000)


async def test_what_is_missing_is_told_together_with_what_is_wrong():
    found = [f.says for f in await examine({"MFI_ACTIONS": "maybe"})]
    assert [says.split()[0] for says in found] == [
        "SLACK_BOT_TOKEN", "SLACK_APP_TOKEN", "MFI_ALERT_CHANNEL", "MFI_ACTIONS",
    ]  # fmt: skip


async def test_a_database_in_a_missing_folder_is_a_fault_that_names_the_folder(environ, tmp_path):
    found = faults(await examine(environ | {"MFI_DATABASE": str(tmp_path / "nowhere" / "mfi.db")}))
    assert f"there is no folder {tmp_path / 'nowhere'}" in found["database"].says


async def test_a_foreign_database_is_a_fault(environ, tmp_path):
    other = sqlite3.connect(tmp_path / "other.db")
    other.execute("CREATE TABLE t (x)")
    other.commit()
    other.close()
    assert "database" in faults(await examine(environ | {"MFI_DATABASE": str(tmp_path / "other.db")}))


async def test_a_silent_name_server_is_a_fault(environ):
    found = faults(await examine(environ | {"MFI_NAMESERVERS": "127.0.0.1:9"}))
    assert "MFI_NAMESERVERS" in found["DNS"].fix


async def test_a_missing_scope_is_named(environ, tmp_path):
    poorer = manifest()
    poorer["oauth_config"]["scopes"]["bot"].remove("channels:history")
    async with SandboxSlack(app=AppConfig.from_manifest(poorer)) as other:
        change = {"SLACK_BOT_TOKEN": other.bot_token, "SLACK_API_URL": other.api_url}
        found = faults(await examine(environ | change | {"SLACK_APP_TOKEN": other.app_token}))
    assert "channels:history" in found["Slack bot token"].says


async def test_a_check_that_fails_itself_is_told_without_its_words(environ):
    async def failing(settings):
        raise KeyError(settings.bot_token.reveal())

    (found,) = await bounded("mail systems", failing, load(environ))
    assert found.level == "fault"
    assert found.says.startswith("its check failed (KeyError at test_doctor.py:")
    assert environ["SLACK_BOT_TOKEN"] not in str(found)


async def test_nobody_who_may_act_and_actions_off_are_notes(environ):
    findings = await examine(environ | {"MFI_ADMINS": "", "MFI_ACTIONS": "off"})
    notes = " ".join(f.says for f in findings if f.level == "note")
    assert "nobody may" in notes
    assert "only shows what it would do" in notes


async def test_all_wrong_settings_of_a_mail_system_are_told_together(environ):
    change = {
        "MFI_BACKENDS": "relay=postfix,exo=exchange_online,hub=exchange_server",
        "MFI_RELAY_TIMEOUT": "x", "MFI_RELAY_CONFIG_DIR": "nonsense",
        "MFI_EXO_CLIENT_ID": "nonsense", "MFI_EXO_CLOUD": "mars",
        "MFI_HUB_WAIT": "x",
    }  # fmt: skip
    says = [f.says for f in await examine(environ | change) if f.what == "mail systems"]
    assert [line.split()[0] for line in says] == [
        "MFI_RELAY_CONFIG_DIR", "MFI_RELAY_TIMEOUT",
        "MFI_EXO_TENANT", "MFI_EXO_CLIENT_ID", "MFI_EXO_CERTIFICATE_FILE", "MFI_EXO_CLOUD",
        "MFI_HUB_DROP", "MFI_HUB_WAIT",
    ]  # fmt: skip


async def test_a_misspelt_setting_of_a_mail_system_is_noted(environ):
    change = {
        "MFI_BACKENDS": "relay=postfix,hub=exchange_server,exo=exchange_online,odd=magic",
        "MFI_RELAY_RECIPIENT": "/x", "MFI_HUB_X": "1", "MFI_RELAY_INTERVAL": "60",
        "MFI_EXO_CLIENT_SECRET_FILE": "/x", "MFI_ODD_WHATEVER": "1", "MFI_OPEN_AFTR": "2",
    }  # fmt: skip
    notes = [f.says for f in await examine(environ | change) if f.level == "note" and "is no setting" in f.says]
    assert notes == [
        "MFI_CONTOSO_URL is no setting",
        "MFI_HUB_X is no setting",
        "MFI_OPEN_AFTR is no setting; did you mean MFI_OPEN_AFTER?",
        "MFI_RELAY_RECIPIENT is no setting; did you mean MFI_RELAY_RECIPIENTS?",
    ]


async def test_what_a_mail_system_can_do_is_said_in_words_unless_its_check_failed(environ):
    said = [f.says for f in await examine(environ) if f.what == "mail system contoso"]
    assert said[1:] == [
        "reads connectors, domains, queue with reasons, directory; "
        "can reject single recipients, change domains, switch connectors, retry"
    ]
    failed = await examine(environ | {"MFI_CONTOSO_URL": "http://127.0.0.1:9"})
    assert [f.level for f in failed if f.what == "mail system contoso"] == ["fault"]
