"""Exchange Server: what the script mfi-exchange.ps1 (beside this file) writes into a drop folder, and orders to it."""

from bot.backends.exchange_server.backend import ExchangeServerBackend
from bot.backends.exchange_server.options import OPTIONAL, REQUIRED, Options

__all__ = ["OPTIONAL", "REQUIRED", "ExchangeServerBackend", "Options"]
