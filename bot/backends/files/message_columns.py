"""What the columns and the words of message-trace exports mean. Names are folded (see table.folded)."""

from __future__ import annotations

import re
from collections.abc import Iterable
from enum import Enum
from functools import lru_cache

from bot.backends.files.table import folded

ALIASES: dict[str, tuple[str, ...]] = {
    "key": ("networkmessageid", "messagetraceid", "id", "queueid", "messageid", "internetmessageid"),
    "recipient": ("recipientaddress", "recipient", "recipients", "to", "recipientstatus"),
    "sender": ("senderaddress", "sender", "from", "fromaddress", "returnpath"),
    "received": (
        *("receiveddatetime", "received", "datereceived", "receivedtime", "origintimestamputc", "origintimestamp"),
        *("datetimeutc", "datetime", "date", "timestamp", "arrivaltime"),
    ),
    "status": ("eventid", "status", "deliverystatus", "event", "state"),
    "reason": (
        *("reason", "lasterror", "detail", "details", "statusdetail", "deferreason", "delayreason", "error"),
        *("errormessage", "description", "recipientstatus"),
    ),
    "size": ("totalbytes", "size", "messagesize", "sizebytes", "bytes"),
    "expires": ("expires", "expiresat", "expiry", "expirationtime", "expiredatetime", "messageexpiration"),
    "connector": ("connectorid", "connector", "connectorname", "outboundconnector"),
    "host": ("remotehost", "lastattemptedservername", "destinationserver", "nexthop", "nexthopdomain"),
    "ip": ("remoteip", "lastattemptedip"),
}
"""What we read → the columns that may hold it, best first."""

IGNORED = frozenset(
    (
        *("subject", "messagesubject", "fromip", "toip", "originalclientip", "originalserverip"),
        *("directionality", "deliverypriority", "clientip", "clienthostname", "serverip", "serverhostname"),
        *("sourcecontext", "source", "internalmessageid", "recipientcount", "relatedrecipientaddress"),
        *("reference", "messageinfo", "tenantid", "customdata", "organization", "startdate", "enddate"),
        *("index", "action", "data", "messagelatency", "messagelatencytype", "transporttrafficsubtype"),
        *("messagesource", "runspaceid", "pscomputername", "psshowcomputername", "retryat", "lastretrytime"),
    )
)
"""Columns that we know and have no use for; subjects are never kept."""

_KNOWN = IGNORED | {name for names in ALIASES.values() for name in names}
_DATED = re.compile(r"(date|received|timestamp|origintimestamp|datetime)utc\d*")


class Standing(Enum):
    """What a row says of one recipient's mail. The value ranks what happened in the same moment."""

    SILENT = 0
    QUEUED = 1
    GONE = 2
    DELIVERED = 3
    EXPIRED = 4
    FAILED = 5


WORDS: dict[str, Standing] = {
    **dict.fromkeys(("pending", "deferred", "defer", "queued", "retry", "delayed", "onhold"), Standing.QUEUED),
    **dict.fromkeys(("delivered", "deliver", "send", "sent", "sendexternal"), Standing.DELIVERED),
    **dict.fromkeys(("fail", "failed", "bounced", "rejected", "undeliverable"), Standing.FAILED),
    **dict.fromkeys(("expired",), Standing.EXPIRED),
    **dict.fromkeys(
        (
            *("expanded", "expand", "expanddl", "resolved", "resolve", "quarantined", "filteredasspam", "spam"),
            *("recalled", "drop", "dropped"),
        ),
        Standing.GONE,
    ),
    **dict.fromkeys(
        (
            *(
                "",
                "receive",
                "received",
                "submit",
                "submitted",
                "transfer",
                "gettingstatus",
                "transportrule",
                "dlprule",
            ),
            *("notifymapi", "submitdefer", "submitfail", "duplicatedeliver", "haredirect", "hareceive", "hadiscard"),
            *("agentinfo", "processingmessage", "throttle", "journal", "none", "redirect", "badmail", "loaded"),
        ),
        Standing.SILENT,
    ),
}
"""The words of status columns and events, folded. Only queued mail counts down to a bounce."""


def standing(word: str) -> Standing | None:
    """What a status word says; None for one that we don't know."""
    return WORDS.get(folded(word))


@lru_cache(maxsize=1024)
def column_of(name: str) -> str:
    """The column's folded name, without the time zone that some exports put into it."""
    found = _DATED.fullmatch(folded(name))
    return found[1] if found else folded(name)


def unknown(columns: Iterable[str]) -> list[str]:
    """The columns that we make nothing of."""
    return [c for c in columns if c and folded(c) not in _KNOWN and column_of(c) not in _KNOWN]
