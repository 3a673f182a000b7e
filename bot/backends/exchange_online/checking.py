"""For `mfi doctor`: can both app registrations sign in, may they do what they are for, and do the clocks agree?

It changes nothing: the right to change is tried on an object that can't exist, without any new value.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from uuid import uuid4

from bot.backends.exchange_online.credentials import UnusableCertificate, certificate_ends
from bot.backends.exchange_online.graph_trace import (
    READ_RIGHT,
    SERVICE_PRINCIPAL,
    NoServicePrincipal,
    NoTraceRight,
)
from bot.backends.exchange_online.http import Throttled, Wire
from bot.backends.exchange_online.invoke import CmdletError, Invoker, NotAllowed
from bot.backends.exchange_online.options import Options, Registration
from bot.backends.exchange_online.signin import SignIn, SignInFailed
from bot.backends.exchange_online.trace_source import Trace
from bot.backends.ports import BackendError, Refused
from bot.core.finding import Finding

DEADLINE = 9.0
"""Seconds for everything: the doctor waits for 10."""
SOON = timedelta(days=30)
SKEW = timedelta(minutes=2)
_NETWORK = "check the network, the proxy (HTTPS_PROXY) and the firewall, then run it again"
Check = Callable[[], Awaitable[list[Finding]]]
_CONSENT = (
    "Entra admin center → App registrations → {id} → API permissions → Add a permission → {where}; "
    "then Grant admin consent"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """What is looked at. `fixer` and `acting` are there together, or not at all."""

    name: str
    options: Options
    reader: SignIn
    fixer: SignIn | None
    invoker: Invoker
    acting: Invoker | None
    trace: Trace
    wire: Wire


async def examine(parts: Parts) -> Sequence[Finding]:
    """All findings, in reading order."""
    name, until = parts.name, asyncio.get_running_loop().time() + DEADLINE
    reader = _Look(name, parts.reader, parts, until)
    looks = [
        reader.at(
            ("the message trace", lambda: _trace(name, parts.options, parts.trace)),
            ("the reader's roles", lambda: _reads(name, parts.options, parts.invoker)),
        )
    ]
    if parts.fixer is not None and parts.acting is not None:
        fixer, acting = parts.fixer, parts.acting
        look = _Look(name, fixer, parts, until)
        looks.append(look.at(("the fixer's roles", lambda: _changes(name, fixer.registration, acting))))
    findings = [finding for answer in await asyncio.gather(*looks) for finding in answer]
    if parts.fixer is None:
        fix = f"to let it act: MFI_{name.upper()}_FIXER_CLIENT_ID and its certificate (README, Exchange Online)"
        findings.append(_note(name, "no fixer is set up, so that Fix now lists the steps to do by hand", fix))
    return [*findings, *_clock(name, parts.wire)]


@dataclass(frozen=True, slots=True)
class _Look:
    """What is looked at of one registration, until a moment of the event loop's clock."""

    name: str
    signin: SignIn
    parts: Parts
    until: float

    async def at(self, *others: tuple[str, Check]) -> list[Finding]:
        """Its sign-in; the others only if that works, because they would fail for the same reason."""
        role = self.signin.registration.role
        locked_out = await self._bounded(f"the {role}'s sign-in", self._enter)
        if locked_out:
            return locked_out
        told = await asyncio.gather(self._proof(), *(self._bounded(what, check) for what, check in others))
        return [finding for one in told for finding in one]

    async def _bounded(self, what: str, check: Check) -> list[Finding]:
        name = self.name
        try:
            async with asyncio.timeout_at(self.until):
                return await check()
        except TimeoutError:
            return [_fault(name, f"{what}: no answer within {DEADLINE:.0f} s", _NETWORK)]
        except SignInFailed as error:
            return [_fault(name, f"the {self.signin.registration.role} can't sign in: {error.says}", error.fix)]
        except Throttled as error:
            return [_note(name, f"{what}: {error}", "run it again in 5 minutes")]
        except Refused as error:
            return [_fault(name, f"{what}: {error}", "compare the setup with README, Exchange Online")]
        except BackendError as error:
            return [_fault(name, f"{what}: {error}", _NETWORK)]

    async def _enter(self) -> list[Finding]:
        await self.signin.token(self.parts.options.endpoints.exo_scope, patient=False)
        return []

    async def _proof(self) -> list[Finding]:
        """How long its secret or certificate will serve."""
        name, registration = self.name, self.signin.registration
        if registration.certificate is None:
            fix = f"better: a certificate ({registration.prefix}CERTIFICATE_FILE); Entra shows when a secret ends"
            return [
                _note(name, f"the {registration.role} signs in with a secret; its end can't be read from here", fix)
            ]
        try:
            ends = await asyncio.to_thread(certificate_ends, registration)
        except UnusableCertificate:
            ends = None
        if ends is None or ends - self.parts.wire.now() > SOON:
            until = f", good until {ends:%Y-%m-%d}" if ends else ""
            return [_ok(name, f"the {registration.role} signs in with its certificate{until}")]
        fix = f"make a new one, upload it to {registration.client_id}, name it in {registration.prefix}CERTIFICATE_FILE"
        return [_fault(name, f"the {registration.role}'s certificate ends on {ends:%Y-%m-%d}", fix)]


async def _trace(name: str, options: Options, trace: Trace) -> list[Finding]:
    try:
        await trace.probe(patient=False)
    except NoServicePrincipal:
        fix = (
            "once, as an administrator: Connect-MgGraph -Scopes Application.ReadWrite.All; "
            f"New-MgServicePrincipal -AppId {SERVICE_PRINCIPAL}; then wait, it may take some hours"
        )
        return [_fault(name, "the tenant lacks Microsoft's service principal of the message trace", fix)]
    except NoTraceRight:
        where = f"Microsoft Graph → Application permissions → {READ_RIGHT}"
        fix = _CONSENT.format(id=options.reader.client_id, where=where)
        return [_fault(name, f"the reader lacks {READ_RIGHT} or its admin consent", fix)]
    except NotAllowed as error:
        return [_lacking(name, options.reader, error, "View-Only Recipients")]
    return [_ok(name, "the message trace can be read")]


async def _reads(name: str, options: Options, invoker: Invoker) -> list[Finding]:
    """What a sync asks for, and the directory."""
    registration = options.reader
    try:
        await invoker.read("Get-OutboundConnector")
        api = "AcceptedDomain" if options.domains_api == "v2" else ""
        await invoker.read("Get-AcceptedDomain", {"ResultSize": 1}, api=api)
    except NotAllowed as error:
        return [_lacking(name, registration, error, "View-Only Configuration (or Entra's Global Reader)")]
    try:
        nobody = f"EmailAddresses -eq 'smtp:{uuid4().hex}@invalid.invalid'"
        await invoker.read("Get-Recipient", {"Filter": nobody, "ResultSize": 1})
    except NotAllowed as error:
        return [_lacking(name, registration, error, "View-Only Recipients (or Entra's Global Reader)")]
    return [_ok(name, "the reader can read connectors, accepted domains and the directory")]


async def _changes(name: str, registration: Registration, acting: Invoker) -> list[Finding]:
    """Both cmdlets, with an identity that nothing has and nothing to set: at most they say that it isn't there."""
    for cmdlet in ("Set-AcceptedDomain", "Set-OutboundConnector"):
        try:
            await acting.change(cmdlet, {"Identity": str(uuid4())})
        except NotAllowed as error:
            return [
                _lacking(name, registration, error, "Remote and Accepted Domains (or Entra's Exchange Administrator)")
            ]
        except CmdletError:
            continue
    return [_ok(name, "the fixer can change connectors and accepted domains")]


def _lacking(name: str, registration: Registration, error: NotAllowed, role: str) -> Finding:
    """401: the application permission is missing; 403: a role for the cmdlet."""
    if error.status == 401:
        where = "APIs my organization uses → Office 365 Exchange Online → Application permissions → " + error.permission
        fix = _CONSENT.format(id=registration.client_id, where=where)
        return _fault(name, f"the {registration.role} lacks {error.permission} or its admin consent", fix)
    fix = (
        f"give {registration.client_id} the role {role}, in Exchange Online PowerShell with New-ServicePrincipal, "
        "New-RoleGroup and Add-RoleGroupMember as in README, Exchange Online; it takes up to an hour"
    )
    return _fault(name, f"the {registration.role} lacks an Exchange role ({error})", fix)


def _clock(name: str, wire: Wire) -> list[Finding]:
    if abs(wire.skew) < SKEW:
        return []
    seconds = round(abs(wire.skew).total_seconds())
    side = "behind" if wire.skew > timedelta(0) else "ahead of"
    return [_fault(name, f"this machine's clock is {seconds} s {side} Microsoft's", "set it: timedatectl set-ntp true")]


def _ok(what: str, says: str) -> Finding:
    return Finding(level="ok", what=what, says=says)


def _note(what: str, says: str, fix: str = "") -> Finding:
    return Finding(level="note", what=what, says=says, fix=fix)


def _fault(what: str, says: str, fix: str) -> Finding:
    return Finding(level="fault", what=what, says=says, fix=fix)
