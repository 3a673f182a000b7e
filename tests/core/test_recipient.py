"""What servers say to a recipient, sorted; and which addresses may be asked for."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from bot.core.recipient import RCPT_LIMIT, RcptCause, RcptFacts, asking, cause_of_reply, parse_recipient

R = RcptCause
NOW = datetime(2026, 6, 1, tzinfo=UTC)


def ago(*seconds: float) -> tuple[datetime, ...]:
    return tuple(NOW - timedelta(seconds=s) for s in seconds)


@pytest.mark.parametrize(
    ("code", "enhanced", "text", "cause"),
    [
        (250, "2.1.5", "250 2.1.5 OK", R.OK),
        (251, None, "251 will forward", R.OK),
        (550, "5.1.1", "550 5.1.1 User unknown", R.REJECTED),
        (550, "5.1.10", "550 5.1.10 RESOLVER.ADR.RecipientNotFound", R.REJECTED),
        (550, "5.4.1", "550 5.4.1 Recipient address rejected: Access denied", R.REJECTED),
        (550, "5.4.1", "550 5.4.1 Relay Access Denied", R.RELAY_DENIED),
        (554, "5.7.1", "554 5.7.1 <a@b.test>: Relay access denied", R.RELAY_DENIED),
        (454, "4.7.1", "454 4.7.1 Relay access denied", R.RELAY_DENIED),
        (550, "5.7.64", "550 5.7.64 TenantAttribution", R.RELAY_DENIED),
        (550, None, "550 relaying prohibited", R.RELAY_DENIED),
        (550, "5.7.54", "550 5.7.54 SMTP; Unable to relay recipient in non-accepted domain", R.RELAY_DENIED),
        (550, "5.1.1", "550 5.1.1 User unknown in relay recipient table", R.REJECTED),
        (553, None, "553 sorry, that domain isn't in my list of allowed rcpthosts (#5.7.1)", R.RELAY_DENIED),
        (550, "5.1.2", "550 5.1.2 fabrikam.test is not a local domain", R.RELAY_DENIED),
        (550, None, "550 not local host fabrikam.test, not a gateway", R.RELAY_DENIED),
        (530, "5.7.0", "530 5.7.0 Authentication required", R.RELAY_DENIED),
        (550, "5.1.1", "550 5.1.1 not a local user", R.REJECTED),
        (550, "5.7.1", "550 5.7.1 Client host rejected: Access denied", R.REJECTED),
        (450, "4.1.1", "450 4.1.1 User unknown", R.REJECTED),
        (452, "4.2.2", "452 4.2.2 Mailbox full", R.REJECTED),
        (452, None, "452 too many recipients", R.REJECTED),
        (450, "4.7.1", "450 4.7.1 Greylisted", R.GREYLISTED),
        (451, None, "451 try again later", R.GREYLISTED),
        (450, "4.2.0", "450 4.2.0 Greylisted", R.GREYLISTED),
    ],
)
def test_each_reply_has_its_cause(code: int, enhanced: str | None, text: str, cause: RcptCause) -> None:
    assert cause_of_reply(code, enhanced, text) is cause


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("postmaster@contoso.test", "postmaster@contoso.test"),
        (" A.B+c=d@Contoso.TEST. ", "A.B+c=d@contoso.test"),
        ("a@bücher.test", "a@xn--bcher-kva.test"),
        ("a@b@contoso.test", None),
        ("bü@contoso.test", None),
        ("a b@contoso.test", None),
        ("a@contoso.test>\r\nDATA", None),
        ("a\r\n@contoso.test", None),
        ("@contoso.test", None),
        ("a@", None),
        ("contoso.test", None),
        ("a@192.0.2.1", None),
        ("x" * 65 + "@contoso.test", None),
    ],
)
def test_only_plain_addresses_are_asked_for(text: str, address: str | None) -> None:
    assert parse_recipient(text) == address


@pytest.mark.parametrize("cause", [*RcptCause, "closed"])
def test_the_document_comes_back(cause: str) -> None:
    facts = RcptFacts(
        address="a@b.test", cause=cause, code="5.1.1", status="550 5.1.1 no", host="mx.test", ip="192.0.2.1"
    )
    document = facts.document()
    assert list(document) == ["address", "ok", "cause", "code", "status", "host", "ip"]
    assert document["ok"] == (cause in ("rcpt_ok", "rcpt_catch_all"))
    assert RcptFacts.from_document(document) == facts


@pytest.mark.parametrize(
    ("asked", "wait", "kept"),
    [
        ({}, 0, {"a": ago(0), "b": ago(0)}),
        ({"a": ago(59, 1)}, 0, {"a": ago(59, 1, 0), "b": ago(0)}),
        ({"a": ago(59, 50, 40, 30, 1)}, 1, {"a": ago(59, 50, 40, 30, 1)}),
        ({"a": ago(60, 50, 40, 30, 1)}, 0, {"a": ago(50, 40, 30, 1, 0), "b": ago(0)}),
        ({"a": ago(9, 8, 7, 6, 5), "b": ago(5, 4, 3, 2, 1)}, 55, {"a": ago(9, 8, 7, 6, 5), "b": ago(5, 4, 3, 2, 1)}),
        ({"c": ago(3, 2, 2, 1, 1)}, 0, {"c": ago(3, 2, 2, 1, 1), "a": ago(0), "b": ago(0)}),
        ({"c": ago(61), "a": ago(-1, -2, -3, -4, -5)}, 0, {"a": ago(0), "b": ago(0)}),
    ],
)
def test_a_host_is_asked_five_times_a_minute_at_most(
    asked: dict[str, tuple[datetime, ...]], wait: float, kept: dict[str, tuple[datetime, ...]]
) -> None:
    assert RCPT_LIMIT == 5
    assert asking(asked, ["a", "b", "a"], NOW) == (timedelta(seconds=wait), kept)
