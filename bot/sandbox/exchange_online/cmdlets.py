"""The cmdlets that this tenant has: what they take, who may call them, and what they answer.

An unknown cmdlet is no entry here; the transport answers it as Exchange does (403).
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from bot.sandbox.exchange_online import parameters as given
from bot.sandbox.exchange_online.apps import Role
from bot.sandbox.exchange_online.faults import TenantFault, TenantFaults
from bot.sandbox.exchange_online.settings import TYPES, Settings
from bot.sandbox.exchange_online.wire import Json
from bot.sandbox.mail_system.model import DomainType
from bot.sandbox.mail_system.system import MailSystem

Parameters = Mapping[str, Any]
MORE = (
    "There are more results available than are currently displayed. To display them, increase the value for the "
    "ResultSize parameter."
)
CONFIGURATION = frozenset({Role.VIEW_CONFIGURATION, Role.DOMAINS, Role.VIEW_ORGANIZATION})
RECIPIENTS = frozenset({Role.VIEW_RECIPIENTS})
CHANGES = frozenset({Role.DOMAINS})
TRACING = frozenset({Role.TRACKING, Role.VIEW_RECIPIENTS})


@dataclass(slots=True)
class Answer:
    """A cmdlet's rows, values still as Python has them, and its warnings."""

    rows: list[Json] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)

    def cut(self, size: int | None) -> Answer:
        """Not more than this many rows; says so when there were more."""
        if size is None or len(self.rows) <= size:
            return self
        return Answer(self.rows[:size], [*self.warnings, MORE])


@dataclass(frozen=True, slots=True)
class Cmdlet:
    """One cmdlet: the names of its parameters, the roles of which one is needed, and what it does."""

    takes: tuple[str, ...]
    roles: frozenset[Role]
    run: Callable[[Parameters], Awaitable[Answer]]


class ConfigurationCmdlets:
    """Connectors, accepted domains, the transport's settings, recipients."""

    def __init__(self, mail: MailSystem, settings: Settings, faults: TenantFaults) -> None:
        self._mail, self._settings, self._faults = mail, settings, faults

    def table(self) -> dict[str, Cmdlet]:
        """By name."""
        scope = ("Identity", "IncludeTestModeConnectors", "IsTransportRuleScoped")
        change = ("Identity", "Enabled", "Comment", "Confirm")
        return {
            "Get-OutboundConnector": Cmdlet(scope, CONFIGURATION, self._connectors),
            "Get-AcceptedDomain": Cmdlet(("Identity", "ResultSize"), CONFIGURATION, self.domains),
            "Get-TransportConfig": Cmdlet((), CONFIGURATION, self._transport),
            "Get-Recipient": Cmdlet(
                ("Identity", "Filter", "ResultSize", "Properties", "RecipientTypeDetails"),
                RECIPIENTS,
                self._recipients,
            ),
            "Set-OutboundConnector": Cmdlet(change, CHANGES, self._set_connector),
            "Set-AcceptedDomain": Cmdlet(("Identity", "DomainType", "Confirm"), CHANGES, self._set_domain),
            "Validate-OutboundConnector": Cmdlet(("Identity", "Recipients"), CHANGES, self._validate),
        }

    # Reads

    async def _connectors(self, parameters: Parameters) -> Answer:
        identity = given.text(parameters, "Identity")
        test_mode = given.boolean(parameters, "IncludeTestModeConnectors")
        scoped = given.boolean(parameters, "IsTransportRuleScoped")
        if identity and not self._faults.take(TenantFault.IDENTITY_IGNORED, "Get-OutboundConnector"):
            found = self._settings.connector(identity)
            if found is None:
                raise given.not_found(identity)
            return Answer([self._spoiled(found[1])])
        rows = [r for r in self._settings.connectors() if test_mode or not r["TestMode"]]
        # Observed: without the parameter those that only rules use come too, whatever is documented.
        rows = rows if scoped is None else [r for r in rows if r["IsTransportRuleScoped"] is scoped]
        return Answer([self._spoiled(rows[0]), *rows[1:]] if rows else [])

    def _spoiled(self, row: Json) -> Json:
        if self._faults.take(TenantFault.UNKNOWN_SETTING, "Get-OutboundConnector"):
            return {**row, "TlsSettings": "QuantumValidation"}
        return row

    async def domains(self, parameters: Parameters) -> Answer:
        """Get-AcceptedDomain, also for the v2.0 endpoint."""
        identity = given.text(parameters, "Identity")
        size = given.result_size(parameters)
        if identity and not self._faults.take(TenantFault.IDENTITY_IGNORED, "Get-AcceptedDomain"):
            found = self._settings.domain(identity)
            if found is None:
                raise given.not_found(identity)
            return Answer([found[1]])
        return Answer(self._settings.domains()).cut(size)

    async def _transport(self, _parameters: Parameters) -> Answer:
        row = {
            "MessageExpiration": _span(self._settings.lifetime),
            "MaxRecipientEnvelopeLimit": "500",
            "SmtpClientAuthenticationDisabled": True,
            "Name": "Transport Settings",
            "Identity": "Transport Settings",
        }
        return Answer([row])

    async def _recipients(self, parameters: Parameters) -> Answer:
        identity, query = given.text(parameters, "Identity"), given.text(parameters, "Filter")
        size = given.result_size(parameters)
        ignored = identity is not None and self._faults.take(TenantFault.IDENTITY_IGNORED, "Get-Recipient")
        if query:
            wanted = dict.fromkeys(given.filtered_addresses(query))
            found_rows = (self._settings.recipient(one, external=external) for one, external in wanted)
            rows = list({row["Guid"]: row for row in found_rows if row is not None}.values())
        elif identity and not ignored:
            found = self._settings.recipient(identity)
            if found is None:
                raise given.not_found(identity)
            rows = [found]
        else:
            rows = self._settings.recipients()
        answer = Answer(_selected(rows, given.strings(parameters, "Properties")))
        if rows and self._faults.take(TenantFault.PARTIAL_DIRECTORY, "Get-Recipient"):
            return Answer(answer.rows[: len(rows) // 2], [MORE])
        return answer.cut(size)

    # Changes

    async def _set_connector(self, parameters: Parameters) -> Answer:
        identity = given.required(parameters, "Identity")
        enabled, comment = given.boolean(parameters, "Enabled"), given.text(parameters, "Comment")
        found = self._settings.connector(identity)
        if found is None:
            raise given.not_found(identity)
        connector, row = found
        if enabled is not None and enabled is not row["Enabled"]:
            self._settings.enable(connector, enabled)
            self._faults.done["Set-OutboundConnector"] += 1
        if comment is not None:
            self._settings.comment(connector, comment)
        return _nothing_new(enabled is not None and enabled is row["Enabled"], identity)

    async def _set_domain(self, parameters: Parameters) -> Answer:
        identity = given.required(parameters, "Identity")
        names = {name: kind for kind, name in TYPES.items()}
        wanted = given.member(given.required(parameters, "DomainType"), tuple(names), "DomainType")
        found = self._settings.domain(identity)
        if found is None:
            raise given.not_found(identity)
        domain, row = found
        if names[wanted] is DomainType.EXTERNAL_RELAY:
            raise given.not_allowed("ExternalRelay is not available in this organization.")
        if domain.match_subdomains and names[wanted] is not DomainType.INTERNAL_RELAY:
            raise given.not_allowed("MatchSubDomains can only be true for an accepted domain of type InternalRelay.")
        if row["DomainType"] != wanted:
            self._settings.retype(domain, names[wanted])
            self._faults.done["Set-AcceptedDomain"] += 1
        return _nothing_new(row["DomainType"] == wanted, identity)

    async def _validate(self, parameters: Parameters) -> Answer:
        identity = given.required(parameters, "Identity")
        recipients = given.strings(parameters, "Recipients")
        found = self._settings.connector(identity)
        if found is None:
            raise given.not_found(identity)
        if not recipients:
            raise given.wrong("Cannot bind argument to parameter 'Recipients' because it is empty.")
        tried = await self._mail.try_out(found[0], recipients)
        return Answer([{"TaskName": name, "IsTaskSuccessful": failure is None} for name, failure in tried])


def _nothing_new(same: bool, identity: str) -> Answer:
    """A change answers without rows; one that changes nothing warns."""
    warning = f"The command completed successfully but no settings of '{identity}' have been modified."
    return Answer([], [warning] if same else [])


def _selected(rows: list[Json], properties: list[str] | None) -> list[Json]:
    if properties is None:
        return rows
    wanted = {name.lower() for name in properties} | {"identity", "guid"}
    return [{name: value for name, value in row.items() if name.lower() in wanted} for row in rows]


def _span(span: timedelta) -> str:
    """As .NET writes a TimeSpan: days only when there are any."""
    hours, rest = divmod(span.seconds, 3600)
    clock = f"{hours:02}:{rest // 60:02}:{rest % 60:02}"
    return f"{span.days}.{clock}" if span.days else clock
