"""App-only sign-in with MSAL: one token per service, made in a thread, renewed before it ends.

Promises: what fails is a SignInFailed with Microsoft's number and the exact fix; no secret, token or assertion stands
in an error, a log or a repr. MSAL keeps tokens until they end; `forget` makes the next one new, so that a right that an
administrator has just granted counts at once.
"""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

from bot.backends.exchange_online.clouds import CLOUDS, Endpoints, origin
from bot.backends.exchange_online.credentials import UnusableCertificate, credential
from bot.backends.exchange_online.http import Answer, Sleep, Wire
from bot.backends.exchange_online.options import Registration
from bot.backends.exchange_online.signin_errors import NEW_CERTIFICATE, explanation
from bot.backends.ports import BackendError, Refused, Unreachable

ROTATION_TRIES = 3
ROTATION_WAIT = 10.0
_NUMBER = re.compile(r"AADSTS(\d{4,8})")


class SignInFailed(Refused):
    """Microsoft gave no token. `number`: of its AADSTS error ("" where it gave none); `says` and `fix`: for people."""

    def __init__(self, role: str, number: str, says: str, fix: str) -> None:
        super().__init__(f"the {role} can't sign in: {says}; {fix}")
        self.number = number
        self.says = says
        self.fix = fix


class SignIn:
    """The tokens of one app registration. `wire` is for the sign-in alone."""

    def __init__(
        self, registration: Registration, places: Endpoints, wire: Wire, *, sleep: Sleep = asyncio.sleep
    ) -> None:
        self.registration = registration
        self._places = places
        self._wire = wire
        self._sleep = sleep
        self._turn = asyncio.Lock()
        self._app: Any = None

    async def token(self, scope: str, *, patient: bool = True) -> str:
        """A token that this scope's service takes. `patient`: wait out a certificate that was just exchanged.

        Raises SignInFailed or Unreachable.
        """
        async with self._turn:
            for attempt in range(1, ROTATION_TRIES + 1):
                try:
                    return await self._acquire(scope)
                except SignInFailed as error:
                    # MSAL remembers failures and the credential; the file may hold another certificate by now.
                    self._app = None
                    if error.number != NEW_CERTIFICATE or not patient or attempt == ROTATION_TRIES:
                        raise
                await self._sleep(ROTATION_WAIT)
        raise AssertionError("unreachable")

    async def forget(self) -> None:
        """Take no token from memory any more."""
        async with self._turn:
            self._app = None

    async def close(self) -> None:
        """Release connections."""
        await self._wire.close()

    async def _acquire(self, scope: str) -> str:
        http = _Messenger(self._wire, asyncio.get_running_loop(), _hosts(self._places))
        try:
            answer = await asyncio.to_thread(self._ask, http, scope)
        except UnusableCertificate as error:
            raise self._failed("", str(error), f"correct it ({self._name('CERTIFICATE_FILE')})") from None
        except BackendError:
            raise
        except Exception:
            # Of any kind, and its words hold nothing more than the number that we saw: mostly there is no such tenant.
            raise self._explained(http.seen) from None
        token = answer.get("access_token")
        if not isinstance(token, str) or not token:
            raise self._explained(_codes(answer.get("error_codes")) + http.seen)
        return token

    def _ask(self, http: _Messenger, scope: str) -> Mapping[str, Any]:
        """In a thread: MSAL blocks, and takes its time to be imported."""
        import msal

        app = self._app
        if app is None:
            app = msal.ConfidentialClientApplication(
                self.registration.client_id,
                authority=self._places.authority,
                client_credential=credential(self.registration),
                instance_discovery=self._places.discovery,
                http_client=_Handle(http),
            )
            self._app = app
        app.http_client.http_client.messenger = http
        found = app.acquire_token_for_client(scopes=[scope])
        return found if isinstance(found, dict) else {}

    def _name(self, option: str) -> str:
        return self.registration.prefix + option

    def _failed(self, number: str, says: str, fix: str) -> SignInFailed:
        return SignInFailed(self.registration.role, number, says, fix)

    def _explained(self, numbers: list[str]) -> SignInFailed:
        """The first number that we know, with its fix."""
        number, says, fix = explanation(numbers, certificate=self.registration.certificate is not None)
        ahead = round(self._wire.skew.total_seconds())
        clock = f"{abs(ahead)} s {'behind' if ahead > 0 else 'ahead of'} Microsoft's" if ahead else "not Microsoft's"
        fix = fix.format(
            id=self.registration.client_id, tenant=self._name("TENANT").removeprefix("FIXER_"),
            client=self._name("CLIENT_ID"), secret=self._name("CLIENT_SECRET"),
            file=self._name("CERTIFICATE_FILE"), clock=clock,
        )  # fmt: skip
        return self._failed(number, f"{says} (AADSTS{number})" if number else says, fix)


def _hosts(places: Endpoints) -> frozenset[tuple[str, int] | None]:
    """Where a secret may be sent: the authority, and Microsoft's own sign-in hosts."""
    own = origin(places.authority)
    return frozenset({own, *(origin(cloud.login) for cloud in CLOUDS.values())} if places.discovery else {own})


@dataclass(slots=True)
class _Reply:
    """What MSAL wants to see of an answer."""

    status_code: int
    text: str
    headers: Mapping[str, str]

    def raise_for_status(self) -> None:
        """Called by MSAL where it can do nothing with an answer."""
        if self.status_code >= 400:
            raise Unreachable(f"the sign-in service answered HTTP {self.status_code}; it is asked again later")


class _Messenger:
    """MSAL's requests, sent over our own wire: same deadlines, bounds and TLS. `seen`: error numbers in the answers."""

    def __init__(self, wire: Wire, loop: asyncio.AbstractEventLoop, hosts: frozenset[tuple[str, int] | None]) -> None:
        self._wire = wire
        self._loop = loop
        self._hosts = hosts
        self.seen: list[str] = []

    def send(self, method: str, url: str, **parts: Any) -> _Reply:
        """Called in MSAL's thread."""
        if origin(url) not in self._hosts:
            raise Unreachable("the sign-in service named another host for tokens, which was not asked")
        return asyncio.run_coroutine_threadsafe(self._send(method, url, parts), self._loop).result()

    async def _send(self, method: str, url: str, parts: Mapping[str, Any]) -> _Reply:
        query = f"?{urlencode(parts['params'])}" if parts.get("params") else ""
        try:
            answer = await self._wire.send(
                method, url + query, headers=parts.get("headers"), form=_form(parts.get("data"))
            )
        except BackendError as error:
            raise Unreachable(str(error)) from None
        if answer.status >= 500 or answer.busy:
            raise Unreachable(f"the sign-in service answered HTTP {answer.status}; it is asked again later")
        text = answer.body.decode("utf-8", "replace")
        self.seen += _NUMBER.findall(text)[:5] if answer.status >= 400 else []
        return _Reply(answer.status, _json_text(answer, text), dict(answer.headers))


class _Handle:
    """The http client that MSAL keeps; who carries its requests changes with every call."""

    def __init__(self, messenger: _Messenger) -> None:
        self.messenger = messenger

    def get(self, url: str, **parts: Any) -> _Reply:
        """MSAL's GET."""
        return self.messenger.send("GET", url, **parts)

    def post(self, url: str, **parts: Any) -> _Reply:
        """MSAL's POST."""
        return self.messenger.send("POST", url, **parts)

    def close(self) -> None:
        """The wire outlives MSAL."""


def _codes(found: object) -> list[str]:
    """The numbers of a refusal, whatever stands in their place."""
    return [str(code) for code in found if isinstance(code, int)] if isinstance(found, list) else []


def _form(given: Mapping[str, Any] | None) -> dict[str, str]:
    """MSAL's form as texts: it puts numbers and bytes into it, too."""
    every = (given or {}).items()
    return {k: v.decode() if isinstance(v, bytes) else str(v) for k, v in every if v is not None}


def _json_text(answer: Answer, text: str) -> str:
    """MSAL expects an object; a page of a proxy is none."""
    try:
        if isinstance(json.loads(text), dict):
            return text
    except (ValueError, RecursionError):
        pass
    raise Unreachable(
        f"the sign-in service answered HTTP {answer.status} with something else than JSON (a proxy's page?)"
    )
