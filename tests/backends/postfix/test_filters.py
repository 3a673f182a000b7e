"""Content filters: whose mail it is that waits, by its reason."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.backends.postfix.config import own_values, read_services
from bot.backends.postfix.filters import Filters
from bot.backends.postfix.instance import interpret

MASTER = """
smtp inet n - n - - smtpd -o content_filter=smtp-amavis:[127.0.0.1]:10024
submission inet n - n - - smtpd
    -o syslog_name=postfix/submission -o { content_filter = scan:dummy }
127.0.0.1:10025 inet n - n - - smtpd -o content_filter= -o smtpd_use_tls=no
pickup unix n - n 60 1 pickup -o content_filter=$mine
smtp unix - - n - - smtp
relay unix - - n - - smtp
lmtp unix - - n - - lmtp
smtp-amavis unix - - n - 2 smtp -o max_use=20
scan unix - n n - - pipe flags=Rq user=filter argv=/usr/bin/scan
"""
SERVICES = read_services(MASTER)
AMAVIS, SCAN, GONE = "smtp-amavis:[127.0.0.1]:10024", "scan:dummy", "gone:x"
SOCKET, NAMED = "lmtp:unix:private/clam", "lmtp:inet:[scanner.test]"
HOP = "relay:[ex1.contoso.test]"


def test_filters_are_found_wherever_they_are_set() -> None:
    assert own_values(MASTER, "content_filter") == [AMAVIS, SCAN, "$mine"]
    settings = {"myhostname": "a.test", "content_filter": NAMED}
    values = own_values(MASTER, "content_filter")
    found = interpret("/etc/postfix", "relay", settings, SERVICES, {}, filters=[*values, AMAVIS])
    assert [hop.key for hop in found.filters.hops] == [NAMED, AMAVIS, SCAN]
    assert found.notes == (
        f"content_filter: mail that waits for {NAMED} is counted at no next hop",
        f"content_filter: mail that waits for {AMAVIS} is counted at no next hop",
        f"content_filter: mail that waits for {SCAN} is counted at no next hop",
        "content_filter: $mine is not followed: mail that waits for it counts at its next hop",
    )
    plain = interpret("/etc/postfix", "relay", {"myhostname": "a.test"}, SERVICES, {})
    assert (plain.filters.hops, plain.notes) == ((), ())


@pytest.mark.parametrize(
    ("reason", "filters", "own", "found"),
    [
        ("connect to 127.0.0.1[127.0.0.1]:10024: Connection refused", [AMAVIS], HOP, AMAVIS),
        ("connect to 127.0.0.1[127.0.0.1]:10024: Connection refused", [AMAVIS], None, AMAVIS),
        ("connect to 127.0.0.1[127.0.0.1]:10024: Connection refused", [], HOP, HOP),
        ("host 127.0.0.1[127.0.0.1] said: 451 4.5.0 Error in processing (in reply to end)", [AMAVIS], HOP, AMAVIS),
        ("lost connection with localhost[127.0.0.1] while receiving the initial greeting", [AMAVIS], HOP, AMAVIS),
        ("TLS is required, but was not offered by host 127.0.0.1[127.0.0.1]", [AMAVIS], HOP, AMAVIS),
        ("connect to ex1.contoso.test[192.0.2.7]:25: Connection timed out", [AMAVIS, SCAN], HOP, HOP),
        ("host ex1.contoso.test[192.0.2.7] said: 450 4.2.0 see 127.0.0.1[127.0.0.1]:10024", [AMAVIS], HOP, HOP),
        ("host ex1.contoso.test[192.0.2.7] said: 450 4.3.0 x. Command output: y", [SCAN], HOP, HOP),
        ("connect to 127.0.0.1[127.0.0.1]:10026: Connection refused", [AMAVIS], HOP, HOP),
        # The same host is filter and next hop: only a port tells them apart.
        ("connect to 127.0.0.1[127.0.0.1]:10024: Connection refused", [AMAVIS], "relay:[127.0.0.1]:2525", AMAVIS),
        ("connect to 127.0.0.1[127.0.0.1]:2525: Connection refused", [AMAVIS], "relay:[127.0.0.1]:2525",
         "relay:[127.0.0.1]:2525"),
        ("host 127.0.0.1[127.0.0.1] said: 451 4.5.0 later", [AMAVIS], "relay:[127.0.0.1]:2525", None),
        ("connect to 127.0.0.1[127.0.0.1]:10024: Connection refused", [AMAVIS], AMAVIS, AMAVIS),
        ("connect to relay.test[private/clam]: No such file or directory", [SOCKET], HOP, SOCKET),
        ("connect to scanner.test[192.0.2.8]:24: Connection refused", [NAMED], HOP, NAMED),
        ("connect to scanner.test[192.0.2.8]:25: Connection refused", [NAMED], HOP, HOP),
        ("Host or domain name not found. Name service error for name=scanner.test type=A: Host not found",
         [NAMED], HOP, NAMED),
        ("Host or domain name not found. Name service error for name=ex1.contoso.test type=A: Host not found",
         [NAMED], HOP, HOP),
        ('Command died with signal 9: "/usr/bin/scan"', [AMAVIS, SCAN], HOP, SCAN),
        ('Command time limit exceeded: "/usr/bin/scan"', [SCAN], HOP, SCAN),
        ("temporary failure. Command output: no space left", [SCAN], HOP, SCAN),
        ("temporary failure", [SCAN], HOP, SCAN),
        ("temporary failure", [AMAVIS], HOP, HOP),
        ("Cannot start TLS: handshake failure", [AMAVIS, SCAN], HOP, HOP),
        ("mail transport unavailable", [AMAVIS, GONE], HOP, GONE),
        ("mail transport unavailable", [AMAVIS], HOP, None),
        ("mail transport unavailable", [], HOP, HOP),
    ],
)  # fmt: skip
def test_a_reason_says_whether_the_filter_or_the_next_hop_is_waited_for(
    reason: str, filters: list[str], own: str | None, found: str | None
) -> None:
    assert Filters.of(filters, SERVICES).waits_for(reason, own) == found


@given(st.text(), st.lists(st.text(), max_size=3), st.none() | st.text())
def test_no_text_breaks_it(reason: str, filters: list[str], own: str | None) -> None:
    found = Filters.of([*filters, AMAVIS], SERVICES)
    assert found.waits_for(reason, own) in (own, None, *(hop.key for hop in found.hops))
