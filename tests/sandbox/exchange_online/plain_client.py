"""A plain client of the stand-in that knows nothing but HTTP, and what its tests share."""

from __future__ import annotations

import json
import socket
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import aiohttp

from bot.sandbox.exchange_online import App, SandboxTenant

START = datetime(2026, 11, 24, 8, 0, tzinfo=UTC)
TO_ONPREM = "d0d71cb9-0000-4000-8000-000000000001"
TO_PARTNER = "d0d71cb9-0000-4000-8000-000000000002"
ANCHOR = "APP:SystemMailbox{bb558c35-97f1-4cb9-8ff7-d53741dc928c}@"
TRACES = "/admin/exchange/tracing/messageTraces"


class Clock:
    def __init__(self) -> None:
        self.now = START

    def __call__(self) -> datetime:
        return self.now

    def forward(self, **span: float) -> None:
        self.now += timedelta(**span)


@dataclass(frozen=True)
class Reply:
    status: int
    body: bytes
    headers: Mapping[str, str]

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def rows(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self.json["value"]
        return found

    @property
    def link(self) -> str | None:
        return self.json.get("@odata.nextLink")

    @property
    def why(self) -> str:
        """The real text of an Exchange error."""
        return str(self.json["error"]["innererror"]["internalexception"]["message"])


class Client:
    """Signs in with the secret; every call says who asks (the reader unless told otherwise)."""

    def __init__(self, session: aiohttp.ClientSession, tenant: SandboxTenant) -> None:
        self.session, self.tenant = session, tenant
        self._tokens: dict[tuple[str, str], str] = {}

    async def form(self, url: str, **form: str) -> Reply:
        return await self._send("POST", url, {}, data=form)

    async def token(self, resource: str, app: App | None = None) -> str:
        app = app or self.tenant.reader
        if (resource, app.client_id) not in self._tokens:
            reply = await self.form(
                f"{self.tenant.authority}/oauth2/v2.0/token",
                grant_type="client_credentials",
                client_id=app.client_id,
                client_secret=app.secret,
                scope=f"{resource}/.default",
            )
            self._tokens[resource, app.client_id] = reply.json["access_token"]
        return self._tokens[resource, app.client_id]

    def forget(self) -> None:
        self._tokens.clear()

    async def get(self, url: str, **headers: str) -> Reply:
        given = {"Authorization": f"Bearer {await self.token('https://graph.microsoft.com')}", **headers}
        return await self._send("GET", url, given)

    async def traces(self, where: str = "", **headers: str) -> Reply:
        """A listing; `where` is what follows the question mark."""
        return await self.get(f"{self.tenant.graph_url}{TRACES}?{where}", **headers)

    async def details(self, trace_id: str, recipient: str) -> Reply:
        call = f"getDetailsByRecipient(recipientAddress='{recipient}')"
        return await self.get(f"{self.tenant.graph_url}{TRACES}/{trace_id}/{call}")

    async def invoke(
        self, cmdlet: str, parameters: Any = None, *, app: App | None = None, url: str = "", **headers: str
    ) -> Reply:
        """InvokeCommand with what the real module's imitators send."""
        given = {
            "Authorization": f"Bearer {await self.token('https://outlook.office365.com', app)}",
            "Prefer": "odata.maxpagesize=1000",
            "X-AnchorMailbox": f"{ANCHOR}{self.tenant.tenant_id}",
            "X-CmdletName": cmdlet,
            "X-ResponseFormat": "json",
            "client-request-id": str(uuid.uuid4()),
            **{name.replace("_", "-"): value for name, value in headers.items()},
        }
        body = {"CmdletInput": {"CmdletName": cmdlet, "Parameters": {} if parameters is None else parameters}}
        url = url or f"{self.tenant.exo_url}/adminapi/beta/{self.tenant.tenant_id}/InvokeCommand"
        return await self._send("POST", url, {k: v for k, v in given.items() if v}, json=body)

    async def fix(self, cmdlet: str, parameters: Any) -> Reply:
        return await self.invoke(cmdlet, parameters, app=self.tenant.fixer)

    async def _send(self, method: str, url: str, headers: Mapping[str, str], **body: Any) -> Reply:
        async with self.session.request(method, url, headers=headers, **body) as response:
            return Reply(response.status, await response.read(), response.headers)


def closed_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
