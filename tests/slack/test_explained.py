"""The answer of explain as it is drawn: what stands where, in messages and in windows."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from bot.core.blockkit import problems, rendered_length
from bot.core.capabilities import Family
from bot.services.destination import Fit, OurConnector
from bot.slack.blocks import Message, sections_only
from bot.slack.explain_modal import MOST, answer_view, loading_view, paste_view, pasted
from bot.slack.explained import explain_reply, owners, paste_reply
from bot.slack.text import Mrkdwn, literal
from knowledge.articles import articles
from knowledge.diagnose import explain
from storage.records import ConnectorKind, QueueSummary

REFUSED = (
    "450 4.4.316 Connection refused [Message=Socket error code 10061] [LastAttemptedServerName=mail.contoso.com] "
    "[LastAttemptedIP=192.0.2.7:25]"
)
TWO = (
    "to=<a@contoso.test>, 450 4.4.316 Connection refused [LastAttemptedServerName=mx.contoso.test]\n"
    "to=<b@contoso.test>, 550 5.1.10 RecipientNotFound; Recipient not found"
)


def shown(drawn: Message) -> str:
    for form in (drawn, sections_only(drawn)):
        assert not problems(form.payload(), "message"), problems(form.payload(), "message")
    assert not problems(answer_view(drawn), "modal")
    return str(drawn.payload())


def ours(world: Any, fit: Fit = Fit.SERVER, **changes: Any) -> OurConnector:
    return OurConnector(view=replace(world.row(), **changes), fit=fit)


def labels(drawn: Message) -> list[str]:
    found = [e["text"]["text"] for b in drawn.blocks if b["type"] == "actions" for e in b["elements"]]
    return [str(label) for label in found]


# --- the parts -----------------------------------------------------------------------------------------------------
def test_what_happened_who_must_act_why_and_what_to_do_come_in_this_order() -> None:
    said = shown(explain_reply(explain(REFUSED)))
    order = [
        "4.4.316 Connection refused",
        "*Mail waits; at `mail.contoso.com` (`192.0.2.7`): connection refused.*",
        "*Who must act?* Your server, firewall or network team (or ",
        "*Bounced already?* Not yet",
        "*Why* (likeliest first)",
        "*What to do*",
        "*Then check:*",
        "exact words: `Socket error code 10061`",
        "|Source, 2023",
    ]
    places = [said.index(part, said.index("'blocks'")) for part in order]
    assert places == sorted(places)


def test_an_expired_error_shows_both_codes_and_the_cause_that_the_text_names() -> None:
    said = shown(explain_reply(explain("550 5.4.317 Message expired (SubjectMismatch) to=<a@fabrikam.test>")))
    assert "4.4.317 Cannot connect to remote server (expired: 5.4.317)" in said
    assert "*Mail for `a@fabrikam.test` went back to its sender: the certificate is for another name.*" in said
    assert "• *The certificate is for another name* (the text says so)" in said


def test_the_commands_name_the_server_of_the_error() -> None:
    said = shown(
        explain_reply(explain("450 4.4.317 x [Message=CertificateExpired] [LastAttemptedServerName=mx.a.test]"))
    )
    assert "-connect mx.a.test:25" in said
    assert "mail.contoso.com" not in said


def test_several_errors_come_first_as_a_table_and_in_words_everywhere_else() -> None:
    drawn = explain_reply(explain(TWO))
    said = shown(drawn)
    assert [b["type"] for b in drawn.blocks][:3] == ["section", "table", "header"]
    assert [[cell["text"] for cell in row] for row in drawn.blocks[1]["rows"]][1:] == [
        ["4.4.316", "Connection refused", "mx.contoso.test"],
        ["5.1.10", "Recipient not found", "–"],
    ]
    assert "different errors stand" in said
    assert drawn.text.startswith("2 different errors:\n4.4.316")
    for plainer in (str(sections_only(drawn).blocks), str(answer_view(drawn))):
        assert "• 4.4.316 · Connection refused · mx.contoso.test" in plainer
        assert "table" not in plainer


def test_a_contradiction_is_said() -> None:
    assert "*Two things disagree.* 450 says try again later" in shown(explain_reply(explain("450 5.4.1 Relay denied")))


def test_words_bring_other_candidates_as_buttons() -> None:
    said = explain("certificate expired")
    drawn = explain_reply(said, also=tuple(articles().search("certificate expired"))[1:4])
    assert "The code that you got tells" in shown(drawn)
    assert "exact words" not in shown(drawn)
    assert labels(drawn)[0].startswith("4.7.322 DANE")


def test_nothing_found_is_no_dead_end() -> None:
    drawn = explain_reply(explain("good morning"), also=(articles()["4.4.316"],))
    assert "For example: `/mfi explain" in shown(drawn)
    assert labels(drawn) == ["Paste it in a window…", "4.4.316 Connection refused"]
    assert labels(paste_reply(Mrkdwn("x"))) == ["Paste it in a window…"]


@pytest.mark.parametrize("code", sorted(articles()))
def test_every_article_fits_a_message_and_a_window(code: str, world: Any) -> None:
    said = replace(
        explain(f"550 {code.partition('-')[0]} x" if code != "other" else "550 5.6.77"), article=articles()[code]
    )
    drawn = explain_reply(said, ours(world, connector=world.connector(kind=ConnectorKind.PARTNER)))
    shown(drawn)
    assert rendered_length(list(drawn.blocks)) <= 8000
    assert len(drawn.blocks) <= 20


# --- our connector -------------------------------------------------------------------------------------------------
def test_our_connector_stands_there_with_its_state_and_buttons(world: Any) -> None:
    drawn = explain_reply(explain(REFUSED), ours(world), workspace="https://acme.slack.com/")
    said = shown(drawn)
    for part in (
        "*Your connector* `Contoso inbound` · on-premises · the error names its smart host",
        "🔴 *<https://acme.slack.com/archives/C0ALERTS/p1772415600000100|#12>* 4.4.316 · Firing, critical",
        "📬 *42 messages waiting*, the oldest for 5 h, first bounce in 19 h · last probe ❌ 4.4.316, 1 min ago",
        "`/mfi fix 12`",
    ):
        assert part in said
    assert labels(drawn) == ["Probe it", "Open incident #12"]
    assert "Your connector" in drawn.text


def test_a_connector_in_peace_says_so(world: Any) -> None:
    calm = ours(world, Fit.DOMAIN, incidents=(), queue=QueueSummary(), probe=world.probe(True))
    drawn = explain_reply(explain(REFUSED), calm)
    assert "it carries the recipient" in shown(drawn)
    assert "📬 nothing waits · last probe ✅ fine, 1 min ago" in shown(drawn)
    assert labels(drawn) == ["Probe it"]
    assert "`/mfi fix &lt;id&gt;`" in shown(drawn)
    assert "not probed yet" in shown(explain_reply(explain(REFUSED), ours(world, probe=None)))
    empty = ours(world, probe=world.probe(ok=True, stage="dns"))
    assert "nothing to dial, 1 min ago" in shown(explain_reply(explain(REFUSED), empty)), "and nothing is called fine"
    lmtp = world.connector(name="store.internal (LMTP: not probed)", smart_hosts=())
    assert "not probed: LMTP" in shown(explain_reply(explain(REFUSED), ours(world, connector=lmtp, probe=None)))
    off = ours(world, connector=world.connector(enabled=False))
    assert "the connector is disabled" in shown(explain_reply(explain(REFUSED), off))


def test_the_incident_of_this_code_comes_before_others_and_warnings_last(world: Any) -> None:
    other, own = world.incident(id=3, code="4.4.315"), world.incident(id=9, ts=None)
    ahead = world.incident(id=1, code="warning:certificate")
    drawn = explain_reply(explain(REFUSED), ours(world, incidents=(other, own), warnings=(ahead,)))
    said = shown(drawn)
    assert labels(drawn)[1] == "Open incident #9"
    assert said.index("*#9*") < said.index("|#3>") < said.index("|#1>")


def test_who_must_act_follows_the_connectors_kind(world: Any) -> None:
    said = explain(REFUSED)
    assert owners(said, None) == ("on_premises", "connector", "partner")
    assert owners(said, ours(world)) == ("on_premises", "connector")
    partner = ours(world, connector=world.connector(kind=ConnectorKind.PARTNER))
    assert owners(said, partner) == ("partner", "connector")


def test_a_partner_gets_a_note_to_copy_and_no_fix_now(world: Any) -> None:
    partner = ours(world, connector=world.connector(kind=ConnectorKind.PARTNER, name="Fabrikam"))
    drawn = explain_reply(explain(REFUSED), partner)
    said = shown(drawn)
    note = drawn.blocks[-1]["elements"][0]["elements"][0]["text"]
    assert note.startswith("Subject: Mail to mail.contoso.com fails: Connection refused\n\nDear postmaster,")
    assert "our connector Fabrikam" in note
    assert "https://learn.microsoft.com/microsoft-365/enterprise/urls-and-ip-address-ranges" in note
    assert "Their contact: `postmaster of Fabrikam`" in said
    assert "*It is the partner" in said
    assert "Fix now…" not in said
    assert "`Dear postmaster,`" in str(sections_only(drawn).blocks)


def test_a_note_is_written_where_the_article_blames_a_partner_but_not_beside_our_own_server(world: Any) -> None:
    refused = explain("550 5.7.1 Relay access denied by mx.fabrikam.test")
    assert "Dear postmaster" in shown(explain_reply(refused))
    assert "Dear postmaster" not in shown(explain_reply(refused, ours(world)))
    assert "Dear postmaster" not in shown(explain_reply(explain(REFUSED)))


def test_text_to_copy_keeps_lines_and_known_links_and_defangs_the_rest() -> None:
    text = literal("a  b\n see https://evil.test/x and https://www.rfc-editor.org/rfc/rfc5321 `q`\u202e\n\nend")
    assert text == "a  b\n see https[:]//evil.test/x and https://www.rfc-editor.org/rfc/rfc5321 'q'\n\nend".replace(
        "evil.test/x", "evil[.]test/x"
    )
    assert len(literal("x\n" * 9000)) == 4000


# --- windows -------------------------------------------------------------------------------------------------------
def test_the_window_says_the_limit_and_takes_twice_as_much() -> None:
    view = paste_view()
    assert not problems(view, "modal")
    assert "3,000 characters" in str(view)
    assert "whole channel" in str(paste_view(Mrkdwn("Hm."), shared_as="a1"))
    assert paste_view(shared_as="a1")["private_metadata"] == "a1"
    assert not problems(loading_view(), "modal")


def test_two_fields_are_one_text_again() -> None:
    assert pasted("a" * MOST, "b") == "a" * MOST + "b"
    assert pasted("a", "b") == "a\nb"
    assert pasted("a", "") == "a"


def test_an_answer_that_a_window_refuses_is_shown_more_plainly() -> None:
    odd = Message(text=Mrkdwn("all of it"), blocks=({"type": "markdown", "text": "x"},))
    assert problems(answer_view(Message(text=Mrkdwn("all of it"))), "modal") == []
    assert not problems(answer_view(odd), "modal")


def test_commands_name_our_connector_where_it_is_known_and_the_recipient_of_the_error(world: Any) -> None:
    expired = explain("450 4.7.320 Certificate validation failed [LastAttemptedServerName=mail.contoso.com]")
    its = ours(world, connector=world.connector(name="Bob's"))
    assert "OutboundConnector -Identity 'Bob''s'" in shown_words(
        explain_reply(expired, its, family=Family.EXCHANGE_ONLINE)
    )
    assert '-Identity "&lt;connector&gt;"' in shown_words(explain_reply(expired)), "nothing is known: a gap to fill"
    lost = explain("to=<jo@contoso.test>, 550 5.1.10 RESOLVER.ADR.RecipientNotFound; Recipient not found")
    assert "smtp:jo@contoso.test" in shown(explain_reply(lost))


def test_other_is_told_to_be_no_code_and_where_its_words_stand() -> None:
    told = shown_words(explain_reply(explain("other")))
    assert "“other” is no code of a mail system" in told
    assert "`/mfi queue &lt;connector&gt;`" in told
    assert "only the structure of the code is known" not in told


def shown_words(drawn: Message) -> str:
    return shown(drawn).replace("\\'", "'")
