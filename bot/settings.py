"""All settings, from the environment and `.env`: declared once, read once, every problem reported together.

SETTINGS is the single list: `.env.example`, the README's table and the checks come from it; how values are read stands
in bot/setting_values.py. A problem names the variable and what it wants, never the value: values may be secrets.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from datetime import timedelta
from io import StringIO
from pathlib import Path
from typing import Any

from dotenv.parser import parse_stream

from bot import setting_values as kinds
from bot.core.policy import Policy
from bot.secret import Secret
from bot.setting_values import BackendSpec

DEFAULT_API_URL = "https://slack.com/api/"
RANGES_URL = "https://endpoints.office.com/endpoints/worldwide"


class SettingsError(Exception):
    """The settings can't be used. `problems`: one line each, safe to print."""

    def __init__(self, problems: Sequence[str]) -> None:
        super().__init__("; ".join(problems))
        self.problems = tuple(problems)


@dataclass(frozen=True, slots=True)
class Setting:
    """One environment variable. `attribute`: the field of Settings that holds its value."""

    name: str
    attribute: str
    read: Callable[[str], Any]
    default: str
    comment: str
    secret: bool = False


SETTINGS: tuple[Setting, ...] = (
    Setting(
        "SLACK_BOT_TOKEN",
        "bot_token",
        kinds.token("xoxb-"),
        "",
        "Bot token (xoxb-…): your app → OAuth & Permissions.",
        secret=True,
    ),
    Setting(
        "SLACK_APP_TOKEN",
        "app_token",
        kinds.token("xapp-"),
        "",
        "App-level token (xapp-…) with connections:write: your app → Basic Information.",
        secret=True,
    ),
    Setting("SLACK_API_URL", "api_url", kinds.url, DEFAULT_API_URL, "Base URL of the Slack API: GovSlack has its own."),
    Setting("MFI_ALERT_CHANNEL", "alert_channel", kinds.channel, "", "Id of the channel that gets the alerts (C…)."),
    Setting(
        "MFI_ADMINS",
        "admins",
        kinds.admins,
        "",
        "Who may probe, acknowledge and fix: ids of people (U…) and user groups (S…). Empty: nobody.",
    ),
    Setting("MFI_DATABASE", "database", Path, "mfi.db", "The SQLite file, on a local disk."),
    Setting(
        "MFI_BACKENDS", "backends", kinds.backends, "", "Mail systems to read, name=kind; their settings: MFI_<NAME>_…"
    ),
    Setting("MFI_ACTIONS", "actions_on", kinds.switch, "off", "on: Fix now acts. off: it only shows what it would do."),
    Setting("MFI_FIX_APPROVALS", "fix_approvals", kinds.approvals, "1", "2: a second person has to approve each fix."),
    Setting("MFI_VERIFY_AFTER", "verify_after", kinds.seconds, "3600", "Seconds from a fix to its verification."),
    Setting(
        "MFI_SYNC_INTERVAL",
        "sync_interval",
        kinds.seconds,
        "60",
        "Seconds between two reads (of one system: MFI_<NAME>_INTERVAL).",
    ),
    Setting("MFI_PROBE_INTERVAL", "probe_interval", kinds.seconds, "300", "Seconds between two probes of a connector."),
    Setting(
        "MFI_PROBE_INTERVAL_FAILING",
        "probe_interval_failing",
        kinds.seconds,
        "60",
        "Seconds between two probes while it fails.",
    ),
    Setting("MFI_PROBE_TIMEOUT", "probe_timeout", kinds.seconds, "30", "Seconds that one whole probe may take."),
    Setting(
        "MFI_PROBE_ALLOW",
        "probe_allow",
        kinds.networks,
        "",
        "Loopback, link-local, multicast or metadata networks that stored connectors may name all the same.",
    ),
    Setting("MFI_SMTP_PORT", "smtp_port", kinds.port, "25", "Port of smart hosts; a connector's own port wins."),
    Setting(
        "MFI_NAMESERVERS",
        "nameservers",
        kinds.read_addresses,
        "",
        "Name servers to ask, ip[:port]; empty: the system's.",
    ),
    Setting("MFI_CA_FILE", "ca_file", kinds.file, "", "PEM file of private authorities to trust besides the system's."),
    Setting(
        "MFI_CRL_FILE",
        "crl_file",
        kinds.file,
        "",
        "File of revocation lists (CRLs); a certificate listed there counts as revoked.",
    ),
    Setting(
        "MFI_EGRESS_CHECK",
        "egress_check",
        kinds.host_ports,
        "",
        "host:port list that always answers; when none does, the monitor is blind and blames no target.",
    ),
    Setting("MFI_OPEN_AFTER", "open_after", kinds.count, "2", "Failed probes in a row that open an incident."),
    Setting("MFI_RESOLVE_AFTER", "resolve_after", kinds.count, "2", "Good probes in a row that resolve one."),
    Setting(
        "MFI_QUEUE_SETTLE", "queue_settle", kinds.seconds, "15m", "Mail that waits for less is in flight, not stuck."
    ),
    Setting(
        "MFI_UNASSIGNED_COUNT",
        "unassigned_count",
        kinds.count_or_0,
        "100",
        "So many stuck messages that belong to no connector open an alert; 0: never.",
    ),
    Setting(
        "MFI_CRITICAL_AGE", "critical_age", kinds.seconds, "4h", "Critical when the oldest message waits this long."
    ),
    Setting("MFI_CRITICAL_COUNT", "critical_count", kinds.count, "200", "Critical when so many messages wait."),
    Setting(
        "MFI_ESCALATE_AT", "escalate_at", kinds.durations, "4h,12h,20h", "Ages of the oldest message that escalate."
    ),
    Setting(
        "MFI_ADDRESS_RANGES",
        "address_ranges",
        kinds.list_address,
        RANGES_URL,
        "Microsoft 365's addresses; clouds other than the global one need their own list named here. Or off.",
    ),
    Setting("MFI_LOG_LEVEL", "log_level", kinds.level, "info", "debug, info, warning or error."),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Every setting, read and checked. None: not set and without a default."""

    bot_token: Secret | None
    app_token: Secret | None
    api_url: str
    alert_channel: str | None
    admins: tuple[str, ...] | None
    database: Path
    backends: tuple[BackendSpec, ...] | None
    actions_on: bool
    fix_approvals: int
    verify_after: timedelta
    sync_interval: timedelta
    probe_interval: timedelta
    probe_interval_failing: timedelta
    probe_timeout: timedelta
    probe_allow: tuple[str, ...] | None
    smtp_port: int
    nameservers: tuple[tuple[str, int], ...] | None
    ca_file: Path | None
    crl_file: Path | None
    egress_check: tuple[tuple[str, int], ...] | None
    open_after: int
    resolve_after: int
    queue_settle: timedelta
    unassigned_count: int
    critical_age: timedelta
    critical_count: int
    escalate_at: tuple[timedelta, ...]
    address_ranges: str
    log_level: str

    def policy(self) -> Policy:
        """The thresholds of triage as these settings have them; a mail system read seldom is stale later."""
        named = {f.name for f in fields(Policy)} & {f.name for f in fields(self)}
        slowest = max((b.interval or self.sync_interval for b in self.backends or ()), default=self.sync_interval)
        stale_after = max(Policy().stale_after, 3 * slowest)
        return Policy(**{name: getattr(self, name) for name in named}, stale_after=stale_after)


_NEEDED_TO_RUN = {
    "SLACK_BOT_TOKEN": "is not set: your app at api.slack.com/apps → OAuth & Permissions → Bot User OAuth Token",
    "SLACK_APP_TOKEN": "is not set: your app at api.slack.com/apps → Basic Information → App-Level Tokens, "
    "scope connections:write",
    "MFI_ALERT_CHANNEL": "is not set: the id (C…) of the channel for alerts; invite the bot there with /invite",
}


def read_environment(environ: Mapping[str, str], dotenv: Path = Path(".env")) -> dict[str, str]:
    """The process environment over the `.env` file, if there is one. SettingsError when that file can't be read."""
    return {**_in_file(dotenv), **environ} if dotenv.is_file() else dict(environ)


def _in_file(dotenv: Path) -> dict[str, str]:
    try:
        raw = dotenv.read_bytes()
        text = raw.decode("utf-16" if raw[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig")
    except (OSError, UnicodeDecodeError):
        raise SettingsError([f"{dotenv} can't be read as text: save it as UTF-8"]) from None
    bindings = list(parse_stream(StringIO(text)))
    bad = [f"{dotenv} line {b.original.line} is not NAME=value" for b in bindings if b.error]
    if bad:
        raise SettingsError(bad)
    return {b.key: b.value for b in bindings if b.key and b.value is not None}


def load(environ: Mapping[str, str], *, to_run: bool = False) -> Settings:
    """Read every setting. `to_run`: the Slack settings must be there too. SettingsError lists every problem."""
    problems: list[str] = []
    values: dict[str, Any] = {}
    for setting in SETTINGS:
        text = _text_of(setting, environ, problems)
        if text:
            try:
                values[setting.attribute] = setting.read(text)
            except ValueError as problem:
                problems.append(f"{setting.name} {problem}")
        else:
            values[setting.attribute] = None
            if to_run and setting.name in _NEEDED_TO_RUN and not any(p.startswith(setting.name) for p in problems):
                problems.append(f"{setting.name} {_NEEDED_TO_RUN[setting.name]}")
    values["backends"] = tuple(replace(b, options=_options(b.name, environ)) for b in values.get("backends") or ())
    problems += [p for b in values["backends"] for p in _bad_interval(b)]
    if problems:
        raise SettingsError(problems)
    return Settings(**values)


def _text_of(setting: Setting, environ: Mapping[str, str], problems: list[str]) -> str:
    """The setting's text: its variable, else for a secret the file that NAME_FILE names, else the default."""
    text = environ.get(setting.name, "").strip()
    file_name = environ.get(f"{setting.name}_FILE", "").strip() if setting.secret else ""
    if text or not file_name:
        return text or setting.default
    try:
        return Path(file_name).read_text(encoding="utf-8").strip()
    except (OSError, ValueError):
        problems.append(f"{setting.name}_FILE names a file that can't be read as text")
        return ""


def _bad_interval(backend: BackendSpec) -> list[str]:
    try:
        assert backend.interval is None or backend.interval > timedelta(0)
        return []
    except ValueError as problem:
        return [f"MFI_{backend.name.upper()}_INTERVAL {problem}"]


def _options(name: str, environ: Mapping[str, str]) -> dict[str, str]:
    prefix = f"MFI_{name.upper()}_"
    return {key[len(prefix) :]: value for key, value in environ.items() if key.startswith(prefix)}


def render_env_example() -> str:
    """The text of `.env.example`: every setting with its comment and default."""
    lines = ["# Copy to .env and fill in. Every setting of mfi, with its default; README, Settings says more.", ""]
    for setting in SETTINGS:
        also = f" (or {setting.name}_FILE: a file that holds it)" if setting.secret else ""
        lines += [f"# {setting.comment}{also}", f"{setting.name}={setting.default}"]
    return "\n".join(lines) + "\n"
