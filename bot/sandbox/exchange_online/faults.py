"""What goes wrong with Exchange Online on demand, and counters of what was asked.

Each fault is asked for at the one place where it can happen; several may be on at once. A request that meets several
takes the first that answers instead of the real thing; faults of content add up.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from dataclasses import dataclass, field
from datetime import timedelta
from enum import StrEnum


class Kind(StrEnum):
    """What is counted besides the cmdlets, which are counted by their own names (`Get-OutboundConnector`)."""

    OPENID = "openid"
    SIGN_IN = "sign-in"
    TRACE = "trace"  # the first page of a listing
    TRACE_PAGE = "trace page"  # a later page
    DETAIL = "detail"
    CMDLET_PAGE = "cmdlet page"  # a later page of a cmdlet's answer
    DOMAINS_V2 = "v2 AcceptedDomain"
    STRANGER = "stranger"  # requests at the address that no client may follow a link to


class TenantFault(StrEnum):
    """One nasty part; the comment says what it does and where."""

    # Everywhere; the sign-in only when `on` names it
    SLOW = "slow"  # the answer comes `slowness` seconds later
    RESET = "reset"  # the connection ends without an answer: nothing happened
    HUGE = "huge"  # a body of `huge_size` bytes that doesn't end well
    THROTTLED = "throttled"  # 429 with Retry-After: `retry_after`
    SERVER_ERROR = "server_error"  # 503 without a useful body
    NOT_JSON = "not_json"  # 200 with a page of HTML
    # Sign-in
    CREDENTIAL_EXPIRED = "credential_expired"  # AADSTS7000222, for a secret
    CERTIFICATE_UNKNOWN = "certificate_unknown"  # AADSTS700027
    CLOCK_SKEW = "clock_skew"  # AADSTS700024
    ODD_REFUSAL = "odd_refusal"  # a refusal whose error_codes are no list
    # Graph
    NO_SERVICE_PRINCIPAL = "no_service_principal"  # 401 that names the app to be provisioned
    NO_PERMISSION = "no_permission"  # 403: consent for the trace is missing
    # Exchange
    NO_APP_ROLE = "no_app_role"  # 401 without a body
    NUL_403 = "nul_403"  # 403 with a body of NUL bytes
    NUL_BODY = "nul_body"  # 200 with a body of NUL bytes (also Graph)
    TOO_MANY_AT_ONCE = "too_many_at_once"  # plain text instead of JSON
    ANSWER_LOST = "answer_lost"  # Set-*: does it, then never answers
    IDENTITY_IGNORED = "identity_ignored"  # Get-*: every object, whatever Identity says
    UNKNOWN_SETTING = "unknown_setting"  # a connector's TlsSettings has a value that nobody knows yet
    PARTIAL_DIRECTORY = "partial_directory"  # Get-Recipient: half of the rows, and a warning
    # Lists
    LINK_EXPIRED = "link_expired"  # 400 for a later page
    LINK_ELSEWHERE = "link_elsewhere"  # the next link points to another host
    LINK_ENDLESS = "link_endless"  # the next link leads to the same page again
    CUT_LIST = "cut_list"  # Get-*: half of the rows, no link, and a warning that there are more
    WARNED_PAGE = "warned_page"  # Get-*: one row a page, each page but the last with a link and that warning
    SHORT_PAGE = "short_page"  # less than asked for, with a next link; cmdlet trace: with a warning only
    DUPLICATE_ROWS = "duplicate_rows"  # a later page begins with rows of the one before
    MOVED_ROW = "moved_row"  # the last row of a page comes at the end of the next one
    UNKNOWN_STATUS = "unknown_status"  # the first row's status has a value that nobody knows yet


_SIGNING_IN = (Kind.OPENID, Kind.SIGN_IN)
_EVERYWHERE = frozenset(list(TenantFault)[: list(TenantFault).index(TenantFault.CREDENTIAL_EXPIRED)])


@dataclass(slots=True)
class _Set:
    on: str | None
    times: int | None
    skip: int


@dataclass(slots=True)
class TenantFaults:
    """Switch faults on and off; read what was asked.

    `seen`: requests by kind or cmdlet. `done`: changes that took place, by cmdlet. `ahead`: how far this tenant's
    clock is before everybody else's (negative: behind), for the sign-in too.
    """

    seen: Counter[str] = field(default_factory=Counter)
    done: Counter[str] = field(default_factory=Counter)
    ahead: timedelta = timedelta(0)
    retry_after: int = 1
    slowness: float = 0.3
    huge_size: int = 64 * 1024 * 1024
    too_many_status: int = 429
    _set: dict[TenantFault, _Set] = field(default_factory=dict)
    _released: asyncio.Event = field(default_factory=asyncio.Event)

    def set(self, fault: TenantFault, *, on: str | None = None, times: int | None = None, skip: int = 0) -> None:
        """From now on; `on`: for one kind or cmdlet only; `times`: so often (None: until cleared), after `skip`."""
        self._set[fault] = _Set(on, times, skip)
        self._released.clear()

    def clear(self, *faults: TenantFault) -> None:
        """No more of these (of any when none is named); what hangs is let go unanswered."""
        for fault in faults or tuple(self._set):
            self._set.pop(fault, None)
        self._released.set()

    def take(self, fault: TenantFault, kind: str) -> bool:
        """Does it happen to this request? Counts it off."""
        found = self._set.get(fault)
        if found is None or found.on not in (None, kind):
            return False
        if found.on is None and kind in _SIGNING_IN and fault in _EVERYWHERE:
            return False
        if found.skip > 0:
            found.skip -= 1
            return False
        if found.times is not None:
            found.times -= 1
            if found.times <= 0:
                del self._set[fault]
        return True

    async def hang(self) -> None:
        """Wait until faults are cleared."""
        await self._released.wait()
