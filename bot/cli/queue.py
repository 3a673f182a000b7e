"""`mfi queue`: what waits, since when, when it bounces; and whose mail has bounced already."""

from __future__ import annotations

import asyncio
import re
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import click

from bot.cli.frame import EXIT_USAGE, ExitWith, now, print_json, read_settings, with_store

if TYPE_CHECKING:
    from sqlite_utils import Database

    from bot.core.policy import Policy
    from bot.core.views import OneQueue, QueueView, UnassignedQueue
    from storage.queue_records import Bounce

MOST_SHOWN = 200
"""So many bounced messages a terminal shows; files and JSON have them all."""
MOST = 1_000_000
LONGEST = timedelta(days=90)


def _span(ctx: click.Context, param: click.Parameter, value: str) -> timedelta:
    """A length of time such as 24h, 90m or 7d. Raises BadParameter that says what is wanted."""
    found = re.fullmatch(r"(\d{1,6})([mhd])", value.strip().lower())
    unit = {"m": "minutes", "h": "hours", "d": "days"}
    span = timedelta(**{unit[found[2]]: int(found[1])}) if found else timedelta(0)
    if not timedelta(0) < span <= LONGEST:
        raise click.BadParameter("wants a number with m, h or d, such as 24h, 90 days at most", ctx, param)
    return span


@click.command(
    epilog="Examples: mfi queue · mfi queue Contoso · mfi queue unassigned · mfi queue --bounced --csv > bounced.csv",
)
@click.argument("connector", required=False)
@click.option("--bounced", is_flag=True, help="Whose mail came back, to have it sent again.")
@click.option(
    "--since", metavar="TIME", default="24h", show_default=True, callback=_span, help="How far --bounced looks back."
)
@click.option("--csv", "as_csv", is_flag=True, help="With --bounced: a CSV file on stdout.")
@click.option("--json", "as_json", is_flag=True, help="One JSON document on stdout.")
def queue(connector: str | None, bounced: bool, since: timedelta, as_csv: bool, as_json: bool) -> None:
    """What waits, why, and when it bounces.

    With a CONNECTOR (or the beginning of its name): how old, bouncing when, for whom and from whom. The word
    unassigned stands for what belongs to no known connector: a content filter that is down, foreign servers.
    """
    from bot.core.unassigned import UNASSIGNED

    if as_csv and (as_json or not bounced):
        raise ExitWith(EXIT_USAGE, "--csv goes with --bounced, and not with --json")
    settings = read_settings()
    if not settings.database.exists():
        missing = f"there is no database {settings.database} here; `mfi run` or `mfi import` makes it"
        if connector is not None and connector.casefold() != UNASSIGNED:
            raise click.UsageError(f"no connector {connector[:60]!r}: {missing}")
        click.echo(f"mfi: {missing}", err=True)
        _say_nothing(bounced, as_csv, as_json)
        return
    if bounced:
        found = asyncio.run(with_store(settings, lambda store: store.read(lambda db: _bounced(db, connector, since))))
        _tell_bounced(found, since, as_csv, as_json)
        return
    policy = settings.policy()
    shown = asyncio.run(with_store(settings, lambda store: store.read(lambda db: _looked(db, connector, policy))))
    _tell(shown, as_json)


def _say_nothing(bounced: bool, as_csv: bool, as_json: bool) -> None:
    if as_json:
        print_json({"bounced" if bounced else "queue": []})
    elif bounced:
        _tell_bounced([], timedelta(hours=24), as_csv, as_json)
    else:
        click.echo("Nothing waits.")


def _id_of(db: Database, typed: str | None) -> int | None:
    """The connector that is meant; None where none is named. Raises UsageError if that is not clear."""
    from storage import connectors

    if typed is None:
        return None
    found = connectors.find(db, typed)
    if not found:
        raise click.UsageError(
            f"no connector {typed[:60]!r}. “mfi connectors” lists them; “mfi import connectors” adds"
        )
    if len(found) > 1:
        raise click.UsageError(f"{typed[:60]!r} fits {len(found)}: " + ", ".join(c.name for c in found[:10]))
    return found[0].id


def _bounced(db: Database, typed: str | None, since: timedelta) -> list[Bounce]:
    from bot.services.queue_views import means_unassigned
    from storage import queue as stored

    if typed is not None and means_unassigned(db, typed):
        return stored.bounced(db, unassigned=True, since=now() - since, limit=MOST)
    return stored.bounced(db, connector_id=_id_of(db, typed), since=now() - since, limit=MOST)


def _looked(db: Database, typed: str | None, policy: Policy) -> QueueView | OneQueue | UnassignedQueue:
    from bot.services.queue_views import means_unassigned, unassigned_queue
    from bot.services.views import one_queue, queue_view

    if typed is not None and means_unassigned(db, typed):
        return unassigned_queue(db, policy, now())
    wanted = _id_of(db, typed)
    one = one_queue(db, wanted, policy, now()) if wanted is not None else None
    return one or queue_view(db, policy, now())


def _tell(shown: QueueView | OneQueue | UnassignedQueue, as_json: bool) -> None:
    from bot.core.views import OneQueue, QueueView, UnassignedQueue
    from bot.terminal import queue_rows, queues

    if isinstance(shown, OneQueue):
        alone = QueueView(now=shown.row.now, connectors=(shown.row,))
        document: dict[str, Any] = {
            "queue": queue_rows.group_rows(alone),
            "connectors": [queue_rows.one_row(shown)],
            "stale": queue_rows.stale_rows(shown.never_read),
        }
        text = "" if as_json else queues.render_one(shown)
    elif isinstance(shown, UnassignedQueue):
        document = {
            "queue": queue_rows.group_rows(QueueView(now=shown.now, connectors=(), unassigned=shown.queue)),
            "connectors": [queue_rows.unassigned_row(shown)],
            "stale": queue_rows.stale_rows(shown.stale),
        }
        text = "" if as_json else queues.render_unassigned(shown)
    else:
        document = {
            "queue": queue_rows.group_rows(shown),
            "connectors": queue_rows.clock_rows(shown),
            "stale": queue_rows.stale_rows(shown.stale),
        }
        text = "" if as_json else queues.render_overview(shown)
    if as_json:
        print_json(document)
    else:
        click.echo(text)


def _tell_bounced(found: list[Bounce], since: timedelta, as_csv: bool, as_json: bool) -> None:
    from bot.core.forecast import period
    from bot.terminal import queue_rows, queues
    from bot.terminal.sheets import print_csv

    rows = queue_rows.bounce_rows(found)
    if as_json:
        print_json({"bounced": rows})
    elif as_csv:
        print_csv(rows, queue_rows.BOUNCED_COLUMNS)
    else:
        click.echo(queues.render_bounced(rows[:MOST_SHOWN], period(since)))
        if len(rows) > MOST_SHOWN:
            click.echo(f"… and {len(rows) - MOST_SHOWN:,} more: --csv has them all")
