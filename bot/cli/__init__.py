"""The `mfi` command: parse words, call one use case, print. Each command imports only what it needs.

Exit codes: 0 fine (degraded too), 1 the thing checked is failing, 2 bad usage or settings, 3 database unusable,
4 another instance runs, 70 a fault of mfi or of the system. An error is one line on stderr that says what to do; a
traceback never reaches a user.
"""

from __future__ import annotations

import asyncio
import difflib
import os
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import click

from bot.cli.frame import EXIT_FAILING, EXIT_FAULT, EXIT_USAGE, ExitWith, now, print_json, read_settings, with_store
from bot.settings import SettingsError

MAX_TEXT = 64 * 1024


class Commands(click.Group):
    """A group that answers an unknown word with the nearest command."""

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """As click does it, but with a suggestion."""
        if self.get_command(ctx, args[0]) is None:
            near = difflib.get_close_matches(args[0], self.list_commands(ctx), n=1, cutoff=0.5)
            hint = f" Did you mean “mfi {near[0]}”?" if near else ""
            raise click.UsageError(f"no command {args[0][:40]!r}.{hint} “mfi --help” lists them")
        return super().resolve_command(ctx, args)


def run(argv: Sequence[str]) -> int:
    """Run one command line; returns the exit code."""
    try:
        result = cli.main(args=list(argv), prog_name="mfi", standalone_mode=False)
        sys.stdout.flush()
        return result if isinstance(result, int) else 0
    except ExitWith as end:
        return _complain(end.code, *end.lines)
    except SettingsError as error:
        return _complain(EXIT_USAGE, *error.problems)
    except click.exceptions.NoArgsIsHelpError as help_text:
        click.echo(help_text.format_message())
        return EXIT_USAGE
    except click.ClickException as wrong:
        return _complain(EXIT_USAGE, " ".join(wrong.format_message().split()))
    except (click.Abort, KeyboardInterrupt):
        return _complain(130, "stopped")
    except BrokenPipeError:
        return _close_stdout(0)
    except OSError as error:
        return _close_stdout(_complain(EXIT_FAULT, f"the system refused: {error.strerror or error}"))
    except Exception as error:
        if os.environ.get("MFI_LOG_LEVEL", "").lower() == "debug":
            raise
        where = "MFI_LOG_LEVEL=debug shows where; please report it"
        return _complain(EXIT_FAULT, f"a fault in mfi itself: {type(error).__name__}: {error} ({where})"[:500])


def _close_stdout(code: int) -> int:
    """Nobody reads on, or nothing can be written: what is still buffered must not raise again at exit."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    return code


def _complain(code: int, *lines: str) -> int:
    for line in lines:
        click.echo(f"mfi: {line}", err=True)
    return code


json_option = click.option("--json", "as_json", is_flag=True, help="One JSON document on stdout.")


@click.group(
    cls=Commands,
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="Start with: mfi demo",
)
@click.version_option(package_name="mfi", prog_name="mfi")
def cli() -> None:
    """Mail-flow incidents in Slack: notices a dead connector, says why, fixes it after a confirmation."""


# --- commands that need nothing -----------------------------------------------------------------------------------


@cli.command(
    context_settings={"ignore_unknown_options": True},
    epilog="Examples: mfi explain 4.4.316 · mfi explain '450 4.4.317 Cannot connect …' · mfi explain - < bounce.eml",
)
@click.argument("text", nargs=-1, type=click.UNPROCESSED)
@json_option
def explain(text: tuple[str, ...], as_json: bool) -> None:
    """Explain an error code or a pasted error.

    - reads the text from stdin; a whole bounce message is fine too.
    """
    from knowledge.diagnose import explain as explain_text

    given = _stdin() if text == ("-",) or not text else " ".join(text)
    if not given.strip():
        raise ExitWith(EXIT_USAGE, "nothing to explain: give a code or the error's text, such as mfi explain 4.4.316")
    explanation = explain_text(given)
    if as_json:
        print_json(explanation.document())
    else:
        from bot.terminal.explain import render_explanation

        click.echo(render_explanation(explanation, note=sys.stdout.isatty()))


def _stdin() -> str | bytes:
    """What was piped in; nothing when there is no pipe."""
    if sys.stdin is None or sys.stdin.closed or sys.stdin.isatty():
        return ""
    return sys.stdin.buffer.read(MAX_TEXT)


@cli.command()
def manifest() -> None:
    """Print the Slack app manifest to paste.

    At api.slack.com/apps: Create New App, From a manifest.
    """
    from bot.slack.manifest import manifest_yaml

    click.echo(manifest_yaml(), nl=False)


@cli.command(epilog="It opens only loopback ports, needs no Slack and no root, and leaves nothing behind.")
@click.option("--port", type=click.IntRange(0, 65535), default=0, show_default="any free one", help="Port of the page.")
@click.option("--database", type=click.Path(path_type=Path), help="Keep the bot's database here.")
def demo(port: int, database: Path | None) -> int:
    """Try everything on this machine, without Slack.

    The unchanged bot, a sandbox Slack page, broken mail servers, a name server and a small mail system, on loopback.
    """
    from bot.demo import run_demo

    if database is not None and not database.absolute().parent.is_dir():
        raise ExitWith(EXIT_USAGE, f"--database: there is no directory {database.absolute().parent}")
    try:
        return asyncio.run(run_demo(port=port, database=database and database.absolute()))
    except OSError as error:
        raise ExitWith(EXIT_USAGE, f"the demo can't open what it needs: {error.strerror or error}") from None


# --- the bot --------------------------------------------------------------------------------------------------------


@cli.command(name="run")
def run_bot() -> int:
    """Run the bot.

    It reads mail systems, probes, alerts, answers and fixes until Ctrl-C or SIGTERM.
    """
    from bot.app import StartRefused, serve

    try:
        return asyncio.run(serve(read_settings(to_run=True)))
    except StartRefused as refusal:
        raise ExitWith(refusal.exit_code, *refusal.lines) from None


@cli.command()
@click.option("--online", is_flag=True, help="Also let Slack itself check a sample alert.")
@json_option
def doctor(online: bool, as_json: bool) -> int:
    """Say what is wrong here, and the exact fix.

    Settings, database, Slack tokens and scopes, DNS, outbound port 25, mail systems.
    """
    from bot.doctor import examine
    from bot.settings import read_environment
    from bot.terminal.tables import render_findings

    findings = asyncio.run(examine(read_environment(os.environ), online=online))
    failing = any(f.level == "fault" for f in findings)
    if as_json:
        print_json({"ok": not failing, "findings": [f.document() for f in findings]})
    else:
        click.echo(render_findings(findings))
    return EXIT_FAILING if failing else 0


# --- data in --------------------------------------------------------------------------------------------------------


@cli.command(
    name="import",
    epilog="Examples: mfi import connectors connectors.json · mfi import messages trace.csv",
)
@click.argument("kind", type=click.Choice(["connectors", "domains", "messages", "recipients"]))
@click.argument("file", type=click.Path(path_type=Path))
@json_option
def import_(kind: str, file: Path, as_json: bool) -> int:
    """Take over an exported file. Doing it again is harmless.

    \b
    connectors  Get-OutboundConnector or Get-SendConnector (JSON or CSV)
    domains     Get-AcceptedDomain (JSON or CSV)
    messages    a message trace (admin center, historical report or Graph),
                or Get-Message of an Exchange Server (JSON or CSV)
    recipients  the addresses that exist, one a line;
                `# complete: contoso.com` claims that they are all of a domain
    """
    from bot.backends.files import UnreadableFile
    from bot.services.importing import import_file
    from bot.terminal.tables import render_import

    settings = read_settings()
    try:
        report = asyncio.run(with_store(settings, lambda store: import_file(store, kind, file, now())))
    except UnreadableFile as error:
        raise ExitWith(EXIT_USAGE, str(error)) from None
    if as_json:
        problems = [asdict(problem) for problem in report.problems]
        print_json({"kind": report.kind, **asdict(report.counts), "problems": problems, "notes": report.notes})
    else:
        click.echo(render_import(report))
    used = report.counts.added + report.counts.changed + report.counts.unchanged
    failed = any(problem.rows or not problem.line for problem in report.problems)
    return EXIT_USAGE if failed and not used else 0


@cli.command()
@click.argument("backend", required=False)
@json_option
def sync(backend: str | None, as_json: bool) -> int:
    """Read the mail systems of MFI_BACKENDS once."""
    from bot.terminal.tables import render_syncs
    from bot.wiring import sync_once

    settings = read_settings()
    names = [spec.name for spec in settings.backends or ()]
    if not names:
        raise ExitWith(EXIT_USAGE, "MFI_BACKENDS is not set: nothing to read. `mfi import` reads files without it")
    if backend and backend not in names:
        raise ExitWith(EXIT_USAGE, f"no backend {backend[:40]!r} in MFI_BACKENDS; there is: {', '.join(names)}")
    outcomes = asyncio.run(
        with_store(settings, lambda store: sync_once(settings, store, [backend] if backend else names))
    )
    if as_json:
        print_json({"backends": outcomes})
    else:
        click.echo(render_syncs(outcomes))
    return EXIT_FAILING if any(o["error"] for o in outcomes) else 0


# --- looking --------------------------------------------------------------------------------------------------------


def _listing(name: str, help_text: str) -> None:
    """Declare one command that lists what is stored."""

    @cli.command(name=name, help=help_text)
    @json_option
    def show(as_json: bool) -> None:
        from bot.terminal import listings

        moment, settings = now(), read_settings()
        policy = settings.policy()
        rows: list[dict[str, object]] = []
        unread = [spec.name for spec in settings.backends or ()] if name == "connectors" else []
        if settings.database.exists():
            rows = asyncio.run(with_store(settings, lambda store: listings.read(name, store, moment, policy)))
            if unread:
                unread = asyncio.run(with_store(settings, lambda store: listings.never_read(store, unread)))
        else:
            _complain(0, f"there is no database {settings.database} here; `mfi run` or `mfi import` makes it")
        if as_json:
            print_json({name: rows} | ({"never_read": unread} if unread else {}))
        else:
            if rows or not unread:
                click.echo(listings.render(name, rows, moment))
            if unread:
                click.echo(listings.hint(unread))


for _name, _help in {
    "connectors": "Every connector, its last probe, what waits.",
    "incidents": "Incidents, newest first.",
    "outbox": "What Slack is owed or did not take.",
}.items():
    _listing(_name, _help)


def _register_others() -> None:
    from bot.cli.audit import audit
    from bot.cli.probe import probe
    from bot.cli.queue import queue

    cli.add_command(audit)
    cli.add_command(probe)
    cli.add_command(queue)


_register_others()
