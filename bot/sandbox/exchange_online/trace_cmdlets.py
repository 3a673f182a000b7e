"""Get-MessageTraceV2 and Get-MessageTraceDetailV2: the trace without links, continued by the last row's key."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any

from bot.core.clock import Clock
from bot.sandbox.exchange_online import parameters as given
from bot.sandbox.exchange_online.cmdlets import TRACING, Answer, Cmdlet, Parameters
from bot.sandbox.exchange_online.faults import TenantFault, TenantFaults
from bot.sandbox.exchange_online.trace import REACH, USUAL, WINDOW, Trace, row
from bot.sandbox.exchange_online.wire import Json, Throttle
from bot.sandbox.mail_system.model import Entry

LIST = "Get-MessageTraceV2"
DETAIL = "Get-MessageTraceDetailV2"
MOST = 5000
STATUSES = ("Delivered", "Expanded", "Failed", "FilteredAsSpam", "GettingStatus", "Pending", "Quarantined")
MATCHES = ("Contains", "StartsWith", "EndsWith")
_EXACT = {
    "MessageId": "messageId",
    "RecipientAddress": "recipientAddress",
    "SenderAddress": "senderAddress",
    "FromIP": "fromIP",
    "ToIP": "toIP",
    "MessageTraceId": "id",
}
_LIST_TAKES = (*_EXACT, "StartDate", "EndDate", "ResultSize", "StartingRecipientAddress", "Status")
_DETAIL_TAKES = ("MessageTraceId", "RecipientAddress", "Event", "Action", "StartDate", "EndDate", "MessageId")


class Throttled(Exception):
    """Too many of these; `wait` seconds."""

    def __init__(self, wait: int) -> None:
        super().__init__("throttled")
        self.wait = wait


class TraceCmdlets:
    """Over the trace; they share one quota of requests."""

    def __init__(self, trace: Trace, faults: TenantFaults, clock: Clock, throttle: Throttle) -> None:
        self._trace, self._faults, self._clock, self._throttle = trace, faults, clock, throttle

    def table(self) -> dict[str, Cmdlet]:
        """By name."""
        return {
            LIST: Cmdlet((*_LIST_TAKES, "Subject", "SubjectFilterType"), TRACING, self._list),
            DETAIL: Cmdlet((*_DETAIL_TAKES, "SenderAddress"), TRACING, self._detail),
        }

    async def _list(self, parameters: Parameters) -> Answer:
        now = self._now()
        since, until = _window(parameters, now)
        size = given.result_size(parameters, most=MOST) or MOST
        wanted = _wanted(parameters)
        subject = _subject(parameters)
        start = (given.text(parameters, "StartingRecipientAddress") or "").lower()
        found: list[Json] = []
        for entry in self._after(since, until, start, now):
            about = row(self._trace, entry, now)
            if len(found) > size:
                break
            if all(str(about[name]).lower() in values for name, values in wanted.items()) and _named(about, subject):
                found.append(about)
        more = len(found) > size
        found = found[:size]
        if len(found) > 1 and self._faults.take(TenantFault.SHORT_PAGE, LIST):
            found, more = found[: len(found) // 2], True
        rows = [_trace_row(about) for about in found]
        if rows and self._faults.take(TenantFault.UNKNOWN_STATUS, LIST):
            rows[0]["Status"] = "Resolved"
        return Answer(rows, [_continue(rows[-1])] if more else [])

    def _after(self, since: datetime, until: datetime, start: str, now: datetime) -> Iterator[Entry]:
        """The window; among what was received at its very end, only recipients from `start` on."""
        for entry in self._trace.window(since, until, now):
            if entry.message.received_at < until or entry.recipient >= start:
                yield entry

    async def _detail(self, parameters: Parameters) -> Answer:
        now = self._now()
        trace_id = given.required(parameters, "MessageTraceId")
        entry = self._trace.find(trace_id, given.required(parameters, "RecipientAddress"))
        since, _ = _window(parameters, now)
        if entry is None or entry.message.received_at < since:
            return Answer()
        events = [one.lower() for one in given.strings(parameters, "Event") or []]
        about = row(self._trace, entry, now)
        rows = [
            {
                "MessageId": about["messageId"],
                "MessageTraceId": about["id"],
                "Date": event.at,
                "Event": event.name,
                "Action": "",
                "Detail": event.description,
                "Data": event.xml(),
            }
            for event in self._trace.events(entry, now)
            if not events or event.name.partition(" ")[0].lower() in events
        ]
        return Answer(rows)

    def _now(self) -> datetime:
        now = self._clock()
        wait = self._throttle.take(now)
        if wait is not None:
            raise Throttled(wait)
        return now


def _window(parameters: Mapping[str, Any], now: datetime) -> tuple[datetime, datetime]:
    since, until = given.moment(parameters, "StartDate"), given.moment(parameters, "EndDate")
    if (since is None) is not (until is None):
        raise given.wrong("StartDate and EndDate have to be given together.")
    if since is None or until is None:
        return now - USUAL, now
    if since > until or until - since > WINDOW or since < now - REACH:
        raise given.wrong("StartDate and EndDate: at most 10 days, not older than 90 days, start before end.")
    return since, until


def _wanted(parameters: Mapping[str, Any]) -> dict[str, set[str]]:
    found: dict[str, set[str]] = {}
    for name, key in _EXACT.items():
        values = given.strings(parameters, name)
        if values is not None:
            found[key] = {value.lower() for value in values}
    statuses = given.strings(parameters, "Status")
    if statuses is not None:
        found["status"] = {given.member(one, STATUSES, "Status").lower() for one in statuses}
    return found


def _subject(parameters: Mapping[str, Any]) -> tuple[str, str]:
    how = given.member(given.text(parameters, "SubjectFilterType") or "Contains", MATCHES, "SubjectFilterType")
    return how, (given.text(parameters, "Subject") or "").lower()


def _named(about: Json, subject: tuple[str, str]) -> bool:
    how, wanted = subject
    found = str(about["subject"]).lower()
    if how == "StartsWith":
        return found.startswith(wanted)
    return found.endswith(wanted) if how == "EndsWith" else wanted in found


def _trace_row(about: Json) -> Json:
    status = str(about["status"])
    return {
        "MessageTraceId": about["id"],
        "MessageId": about["messageId"],
        "Received": about["receivedDateTime"],
        "SenderAddress": about["senderAddress"],
        "RecipientAddress": about["recipientAddress"],
        "FromIP": about["fromIP"],
        "ToIP": about["toIP"],
        "Subject": about["subject"],
        "Status": status[:1].upper() + status[1:],
        "Size": about["size"],
    }


def _continue(last: Json) -> str:
    return (
        "There are more results, use the following command to get more. Continue with EndDate = Received and "
        f"StartingRecipientAddress = RecipientAddress of the last row ({last['RecipientAddress']})."
    )
