"""What a message trace might also answer: rows that can't be read, lists without end, moments that don't move on."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import pytest

from bot.backends.exchange_online.budget import Budget
from bot.backends.exchange_online.clouds import CLOUDS, endpoints
from bot.backends.exchange_online.cmdlet_trace import CmdletTrace
from bot.backends.exchange_online.graph_trace import GraphTrace
from bot.backends.exchange_online.http import Answer, Throttled
from bot.backends.exchange_online.invoke import Found
from bot.backends.ports import BackendError, Refused, Unreachable
from tests.backends.exchange_online.bench import START, Clock, Waits

PLACES = endpoints("t", CLOUDS["global"])
SINCE = START - timedelta(hours=25)


class Peer:
    """Answers each request from a script, as wire and as sign-in."""

    def __init__(self, script: Callable[[int, str], tuple[int, Any]]) -> None:
        self.script = script
        self.asked: list[str] = []
        self.behind = timedelta(0)

    async def send(self, _method: str, url: str, **_: Any) -> Answer:
        self.asked.append(url)
        status, content = self.script(len(self.asked), url)
        return Answer(status, {}, json.dumps(content).encode())

    async def token(self, _scope: str, *, patient: bool = True) -> str:
        return "token"

    async def forget(self) -> None:
        return None

    def now(self) -> datetime:
        return START - self.behind


def row(number: int, **changed: object) -> dict[str, object]:
    return {
        "id": f"{number:032x}",
        "recipientAddress": f"r{number}@onprem.test",
        "senderAddress": "a@b.test",
        "receivedDateTime": "2026-11-24T04:30:00Z",
        "status": "pending",
    } | changed


def traced(peer: Peer, budget: Budget | None = None) -> GraphTrace:
    return GraphTrace(PLACES, peer, peer, budget or Budget(), sleep=Waits(Clock()))


async def test_rows_that_cannot_be_read_are_counted_and_the_list_is_not_whole() -> None:
    peer = Peer(lambda *_: (200, {"value": [row(1), row(2, id="x"), row(3)]}))
    found = await traced(peer).listing(SINCE, status="pending")
    assert len(found.rows) == 2
    assert not found.whole


async def test_only_rows_that_cannot_be_read_are_no_empty_queue() -> None:
    peer = Peer(lambda *_: (200, {"value": [row(1, receivedDateTime="soon")]}))
    with pytest.raises(Unreachable, match="can't be read"):
        await traced(peer).listing(SINCE)


async def test_a_list_of_which_less_can_be_read_than_cannot_is_an_error() -> None:
    peer = Peer(lambda *_: (200, {"value": [row(1), row(2, id="x"), row(3, status=None)]}))
    with pytest.raises(Unreachable, match="can't be read"):
        await traced(peer).listing(SINCE)
    renamed = {"TraceId" if name == "MessageTraceId" else name: value for name, value in cmdlet_row(1).items()}
    with pytest.raises(Unreachable, match="can't be read"):
        await over(Cmdlets(Found(rows=[renamed]))).listing(SINCE)


@pytest.mark.parametrize("fresh", [True, False])
async def test_a_list_without_an_end_is_given_up(fresh: bool) -> None:
    base = "https://graph.microsoft.com/v1.0/next?$skiptoken="
    peer = Peer(
        lambda n, _: (200, {"value": [row(n)], "@odata.nextLink": f"{base}{n if fresh else 1}"}),
    )
    with pytest.raises(BackendError):
        await traced(peer, Budget(100)).listing(SINCE)
    assert len(peer.asked) <= 100


@pytest.mark.parametrize("link", ["http://graph.microsoft.com/next", "https://graph.microsoft.com.evil.test/", 7])
async def test_a_link_to_elsewhere_is_not_followed(link: object) -> None:
    peer = Peer(lambda *_: (200, {"value": [row(1)], "@odata.nextLink": link}))
    with pytest.raises(Unreachable, match="another host"):
        await traced(peer).listing(SINCE)
    assert len(peer.asked) == 1


async def test_after_the_tenants_hundred_requests_nothing_is_sent() -> None:
    budget = Budget(60)
    for _ in range(100):
        budget.spend(START)
    peer = Peer(lambda *_: (200, {"value": []}))
    with pytest.raises(Throttled, match="used up"):
        await traced(peer, budget).listing(SINCE)
    assert peer.asked == []


async def test_the_services_earlier_now_is_used_once_it_is_known() -> None:
    def script(number: int, _: str) -> tuple[int, Any]:
        peer.behind = timedelta(minutes=3)
        if number == 1:
            return 400, {"error": {"message": "The end of receivedDateTime can't be in the future."}}
        return 200, {"value": [row(1)]}

    peer = Peer(script)
    assert len((await traced(peer).listing(SINCE)).rows) == 1
    assert "07%3A57%3A00Z" in peer.asked[1]


async def test_a_future_that_stays_one_is_told() -> None:
    peer = Peer(lambda *_: (400, {"error": {"message": "the end is in the Future"}}))
    with pytest.raises(Refused, match="our clock is ahead"):
        await traced(peer).listing(SINCE)


async def test_a_filter_holds_one_value_per_property_and_never_an_or() -> None:
    peer = Peer(lambda *_: (200, {"value": []}))
    await traced(peer).listing(SINCE, status="pending", key="k", recipient="o'hara@onprem.test")
    assert "o%27%27hara%40onprem.test" in peer.asked[0]
    assert "%20or%20" not in peer.asked[0]
    assert peer.asked[0].endswith("&$top=5000")


async def test_no_window_is_longer_than_ten_days() -> None:
    peer = Peer(lambda *_: (200, {"value": []}))
    await traced(peer).listing(START - timedelta(days=50))
    assert "ge%202026-11-14T08%3A01%3A00Z" in peer.asked[0]


# --- over cmdlets ------------------------------------------------------------------------------------------------


class Cmdlets:
    """Gives the pages of a script, in turn; the last one again and again."""

    def __init__(self, *pages: Found) -> None:
        self.pages = list(pages)
        self.asked: list[dict[str, Any]] = []

    async def read(self, _cmdlet: str, parameters: dict[str, Any], *, spend: Callable[[], None]) -> Found:
        spend()
        self.asked.append(parameters)
        return self.pages.pop(0) if len(self.pages) > 1 else self.pages[0]


def cmdlet_row(number: int, at: str = "2026-11-24T04:30:00.0480000Z") -> dict[str, Any]:
    return {
        "MessageTraceId": f"{number:032x}",
        "RecipientAddress": f"r{number}@onprem.test",
        "SenderAddress": "a@b.test",
        "Received": at,
        "Status": "Pending",
    }


def over(cmdlets: Cmdlets, budget: Budget | None = None) -> CmdletTrace:
    return CmdletTrace(cmdlets, Peer(lambda *_: (200, {})), budget or Budget())


async def test_the_next_page_begins_where_the_last_row_was() -> None:
    first = Found(rows=[cmdlet_row(1), cmdlet_row(2)], warnings=("more results",))
    cmdlets = Cmdlets(first, Found(rows=[cmdlet_row(2), cmdlet_row(3)]))
    found = await over(cmdlets).listing(SINCE, status="pending")
    assert len(found.rows) == 3
    assert cmdlets.asked[0]["Status"] == ["Pending"]
    assert cmdlets.asked[1]["EndDate"] == "2026-11-24T04:30:00.0480000Z"
    assert cmdlets.asked[1]["StartingRecipientAddress"] == "r2@onprem.test"


async def test_a_warning_about_something_else_ends_when_the_cursor_stands_still() -> None:
    cmdlets = Cmdlets(Found(rows=[cmdlet_row(1)], warnings=("be careful",)))
    assert len((await over(cmdlets).listing(SINCE)).rows) == 1
    assert len(cmdlets.asked) == 2


async def test_nothing_with_a_warning_is_no_empty_queue() -> None:
    nothing = Cmdlets(Found(rows=[], warnings=("results may be incomplete",)))
    with pytest.raises(Unreachable, match="can't be read whole: results may be incomplete"):
        await over(nothing).listing(SINCE)


async def test_more_mail_of_one_moment_than_a_page_holds_is_an_error() -> None:
    full = Found(rows=[cmdlet_row(number) for number in range(5000)], warnings=("more results",))
    with pytest.raises(Unreachable, match="can't be read whole: more results"):
        await over(Cmdlets(full)).listing(SINCE)


async def test_a_last_row_without_a_moment_is_an_error() -> None:
    with pytest.raises(Unreachable, match="no moment"):
        await over(Cmdlets(Found(rows=[{"Status": "Pending"}], warnings=("more",)))).listing(SINCE)


async def test_the_cmdlets_share_the_budget() -> None:
    budget = Budget()
    for _ in range(100):
        budget.spend(START)
    with pytest.raises(Throttled):
        await over(Cmdlets(Found(rows=[])), budget).listing(SINCE)


async def test_a_domain_filter_is_not_sent_to_the_cmdlet() -> None:
    cmdlets = Cmdlets(Found(rows=[cmdlet_row(1)]))
    await over(cmdlets).listing(SINCE, recipient="*@onprem.test")
    await over(cmdlets).listing(SINCE, recipient="bob@onprem.test", key="k")
    assert "RecipientAddress" not in cmdlets.asked[0]
    assert cmdlets.asked[1]["RecipientAddress"] == ["bob@onprem.test"]
