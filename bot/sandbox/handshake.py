"""A TLS handshake that can be given up, and that ends when the peer is gone: asyncio's own leaves a transport open."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


async def may_be_given_up(handshake: Coroutine[Any, Any, T], transport: asyncio.WriteTransport) -> T:
    """Await `loop.start_tls` or `writer.start_tls` over `transport`. When cancelled, nothing stays open.

    Raises ConnectionResetError if `transport` is closed already: nobody would tell the handshake, which would wait for
    ever and keep a transport of its own open.
    """
    if transport.is_closing():
        handshake.close()
        raise ConnectionResetError("the peer was gone before the handshake")
    try:
        return await handshake
    except asyncio.CancelledError:
        transport.abort()  # closing it would wait for a peer that reads
        raise
