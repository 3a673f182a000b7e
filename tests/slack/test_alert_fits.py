"""An alert's advice fits the mail system whose mail waits, and ends once the server answers again."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

import pytest

from bot.core.blockkit import problems
from bot.core.capabilities import Family, Place
from bot.slack.alert import render_alert
from bot.slack.remedy import likely_causes, own_steps
from knowledge.articles import articles
from storage.records import ConnectorKind, IncidentState, QueueSummary
from tests.slack.test_alert import ABOUT, labels, shown

OUTAGES = ("4.4.312", "4.4.315", "4.4.316", "4.4.317", "4.4.318", "4.7.320")
AGAIN = "Nothing now: the server answers again; one more good probe resolves this."


def postfix(world: Any, code: str = "4.4.316", **changes: Any) -> Any:
    reason = f"connect to mail.contoso.com[192.0.2.7]:2525: {'Connection refused' if code == '4.4.316' else code}"
    (group,) = world.view().queue.by_code
    usual: dict[str, Any] = {
        "place": Place(family=Family.POSTFIX),
        "incident": world.incident(code=code),
        "connector": world.connector(port=2525),
        "queue": QueueSummary(by_code=(replace(group, code=code, reason=reason),)),
        "probe": None,
        "disagreement": None,
    }
    return world.view(**(usual | changes))


@pytest.mark.parametrize("code", OUTAGES)
def test_an_alert_of_a_postfix_relay_speaks_of_postfix(world: Any, code: str) -> None:
    about = articles().for_code(code)
    drawn = render_alert(postfix(world, code), about)
    said = shown(drawn).replace(about.source_url, "")
    assert not re.findall(r"Exchange|Microsoft 365|endpoint set|Get-Service|Test-Net|\bTCP 25\b|port 25\b", said)
    assert "2525" in said or code not in ("4.4.315", "4.4.316")
    assert "`/mfi explain" not in said, "its steps stand in no article"
    assert not problems(drawn.payload(), "message", update=True)


def test_the_steps_name_the_relays_own_next_hop(world: Any) -> None:
    steps = own_steps(postfix(world), ABOUT)
    assert "`nc -vz mail.contoso.com 2525`" in steps[0]
    assert "this relay's own address" in " ".join(steps)
    finger = own_steps(postfix(world, "4.4.317"), articles().for_code("4.4.317"))
    assert '`posttls-finger -F /etc/ssl/certs/ca-certificates.crt "[mail.contoso.com]:2525"`' in finger[0]


def test_refused_from_both_sides_names_the_real_port(world: Any) -> None:
    for family in Family:
        causes = likely_causes(postfix(world, place=Place(family=family), probe=world.probe()), ABOUT)
        assert causes[0].startswith("Nothing listens on port 2525 of that server")


def test_without_a_port_in_the_settings_the_probed_one_counts(world: Any) -> None:
    probe = world.probe()
    probe = replace(probe, document=probe.document.replace('"port": 25,', '"port": 2599,'))
    view = postfix(world, connector=world.connector(), probe=probe)
    assert "port 2599" in likely_causes(view, ABOUT)[0]
    assert likely_causes(replace(view, probe=None, connector=None), ABOUT)[0].endswith("not on port 25.")


@pytest.mark.parametrize(
    ("reason", "first"),
    [
        ("TLS is required, but was not offered by host mail.contoso.com[192.0.2.7]", "demands TLS"),
        ("Cannot start TLS: handshake failure", "The TLS handshake fails"),
    ],
)
def test_the_cause_that_postfix_names_comes_first(world: Any, reason: str, first: str) -> None:
    view = postfix(world, "4.4.317")
    queue = QueueSummary(by_code=(replace(view.queue.by_code[0], reason=reason),))
    assert first in likely_causes(replace(view, queue=queue), articles().for_code("4.4.317"))[0]


def test_a_partner_is_not_told_of_anothers_addresses(world: Any) -> None:
    view = postfix(world, connector=world.connector(kind=ConnectorKind.PARTNER, port=2525))
    said = shown(render_alert(view, ABOUT))
    assert "whether their firewall admits our mail server's address on TCP 2525" in said


def again(world: Any, **changes: Any) -> Any:
    usual: dict[str, Any] = {"queue": QueueSummary(), "probe": world.probe(ok=True), "disagreement": None}
    return world.view(**(usual | changes))


@pytest.mark.parametrize("kind", list(ConnectorKind))
def test_once_the_server_answers_again_there_is_nothing_to_do(world: Any, kind: ConnectorKind) -> None:
    drawn = render_alert(again(world, connector=world.connector(kind=kind)), ABOUT)
    assert f"*What to do*\n{AGAIN}" in shown(drawn)
    assert AGAIN in drawn.text
    assert "Likely cause" not in shown(drawn)
    assert labels(drawn) == ["Acknowledge", "Re-probe"]


def test_a_flapping_one_is_not_promised_to_be_over_so_soon(world: Any) -> None:
    said = shown(render_alert(again(world, incident=world.incident(flapping=True)), ABOUT))
    assert "the server answers again; it is resolved once this lasts." in said


def test_advice_stays_while_mail_waits_or_the_probe_is_no_proof(world: Any) -> None:
    nothing = world.probe(ok=True, stage="dns", code=None, cause=None, status=None)
    for view in (
        again(world, queue=world.queue()),
        again(world, probe=None),
        again(world, probe=world.probe()),
        again(world, probe=nothing),
    ):
        said = shown(render_alert(view, ABOUT))
        assert "1. Decide first" in said
        assert "Fix now…" in labels(render_alert(view, ABOUT))


def test_a_fix_that_runs_is_told_first(world: Any) -> None:
    said = shown(render_alert(again(world, incident=world.incident(IncidentState.FIXING)), ABOUT))
    assert "a fix is running" in said
    assert AGAIN not in said


SECOND = Place(family=Family.POSTFIX, config_dir="/etc/postfix-out", host="relay1.example.org")
NAMED = "To O'Hara " + "x" * 50


@pytest.mark.parametrize("code", OUTAGES)
def test_the_steps_of_another_postfix_instance_name_it_its_machine_and_are_shown_whole(world: Any, code: str) -> None:
    about = articles().for_code(code)
    drawn = render_alert(postfix(world, code, place=SECOND), about)
    said = shown(drawn).replace(about.source_url, "")
    assert not re.search(
        r"/etc/postfix(?!-out)|`(postconf|postmap|postqueue|postfix reload)(?! -c /etc/postfix-out)", said
    )
    assert "On `relay1.example.org`: " in said or "(Type it on `relay1.example.org`.)" in said
    assert not re.search(r"…$", said.partition("*What to do*")[2].replace("Fix now…", ""), re.M), "a step is cut off"
    assert not problems(drawn.payload(), "message", update=True)


@pytest.mark.parametrize("code", OUTAGES)
def test_the_steps_of_an_exchange_server_hold_the_connectors_name_for_its_shell(world: Any, code: str) -> None:
    view = postfix(world, code, place=Place(family=Family.EXCHANGE_SERVER), connector=world.connector(name=NAMED))
    drawn = render_alert(view, articles().for_code(code))
    said = shown(drawn)
    assert "<connector>" not in said and "&lt;connector&gt;" not in said
    quoted = NAMED.replace("'", "''")
    assert f"-SendConnector -Identity '{quoted}'" in said
    assert not re.search(r"…$", said.partition("*What to do*")[2].replace("Fix now…", ""), re.M), "a step is cut off"
    assert not problems(drawn.payload(), "message", update=True)
