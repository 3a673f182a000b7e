"""A stand-in workspace, a client for it, and a way to let a slack_bolt app listen to it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

import pytest
from slack_bolt.adapter.socket_mode.async_handler import AsyncSocketModeHandler
from slack_bolt.async_app import AsyncApp
from slack_sdk.web.async_client import AsyncWebClient

from bot.sandbox.slack import AppConfig, SandboxSlack, Shortcut
from tests.sandbox.slack.forms import ROW, Heard, post

Listen = Callable[..., AbstractAsyncContextManager[AsyncApp]]


class HandClock:
    """Time that moves only when a test says so."""

    def __init__(self) -> None:
        self.seconds = 1_750_000_000.0

    def __call__(self) -> float:
        return self.seconds

    def forward(self, seconds: float) -> None:
        self.seconds += seconds


@pytest.fixture
def clock() -> HandClock:
    return HandClock()


@pytest.fixture
async def slack() -> AsyncIterator[SandboxSlack]:
    """Real time, a short deadline for acknowledgements, two shortcuts."""
    shortcuts = (
        Shortcut(callback_id="explain", name="Explain mail error"),
        Shortcut(callback_id="probe", name="Probe a connector", kind="global"),
    )
    async with SandboxSlack(app=AppConfig(shortcuts=shortcuts), ack_seconds=0.6) as server:
        server.gestures.event_retries = (0.0, 0.05)
        yield server


@pytest.fixture
async def timed(clock: HandClock) -> AsyncIterator[SandboxSlack]:
    """A workspace on a clock that the test moves."""
    async with SandboxSlack(now=clock) as server:
        yield server


def _client(server: SandboxSlack, token: str | None = None, **more: Any) -> AsyncWebClient:
    return AsyncWebClient(token=token or server.bot_token, base_url=server.api_url, retry_handlers=[], **more)


@pytest.fixture
def client_for() -> Callable[..., AsyncWebClient]:
    """Makes a client, with another token if one is given, that never tries again by itself."""
    return _client


@pytest.fixture
def client(slack: SandboxSlack) -> AsyncWebClient:
    return _client(slack)


@pytest.fixture
def app(client: AsyncWebClient) -> AsyncApp:
    """An app without any listener yet."""
    return AsyncApp(client=client)


@pytest.fixture
def listen(slack: SandboxSlack) -> Listen:
    """Lets an app listen through so many Socket Mode connections."""

    @asynccontextmanager
    async def listening(app: AsyncApp, connections: int = 1) -> AsyncIterator[AsyncApp]:
        handlers = [AsyncSocketModeHandler(app, slack.app_token, ping_interval=0.2) for _ in range(connections)]
        for handler in handlers:
            await handler.connect_async()
        try:
            await slack.wait_for(lambda: len(slack.sockets.connections) >= connections)
            yield app
        finally:
            for handler in handlers:
                await handler.client.close()

    return listening


@pytest.fixture
def heard(app: AsyncApp) -> Heard:
    return Heard(app)


@pytest.fixture
async def form(slack: SandboxSlack, client: AsyncWebClient, app: AsyncApp, heard: Heard, listen: Any) -> Any:
    """The form opened for the reader, with the app listening."""
    async with listen(app):
        message = await post(client, slack, ROW)
        await slack.click("Reader", message, "go")
        yield await slack.wait_for(lambda: slack.modal("Reader"))
