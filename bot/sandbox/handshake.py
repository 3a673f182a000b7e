"""A TLS handshake that can be given up: when cancelled at its end, asyncio's own leaves a transport open."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


async def may_be_given_up(handshake: Coroutine[Any, Any, T], transport: asyncio.WriteTransport) -> T:
    """Await `loop.start_tls` or `writer.start_tls` over `transport`. When cancelled, nothing stays open."""
    task = asyncio.ensure_future(handshake)
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        transport.abort()  # ends a handshake under way; one that was just over has made another transport
        (made,) = await asyncio.gather(task, return_exceptions=True)
        if isinstance(made, asyncio.WriteTransport):
            made.abort()
        raise
