"""The tenant's settings as Exchange shows and changes them: connectors, accepted domains, the directory.

A change is readable at once; the mail obeys it after `effect_delay`. Rows have Exchange's own names and values; what a
connector of the mail system doesn't know (scope, test mode, dates) is kept here and can be set with `describe`.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from bot.core.clock import Clock
from bot.sandbox.mail_system.model import DomainType, TenantConnector, TenantDomain
from bot.sandbox.mail_system.system import MailSystem

Json = dict[str, Any]
KINDS = {"on_premises": "OnPremises", "partner": "Partner"}
TLS: dict[str, str | None] = {
    "none": None,
    "opportunistic": None,
    "encryption": "EncryptionOnly",
    "certificate": "CertificateValidation",
    "domain": "DomainValidation",
}
TYPES = {
    DomainType.AUTHORITATIVE: "Authoritative",
    DomainType.INTERNAL_RELAY: "InternalRelay",
    DomainType.EXTERNAL_RELAY: "ExternalRelay",
}
CREATED = timedelta(days=400)
SPACE = uuid.UUID("6d1f0c52-5a3c-4a4e-9d0e-0f6a3c0b7a11")


class Settings:
    """Over a mail system; asked and changed by the cmdlets."""

    def __init__(self, mail: MailSystem, clock: Clock) -> None:
        self._mail, self._tenant, self._clock = mail, mail.tenant, clock
        self._made = clock() - CREATED
        self.effect_delay = timedelta(0)
        self._extra: dict[str, Json] = {}
        self._changed: dict[str, datetime] = {}
        self._enabled: dict[str, bool] = {}
        self._types: dict[str, DomainType] = {}
        self._waiting: dict[str, object] = {}
        self.mail_users: dict[str, str] = {}
        """Recipients without a mailbox here: where their mail goes on to, and their own address."""

    def describe(self, key: str, **values: object) -> None:
        """Set properties of a connector's row by Exchange's names (`TestMode=True`)."""
        self._extra.setdefault(key, {}).update(values)

    # Reads

    def connectors(self) -> list[Json]:
        """All of them, also those in test mode and those that only rules use."""
        return [self._connector_row(c) for c in self._tenant.connectors.values()]

    def connector(self, identity: str) -> tuple[TenantConnector, Json] | None:
        """By Guid or by name."""
        for connector in self._tenant.connectors.values():
            if identity.lower() in (self.guid(connector.key), connector.name.lower()):
                return connector, self._connector_row(connector)
        return None

    def domains(self) -> list[Json]:
        """The accepted domains."""
        return [self._domain_row(d) for d in self._tenant.domains.values()]

    def domain(self, identity: str) -> tuple[TenantDomain, Json] | None:
        """By name or Guid."""
        for domain in self._tenant.domains.values():
            if identity.lower() in (domain.name, self.guid(domain.name)):
                return domain, self._domain_row(domain)
        return None

    def recipient(self, address: str, *, external: bool = False) -> Json | None:
        """By address: what the directory holds of it. `external`: the mail user whose mail goes on to this address."""
        own = self.mail_users.get(address.lower()) if external else address.lower()
        return self.recipient_row(own) if own and self._tenant.known(own) else None

    def recipients(self) -> list[Json]:
        """The whole directory."""
        return [self.recipient_row(one) for held in self._tenant.directory.values() for one in sorted(held)]

    def recipient_row(self, address: str) -> Json:
        """One mailbox or mail user of the directory."""
        local = address.partition("@")[0]
        target = next((f"SMTP:{to}" for to, own in self.mail_users.items() if own == address), None)
        kind = "MailUser" if target else "UserMailbox"
        return {
            "Name": local,
            "DisplayName": local,
            "PrimarySmtpAddress": address,
            "EmailAddresses": [f"SMTP:{address}"],
            "ExternalEmailAddress": target,
            "RecipientType": kind,
            "RecipientTypeDetails": kind,
            "Identity": local,
            "Guid": self.guid(address),
        }

    @property
    def lifetime(self) -> timedelta:
        """MessageExpiration."""
        return self._tenant.lifetime

    @staticmethod
    def guid(key: str) -> str:
        """A key as a Guid: the key itself when it is one."""
        try:
            return str(uuid.UUID(key))
        except ValueError:
            return str(uuid.uuid5(SPACE, key))

    # Changes

    def enable(self, connector: TenantConnector, enabled: bool) -> None:
        """Set-OutboundConnector -Enabled."""
        key = connector.key
        self._enabled[key] = enabled
        self._changed[key] = self._clock()

        def obey(now: datetime) -> None:
            self._tenant.set_connector_enabled(key, enabled, now)
            del self._enabled[key]

        self._take_effect(f"connector {key}", obey)

    def comment(self, connector: TenantConnector, text: str) -> None:
        """Set-OutboundConnector -Comment."""
        self.describe(connector.key, Comment=text)
        self._changed[connector.key] = self._clock()

    def retype(self, domain: TenantDomain, to: DomainType) -> None:
        """Set-AcceptedDomain -DomainType; the caller has checked that it may be."""
        self._types[domain.name] = to
        self._changed[domain.name] = self._clock()

        def obey(_now: datetime) -> None:
            self._tenant.set_domain_type(domain.name, to)
            del self._types[domain.name]

        self._take_effect(f"domain {domain.name}", obey)

    def _take_effect(self, what: str, obey: Callable[[datetime], None]) -> None:
        """Now or later; of several changes to one thing that wait, only the last is obeyed."""
        now, token = self._clock(), object()
        self._waiting[what] = token

        def if_still_wanted(moment: datetime) -> None:
            if self._waiting.get(what) is token:
                del self._waiting[what]
                obey(moment)

        if self.effect_delay > timedelta(0):
            self._tenant.later(now + self.effect_delay, if_still_wanted)
        else:
            if_still_wanted(now)
        self._mail.look_again()

    # Rows

    def _connector_row(self, connector: TenantConnector) -> Json:
        return {
            "Enabled": self._enabled.get(connector.key, connector.enabled),
            "UseMXRecord": connector.use_mx,
            "Comment": connector.partner_contact or "",
            "ConnectorType": KINDS.get(connector.kind, "OnPremises"),
            "ConnectorSource": "AdminUI",
            "RecipientDomains": list(connector.recipient_domains),
            "SmartHosts": list(connector.smart_hosts),
            "TlsDomain": connector.tls_domain,
            "TlsSettings": TLS.get(connector.tls_setting),
            "IsTransportRuleScoped": False,
            "RouteAllMessagesViaOnPremises": False,
            "CloudServicesMailEnabled": connector.kind == "on_premises",
            "AllAcceptedDomains": False,
            "SenderRewritingEnabled": False,
            "MtaStsMode": "Opportunistic",
            "SmtpDaneMode": "Opportunistic",
            "TestMode": False,
            "ValidationRecipients": [],
            "IsValidated": True,
            "LastValidationTimestamp": f"{self._made:%Y-%m-%dT%H:%M:%S}.0000000",
            "AdminDisplayName": "",
            "Name": connector.name,
            "Identity": connector.name,
            "WhenChangedUTC": self._changed.get(connector.key, self._made),
            "WhenCreatedUTC": self._made,
            "Guid": self.guid(connector.key),
            "IsValid": True,
            **self._extra.get(connector.key, {}),
        }

    def _domain_row(self, domain: TenantDomain) -> Json:
        first = next(iter(self._tenant.domains)) == domain.name
        domain = replace(domain, type=self._types.get(domain.name, domain.type))
        return {
            "DomainName": domain.name,
            "DomainType": TYPES[domain.type],
            "Default": first,
            "InitialDomain": False,
            "MatchSubDomains": domain.match_subdomains,
            "OutboundOnly": False,
            "EmailOnly": False,
            "AuthenticationType": "Managed",
            "PendingRemoval": False,
            "PendingCompletion": False,
            "SendingFromDomainDisabled": False,
            "SendingToDomainDisabled": False,
            "IsCoexistenceDomain": False,
            "Name": domain.name,
            "DistinguishedName": f"CN={domain.name},CN=Accepted Domains",
            "MailFlowRegion": "None",
            "SmtpDaneStatus": "Disabled",
            "Guid": self.guid(domain.name),
            "Identity": domain.name,
            "WhenChangedUTC": self._changed.get(domain.name, self._made),
        }
