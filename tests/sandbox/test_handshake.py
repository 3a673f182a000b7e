"""A handshake that is cancelled right at its end leaves no transport open."""

from __future__ import annotations

import asyncio

import pytest

from bot.sandbox.handshake import may_be_given_up


class Transport(asyncio.WriteTransport):
    def __init__(self) -> None:
        super().__init__()
        self.aborted = False

    def abort(self) -> None:
        self.aborted = True


async def test_a_transport_that_was_just_made_is_closed_when_its_maker_is_cancelled():
    clear, made = Transport(), Transport()
    ready = asyncio.Event()

    async def handshake() -> Transport:
        await ready.wait()
        return made

    waiting = asyncio.create_task(may_be_given_up(handshake(), clear))
    await asyncio.sleep(0)
    ready.set()
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert clear.aborted
    assert made.aborted


async def test_a_handshake_that_ends_well_gives_its_transport():
    made = Transport()

    async def handshake() -> Transport:
        return made

    assert await may_be_given_up(handshake(), Transport()) is made
    assert not made.aborted
