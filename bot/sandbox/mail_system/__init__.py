"""An honest miniature of a tenant's mail system: it queues, retries over real SMTP, bounces, and can be acted on."""

from bot.sandbox.mail_system.faults import Fault, Faults, Operation
from bot.sandbox.mail_system.model import BadRequest, DomainType, Status, TenantConnector, TenantDomain
from bot.sandbox.mail_system.system import MailSystem
from bot.sandbox.mail_system.tenant import Tenant

__all__ = [
    "BadRequest",
    "DomainType",
    "Fault",
    "Faults",
    "MailSystem",
    "Operation",
    "Status",
    "Tenant",
    "TenantConnector",
    "TenantDomain",
]
