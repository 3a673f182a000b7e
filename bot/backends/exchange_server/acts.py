"""The orders that make an act: what is asked of the script, and what it means if only a part of it was done."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from bot.backends.exchange_server.orders import Orders, Result, not_done
from bot.backends.exchange_server.queue_facts import Listing
from bot.backends.exchange_server.rows import Json
from bot.backends.exchange_server.settings_facts import WORDS
from bot.backends.ports import MessageRef, Refused
from storage.records import ConnectorFacts, DomainFacts, DomainType

MESSAGES_PER_ORDER = 200


class Acts:
    """The act side. Every method returns the script's answers; [] where what is wanted holds already."""

    def __init__(self, orders: Orders) -> None:
        self._orders = orders

    async def reject(self, listing: Listing, refs: Iterable[MessageRef]) -> Sequence[Result]:
        """Only whole messages: nobody may wait for one who isn't named."""
        wanted = {ref for ref in ((r.key, r.recipient.lower()) for r in refs) if ref in listing.messages}
        named: dict[str, set[str]] = {}
        for key, recipient in wanted:
            named.setdefault(key, set()).add(recipient)
        waiting = listing.recipients()
        if others := [key for key, recipients in named.items() if waiting[key] - recipients]:
            raise Refused(
                f"{len(others)} of the messages also wait for other recipients, and Exchange Server can only reject a "
                f"message of a queue as a whole ({others[0]})"
            )
        rows = [_message(listing, key, recipients) for key, recipients in sorted(named.items())]
        chunks = (rows[at : at + MESSAGES_PER_ORDER] for at in range(0, len(rows), MESSAGES_PER_ORDER))
        return await self._done([{"do": "reject_messages", "messages": chunk} for chunk in chunks])

    async def set_connector_enabled(
        self, connectors: Iterable[ConnectorFacts], key: str, *, enabled: bool
    ) -> Sequence[Result]:
        """Switch a send connector."""
        found = next((connector for connector in connectors if connector.key == key), None)
        if found is None:
            raise Refused(f"there is no send connector {key[:60]}")
        if found.enabled is enabled:
            return []
        return await self._done([{"do": "set_connector_enabled", "connector": key, "enabled": enabled}])

    async def set_domain_type(self, domains: Iterable[DomainFacts], name: str, to: DomainType) -> Sequence[Result]:
        """Change an accepted domain's type."""
        found = next((domain for domain in domains if domain.name == name.lower()), None)
        if found is None:
            raise Refused(f"{name[:100]} is no accepted domain")
        if found.type is to:
            return []
        if to is DomainType.AUTHORITATIVE and found.match_subdomains:
            raise Refused(f"{found.name} matches sub-domains, which needs an internal relay domain")
        return await self._done([{"do": "set_domain_type", "domain": found.name, "type": WORDS[to]}])

    async def retry(self, listing: Listing, connector_key: str) -> Sequence[Result]:
        """Try a connector's queues again."""
        queues = [queue.identity for queue in listing.of_connector(connector_key)]
        return await self._done([{"do": "retry_queue", "queues": queues}] if queues else [])

    async def _done(self, steps: Sequence[Json]) -> Sequence[Result]:
        if not steps:
            return []
        results = await self._orders.carry_out(steps)
        not_done(results)
        return results


def _message(listing: Listing, key: str, recipients: Iterable[str]) -> Json:
    facts = next(listing.messages[key, recipient] for recipient in recipients)
    return {
        "identity": key,
        "recipients": sorted(recipients),
        "sender": facts.sender or "<>",
        "received_at": facts.received_at.isoformat(),
        "expires_at": facts.expires_at.isoformat(),
    }
