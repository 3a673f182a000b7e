"""What every command needs: settings, the database beside a running bot, one JSON document, one line for a fault."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Coroutine
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, TypeVar

import click

if TYPE_CHECKING:
    from bot.settings import Settings
    from storage.connection import Store

T = TypeVar("T")

EXIT_FAILING, EXIT_USAGE, EXIT_DATABASE, EXIT_RUNNING, EXIT_FAULT = 1, 2, 3, 4, 70


class ExitWith(Exception):
    """End the command with this exit code and these lines on stderr."""

    def __init__(self, code: int, *lines: str) -> None:
        super().__init__(*lines)
        self.code, self.lines = code, lines


def read_settings(*, to_run: bool = False) -> Settings:
    from bot.settings import SettingsError, load, read_environment

    try:
        return load(read_environment(os.environ), to_run=to_run)
    except SettingsError as error:
        hint = ("`mfi demo` tries everything on this machine and needs no Slack at all",) if to_run else ()
        raise ExitWith(EXIT_USAGE, *error.problems, *hint) from None


async def with_store(settings: Settings, work: Callable[[Store], Coroutine[Any, Any, T]]) -> T:
    """Open the database beside a bot that may be running, do the work, close."""
    from storage.connection import AlreadyRunning, Store, StoreError, Unusable

    try:
        store = await Store.open(settings.database)
        try:
            return await work(store)
        finally:
            await store.close()
    except AlreadyRunning as error:
        raise ExitWith(EXIT_RUNNING, str(error)) from None
    except Unusable as error:
        raise ExitWith(EXIT_DATABASE, str(error)) from None
    except StoreError as error:
        raise ExitWith(EXIT_DATABASE, str(error)) from None


def print_json(document: object) -> None:
    click.echo(json.dumps(document, ensure_ascii=False, default=_as_json))


def _as_json(value: object) -> object:
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat().replace("+00:00", "Z")
    return str(value)


def now() -> datetime:
    return datetime.now(UTC)
