"""The stand-in itself: files in the drop folder, and the scheduled task that makes them."""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
from datetime import UTC, datetime
from pathlib import Path

from bot.core.clock import Clock
from bot.sandbox.exchange_server.documents import Documents, Json, ScriptFaults
from bot.sandbox.exchange_server.names import Names
from bot.sandbox.exchange_server.orders import Orders, mac
from bot.sandbox.mail_system.tenant import Tenant


class SandboxExchangeServer:
    """One server. `key` None: it runs without -KeyFile and only writes documents. `directory`: with -DirectoryHours.

    As a context manager it runs like the scheduled task: it looks for orders every `pause` seconds and writes a
    document after each, and at least every `interval` seconds. Without, call `write_document` and `obey`.
    """

    def __init__(
        self,
        tenant: Tenant,
        drop: Path,
        *,
        clock: Clock,
        key: bytes | None = None,
        directory: bool = False,
        server: str = "EX01",
        pause: float = 0.05,
        interval: float = 1.0,
    ) -> None:
        self.tenant = tenant
        self.drop = drop
        self.names = Names(server)
        self.faults = ScriptFaults()
        self._clock = clock
        self._key = key
        self._documents = Documents(tenant, self.names, self.faults, acts=key is not None, directory=directory)
        self._orders = Orders(tenant, self.names, key or b"", clock)
        self._pause = pause
        self._interval = interval
        self._task: asyncio.Task[None] | None = None

    @property
    def done(self) -> set[str]:
        """The ids of the orders that were begun."""
        return self._orders.done

    async def __aenter__(self) -> SandboxExchangeServer:
        self.run_once()
        self._task = asyncio.create_task(self._run())
        return self

    async def __aexit__(self, *_error: object) -> None:
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task

    async def _run(self) -> None:
        loop = asyncio.get_running_loop()
        due = loop.time() + self._interval
        while True:
            await asyncio.sleep(self._pause)
            if self.obey() or loop.time() >= due:
                self.write_document()
                due = loop.time() + self._interval

    def run_once(self) -> None:
        """One run of the script: orders, then a document."""
        for folder in (self.drop / "orders", self.drop / "results"):
            folder.mkdir(parents=True, exist_ok=True)
        self.obey()
        self.write_document()

    def document(self, started: datetime) -> Json:
        """The JSON of a document that is begun at this moment."""
        return self._documents.document(started)

    def write_document(self) -> Path | None:
        """Write the newest state, as the script does; returns the file."""
        if self.faults.silent:
            return None
        started = self._clock().astimezone(UTC)
        path = self.drop / f"mfi-snapshot-{started:%Y%m%dT%H%M%S}{started.microsecond // 1000:03}Z"
        content = json.dumps(self.document(started)).encode()
        path.with_suffix(".tmp").write_bytes(content)
        if self._key is not None:
            path.with_suffix(".sig").write_text(mac(self._key, content))
        path.with_suffix(".tmp").replace(path.with_suffix(".json"))
        for old in sorted(self.drop.glob("mfi-snapshot-*.json"))[:-5]:
            old.unlink()
            old.with_suffix(".sig").unlink(missing_ok=True)
        return path.with_suffix(".json")

    def obey(self) -> int:
        """Carry out the orders that lie there; returns how many were looked at."""
        if self._key is None or self.faults.deaf:
            return 0
        looked_at = 0
        for path in sorted((self.drop / "orders").glob("*.order")):
            if re.fullmatch(r"[0-9a-f]{32}", path.stem):
                looked_at += 1
                content = path.read_bytes()
                path.unlink()
                result = self._orders.carried_out(path.stem, content)
                if not self.faults.dies_while_acting:
                    self._write_result(self._key, path.stem, result)
        return looked_at

    def _write_result(self, key: bytes, order_id: str, result: Json) -> None:
        body = json.dumps(result).encode()
        path = self.drop / "results" / order_id
        path.with_suffix(".tmp").write_bytes(f"hmac-sha256 {mac(key, body)}\n".encode() + body)
        path.with_suffix(".tmp").replace(path.with_suffix(".result"))
