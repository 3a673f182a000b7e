"""A stand-in for Exchange Online on loopback https, with its nasty parts, over the sandbox's small mail system."""

from bot.sandbox.exchange_online.apps import FIXER, READER, App, Permission, Role, write_certificate
from bot.sandbox.exchange_online.faults import Kind, TenantFault, TenantFaults
from bot.sandbox.exchange_online.tenant import SandboxTenant

__all__ = [
    "FIXER",
    "READER",
    "App",
    "Kind",
    "Permission",
    "Role",
    "SandboxTenant",
    "TenantFault",
    "TenantFaults",
    "write_certificate",
]
