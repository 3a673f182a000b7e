"""A tenant of Exchange Online on loopback: sign-in, Graph and Exchange at three https addresses, one mail system."""

from __future__ import annotations

import asyncio
import contextlib
import uuid
import weakref
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Self

from aiohttp import web

from bot.core.clock import Clock
from bot.sandbox.certificates import CertificateShop
from bot.sandbox.exchange_online import addresses
from bot.sandbox.exchange_online.apps import FIXER, READER, App, Permission, registered
from bot.sandbox.exchange_online.cmdlets import ConfigurationCmdlets
from bot.sandbox.exchange_online.faults import Kind, TenantFault, TenantFaults
from bot.sandbox.exchange_online.graph import PATH, Graph
from bot.sandbox.exchange_online.invoke import Invoke
from bot.sandbox.exchange_online.settings import Settings
from bot.sandbox.exchange_online.sign_in import EXCHANGE, GRAPH, SignIn, SignInError
from bot.sandbox.exchange_online.trace import Trace
from bot.sandbox.exchange_online.trace_cmdlets import TraceCmdlets
from bot.sandbox.exchange_online.wire import Throttle, broken, plain
from bot.sandbox.mail_system.system import MailSystem

HOST = "127.0.0.1"
MAX_BODY = 4 * 1024 * 1024
Answering = Callable[[web.Request, datetime], Awaitable[web.StreamResponse]]


class SandboxTenant:
    """Async context manager over a mail system that somebody else starts and stops.

    `clock`: the moment of the mail (ages, windows, delays); `machine_clock`: the one that sign-ins go by, as clients
    can't fake theirs. Files go into `directory`, or into one of its own that it removes.
    `trace.lag`, `trace.appears_after`: how late the trace is; `settings.effect_delay`: how late mail obeys a change;
    `throttle.limit`: requests in five minutes, trace and details together.
    """

    def __init__(
        self,
        mail: MailSystem,
        *,
        clock: Clock,
        machine_clock: Clock = lambda: datetime.now(UTC),
        tenant_id: str | None = None,
        domain: str = "contoso.onmicrosoft.test",
        directory: Path | None = None,
    ) -> None:
        self.mail, self._clock, self._machine_clock = mail, clock, machine_clock
        self.tenant_id = tenant_id or str(uuid.uuid4())
        self.domain = domain
        self.faults = TenantFaults()
        self.throttle = Throttle()
        self.trace = Trace(mail.tenant)
        self.settings = Settings(mail, self._now)
        self._directory = directory
        self._open = contextlib.AsyncExitStack()
        self._connections: weakref.WeakSet[asyncio.BaseTransport] = weakref.WeakSet()
        self._sign_in = SignIn(self.tenant_id, lambda: (self.reader, self.fixer), self.faults, machine_clock)
        self._graph = Graph(self.trace, self._sign_in, self.faults, self.throttle)
        cmdlets = {
            **ConfigurationCmdlets(mail, self.settings, self.faults).table(),
            **TraceCmdlets(self.trace, self.faults, self._now, self.throttle).table(),
        }
        self._invoke = Invoke(self.tenant_id, domain, cmdlets, self._sign_in, self.faults)
        self.reader: App
        self.fixer: App
        self.ca_file: Path
        self.authority = self.graph_url = self.exo_url = self.stranger_url = self.address_list_url = ""

    async def __aenter__(self) -> Self:
        async with contextlib.AsyncExitStack() as opening:
            home = self._directory or Path(opening.enter_context(TemporaryDirectory(prefix="tenant-")))
            self._register(home)
            shop = CertificateShop(home, self._machine_clock())
            self.ca_file = shop.ca_file
            opening.callback(self._hang_up)
            runner = web.AppRunner(self._application(), access_log=None, shutdown_timeout=0.5)
            await runner.setup()
            opening.push_async_callback(runner.cleanup)
            context = shop.context(HOST)
            for _ in range(4):
                await web.TCPSite(runner, HOST, 0, ssl_context=context).start()
            self._name_addresses([f"https://{HOST}:{address[1]}" for address in runner.addresses])
            opening.callback(self.faults.clear)
            self._open = opening.pop_all()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._open.aclose()

    def environment(self, name: str, *, certificate: bool = True, fixer: bool = True) -> dict[str, str]:
        """The settings of a backend of the kind exchange_online with this name.

        `certificate`: sign in with it, else with the secret; `fixer`: with the registration that may change things.
        """
        found = {
            "TENANT": self.tenant_id,
            "AUTHORITY": self.authority,
            "GRAPH_URL": self.graph_url,
            "EXO_URL": self.exo_url,
            "CA_FILE": str(self.ca_file),
            **_credentials("", self.reader, certificate),
            **(_credentials("FIXER_", self.fixer, certificate) if fixer else {}),
        }
        return {f"MFI_{name.upper()}_{option}": value for option, value in found.items()}

    def revoke_tokens(self) -> None:
        """Every token that was given out is refused from now on (401)."""
        self._sign_in.revoke()

    def _hang_up(self) -> None:
        """End what clients left open: TLS would wait for their goodbye."""
        for transport in list(self._connections):
            if isinstance(transport, asyncio.WriteTransport):
                transport.abort()

    def _register(self, home: Path) -> None:
        now = self._machine_clock()
        every = frozenset(Permission)
        self.reader = registered("reader", home, now, permissions=every, roles=READER)
        self.fixer = registered("fixer", home, now, permissions=frozenset({Permission.MANAGE}), roles=FIXER)

    def _name_addresses(self, bases: list[str]) -> None:
        sign_in, graph, exchange, self.stranger_url = bases
        self.address_list_url = sign_in + addresses.PATH
        self.authority = f"{sign_in}/{self.tenant_id}"
        self.graph_url, self.exo_url = f"{graph}/v1.0", exchange
        self._graph.base, self._graph.elsewhere = self.graph_url, f"{self.stranger_url}/v1.0"
        self._invoke.base, self._invoke.elsewhere = exchange, self.stranger_url
        self._sign_in.resources.update({graph: GRAPH, self.graph_url: GRAPH, exchange: EXCHANGE})

    # Routes

    def _application(self) -> web.Application:
        app = web.Application(client_max_size=MAX_BODY, middlewares=[self._at_the_right_address])
        app.on_response_prepare.append(self._dated)
        app.router.add_get("/{tenant}/v2.0/.well-known/openid-configuration", self._openid)
        app.router.add_post("/{tenant}/oauth2/v2.0/token", self._token)
        app.router.add_get(addresses.PATH, self._address_list)
        app.router.add_get(PATH, self._timed(self._graph.listing))
        app.router.add_get(PATH + "/{id}/{call}", self._timed(self._graph.details))
        app.router.add_post("/adminapi/{version:beta|v1\\.0}/{tenant}/InvokeCommand", self._timed(self._invoke.invoke))
        app.router.add_post("/adminapi/v2.0/{tenant}/AcceptedDomain", self._timed(self._invoke.domains_v2))
        return app

    @web.middleware
    async def _at_the_right_address(
        self, request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
    ) -> web.StreamResponse:
        """The three addresses don't answer for each other; what reaches the fourth is counted and told nothing."""
        if request.transport is not None:
            self._connections.add(request.transport)
        here = f"https://{request.host}"
        if here == self.stranger_url:
            self.faults.seen[Kind.STRANGER] += 1
            return plain(404, "Nothing here.")
        graph, exchange = request.path.startswith("/v1.0/"), request.path.startswith("/adminapi/")
        home = self.graph_url if graph else self.exo_url if exchange else self.authority
        if not home.startswith(here + "/") and home != here:
            return plain(404, "Not Found")
        return await handler(request)

    async def _dated(self, _request: web.Request, response: web.StreamResponse) -> None:
        response.headers["Date"] = f"{self._sign_in.now():%a, %d %b %Y %H:%M:%S} GMT"

    def _now(self) -> datetime:
        return self._clock() + self.faults.ahead

    def _timed(self, answering: Answering) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
        async def answer(request: web.Request) -> web.StreamResponse:
            return await answering(request, self._now())

        return answer

    async def _address_list(self, _request: web.Request) -> web.StreamResponse:
        return web.json_response(addresses.published())

    async def _openid(self, request: web.Request) -> web.StreamResponse:
        self.faults.seen[Kind.OPENID] += 1
        instead = await broken(request, self.faults, Kind.OPENID)
        if instead is not None:
            return instead
        if not self._is_here(request):
            return self._no_sign_in(self._unknown_tenant(request))
        return web.json_response(self._sign_in.configuration(self.authority))

    async def _token(self, request: web.Request) -> web.StreamResponse:
        self.faults.seen[Kind.SIGN_IN] += 1
        instead = await broken(request, self.faults, Kind.SIGN_IN)
        if instead is not None:
            return instead
        if self.faults.take(TenantFault.THROTTLED, Kind.SIGN_IN):
            return web.Response(status=429, headers={"Retry-After": str(self.faults.retry_after)})
        if self.faults.take(TenantFault.ODD_REFUSAL, Kind.SIGN_IN):
            return web.json_response({"error": "invalid_client", "error_codes": 7000222}, status=400)
        form = {name: str(value) for name, value in (await request.post()).items()}
        try:
            if not self._is_here(request):
                raise self._unknown_tenant(request)
            return web.json_response(self._sign_in.token(form, f"{self.authority}/oauth2/v2.0/token"))
        except SignInError as error:
            return self._no_sign_in(error)

    def _is_here(self, request: web.Request) -> bool:
        return request.match_info["tenant"].lower() in (self.tenant_id, self.domain)

    def _unknown_tenant(self, request: web.Request) -> SignInError:
        text = f"Tenant '{request.match_info['tenant'][:80]}' not found. Check that you have the correct tenant ID."
        return SignInError(400, "invalid_request", 90002, text)

    def _no_sign_in(self, error: SignInError) -> web.Response:
        return web.json_response(error.body(self._sign_in.now()), status=error.status)


def _credentials(prefix: str, app: App, certificate: bool) -> dict[str, str]:
    proof = ("CERTIFICATE_FILE", str(app.certificate_file)) if certificate else ("CLIENT_SECRET", app.secret)
    return {f"{prefix}CLIENT_ID": app.client_id, f"{prefix}{proof[0]}": proof[1]}
