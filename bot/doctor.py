"""`mfi doctor`: what is wrong with this installation, each fault with its exact fix. It changes nothing.

Every check has a deadline, runs on its own, and reports even when the others fail.
"""

from __future__ import annotations

import asyncio
import difflib
import shutil
import sqlite3
import traceback
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import dns.asyncresolver
import dns.exception
import dns.resolver
from slack_sdk.errors import SlackApiError, SlackClientError
from slack_sdk.web.async_client import AsyncWebClient

from bot.core.blockkit import problems as blockkit_problems
from bot.core.finding import Finding
from bot.setting_values import BackendSpec
from bot.settings import SETTINGS, Settings, SettingsError, load
from bot.slack.client import make_client
from bot.slack.manifest import SCOPES

CHECK_SECONDS = 10.0
SMTP_WITNESS = (("smtp.office365.com", 25),)
"""A public server that answers on port 25: if it does not, our own network blocks the port."""


def _ok(what: str, says: str) -> Finding:
    return Finding(level="ok", what=what, says=says)


def _note(what: str, says: str, fix: str = "") -> Finding:
    return Finding(level="note", what=what, says=says, fix=fix)


def _fault(what: str, says: str, fix: str) -> Finding:
    return Finding(level="fault", what=what, says=says, fix=fix)


Check = Callable[[Settings], Awaitable[list[Finding]]]


async def examine(environ: Mapping[str, str], *, online: bool = False) -> list[Finding]:
    """All findings, in reading order. Without usable settings only those are reported, and what they don't touch."""
    findings, settings = _settings(environ)
    if settings is None:
        return findings
    checks: list[tuple[str, Check]] = [("database", _database), ("slack", _slack), ("dns", _dns)]
    checks += [("port 25", _port_25), ("mail systems", _backends)]
    if online:
        checks.append(("sample alert", _sample_alert))
    for answers in await asyncio.gather(*(bounded(what, check, settings) for what, check in checks)):
        findings += answers
    return findings


async def bounded(what: str, check: Check, settings: Settings) -> list[Finding]:
    """What one check finds; that it takes too long, or fails itself, is a finding, too."""
    try:
        return await asyncio.wait_for(check(settings), CHECK_SECONDS)
    except TimeoutError:
        return [_fault(what, f"no answer within {CHECK_SECONDS:.0f} s", "check this machine's network and try again")]
    except Exception as error:
        # Whatever it is: the other checks still have something to say. Its words may hold anything, so they stay here.
        at = traceback.extract_tb(error.__traceback__)[-1]
        where = f"{type(error).__name__} at {Path(at.filename).name}:{at.lineno}"
        return [_fault(what, f"its check failed ({where})", "report this: it is a fault of mfi")]


def _settings(environ: Mapping[str, str]) -> tuple[list[Finding], Settings | None]:
    try:
        settings = load(environ)
    except SettingsError:
        return [
            _fault("settings", p, "correct it in the environment or in .env") for p in _every_problem(environ)
        ], None
    findings = []
    try:
        load(environ, to_run=True)
        findings.append(_ok("settings", "complete"))
    except SettingsError as error:
        findings += [_fault("settings", p, "set it in the environment or in .env") for p in error.problems]
        if settings.bot_token is None and settings.app_token is None:
            how = "`mfi manifest` prints the app to create at api.slack.com/apps; `mfi demo` needs no Slack at all"
            findings.append(_note("settings", "no Slack tokens yet", how))
    known = {s.name for s in SETTINGS} | {f"{s.name}_FILE" for s in SETTINGS if s.secret}
    findings += _misspelt(environ, known, settings.backends or ())
    if not settings.admins:
        findings.append(
            _note("settings", "MFI_ADMINS is empty: nobody may probe, acknowledge or fix", "list Slack ids in it")
        )
    if not settings.actions_on:
        findings.append(_note("settings", "MFI_ACTIONS is off: Fix now only shows what it would do"))
    return findings, settings


def _misspelt(environ: Mapping[str, str], known: set[str], specs: Sequence[BackendSpec]) -> list[Finding]:
    """Names that look like settings and are none, the mail systems' own included; one of an unknown kind may be."""
    from bot.backends import registry

    of_any = {spec.name: registry.names_of(spec.kind) for spec in specs}
    own = {f"MFI_{n.upper()}_{option}" for n, names in of_any.items() if names for option in (*names, "INTERVAL")}
    unjudged = tuple(f"MFI_{name.upper()}_" for name, names in of_any.items() if not names)
    findings = []
    for name in sorted(n for n in environ if n.startswith("MFI_") and n not in known | own):
        if not name.startswith(unjudged):
            near = difflib.get_close_matches(name, sorted(known | own), n=1, cutoff=0.8)
            findings.append(_note("settings", f"{name} is no setting" + (f"; did you mean {near[0]}?" if near else "")))
    return findings


def _every_problem(environ: Mapping[str, str]) -> Sequence[str]:
    """What is wrong, and what is missing besides."""
    try:
        load(environ, to_run=True)
    except SettingsError as error:
        return error.problems
    return ()


# --- database ----------------------------------------------------------------------------------------------------


async def _database(settings: Settings) -> list[Finding]:
    from storage.connection import Store, StoreError

    path = settings.database
    if not await asyncio.to_thread(path.parent.is_dir):
        fix = "make it, or name another file in MFI_DATABASE"
        return [_fault("database", f"there is no folder {path.parent}", fix)]
    if not await asyncio.to_thread(path.exists):
        return [_note("database", f"{path} does not exist yet; `mfi run` or `mfi import` makes it")]
    try:
        store = await Store.open(path)
    except StoreError as error:
        return [_fault("database", str(error), "put back a copy of the file, or name another one in MFI_DATABASE")]
    try:
        verdict = await store.read(lambda db: str(db.execute("PRAGMA quick_check(1)").fetchone()[0]))
    finally:
        await store.close()
    if verdict != "ok":
        return [_fault("database", f"{path} is damaged: {verdict}", "stop the bot and put back a copy of the file")]
    free = (await asyncio.to_thread(shutil.disk_usage, path.parent)).free // 2**20
    findings = [_ok("database", f"{path} is sound (SQLite {sqlite3.sqlite_version})")]
    if free < 200:
        findings.append(_fault("database", f"only {free} MiB free beside {path}", "make room: it needs 200 MiB"))
    return findings


# --- Slack -------------------------------------------------------------------------------------------------------

_SLACK_FIXES = {
    "invalid_auth": "copy the token again: api.slack.com/apps → your app → OAuth & Permissions",
    "not_authed": "copy the token again: api.slack.com/apps → your app → OAuth & Permissions",
    "token_revoked": "the app was removed: install it to the workspace again and copy the new token",
    "account_inactive": "the app was removed: install it to the workspace again and copy the new token",
    "channel_not_found": "MFI_ALERT_CHANNEL must be a channel id (C…) of this workspace; invite the bot if private",
    "is_archived": "unarchive the channel or name another one in MFI_ALERT_CHANNEL",
    "missing_scope": "apply the manifest that `mfi manifest` prints, then reinstall the app",
    "not_allowed_token_type": "SLACK_APP_TOKEN must be an app-level token (xapp-…) with connections:write",
}


async def _slack(settings: Settings) -> list[Finding]:
    findings: list[Finding] = []
    if settings.bot_token is not None:
        client = make_client(settings.bot_token.reveal(), settings.api_url)
        findings += await _asked("Slack bot token", lambda: _bot_token(client))
        if settings.alert_channel and all(f.level != "fault" for f in findings):
            channel = settings.alert_channel
            findings += await _asked("alert channel", lambda: _channel(client, channel))
    if settings.app_token is not None:
        app_client = make_client(settings.app_token.reveal(), settings.api_url)
        findings += [_app_advice(f) for f in await _asked("Slack app token", lambda: _app_token(app_client))]
    return findings


async def _asked(what: str, ask: Callable[[], Awaitable[list[Finding]]]) -> list[Finding]:
    """Turn what Slack or the network answers into a finding with its fix."""
    try:
        return await ask()
    except SlackApiError as error:
        word = str(error.response.get("error", "unknown"))[:60]
        return [_fault(what, f"Slack answers {word}", _SLACK_FIXES.get(word, f"look up {word} in Slack's API docs"))]
    except (SlackClientError, OSError, TimeoutError) as error:
        fix = "check SLACK_API_URL, the proxy (HTTPS_PROXY) and the firewall"
        return [_fault(what, f"Slack can't be reached ({type(error).__name__})", fix)]


async def _bot_token(client: AsyncWebClient) -> list[Finding]:
    answer = await client.auth_test()
    granted = {word.strip() for word in str(answer.headers.get("x-oauth-scopes", "")).split(",")} - {""}
    missing = sorted(set(SCOPES) - granted) if granted else []
    if missing:
        return [_fault("Slack bot token", f"scopes missing: {', '.join(missing)}", _SLACK_FIXES["missing_scope"])]
    return [_ok("Slack bot token", "valid, with every scope" if granted else "valid")]


async def _channel(client: AsyncWebClient, channel: str) -> list[Finding]:
    found = (await client.conversations_info(channel=channel)).get("channel") or {}
    if found.get("is_archived"):
        return [_fault("alert channel", "it is archived", _SLACK_FIXES["is_archived"])]
    if found.get("is_member") is False:
        return [_fault("alert channel", "the bot is not in it", "type /invite and the bot's name in that channel")]
    return [_ok("alert channel", "the bot is in it")]


async def _app_token(client: AsyncWebClient) -> list[Finding]:
    await client.apps_connections_open(app_token=client.token or "")
    return [_ok("Slack app token", "Socket Mode can connect")]


def _app_advice(finding: Finding) -> Finding:
    """The app token is kept at another place than the bot token."""
    if finding.level != "fault" or "Slack answers" not in finding.says:
        return finding
    where = "copy it again: api.slack.com/apps → your app → Basic Information → App-Level Tokens (connections:write)"
    return _fault(finding.what, finding.says, where)


async def _sample_alert(settings: Settings) -> list[Finding]:
    """Let Slack's own validator judge what our validator passed."""
    from bot.slack.sample import sample_alert

    sample = sample_alert()
    ours = blockkit_problems(sample, "message")
    if ours:
        return [_fault("sample alert", f"our own check: {ours[0].message}", "report this: it is a fault of mfi")]
    if settings.bot_token is None:
        return []
    client = make_client(settings.bot_token.reveal(), settings.api_url)

    async def ask() -> list[Finding]:
        await client.api_call("blocks.validate", json={"message": sample})
        return [_ok("sample alert", "Slack accepts it")]

    return await _asked("sample alert", ask)


# --- network -----------------------------------------------------------------------------------------------------


async def _dns(settings: Settings) -> list[Finding]:
    try:
        servers: Sequence[tuple[str, int]] = settings.nameservers or [
            (address, 53)
            for address in dns.asyncresolver.get_default_resolver().nameservers
            if isinstance(address, str)
        ]
    except dns.resolver.NoResolverConfiguration:
        return [_fault("DNS", "this machine has no name server", "set MFI_NAMESERVERS or fix /etc/resolv.conf")]
    return list(await asyncio.gather(*(_name_server(address, port) for address, port in servers)))


async def _name_server(address: str, port: int) -> Finding:
    """Any answer will do, NXDOMAIN too: the question is whether the server talks to us."""
    resolver = dns.asyncresolver.Resolver(configure=False)
    resolver.nameservers, resolver.port = [address], port
    try:
        await resolver.resolve("mfi-doctor.invalid.", "A", lifetime=4)
    except (dns.resolver.NXDOMAIN, dns.resolver.NoAnswer):
        pass
    except (dns.exception.DNSException, OSError) as error:
        says = f"name server {address}:{port} does not answer ({type(error).__name__})"
        return _fault("DNS", says, "check the network, or name another one in MFI_NAMESERVERS")
    return _ok("DNS", f"name server {address}:{port} answers")


async def _port_25(settings: Settings) -> list[Finding]:
    from bot.probes.runner import Prober

    witnesses = settings.egress_check or SMTP_WITNESS
    named = ", ".join(f"{host}:{port}" for host, port in witnesses)
    prober = Prober(nameservers=settings.nameservers or (), ca_file=None, allow=None)
    if await prober.egress_open(witnesses, timeout=6):
        return [_ok("port 25", f"outbound SMTP works ({named})")]
    fix = "let this machine connect outward to TCP 25; or set MFI_EGRESS_CHECK to servers it may reach"
    return [_fault("port 25", f"none of {named} answers: probes would blame the targets", fix)]


async def _backends(settings: Settings) -> list[Finding]:
    from bot.backends.abilities import abilities, lacks
    from bot.wiring import make_backends

    if not settings.backends:
        return [_note("mail systems", "MFI_BACKENDS is empty: connectors and queue come from `mfi import` only")]
    findings: list[Finding] = []
    try:
        backends = make_backends(settings)
    except SettingsError as error:
        return [_fault("mail systems", p, "correct it in the environment or in .env") for p in error.problems]
    try:
        answers = await asyncio.gather(*(backend.check() for backend in backends.values()))
    finally:
        await asyncio.gather(*(backend.close() for backend in backends.values()), return_exceptions=True)
    for (name, backend), found in zip(backends.items(), answers, strict=True):
        findings += [replace(finding, what=f"mail system {name}") for finding in found]
        if all(finding.level != "fault" for finding in found):
            can = backend.capabilities
            findings += [_note(f"mail system {name}", line) for line in (abilities(can), *lacks(can))]
    return findings
