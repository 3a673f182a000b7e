"""Exchange Online: its queue from the message trace; connectors, domains and directory over Exchange's own cmdlets."""

from bot.backends.exchange_online.backend import ExchangeOnlineBackend, make
from bot.backends.exchange_online.options import OPTIONAL, REQUIRED, SECRETS

__all__ = ["OPTIONAL", "REQUIRED", "SECRETS", "ExchangeOnlineBackend", "make"]
