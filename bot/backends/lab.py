"""The mail system of the sandbox, spoken to over its control API. It truly acts: everything of the port is possible.

Every request has a deadline and a bounded answer. What a failure means is decided by how far the request came:
no connection, or a read without an answer: Unreachable. The mail system said no: Refused. An act that was sent
and got no clear answer: OutcomeUnknown. Answers are checked like any foreign data; a list shorter than its total is
refused as a whole.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar
from urllib.parse import quote

import aiohttp

from bot.backends.ports import (
    BackendError,
    MessageRef,
    OutcomeUnknown,
    RecipientAnswer,
    Refused,
    Snapshot,
    Unreachable,
)
from bot.core.capabilities import Capability, Family, Place
from bot.core.finding import Finding
from knowledge.diagnose import diagnose
from storage.records import (
    ConnectorFacts,
    ConnectorKind,
    DomainFacts,
    DomainType,
    MessageFacts,
    MessageStatus,
    TlsSetting,
)

MAX_ANSWER = 64 * 1024 * 1024
CHUNK = 1000
Json = dict[str, Any]
T = TypeVar("T")


class LabBackend:
    """One sandbox mail system. `url` is its control API; `timeout` bounds every single request, in seconds."""

    def __init__(self, name: str, url: str, *, timeout: float = 10.0) -> None:
        self._name = name
        self._url = url.rstrip("/")
        self._timeout = aiohttp.ClientTimeout(total=timeout, connect=timeout)
        self._client: aiohttp.ClientSession | None = None

    @property
    def name(self) -> str:
        """The instance's name in MFI_BACKENDS."""
        return self._name

    @property
    def place(self) -> Place:
        """It behaves like Exchange Online, only quicker."""
        return Place(family=Family.EXCHANGE_ONLINE)

    @property
    def capabilities(self) -> frozenset[Capability]:
        """Everything, so nothing has to wait for a retry to be rejected."""
        return frozenset(Capability) - {Capability.REJECTS_AT_RETRY}

    async def snapshot(self) -> Snapshot:
        """Read connectors, domains and queue."""
        return Snapshot(
            connectors=await self._rows("GET", "/v1/connectors", self._connector),
            domains=await self._rows("GET", "/v1/domains", self._domain),
            messages=await self._rows("GET", "/v1/queue", self._message),
        )

    async def recipients(self, addresses: Iterable[str]) -> RecipientAnswer:
        """Ask the directory; what it doesn't answer for stays unknown."""
        wanted = sorted({address.lower() for address in addresses})
        valid: set[str] = set()
        invalid: set[str] = set()
        for chunk in _chunks(wanted):
            answer = await self._ask("POST", "/v1/directory/lookup", {"addresses": chunk})
            valid |= self._known(answer, "valid").intersection(chunk)
            invalid |= self._known(answer, "invalid").intersection(chunk)
        return RecipientAnswer(valid=frozenset(valid), invalid=frozenset(invalid - valid))

    async def connector(self, key: str) -> ConnectorFacts | None:
        """One connector as it is now."""
        row = (await self._ask("GET", f"/v1/connectors/{quote(key, safe='')}")).get("connector")
        return None if row is None else self._checked(self._connector, row)

    async def domain(self, name: str) -> DomainFacts | None:
        """One accepted domain as it is now."""
        row = (await self._ask("GET", f"/v1/domains/{quote(name, safe='')}")).get("domain")
        return None if row is None else self._checked(self._domain, row)

    async def messages(self, refs: Iterable[MessageRef]) -> Sequence[MessageFacts]:
        """These messages as they are now; unknown ones are absent."""
        found: list[MessageFacts] = []
        for chunk in _chunks([[ref.key, ref.recipient] for ref in refs]):
            found += await self._rows("POST", "/v1/messages/lookup", self._message, {"refs": chunk})
        return found

    async def reject(self, refs: Sequence[MessageRef], reason: str) -> None:
        """End these with an NDR to each sender; in chunks, so a failure can come after some are done."""
        begun = False
        for chunk in _chunks([[ref.key, ref.recipient] for ref in refs]):
            try:
                await self._act("POST", "/v1/messages/reject", {"refs": chunk, "reason": reason})
            except BackendError as error:
                if begun:
                    raise OutcomeUnknown(f"only some were rejected: {error}") from error
                raise
            begun = True

    async def set_domain_type(self, name: str, to: DomainType) -> None:
        """Change an accepted domain's type."""
        await self._act("PATCH", f"/v1/domains/{quote(name, safe='')}", {"type": to.value})

    async def set_connector_enabled(self, key: str, *, enabled: bool) -> None:
        """Switch a connector."""
        await self._act("PATCH", f"/v1/connectors/{quote(key, safe='')}", {"enabled": enabled})

    async def retry(self, connector_key: str) -> None:
        """Make everything that waits at a connector due."""
        await self._act("POST", f"/v1/connectors/{quote(connector_key, safe='')}/retry", {})

    async def check(self) -> Sequence[Finding]:
        """Does it answer?"""
        try:
            snapshot = await self.snapshot()
        except BackendError as error:
            return [
                Finding(
                    level="fault", what=self._name, says=str(error), fix="check its MFI_… settings and that it runs"
                )
            ]
        return [Finding(level="ok", what=self._name, says=f"answers; {len(snapshot.messages or ())} messages wait")]

    async def close(self) -> None:
        """Release connections."""
        client, self._client = self._client, None
        if client is not None:
            await client.close()

    async def _rows(self, method: str, path: str, read: Callable[[Json], T], body: Json | None = None) -> list[T]:
        answer = await self._ask(method, path, body)
        rows, total = answer.get("rows"), answer.get("total")
        if not isinstance(rows, list) or len(rows) != total:
            raise Unreachable(f"{self._name} answered with an incomplete list for {path}; it is read again later")
        return [self._checked(read, row) for row in rows]

    async def _ask(self, method: str, path: str, body: Json | None = None) -> Json:
        """A read: whatever goes wrong, nothing happened."""
        try:
            return await self._exchange(method, path, body)
        except OutcomeUnknown as error:
            raise Unreachable(str(error)) from None

    async def _act(self, method: str, path: str, body: Json) -> None:
        await self._exchange(method, path, body)

    async def _exchange(self, method: str, path: str, body: Json | None) -> Json:
        try:
            async with self._session().request(method, self._url + path, json=body, allow_redirects=False) as response:
                content = await _bounded(response)
                return self._understood(response.status, content)
        except (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError) as error:
            raise Unreachable(f"{self._name} can't be reached at {self._url}: {type(error).__name__}") from None
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:
            raise OutcomeUnknown(f"{self._name} gave no clear answer to {path}: {type(error).__name__}") from None

    def _understood(self, status: int, content: bytes) -> Json:
        answer = json.loads(content)
        if not isinstance(answer, dict):
            raise ValueError("not an object")
        if 400 <= status < 500:
            raise Refused(f"{self._name} refused: {str(answer.get('error', status))[:200]}")
        if status != 200:
            raise ValueError(f"HTTP {status}")
        return answer

    def _session(self) -> aiohttp.ClientSession:
        if self._client is None:
            self._client = aiohttp.ClientSession(timeout=self._timeout, trust_env=False)
        return self._client

    def _known(self, answer: Json, name: str) -> set[str]:
        found = answer.get(name)
        if not isinstance(found, list) or not all(isinstance(one, str) for one in found):
            raise Unreachable(f"{self._name}'s directory gave an answer that can't be read")
        return {one.lower() for one in found}

    def _checked(self, read: Callable[[Json], T], row: object) -> T:
        try:
            if not isinstance(row, dict):
                raise TypeError("not an object")
            return read(row)
        except (KeyError, TypeError, ValueError) as error:
            raise Unreachable(f"{self._name} gave a row that can't be read: {type(error).__name__} {error}") from None

    def _connector(self, row: Json) -> ConnectorFacts:
        interval = row.get("probe_interval")
        return ConnectorFacts(
            backend=self._name,
            key=str(row["key"]),
            name=str(row["name"]),
            kind=ConnectorKind(row["kind"]),
            enabled=_boolean(row, "enabled"),
            use_mx=_boolean(row, "use_mx"),
            smart_hosts=tuple(map(str, row["smart_hosts"])),
            port=None if row.get("port") is None else int(row["port"]),
            recipient_domains=tuple(map(str, row["recipient_domains"])),
            tls_setting=TlsSetting(row["tls_setting"]),
            tls_domain=_text(row, "tls_domain"),
            partner_contact=_text(row, "partner_contact"),
            alert_channel=_text(row, "alert_channel"),
            probe_interval=None if interval is None else timedelta(seconds=float(interval)),
        )

    def _domain(self, row: Json) -> DomainFacts:
        return DomainFacts(
            backend=self._name,
            name=str(row["name"]),
            type=DomainType(row["type"]),
            match_subdomains=_boolean(row, "match_subdomains"),
        )

    def _message(self, row: Json) -> MessageFacts:
        reason = _text(row, "reason")
        return MessageFacts(
            backend=self._name,
            key=str(row["key"]),
            recipient=str(row["recipient"]),
            sender=str(row["sender"]),
            received_at=_moment(row["received_at"]),
            expires_at=_moment(row["expires_at"]),
            status=MessageStatus(row["status"]),
            size=int(row["size"]),
            code=diagnose(reason).code if reason else None,
            reason=reason,
            remote_host=_text(row, "remote_host"),
            remote_ip=_text(row, "remote_ip"),
            evidence_at=None if row.get("evidence_at") is None else _moment(row["evidence_at"]),
            connector_key=_text(row, "connector_key"),
        )


async def _bounded(response: aiohttp.ClientResponse) -> bytes:
    content = bytearray()
    async for part in response.content.iter_chunked(65536):
        content += part
        if len(content) > MAX_ANSWER:
            raise ValueError("answer too long")
    return bytes(content)


def _chunks(rows: Sequence[T]) -> Iterable[list[T]]:
    return (list(rows[start : start + CHUNK]) for start in range(0, len(rows), CHUNK))


def _boolean(row: Mapping[str, object], name: str) -> bool:
    found = row[name]
    if not isinstance(found, bool):
        raise TypeError(f"{name} is no boolean")
    return found


def _text(row: Mapping[str, object], name: str) -> str | None:
    found = row.get(name)
    return None if found is None else str(found)


def _moment(found: object) -> datetime:
    moment = datetime.fromisoformat(str(found))
    if moment.tzinfo is None:
        raise ValueError("a moment without a zone")
    return moment.astimezone(UTC)
