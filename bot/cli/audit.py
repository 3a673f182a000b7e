"""`mfi audit`: who did or was refused what and what came of it, as a list, as a file, and whether it is untouched."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import click

from bot.cli.frame import EXIT_FAILING, EXIT_USAGE, ExitWith, print_json, read_settings, with_store

if TYPE_CHECKING:
    from storage.audit import ChainVerdict

json_option = click.option("--json", "as_json", is_flag=True, help="One JSON document on stdout.")


@click.group(invoke_without_command=True)
@json_option
@click.option("--csv", "as_csv", is_flag=True, help="A CSV file on stdout, with every entry, oldest first.")
@click.option("--all", "whole", is_flag=True, help="Every entry, oldest first; without it the newest ones.")
@click.pass_context
def audit(ctx: click.Context, as_json: bool, as_csv: bool, whole: bool) -> int | None:
    """Who did or was refused what, and what came of it.

    \b
    Examples:
      mfi audit                       the newest entries
      mfi audit --csv > audit.csv     all of them, for a spreadsheet
      mfi audit verify                has anybody changed the log?
    """
    if ctx.invoked_subcommand is not None:
        return None
    if as_json and as_csv:
        raise ExitWith(EXIT_USAGE, "--json and --csv can't be printed at once: choose one")
    from bot.terminal.audit import COLUMNS, render
    from bot.terminal.sheets import print_csv

    rows = _rows(whole=whole or as_csv)
    if as_json:
        print_json({"audit": rows})
    elif as_csv:
        print_csv(rows, COLUMNS)
    else:
        click.echo(render(rows))
    return 0


@audit.command(short_help="Was the log changed from outside?")
@click.option("--noted", metavar="HASH", help="A head that was noted earlier: is it still in the log?")
@json_option
def verify(noted: str | None, as_json: bool) -> int:
    """Work the log's chain of hashes out again: was an entry changed, taken out or put in?

    Note the head that it prints somewhere else: with --noted it proves later that nothing up to it was rewritten.
    """
    if noted is not None and not _is_hash(noted):
        raise ExitWith(EXIT_USAGE, "--noted takes the 64 hex digits that `mfi audit verify` printed as the head")
    from storage import audit as log

    wanted = noted.lower() if noted else None
    settings = read_settings()
    if not settings.database.exists():
        raise ExitWith(EXIT_USAGE, f"there is no database {settings.database} here; `mfi run` or `mfi import` makes it")
    verdict = asyncio.run(with_store(settings, lambda store: store.read(lambda db: log.verify(db, wanted))))
    sound = verdict.broken_at is None and verdict.knows is not False
    if as_json:
        print_json({"ok": sound, "entries": verdict.entries, "head": verdict.head, "broken_at": verdict.broken_at,
                    "knows_noted": verdict.knows})  # fmt: skip
    else:
        click.echo("\n".join(_said(verdict)))
    return 0 if sound else EXIT_FAILING


def _said(verdict: ChainVerdict) -> Sequence[str]:
    if verdict.broken_at is not None:
        return (
            f"The audit log was changed from outside: entry {verdict.broken_at} is not as it was written, or is gone.",
            f"The {verdict.entries} before it are as they were written. Compare with an earlier copy or export.",
        )
    head = (f"The audit log is as it was written: {verdict.entries} entries.", f"Head: {verdict.head}")
    if verdict.knows is None:
        return head
    if verdict.knows:
        return (*head, "The noted head is in it: nothing up to there was rewritten.")
    return (*head, "But the noted head is not in it: the log was rewritten, or it is another one.")


def _is_hash(text: str) -> bool:
    return len(text) == 64 and all(c in "0123456789abcdefABCDEF" for c in text)


def _rows(*, whole: bool) -> list[dict[str, Any]]:
    from bot.terminal.audit import read

    settings = read_settings()
    if not settings.database.exists():
        click.echo(f"mfi: there is no database {settings.database} here; `mfi run` or `mfi import` makes it", err=True)
        return []
    return asyncio.run(with_store(settings, lambda store: store.read(lambda db: read(db, whole=whole))))
