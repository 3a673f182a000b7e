"""Would this server take mail for this recipient? MAIL FROM:<>, RCPT TO, RSET; never DATA.

Promises: nothing is sent and nothing stays open at the server; a peer that breaks off at the recipient is `Broken`, as
it would be for mail; what happens to the made-up second recipient never spoils the answer about the real one.
"""

from __future__ import annotations

import secrets
from collections.abc import Awaitable, Callable

from bot.core.recipient import RcptCause, RcptFacts, cause_of_reply
from bot.probes.broken import Broken
from bot.probes.reply import Reply

Command = Callable[[str], Awaitable[Reply]]
"""Sends a line and gives the reply; raises Broken when there is none, or a 421."""


async def ask_for(address: str, command: Command) -> RcptFacts:
    """Ask for this recipient; if it is welcome, also for one that surely does not exist. Raises Broken."""
    reply = await command("MAIL FROM:<>")
    if reply.positive:
        reply = await command(f"RCPT TO:<{address}>")
    cause = cause_of_reply(reply.code, reply.enhanced, reply.text)
    try:
        if cause is RcptCause.OK and (await command(f"RCPT TO:<{_made_up(address)}>")).positive:
            cause = RcptCause.CATCH_ALL
        await command("RSET")
    except Broken:
        pass  # the answer about the real recipient stands
    return RcptFacts(address=address, cause=cause, code=reply.enhanced or str(reply.code), status=reply.text)


def _made_up(address: str) -> str:
    """A recipient of the same domain that nobody can know."""
    return f"mfi-probe-{secrets.token_hex(8)}@{address.rpartition('@')[2]}"
