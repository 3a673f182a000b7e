"""The control API: what a tenant's management interface would offer, as JSON over HTTP on loopback.

    GET   /v1/connectors                   all of them          GET   /v1/connectors/{key}   one
    PATCH /v1/connectors/{key}             {"enabled": bool}
    GET   /v1/domains                      all of them          GET   /v1/domains/{name}     one
    PATCH /v1/domains/{name}               {"type": "authoritative" | …}
    GET   /v1/queue                        everything that waits
    POST  /v1/messages                     {"sender", "recipients", "subject"?, "body"?}: accept a message
    POST  /v1/messages/lookup              {"refs": [[key, recipient], …]}: these, ended ones too
    POST  /v1/messages/reject              {"refs": …, "reason"}: end these with an NDR
    POST  /v1/directory/lookup             {"addresses": […]}: valid, invalid, unknown (not our domains)
    GET   /v1/mailboxes/{address}          what is in a mailbox, NDRs too

Lists carry their total, so that a reader notices a short one. Acts are desired-state: repeating one changes nothing.
A browser page can't act: changes need `Content-Type: application/json`, and the Host has to be a loopback one.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Mapping
from datetime import datetime
from typing import Any

from aiohttp import web

from bot.core.clock import Clock
from bot.sandbox.mail_system.faults import Fault, Faults, Operation
from bot.sandbox.mail_system.model import (
    BadRequest,
    DomainType,
    Entry,
    MailboxItem,
    TenantConnector,
    TenantDomain,
    address,
)
from bot.sandbox.mail_system.tenant import Ref, Tenant

Json = dict[str, Any]
Handler = Callable[[web.Request], Awaitable[Json]]
MAX_BODY = 8 * 1024 * 1024
LOOPBACK = frozenset({"127.0.0.1", "localhost", "[::1]"})


class ControlApi:
    """The routes over one tenant. `on_change` is called after every act, so that the queue is looked at again."""

    def __init__(self, tenant: Tenant, faults: Faults, clock: Clock, on_change: Callable[[], None]) -> None:
        self._tenant = tenant
        self._faults = faults
        self._clock = clock
        self._on_change = on_change
        self._frozen: dict[str, Json] = {}

    def application(self) -> web.Application:
        """The aiohttp application, not started."""
        app = web.Application(client_max_size=MAX_BODY)
        for method, path, operation, handler in self._routes():
            app.router.add_route(method, path, self._guarded(operation, handler))
        return app

    def _routes(self) -> list[tuple[str, str, Operation, Handler]]:
        return [
            ("GET", "/v1/connectors", Operation.CONNECTORS, self._connectors),
            ("GET", "/v1/connectors/{key}", Operation.CONNECTOR, self._connector),
            ("PATCH", "/v1/connectors/{key}", Operation.SWITCH, self._switch),
            ("POST", "/v1/connectors/{key}/retry", Operation.RETRY, self._retry),
            ("GET", "/v1/domains", Operation.DOMAINS, self._domains),
            ("GET", "/v1/domains/{name}", Operation.DOMAIN, self._domain),
            ("PATCH", "/v1/domains/{name}", Operation.DOMAIN_TYPE, self._domain_type),
            ("GET", "/v1/queue", Operation.QUEUE, self._queue),
            ("POST", "/v1/messages", Operation.SUBMIT, self._submit),
            ("POST", "/v1/messages/lookup", Operation.LOOKUP, self._lookup),
            ("POST", "/v1/messages/reject", Operation.REJECT, self._reject),
            ("POST", "/v1/directory/lookup", Operation.DIRECTORY, self._directory),
            ("GET", "/v1/mailboxes/{address}", Operation.MAILBOX, self._mailbox),
        ]

    def _guarded(self, operation: Operation, handler: Handler) -> Callable[[web.Request], Awaitable[web.Response]]:
        async def guarded(request: web.Request) -> web.Response:
            if request.host.rpartition(":")[0] not in LOOPBACK:
                return _problem(421, "this API answers on loopback names only")
            if request.method != "GET" and request.content_type != "application/json":
                return _problem(415, "send application/json")
            fault = self._faults.take(operation)
            if fault in (Fault.HANG, Fault.DROP_BEFORE):
                return await self._vanish(request, wait=fault is Fault.HANG)
            if fault in (Fault.REFUSE, Fault.ERROR):
                return _problem(403 if fault is Fault.REFUSE else 500, f"{operation} is not possible now")
            try:
                answer = await self._answer(request, operation, handler, fault)
            except BadRequest as error:
                return _problem(400, str(error))
            if fault is Fault.DROP_AFTER:
                return await self._vanish(request, wait=False)
            return web.json_response(answer)

        return guarded

    async def _answer(self, request: web.Request, operation: Operation, handler: Handler, fault: Fault | None) -> Json:
        """The handler's answer, spoiled if the fault is one of content."""
        if fault is Fault.STALE and request.path in self._frozen:
            return self._frozen[request.path]
        answer = await handler(request)
        if fault is Fault.STALE:
            self._frozen[request.path] = answer
        elif fault is Fault.SHORT and "rows" in answer:
            answer = {**answer, "rows": answer["rows"][:-1]}
        elif fault is Fault.PARTIAL and operation is Operation.DIRECTORY:
            answer = {name: rows[: len(rows) // 2] for name, rows in answer.items()}
        return answer

    async def _vanish(self, request: web.Request, *, wait: bool) -> web.Response:
        if wait:
            await self._faults.hang()
        if request.transport is not None:
            request.transport.abort()
        return web.Response()

    # Reads

    async def _connectors(self, _request: web.Request) -> Json:
        return _rows([_connector_row(c) for c in self._tenant.connectors.values()])

    async def _connector(self, request: web.Request) -> Json:
        found = self._tenant.connectors.get(request.match_info["key"])
        return {"connector": _connector_row(found) if found else None}

    async def _domains(self, _request: web.Request) -> Json:
        return _rows([_domain_row(d) for d in self._tenant.domains.values()])

    async def _domain(self, request: web.Request) -> Json:
        found = self._tenant.domains.get(request.match_info["name"].lower())
        return {"domain": _domain_row(found) if found else None}

    async def _queue(self, _request: web.Request) -> Json:
        return _rows([_entry_row(e) for e in self._tenant.queued()])

    async def _lookup(self, request: web.Request) -> Json:
        return _rows([_entry_row(e) for e in self._tenant.find(_refs(await _body(request)))])

    async def _directory(self, request: web.Request) -> Json:
        answer: dict[str, list[str]] = {"valid": [], "invalid": [], "unknown": []}
        for one in _strings(await _body(request), "addresses"):
            known = self._tenant.known(one.lower())
            answer["unknown" if known is None else "valid" if known else "invalid"].append(one.lower())
        return dict(answer)

    async def _mailbox(self, request: web.Request) -> Json:
        owner = address(request.match_info["address"])
        return _rows([_mailbox_row(item) for item in self._tenant.mailboxes.get(owner, [])])

    # Acts

    async def _switch(self, request: web.Request) -> Json:
        enabled = (await _body(request)).get("enabled")
        if not isinstance(enabled, bool):
            raise BadRequest('"enabled" has to be true or false')
        connector = self._tenant.set_connector_enabled(request.match_info["key"], enabled, self._clock())
        self._on_change()
        return {"connector": _connector_row(connector)}

    async def _retry(self, request: web.Request) -> Json:
        retried = self._tenant.retry(request.match_info["key"], self._clock())
        self._on_change()
        return {"retried": retried}

    async def _domain_type(self, request: web.Request) -> Json:
        wanted = (await _body(request)).get("type")
        if wanted not in list(DomainType):
            raise BadRequest(f'"type" has to be one of {", ".join(DomainType)}')
        domain = self._tenant.set_domain_type(request.match_info["name"], DomainType(wanted))
        self._on_change()
        return {"domain": _domain_row(domain)}

    async def _reject(self, request: web.Request) -> Json:
        body = await _body(request)
        reason = str(body.get("reason", ""))[:200]
        rejected = self._tenant.reject(_refs(body), reason, self._clock())
        self._on_change()
        return {"rejected": rejected}

    async def _submit(self, request: web.Request) -> Json:
        body = await _body(request)
        subject, text = str(body.get("subject", ""))[:500], str(body.get("body", ""))[:100_000]
        to = _strings(body, "recipients")
        key = self._tenant.submit(str(body.get("sender", "")), to, now=self._clock(), subject=subject, body=text)
        self._on_change()
        return {"key": key}


async def _body(request: web.Request) -> Mapping[str, Any]:
    try:
        found = await request.json()
    except (json.JSONDecodeError, UnicodeDecodeError):
        found = None
    if not isinstance(found, dict):
        raise BadRequest("the body has to be one JSON object")
    return found


def _strings(body: Mapping[str, Any], name: str) -> list[str]:
    found = body.get(name)
    if not isinstance(found, list) or not all(isinstance(one, str) for one in found):
        raise BadRequest(f'"{name}" has to be a list of strings')
    return found


def _refs(body: Mapping[str, Any]) -> list[Ref]:
    found = body.get("refs")
    if not isinstance(found, list):
        raise BadRequest('"refs" has to be a list of [key, recipient]')
    refs: list[Ref] = []
    for one in found:
        if not (isinstance(one, list) and len(one) == 2 and all(isinstance(part, str) for part in one)):
            raise BadRequest('"refs" has to be a list of [key, recipient]')
        refs.append((one[0], one[1].lower()))
    return refs


def _rows(rows: list[Json]) -> Json:
    return {"total": len(rows), "rows": rows}


def _problem(status: int, text: str) -> web.Response:
    return web.json_response({"error": text}, status=status)


def _connector_row(connector: TenantConnector) -> Json:
    interval = connector.probe_interval
    return {
        "key": connector.key,
        "name": connector.name,
        "kind": connector.kind,
        "enabled": connector.enabled,
        "use_mx": connector.use_mx,
        "smart_hosts": list(connector.smart_hosts),
        "port": connector.port,
        "recipient_domains": list(connector.recipient_domains),
        "tls_setting": connector.tls_setting,
        "tls_domain": connector.tls_domain,
        "partner_contact": connector.partner_contact,
        "alert_channel": connector.alert_channel,
        "probe_interval": interval.total_seconds() if interval else None,
    }


def _domain_row(domain: TenantDomain) -> Json:
    return {"name": domain.name, "type": domain.type, "match_subdomains": domain.match_subdomains}


def _entry_row(entry: Entry) -> Json:
    return {
        "key": entry.message.key,
        "recipient": entry.recipient,
        "sender": entry.message.sender,
        "received_at": entry.message.received_at.isoformat(),
        "expires_at": entry.expires_at.isoformat(),
        "status": entry.status,
        "size": len(entry.message.content),
        "reason": entry.reason,
        "remote_host": entry.remote_host,
        "remote_ip": entry.remote_ip,
        "evidence_at": _moment(entry.evidence_at),
        "connector_key": entry.connector_key,
        "attempts": entry.attempts,
        "next_attempt_at": entry.next_attempt_at.isoformat(),
    }


def _mailbox_row(item: MailboxItem) -> Json:
    return {
        "at": item.at.isoformat(),
        "subject": item.subject,
        "ndr": item.ndr,
        "failed_recipient": item.failed_recipient,
        "content": item.content.decode("utf-8", "replace"),
    }


def _moment(moment: datetime | None) -> str | None:
    return moment.isoformat() if moment else None
