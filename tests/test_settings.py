"""Settings: every problem at once, by variable, never by value."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest

from bot.secret import Secret
from bot.settings import (
    SETTINGS,
    Settings,
    SettingsError,
    load,
    read_environment,
    render_env_example,
)
from tests.readme import settings_table

COMPLETE = {"SLACK_BOT_TOKEN": "xoxb-1-abcdef", "SLACK_APP_TOKEN": "xapp-1-abcdef", "MFI_ALERT_CHANNEL": "C0123"}


def problems_of(environ: dict[str, str], *, to_run: bool = False) -> tuple[str, ...]:
    with pytest.raises(SettingsError) as caught:
        load(environ, to_run=to_run)
    return caught.value.problems


def test_nothing_set_is_fine_for_commands_that_need_no_slack():
    settings = load({})
    assert settings.bot_token is None
    assert settings.database == Path("mfi.db")
    assert settings.api_url == "https://slack.com/api/"
    assert settings.policy().probe_interval == timedelta(minutes=5)


def test_to_run_lists_every_missing_setting_at_once():
    names = [problem.split()[0] for problem in problems_of({}, to_run=True)]
    assert names == ["SLACK_BOT_TOKEN", "SLACK_APP_TOKEN", "MFI_ALERT_CHANNEL"]


def test_complete_settings_can_run():
    assert load(COMPLETE, to_run=True).alert_channel == "C0123"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("SLACK_BOT_TOKEN", "sesame-opens"),
        ("SLACK_APP_TOKEN", "xoxb-not-an-app-token"),
        ("SLACK_API_URL", "ftp:somewhere"),
        ("SLACK_API_URL", "https://user:secret@slack.com/api/"),
        ("MFI_ALERT_CHANNEL", "#mail-alerts"),
        ("MFI_ADMINS", "@someone"),
        ("MFI_BACKENDS", "exchange"),
        ("MFI_BACKENDS", "a=lab,a=lab"),
        ("MFI_ACTIONS", "yes"),
        ("MFI_VERIFY_AFTER", "soon"),
        ("MFI_SYNC_INTERVAL", "999999999d"),
        ("MFI_CA_FILE", "-----BEGIN CERTIFICATE-----" + 300 * "x"),
        ("MFI_PROBE_INTERVAL", "0.0"),
        ("MFI_PROBE_INTERVAL", "-5"),
        ("MFI_PROBE_ALLOW", "10.0.0.0/99"),
        ("MFI_SMTP_PORT", "70000"),
        ("MFI_SMTP_PORT", "smtp"),
        ("MFI_NAMESERVERS", "dns.contoso.com"),
        ("MFI_CA_FILE", "/no/such/file.pem"),
        ("MFI_EGRESS_CHECK", "example.com"),
        ("MFI_OPEN_AFTER", "0"),
        ("MFI_UNASSIGNED_COUNT", "-1"),
        ("MFI_UNASSIGNED_COUNT", "some"),
        ("MFI_ESCALATE_AT", "4h,often"),
        ("MFI_LOG_LEVEL", "loud"),
    ],
)
def test_a_bad_value_is_named_by_its_variable_and_not_shown(name, value):
    (problem,) = problems_of({name: value})
    assert problem.startswith(f"{name} wants ")
    assert value not in problem


def test_several_bad_values_are_reported_together():
    assert len(problems_of({"MFI_ACTIONS": "maybe", "MFI_SMTP_PORT": "x", "MFI_ADMINS": "me"}, to_run=True)) == 6


@pytest.mark.parametrize(
    ("name", "text", "attribute", "value"),
    [
        ("MFI_VERIFY_AFTER", "20", "verify_after", timedelta(seconds=20)),
        ("MFI_VERIFY_AFTER", "1.5s", "verify_after", timedelta(seconds=1.5)),
        ("MFI_QUEUE_SETTLE", "15m", "queue_settle", timedelta(minutes=15)),
        ("MFI_CRITICAL_AGE", "1d", "critical_age", timedelta(days=1)),
        ("MFI_ESCALATE_AT", "12h, 4h", "escalate_at", (timedelta(hours=4), timedelta(hours=12))),
        ("MFI_ADMINS", "U1, S22", "admins", ("U1", "S22")),
        ("MFI_NAMESERVERS", "192.0.2.1,[2001:db8::1]:5353", "nameservers", (("192.0.2.1", 53), ("2001:db8::1", 5353))),
        ("MFI_NAMESERVERS", "2001:db8::1", "nameservers", (("2001:db8::1", 53),)),
        ("MFI_EGRESS_CHECK", "mx.contoso.com:25", "egress_check", (("mx.contoso.com", 25),)),
        ("MFI_PROBE_ALLOW", "127.0.0.0/8", "probe_allow", ("127.0.0.0/8",)),
        ("MFI_ACTIONS", "ON", "actions_on", True),
        ("SLACK_API_URL", "http://127.0.0.1:8080/api", "api_url", "http://127.0.0.1:8080/api/"),
        ("MFI_LOG_LEVEL", "Debug", "log_level", "debug"),
    ],
)
def test_a_good_value_is_read(name, text, attribute, value):
    assert getattr(load({name: text}), attribute) == value


def test_a_secret_never_shows_itself():
    secret = Secret("xoxb-12345")
    assert "12345" not in f"{secret} {secret!r} {[secret]}"
    assert secret.reveal() == "xoxb-12345"


def test_a_secret_is_read_from_a_file(tmp_path):
    file = tmp_path / "token"
    file.write_text("xoxb-from-file\n")
    token = load({"SLACK_BOT_TOKEN_FILE": str(file)}).bot_token
    assert token is not None
    assert token.reveal() == "xoxb-from-file"


def test_an_unreadable_secret_file_is_a_problem_and_not_silently_empty(tmp_path):
    assert problems_of({"SLACK_BOT_TOKEN_FILE": str(tmp_path / "none")}) == (
        "SLACK_BOT_TOKEN_FILE names a file that can't be read as text",
    )


def test_a_backend_gets_its_own_settings():
    (spec,) = (
        load({"MFI_BACKENDS": "main=lab", "MFI_MAIN_URL": "http://127.0.0.1:1", "MFI_OTHER_URL": "x"}).backends or ()
    )
    assert (spec.name, spec.kind, spec.options) == ("main", "lab", {"URL": "http://127.0.0.1:1"})


def test_the_environment_wins_over_the_dotenv_file(tmp_path):
    dotenv = tmp_path / ".env"
    dotenv.write_text("MFI_SMTP_PORT=26\nMFI_ACTIONS=on\n")
    assert read_environment({"MFI_SMTP_PORT": "27"}, dotenv) == {"MFI_SMTP_PORT": "27", "MFI_ACTIONS": "on"}
    assert read_environment({"A": "b"}, tmp_path / "none") == {"A": "b"}


def test_every_setting_is_in_the_example_the_readme_and_the_class():
    example = Path(".env.example").read_text(encoding="utf-8")
    assert example == render_env_example(), "run `make fmt`"
    assert all(f"`{s.name}`" in settings_table() for s in SETTINGS)
    assert {s.attribute for s in SETTINGS} == set(Settings.__dataclass_fields__)


def test_a_mail_system_that_is_read_seldom_is_stale_later():
    assert load({"MFI_SYNC_INTERVAL": "10m"}).policy().stale_after == timedelta(minutes=30)


def test_a_mail_system_may_be_read_at_its_own_interval_and_is_stale_accordingly() -> None:
    environ = {"MFI_BACKENDS": "cloud=lab,near=lab", "MFI_CLOUD_INTERVAL": "10m", "MFI_SYNC_INTERVAL": "3"}
    settings = load(environ)
    assert [b.interval for b in settings.backends or ()] == [timedelta(minutes=10), None]
    assert settings.policy().stale_after == timedelta(minutes=30)


def test_a_bad_interval_of_a_mail_system_is_named() -> None:
    with pytest.raises(SettingsError) as refused:
        load({"MFI_BACKENDS": "cloud=lab", "MFI_CLOUD_INTERVAL": "soon"})
    (problem,) = refused.value.problems
    assert problem.startswith("MFI_CLOUD_INTERVAL wants seconds")


@pytest.mark.parametrize(("text", "count"), [("", 100), ("0", 0), ("25", 25)])
def test_alerts_of_mail_without_a_connector_can_be_switched_off(text: str, count: int) -> None:
    settings = load({"MFI_UNASSIGNED_COUNT": text})
    assert (settings.unassigned_count, settings.policy().unassigned_count) == (count, count)
