"""A stand-in for an Exchange Server that runs mfi-exchange.ps1, over the sandbox's small mail system.

It writes the documents that the script writes, and obeys signed orders by the script's rules: signature, expiry, no
replay, known steps only, whole messages only. It has its own code for all of them, so that a test compares two readings
of the same contract.
"""

from bot.sandbox.exchange_server.documents import ScriptFaults
from bot.sandbox.exchange_server.server import SandboxExchangeServer

__all__ = ["SandboxExchangeServer", "ScriptFaults"]
