"""Orders, by the script's rules: signature, expiry, no replay, known steps only, whole messages only."""

from __future__ import annotations

import hashlib
import hmac
import json
import re
from collections.abc import Iterator
from datetime import datetime, timedelta

from bot.core.clock import Clock
from bot.sandbox.exchange_server.documents import TYPES, Json
from bot.sandbox.exchange_server.names import Names, iso
from bot.sandbox.mail_system.model import BadRequest, Entry, Status
from bot.sandbox.mail_system.tenant import Tenant

REASON = "Removed by an administrator"
_STEPS = ("reject_messages", "set_connector_enabled", "set_domain_type", "retry_queue")


def mac(key: bytes, content: bytes) -> str:
    """The signature of these bytes."""
    return hmac.new(key, content, hashlib.sha256).hexdigest()


class Orders:
    """Carries out orders that are signed with `key`. `done`: the ids of those that were begun."""

    def __init__(self, tenant: Tenant, names: Names, key: bytes, clock: Clock) -> None:
        self.done: set[str] = set()
        self._tenant = tenant
        self._names = names
        self._key = key
        self._clock = clock

    def carried_out(self, order_id: str, content: bytes) -> Json:
        """The result of one order file."""
        started = iso(self._clock())
        order, refused = self._order(order_id, content)
        steps: list[Json] = []
        if order is not None:
            self.done.add(order_id)
            for step in order["steps"]:
                stopped = any(before["outcome"] != "done" for before in steps)
                outcome = _outcome("not_begun", "a step before it failed") if stopped else self._step(step)
                steps.append(outcome | {"do": step["do"]})
        return {
            "kind": "result",
            "version": 1,
            "order": order_id,
            "server": self._names.server,
            "started_at": started,
            "accepted": order is not None,
            "refused": refused,
            "steps": steps,
            "finished_at": iso(self._clock()),
        }

    def _order(self, order_id: str, content: bytes) -> tuple[Json | None, str]:
        head, _, body = content.partition(b"\n")
        if not re.fullmatch(rb"hmac-sha256 [0-9a-f]{64}", head):
            return None, "it has no signature"
        if not hmac.compare_digest(head[12:].decode(), mac(self._key, body)):
            return None, "its signature is wrong: both sides need the same key"
        order: Json = json.loads(body)
        now = self._clock()
        issued, expires = (datetime.fromisoformat(order[name]) for name in ("issued_at", "expires_at"))
        if order.get("kind") != "order" or order.get("version") != 1 or order.get("id") != order_id:
            return None, "it is another order than its name says"
        if expires <= now:
            return None, "it has expired: compare the clocks of both machines"
        if issued > now + timedelta(minutes=5) or expires - issued > timedelta(minutes=15):
            return None, "its dates make no sense: compare the clocks of both machines"
        if order_id in self.done:
            return None, "it was done before"
        if not all(step.get("do") in _STEPS for step in order["steps"]):
            return None, "it holds a step that this script does not know"
        return order, ""

    def _step(self, step: Json) -> Json:
        try:
            if step["do"] == "reject_messages":
                return self._reject(step["messages"])
            if step["do"] == "set_domain_type":
                self._tenant.set_domain_type(step["domain"], TYPES[step["type"]])
                return _outcome("done", f"DomainType is {step['type']}")
            if step["do"] == "set_connector_enabled":
                key = self._key_of(step["connector"])
                self._tenant.set_connector_enabled(key, step["enabled"], self._clock())
                return _outcome("done", f"Enabled is {step['enabled']}")
            for queue in step["queues"]:
                self._tenant.retry(self._names.connector_of(queue), self._clock())
            return _outcome("done", f"{len(step['queues'])} queues are tried again")
        except BadRequest as error:
            return _outcome("failed", str(error))

    def _key_of(self, guid: str) -> str:
        return next((key for key in self._tenant.connectors if self._names.guid(key) == guid), "")

    def _reject(self, wanted: list[Json]) -> Json:
        rows = [one | dict(zip(("outcome", "text"), self._rejected(one), strict=True)) for one in wanted]
        left = sum(row["outcome"] not in ("rejected", "gone", "pending") for row in rows)
        word = "done" if not left else "partly" if left < len(rows) else "failed"
        return _outcome(word, f"{left} of {len(rows)} messages were left alone") | {"messages": rows}

    def _rejected(self, one: Json) -> tuple[str, str]:
        copy = [e for e in self._copies(one["identity"]) if e.status is Status.QUEUED]
        if not copy:
            return "gone", ""
        received = datetime.fromisoformat(one["received_at"])
        if abs(copy[0].message.received_at - received) > timedelta(seconds=2):
            return "refused", "it is another message by now"
        if not {e.recipient for e in copy} <= set(one["recipients"]):
            return "refused", "somebody else waits for it, who is not in the order"
        self._tenant.reject([e.ref for e in copy], REASON, self._clock())
        still = any(e.status is Status.QUEUED for e in self._copies(one["identity"]))
        return ("pending", "it is being delivered right now") if still else ("rejected", "")

    def _copies(self, identity: str) -> Iterator[Entry]:
        for entry in self._tenant.entries.values():
            if self._names.identity(entry.message.key, entry.connector_key) == identity:
                yield entry


def _outcome(outcome: str, text: str) -> Json:
    return {"outcome": outcome, "text": text}
