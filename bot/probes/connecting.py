"""Opening one TCP connection, and what it means when that fails."""

from __future__ import annotations

import asyncio
import errno
import socket

from bot.probes.broken import Broken
from bot.probes.deadline import Deadline
from bot.probes.wire import Wire
from knowledge.classify import Cause

CONNECT = 10.0
_OURS = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ENOBUFS})
_SOMEWHERE = ("2001:db8::1", 9)


async def connect(ip: str, port: int, deadline: Deadline) -> Wire:
    """A connection to exactly this address. Raises Broken; OSError only for what this machine lacks."""
    loop = asyncio.get_running_loop()
    try:
        async with deadline.within(CONNECT):
            _, wire = await loop.create_connection(Wire, ip, port)
            return wire
    except TimeoutError:
        raise Broken(Cause.CONNECT_TIMEOUT, "no answer to the connection attempt") from None
    except ConnectionRefusedError:
        raise Broken(Cause.REFUSED, "connection refused") from None
    except ConnectionResetError:
        raise Broken(Cause.RESET, "reset while connecting") from None
    except OSError as error:
        if error.errno in _OURS:
            raise
        raise Broken(Cause.UNREACHABLE, errno.errorcode.get(error.errno or 0, "unreachable")) from None


def ipv6_here() -> bool:
    """Has this machine any way out over IPv6? Sends nothing: only the routing table is asked."""
    try:
        with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as asking:
            asking.connect(_SOMEWHERE)
    except OSError:
        return False
    return True
