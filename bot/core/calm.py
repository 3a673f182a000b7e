"""The usual case: a good probe that shows what the ones before it showed. It calls for no decision. Pure.

That holds only where nothing else is going on: no incident is open, no mail was deferred, the connector is watched and
was not changed meanwhile. The caller sees to that (bot/services/recording.py); then triage would decide nothing:
no trouble is left for bot/core/incidents.py, and no threat for bot/core/foresight.py, which is told by certificates
that end soon, by dead servers, and by what differs between the last `open_after` good probes and the one before them.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from bot.core.policy import Policy
from bot.core.probe_result import ProbeResult
from knowledge.classify import Stage
from storage.records import ProbeRecord


class Calm:
    """Remembers for each connector how many good probes in a row showed the same.

    Trusts: that every probe that is stored is noted. What it does not know (after a start) is not calm.
    """

    def __init__(self, policy: Policy) -> None:
        self._policy = policy
        self._seen: dict[int, tuple[int, int]] = {}

    def is_usual(self, probe: ProbeRecord, result: ProbeResult, now: datetime) -> bool:
        """Every target is fine, no certificate ends soon, and enough good probes before it showed the same."""
        look, count = self._seen.get(probe.connector_id, (0, 0))
        return (
            count >= max(self._policy.open_after, 1)
            and look == _look(probe)
            and all(t.ok and t.stage is Stage.DONE for t in result.targets)
            and not any(self._ends_soon(t.tls.not_after, now) for t in result.targets if t.tls and t.tls.not_after)
        )

    def note(self, probe: ProbeRecord) -> None:
        """A probe was stored."""
        if not probe.ok or probe.nothing_probed:
            self._seen.pop(probe.connector_id, None)
            return
        look, (before, count) = _look(probe), self._seen.get(probe.connector_id, (0, 0))
        self._seen[probe.connector_id] = (look, count + 1 if look == before else 1)

    def _ends_soon(self, not_after: datetime, now: datetime) -> bool:
        return not_after - now <= max(self._policy.certificate_marks, default=timedelta(0))


def _look(probe: ProbeRecord) -> int:
    """Everything by which two good probes are compared, as 64 bits that nobody outside this process can foretell."""
    return hash(tuple(probe.fingerprint.items()))
