"""Exchange cmdlets over the transport of Microsoft's own PowerShell module, `InvokeCommand`, which nobody documents.

Promises: a list is whole or CmdletError/BackendError is raised; a change is sent once (again only where Exchange says
that it was too busy to begin); after a lost answer it raises OutcomeUnknown. One request at a time, with a pause.
"""

from __future__ import annotations

import asyncio
import json
import re
import time
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from bot.backends.exchange_online.clouds import Endpoints, origin
from bot.backends.exchange_online.http import Answer, Sleep, Wire, patiently
from bot.backends.exchange_online.rows import Json, document, listed
from bot.backends.exchange_online.signin import SignIn
from bot.backends.ports import BackendError, OutcomeUnknown, Refused, Unreachable

ANCHOR = "APP:SystemMailbox{{bb558c35-97f1-4cb9-8ff7-d53741dc928c}}@{}"
"""The mailbox that routes app-only requests; the same in every tenant."""
MANAGE = "Exchange.ManageAsApp"
MANAGE_V2 = "Exchange.ManageAsAppV2"
MAX_PAGES = 200
PAUSE = 0.1
"""Seconds between two requests."""
_MORE = "resultsize"
"""The parameter that Exchange names, in any language, where it has more rows than it gave."""
_PREFIX = re.compile(r"(?:Ex[0-9A-F]{6})?\|([A-Za-z0-9_.+]{1,200})\|", re.S)


class CmdletError(Refused):
    """Exchange carried the request in but answered no. `type`: the .NET type of its error, without namespace."""

    def __init__(self, text: str, type_name: str) -> None:
        super().__init__(text)
        self.type = type_name


class NotAllowed(Refused):
    """The app registration lacks a grant. `status` 401: the application permission; 403: a role (or no such cmdlet)."""

    def __init__(self, text: str, status: int, permission: str) -> None:
        super().__init__(text)
        self.status = status
        self.permission = permission


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """A cmdlet's whole answer. `warnings`: what Exchange says beside it, such as that it isn't whole after all.

    `linked`: that there are more rows, said by pages that linked to them.
    """

    rows: list[Json]
    warnings: tuple[str, ...] = ()
    linked: tuple[str, ...] = ()

    def every(self, what: str) -> list[Json]:
        """The rows. Raises Unreachable where Exchange says that there are more."""
        for warning in self.warnings:
            if _MORE in warning.lower():
                raise Unreachable(f"Exchange did not give all {what}: {warning}")
        return self.rows


@dataclass(slots=True)
class _Pace:
    """One request at a time, with a pause after each."""

    sleep: Sleep
    monotonic: Callable[[], float]
    turn: asyncio.Lock = field(default_factory=asyncio.Lock)
    next: float = 0.0

    async def __aenter__(self) -> None:
        await self.turn.acquire()
        try:
            if (wait := self.next - self.monotonic()) > 0:
                await self.sleep(min(wait, PAUSE))
        except BaseException:
            self.turn.release()
            raise

    async def __aexit__(self, *_: object) -> None:
        self.next = self.monotonic() + PAUSE
        self.turn.release()


class Invoker:
    """Runs cmdlets as one app registration."""

    def __init__(
        self,
        places: Endpoints,
        wire: Wire,
        signin: SignIn,
        *,
        sleep: Sleep = asyncio.sleep,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._places = places
        self._wire = wire
        self._signin = signin
        self._sleep = sleep
        self._pace = _Pace(sleep, monotonic)
        self._connection = str(uuid.uuid4())

    async def read(
        self,
        cmdlet: str,
        parameters: Mapping[str, Any] | None = None,
        *,
        api: str = "",
        spend: Callable[[], None] = lambda: None,
    ) -> Found:
        """Every row that a Get- cmdlet gives. `api`: that endpoint of the official v2.0 API instead.

        `spend` is called before each request, also before one that is sent again, and may raise instead.
        """
        path = f"v2.0/{self._places.tenant}/{api}" if api else f"beta/{self._places.tenant}/InvokeCommand"
        url = f"{self._places.exo_url}/adminapi/{path}"
        rows: list[Json] = []
        warnings: list[str] = []
        linked: list[str] = []
        asked: set[str] = set()
        while True:
            answer = await self._sent(url, cmdlet, parameters or {}, spend)
            try:
                page = document(answer.body)
                rows += listed(page)
            except ValueError as error:
                raise Unreachable(f"Exchange's answer to {cmdlet} can't be read: {error}") from None
            asked.add(url)
            following = page.get("@odata.nextLink")
            for one in _warnings(page):
                (warnings if following is None or _MORE not in one.lower() else linked).append(one)
            if following is None:
                return Found(rows=rows, warnings=tuple(warnings), linked=tuple(linked))
            if not isinstance(following, str) or origin(following) != origin(self._places.exo_url):
                raise Unreachable(f"Exchange's list of {cmdlet} goes on at another host, where our token must not go")
            if following in asked or len(asked) >= MAX_PAGES:
                raise Unreachable(f"Exchange's list of {cmdlet} does not end; it is read again later")
            url = following

    async def change(self, cmdlet: str, parameters: Mapping[str, Any]) -> None:
        """Run a Set- cmdlet. Raises OutcomeUnknown when it may have been carried out: read the state."""
        url = f"{self._places.exo_url}/adminapi/beta/{self._places.tenant}/InvokeCommand"
        answer = await self._sent(url, cmdlet, parameters)
        if answer.body.strip():
            try:
                document(answer.body)
            except ValueError:
                raise OutcomeUnknown(f"Exchange's answer to {cmdlet} can't be read") from None

    async def _sent(
        self, url: str, cmdlet: str, parameters: Mapping[str, Any], spend: Callable[[], None] | None = None
    ) -> Answer:
        """`spend` None: a change, which is not repeated."""
        answer = await self._signed(url, cmdlet, parameters, spend)
        if answer.status == 401:
            # Nothing was carried out. A token that was taken back, or lacks what was granted since, is exchanged once.
            await self._signin.forget()
            answer = await self._signed(url, cmdlet, parameters, spend)
        if answer.status in (200, 204):
            return answer
        permission = MANAGE_V2 if "/v2.0/" in url else MANAGE
        raise failure(answer, cmdlet, self._signin.registration.role, permission, repeatable=spend is not None)

    async def _signed(
        self, url: str, cmdlet: str, parameters: Mapping[str, Any], spend: Callable[[], None] | None
    ) -> Answer:
        token = await self._signin.token(self._places.exo_scope)
        body = {"CmdletInput": {"CmdletName": cmdlet, "Parameters": dict(parameters)}}

        async def once() -> Answer:
            async with self._pace:
                if spend is not None:
                    spend()
                return await self._wire.send("POST", url, headers=self._headers(token, cmdlet), json=body)

        return await patiently(once, repeatable=spend is not None, clock=self._wire.now, sleep=self._sleep)

    def _headers(self, token: str, cmdlet: str) -> dict[str, str]:
        return {
            "Authorization": f"Bearer {token}",
            "Accept": "application/json",
            "Content-Type": "application/json; charset=utf-8",
            "Prefer": "odata.maxpagesize=1000",
            "X-AnchorMailbox": ANCHOR.format(self._places.tenant),
            "X-CmdletName": cmdlet,
            "X-ResponseFormat": "json",
            "X-SerializationLevel": "Partial",
            "client-request-id": str(uuid.uuid4()),
            "connection-id": self._connection,
        }


def failure(answer: Answer, cmdlet: str, role: str, permission: str, *, repeatable: bool) -> BackendError:
    """What an answer other than 200 means. `permission`: the one without which nobody is let in."""
    if answer.status == 401:
        text = f"Exchange does not let the {role} in (401): it lacks {permission}"
        return NotAllowed(text, 401, permission)
    if answer.status == 403:
        text = f"Exchange does not let the {role} run {cmdlet} (403): it lacks a role for that"
        return NotAllowed(text, 403, permission)
    words, type_name = error_of(answer.body)
    if answer.status >= 500 or answer.status == 408:
        text = f"Exchange had trouble with {cmdlet} (HTTP {answer.status}): {words or 'no reason given'}"
        return Unreachable(text) if repeatable else OutcomeUnknown(text)
    if 400 <= answer.status < 500:
        return CmdletError(f"Exchange refused {cmdlet}: {words or f'HTTP {answer.status}'}", type_name)
    text = f"Exchange gave no clear answer to {cmdlet} (HTTP {answer.status})"
    return Unreachable(text) if repeatable else OutcomeUnknown(text)


def error_of(body: bytes) -> tuple[str, str]:
    """(what Exchange says, the error's .NET type without namespace) of an error's body; empty where it says nothing.

    The real words stand deep inside; the outermost message is always the same and only the last resort.
    """
    try:
        error = json.loads(body).get("error")
    except (ValueError, RecursionError, AttributeError):
        return "", ""
    if not isinstance(error, dict):
        return "", ""
    inner = _part(_part(error, "innererror"), "internalexception")
    details = error.get("details")
    detail = details[0] if isinstance(details, list) and details and isinstance(details[0], dict) else {}
    described, detail_type = _without_prefix(_line(detail.get("message")))
    words = _line(inner.get("message")) or described or _line(error.get("message"))
    words, own_type = _without_prefix(words)
    type_name = _line(inner.get("type")) or own_type or detail_type
    return words[:300], type_name.rpartition(".")[2]


def _part(outer: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    found = outer.get(name)
    return found if isinstance(found, dict) else {}


def _line(value: object) -> str:
    return " ".join(value.split()) if isinstance(value, str) else ""


def _without_prefix(words: str) -> tuple[str, str]:
    match = _PREFIX.match(words)
    return (words[match.end() :].strip(), match[1]) if match else (words, "")


def _warnings(page: Json) -> list[str]:
    found = page.get("@adminapi.warnings") or []
    every = found if isinstance(found, list) else [found]
    return [line for line in (_line(one)[:300] for one in every) if line]
