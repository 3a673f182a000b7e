"""Queue and probe side by side: one conclusion for every pair."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

import pytest

from bot.core.evidence import ProbeRun
from bot.core.two_views import CONCLUSIONS, Seen, compare, conclusion, disagreement, failing_codes
from bot.core.views import Disagreement
from storage.records import CodeCount, QueueSummary

D = Disagreement
NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
FINE = ProbeRun(successes=3)


def fails(code: str) -> ProbeRun:
    return ProbeRun(failures=2, steady=2, code=code, first_failure_at=NOW - timedelta(hours=1))


def group(code: str | None, reason: str | None = None) -> CodeCount:
    return CodeCount(code=code, count=1, oldest_received_at=NOW, first_expiry_at=NOW, reason=reason)


def queue(*groups: CodeCount) -> QueueSummary:
    return QueueSummary(by_code=groups)


# Rows: what the queue says. Columns: what the probe says.
COLUMNS = (Seen.NOTHING, Seen.FINE, Seen.SOME, Seen.DNS, Seen.REFUSED, Seen.SILENT, Seen.ANSWER, Seen.CUT_OFF,
           Seen.CERTIFICATE, Seen.OTHER)  # fmt: skip
FW, MORE, LESS, DIFF, NEITHER = (
    D.FIREWALL_ADMITS_BOT_ONLY, D.FIREWALL_THEN_MORE, D.BOT_REACHES_LESS, D.DIFFERENT_CODES, D.NEITHER_CONNECTS
)  # fmt: skip
SPLIT, HERE, US, STRICT = D.SPLIT_DNS, D.SPLIT_DNS_HERE, D.BOT_IS_BLOCKED, D.BOT_IS_STRICTER
MATRIX: dict[Seen, tuple[D | None, ...]] = {
    Seen.NOTHING: (None,) * 10,
    Seen.FINE: (None, None, None, HERE, US, US, US, US, STRICT, US),
    Seen.DNS: (None, SPLIT, SPLIT, None, SPLIT, SPLIT, SPLIT, SPLIT, SPLIT, SPLIT),
    Seen.REFUSED: (None, FW, FW, HERE, None, NEITHER, MORE, MORE, MORE, MORE),
    Seen.SILENT: (None, FW, FW, HERE, NEITHER, None, MORE, MORE, MORE, MORE),
    Seen.ANSWER: (None, D.TURNED_AWAY, D.TURNED_AWAY, HERE, LESS, LESS, None, DIFF, DIFF, DIFF),
    Seen.CUT_OFF: (None, D.CLOSED_ON_MAIL, D.CLOSED_ON_MAIL, HERE, LESS, LESS, DIFF, None, DIFF, DIFF),
    Seen.CERTIFICATE: (None, D.OTHER_CERTIFICATE, D.OTHER_CERTIFICATE, HERE, LESS, LESS, DIFF, DIFF, None, DIFF),
    Seen.OTHER: (None, D.LATER_THAN_PROBED, D.LATER_THAN_PROBED, HERE, LESS, LESS, DIFF, DIFF, DIFF, DIFF),
}


@pytest.mark.parametrize(
    ("theirs", "ours", "expected"),
    [(row, column, MATRIX[row][n]) for row in MATRIX for n, column in enumerate(COLUMNS)],
)
def test_every_pair_has_its_conclusion(theirs: Seen, ours: Seen, expected: D | None) -> None:
    assert compare(theirs, ours) is expected


@pytest.mark.parametrize("theirs", [row for row in MATRIX if row not in (Seen.NOTHING, Seen.FINE)])
def test_one_server_of_several_that_fails_alike_explains_the_queue(theirs: Seen) -> None:
    assert compare(theirs, Seen.SOME, {theirs}) is D.SOME_SERVERS


@pytest.mark.parametrize(
    ("held", "run", "flows", "failing", "expected"),
    [
        (queue(), ProbeRun(), False, (), None),
        (queue(), FINE, True, (), None),
        (queue(), fails("4.4.316"), True, (), US),
        (queue(), fails("4.4.316"), False, (), None),
        (queue(group(None)), fails("4.4.316"), False, (), None),
        (queue(group("4.4.316")), FINE, False, (), FW),
        (queue(group("4.4.315")), FINE, False, (), FW),
        (queue(group("4.4.316")), ProbeRun(), False, (), None),
        (queue(group("4.4.316")), fails("4.4.316"), False, (), None),
        (queue(group("4.4.315")), fails("4.4.316"), False, (), NEITHER),
        (queue(group("4.4.318")), FINE, False, (), D.CLOSED_ON_MAIL),
        (queue(group("4.4.317", "certificate expired")), FINE, False, (), D.OTHER_CERTIFICATE),
        (queue(group("4.4.317", "certificate expired")), fails("4.7.320"), False, (), None),
        (queue(group("4.4.317", "Service not available")), fails("4.7.320"), False, (), DIFF),
        (queue(group("5.1.10")), FINE, False, (), D.LATER_THAN_PROBED),
        (queue(group("5.1.10")), fails("5.7.1"), False, (), DIFF),
        (queue(group("5.1.10")), fails("5.1.10"), False, (), None),
        (queue(group("4.4.316")), FINE, False, ("4.4.316",), D.SOME_SERVERS),
        (queue(group("4.4.316")), FINE, False, ("4.4.318",), FW),
        (queue(group("4.4.315"), group("4.4.316")), fails("4.4.316"), False, (), None),
        (queue(group("4.4.318"), group("4.4.316")), FINE, False, (), D.CLOSED_ON_MAIL),
        (queue(group("4.4.312", "nullMX")), FINE, False, (), SPLIT),
    ],
)
def test_a_queue_and_a_run_of_probes_are_compared(
    held: QueueSummary, run: ProbeRun, flows: bool, failing: tuple[str, ...], expected: D | None
) -> None:
    assert disagreement(held, run, now=NOW, flows=flows, failing=failing) is expected


@pytest.mark.parametrize(
    ("minutes", "code", "failing", "is_cloud", "expected"),
    [
        (None, "4.4.316", (), True, FW),
        (5, "4.4.316", (), True, D.JUST_REPAIRED),
        (59, "4.4.318", (), True, D.JUST_REPAIRED),
        (60, "4.4.316", (), True, FW),
        (72, "4.4.316", (), False, D.JUST_REPAIRED),  # Postfix's longest pause: 4000 s, and 300 s until it looks.
        (75, "4.4.316", (), False, FW),
        (5, "4.4.316", ("4.4.316",), True, D.SOME_SERVERS),
        (5, None, (), True, None),
    ],
)
def test_a_server_that_was_repaired_a_moment_ago_is_not_blamed_for_what_the_queue_said_before(
    minutes: int | None, code: str | None, failing: tuple[str, ...], is_cloud: bool, expected: D | None
) -> None:
    since = None if minutes is None else NOW - timedelta(minutes=minutes)
    run = ProbeRun(successes=3, fine_since=since)
    found = disagreement(queue(group(code)), run, now=NOW, flows=False, failing=failing, is_cloud=is_cloud)
    assert found is expected


@pytest.mark.parametrize("system", ["Microsoft 365", "the mail system"])
@pytest.mark.parametrize("kind", list(D))
def test_every_conclusion_is_a_sentence_about_the_system_that_is_meant(kind: D, system: str) -> None:
    said = conclusion(kind, system)
    assert said[0].isupper()
    assert said.endswith(".")
    assert "{" not in said
    assert len(said) < 400
    assert set(CONCLUSIONS) == set(D)


def test_the_firewall_case_is_said_in_plain_words() -> None:
    said = conclusion(D.FIREWALL_ADMITS_BOT_ONLY, "Microsoft 365")
    assert said.startswith("The firewall lets this bot in, but not Microsoft 365: check the address ranges")
    assert conclusion(D.LATER_THAN_PROBED).startswith("A session from here works. The mail system fails at")


def test_what_holds_of_a_cloud_service_alone_is_said_of_no_other_mail_system() -> None:
    """A relay of one's own may well ask internal DNS; and Postfix waits for up to 72 minutes."""
    assert conclusion(D.SPLIT_DNS, "Microsoft 365").endswith("has to stand in public DNS.")
    assert conclusion(D.SPLIT_DNS).endswith("has to stand in the DNS that the mail system asks.")
    assert "Microsoft 365 tries again within the hour;" in conclusion(D.JUST_REPAIRED, "Microsoft 365")
    assert "The mail system tries again within an hour and a quarter;" in conclusion(D.JUST_REPAIRED)


@pytest.mark.parametrize(
    ("document", "codes"),
    [
        (json.dumps({"targets": [{"ok": True, "code": None}, {"ok": False, "code": "4.4.316"}]}), ("4.4.316",)),
        (json.dumps({"targets": [{"ok": False, "code": None}]}), ()),
        (json.dumps({"targets": [{"ok": False, "code": "4.4.315"}] * 40}), ("4.4.315",) * 16),
        (json.dumps({"targets": 7}), ()),
        (json.dumps({"targets": [{}]}), ()),
        (json.dumps([]), ()),
        ("not JSON", ()),
    ],
)
def test_the_codes_of_servers_that_fail_are_read_from_a_stored_probe(document: str, codes: tuple[str, ...]) -> None:
    assert failing_codes(document) == codes
