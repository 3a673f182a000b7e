"""Certificates judged once and remembered: most servers send the same chain in every probe.

Promises: the verdict is the one that `judge_chain` would give now; memory is bounded.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from bot.probes.certificate import CertificateView, Wanted, judge_chain
from bot.probes.revocation import Revocations
from bot.probes.truststore import TrustStore

CHAINS = 4096
CHAIN_BYTES = 16 * 1024
"""Chains up to this size are remembered; larger ones are judged each time."""


class Judge:
    """Judges chains against one trust store and one set of revocations."""

    def __init__(self, trust: TrustStore, revoked: Revocations, *, chains: int = CHAINS) -> None:
        self._trust = trust
        self._revoked = revoked
        self._chains = chains
        self._known: dict[tuple[Wanted, tuple[bytes, ...]], tuple[datetime, CertificateView]] = {}

    def judge(self, chain: Sequence[bytes], wanted: Wanted, now: datetime) -> CertificateView:
        """What this chain is worth at this moment."""
        key = (wanted, tuple(chain))
        since, view = self._known.get(key, (now, None))
        if view is not None and since <= now and (view.holds_until is None or now < view.holds_until):
            return view.at(now)
        view = judge_chain(chain, wanted, self._trust, now, self._revoked)
        self._known.pop(key, None)
        if sum(map(len, chain)) <= CHAIN_BYTES:
            if len(self._known) >= self._chains:
                del self._known[next(iter(self._known))]
            self._known[key] = (now, view)
        return view
