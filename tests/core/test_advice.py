"""Advice that fits the mail system: own words for Postfix and Exchange Server, and nothing of another system."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest

from bot.core.advice import fitting, is_own
from bot.core.advice_words import OWN
from bot.core.capabilities import Family
from bot.core.own_names import Known, with_known
from bot.slack.remedy import shown_steps
from knowledge.articles import articles
from knowledge.diagnose import diagnose
from knowledge.signals import TAGS

OUTAGES = ("4.4.312", "4.4.315", "4.4.316", "4.4.317", "4.4.318", "4.7.320")
CLOUD = r"Microsoft 365|Exchange Online|Office 365|endpoint set|AcceptedDomain|OutboundConnector"
EXCHANGE = rf"{CLOUD}|Exchange|\b(Get|Set|Test)-[A-Z]|admin center|TlsDomain"
ELSEWHERE = {
    Family.POSTFIX: EXCHANGE,
    Family.EXCHANGE_SERVER: rf"{CLOUD}|InboundConnector|[Tt]enant|admin center|TlsSettings|Entra"
    r"|[Pp]ostfix|\bpost[a-z]+\b|openssl|\bdig\b|\bnc\b|/etc/|/var/",
}
"""Words of the other mail systems and their tools, which an own text never has."""

DOCUMENTED = {
    "Enable-ExchangeCertificate": {"Thumbprint", "Services"},
    "Format-List": set(),
    "Get-FrontendTransportService": set(),
    "Get-Queue": set(),
    "Get-ReceiveConnector": set(),
    "Get-SendConnector": {"Identity"},
    "Get-Service": set(),
    "Get-TransportService": set(),
    "Import-Certificate": {"FilePath", "CertStoreLocation"},
    "Resolve-DnsName": {"Type", "Server"},
    "Retry-Queue": {"Filter", "Resubmit"},
    "Set-SendConnector": {
        "Enabled",
        "Identity",
        "ProtocolLoggingLevel",
        "RequireTLS",
        "SmartHosts",
        "TlsAuthLevel",
        "TlsDomain",
    },
    "Test-NetConnection": {"Port"},
}
"""Cmdlet → its parameters that the steps for an Exchange Server use, as Microsoft documents them."""
SETTINGS = {
    "Get-Queue": {"Identity", "NextHopDomain", "LastError"},
    "Get-ReceiveConnector": {"Name", "MaxInboundConnection*"},
    "Get-SendConnector": {
        "Name",
        "AddressSpaces",
        "RequireTLS",
        "SmartHostAuthMechanism",
        "SmartHosts",
        "TlsAuthLevel",
        "TlsDomain",
    },
    "Get-TransportService": {"Name", "MaxPerDomainOutboundConnections", "*DNSAdapter*", "*DNSServers"},
}
"""Cmdlet → the settings of its answer that the steps ask for."""


def test_exchange_online_has_the_articles_as_they_stand() -> None:
    for about in articles().values():
        assert fitting(about, Family.EXCHANGE_ONLINE, 2525) is about
        assert not is_own(about, Family.EXCHANGE_ONLINE)


@pytest.mark.parametrize(("family", "foreign"), [(Family.POSTFIX, EXCHANGE), (Family.EXCHANGE_SERVER, CLOUD)])
def test_no_cause_and_no_step_of_another_mail_system_is_left(family: Family, foreign: str) -> None:
    for about in articles().values():
        fits = fitting(about, family)
        assert len(fits.causes) == len(fits.cause_tags)
        texts = (*fits.causes, *fits.fixes, *([fits.partner] if about.code in OUTAGES else []))
        assert not [text for text in texts if re.search(foreign, text)], about.code


@pytest.mark.parametrize("family", sorted(OWN))
def test_every_code_of_an_outage_has_own_words(family: Family) -> None:
    assert sorted(OWN[family]) == sorted(OUTAGES)
    for code in OUTAGES:
        about = articles().for_code(code)
        assert is_own(about, family)
        assert len(fitting(about, family).fixes) >= 4


@pytest.mark.parametrize("family", sorted(OWN))
def test_own_words_answer_to_the_details_of_the_article_and_name_no_other_mail_system(family: Family) -> None:
    for code, advice in OWN[family].items():
        about = articles().for_code(code)
        answered = {tag for tags, _ in advice.causes for tag in tags}
        assert answered == {tag for tags in about.cause_tags for tag in tags}, code
        texts = (*advice.steps, *(words for _, words in advice.causes))
        assert not [text for text in texts if re.search(ELSEWHERE[family], text)], code


@pytest.mark.parametrize("family", sorted(OWN))
def test_own_words_are_short_enough_for_an_alert_and_name_known_details(family: Family) -> None:
    for code, advice in OWN[family].items():
        assert {tag for tags, _ in advice.causes for tag in tags} <= TAGS, code
        for text in (*advice.steps, *(words for _, words in advice.causes)):
            assert len(text) <= 250, text
            assert text.count("`") % 2 == 0, text


@pytest.mark.parametrize("family", sorted(OWN))
def test_an_alert_shows_every_own_step_in_full(family: Family) -> None:
    for code in OWN[family]:
        fits = fitting(articles().for_code(code), family, 2525)
        known = Known(host="gateway01.mail.fabrikam.example", domain="fabrikam.example")
        steps = with_known(fits.fixes, known)
        shown = shown_steps(steps, fits, family=family)
        assert len(shown) == len(steps)
        assert not [step for step in shown if step.endswith("…")], code
        assert sum(map(len, shown)) < 2000, code


@pytest.mark.parametrize("code", OUTAGES)
def test_steps_for_an_exchange_server_type_documented_commands_only(code: str) -> None:
    for step in OWN[Family.EXCHANGE_SERVER][code].steps:
        for span in re.findall(r"`([^`]+)`", step):
            for command in span.split(" | "):
                name = command.split()[0]
                if re.fullmatch(r"[A-Z][a-z]+-[A-Z]\w+", name):
                    used = set(re.findall(r" -([A-Z]\w+)", command))
                    assert used <= DOCUMENTED[name], command
            if asked := re.fullmatch(r"(Get-\w+).* \| Format-List (\S+)", span):
                assert set(asked[2].split(",")) <= SETTINGS[asked[1]], span


def test_a_send_connector_is_only_loosened_in_a_way_that_exchange_server_accepts() -> None:
    """It refuses an authentication level without RequireTLS, and a TlsDomain without the level DomainValidation."""
    every = [step for advice in OWN[Family.EXCHANGE_SERVER].values() for step in advice.steps]
    loosened = [step for step in every if "-TlsAuthLevel " in step or "-RequireTLS " in step]
    assert len(loosened) == 2
    for step in loosened:
        assert "-TlsDomain $null" in step and "your policy permits" in step and "put them back" in step
        assert ("-RequireTLS $false" in step) == ("-TlsAuthLevel $null" in step)


@pytest.mark.parametrize(
    ("said", "code", "first"),
    [
        ("451 4.4.0 DNS query failed. The error was: DNS query failed with error ErrorRetry", "4.4.312", "DNS servers"),
        ("451 4.4.0 DNS query failed. The error was: SMTPSEND.DNS.NonExistentDomain", "4.4.312", "misspelt"),
        ("451 5.7.3 STARTTLS is required to send mail", "4.4.317", "RequireTLS"),
        ("451 4.4.0 TLS negotiation failed with error NoCredentials", "4.4.317", "handshake"),
        ("421 4.4.2 Connection dropped due to ConnectionReset", "4.4.318", "inspects"),
        ("454 4.7.5 Certificate validation failure, Reason:SubjectMismatch", "4.7.320", "TlsDomain"),
        ("454 4.7.5 Certificate validation failure, Reason:UntrustedRoot", "4.7.320", "Windows"),
    ],
)
def test_what_an_exchange_servers_queue_says_leads_to_its_own_cause(said: str, code: str, first: str) -> None:
    told = diagnose(said)
    assert told.code == code
    likely = [words for tags, words in OWN[Family.EXCHANGE_SERVER][code].causes if told.cause in tags]
    assert first in likely[0]


def test_an_article_without_own_words_keeps_the_steps_that_fit() -> None:
    about = articles().for_code("4.4.2")
    about = replace(
        about, fixes=("Use `Get-Queue`.", "Allow TCP 25 in.", "See step 1."), partner="Ask about TlsDomain."
    )
    fits = fitting(about, Family.POSTFIX, 2525)
    assert not is_own(about, Family.POSTFIX)
    assert fits.partner == "Ask about name."
    assert fits.fixes[0].startswith("Read the whole answer: `postqueue -p`"), "one step alone is too few"
    assert fits.fixes[1:] == ("Allow TCP 2525 in.",)
    assert fits.causes == about.causes


def steps_of(code: str, family: Family) -> str:
    return "\n".join(fitting(articles().for_code(code), family).fixes)


MISLEADING = {
    Family.POSTFIX: r"Hybrid|Authoritative|[Cc]onnector\b|Send As|[Ss]hared mailbox|High Volume|Azure|w32tm|setspn"
    r"|[Mm]essage trace for|[Mm]ail flow rule|transport service|[Ll]icence|X-EXPS|\bon Exchange|support case",
    Family.EXCHANGE_SERVER: r"Mail flow, Connectors|Reports, Mail flow|Message trace|Add-RecipientPermission|-Hosted"
    r"|[Tt]enant|Entra|Azure|High Volume|[Ii]nbound connector|^Postfix: |[.;] Postfix: |\bon Postfix|licence",
}
"""What a step must not send people to there: menus, tools and roles of the other mail systems."""


@pytest.mark.parametrize("family", sorted(OWN))
@pytest.mark.parametrize("code", sorted(articles()))
def test_every_article_has_a_step_for_every_mail_system_and_none_that_leads_astray(code: str, family: Family) -> None:
    fixes = fitting(articles()[code], family).fixes
    assert fixes
    assert len(set(fixes)) == len(fixes)
    for step in fixes:
        assert not re.search(MISLEADING[family], step), step
        assert re.match(r"[A-Z0-9`]|x-dg-ref", step) and re.search(r"[.?)]$|https://\S+$", step), step
        assert step.count("`") % 2 == 0 and "  " not in step and " ," not in step, step


@pytest.mark.parametrize(
    ("code", "family", "has", "has_not"),
    [
        ("4.3.0", Family.POSTFIX, "what waits: `postqueue -f` on Postfix.", "Retry-Queue"),
        ("4.3.0", Family.EXCHANGE_SERVER, "what waits: `Retry-Queue -Filter", "postfix check"),
        ("4.4.0", Family.POSTFIX, "another server's words: ask its administrator", "Get-Queue"),
        ("4.4.1", Family.POSTFIX, "correct DNS or the next hop in the transport table.", "connector"),
        ("4.4.1", Family.EXCHANGE_SERVER, "LastError` on Exchange Server. Explain those:", "mail.log"),
        ("4.3.2-thread-limit", Family.EXCHANGE_SERVER, "`Get-MessageTrackingLog`) for that recipient: who", "center"),
        ("4.7.0-attr41", Family.POSTFIX, "smtp_tls_chain_files", "Wizard"),
        ("4.7.5", Family.POSTFIX, "posttls-finger -c -l verify -F ", "Wizard"),
        ("5.1.351", Family.POSTFIX, "recipient exist there? Postfix: `postmap -q <address>", "Get-Recipient"),
        ("5.1.351", Family.EXCHANGE_SERVER, "recipient exist there? Exchange Server: `Get-Recipient", "postmap"),
        ("5.1.8-domain-not-found", Family.EXCHANGE_SERVER, "a real sender domain in the program.", "myorigin"),
        ("5.7.508", Family.POSTFIX, "Send over IPv4. Postfix: `inet_protocols = ipv4`", "Send connector"),
        ("5.7.508", Family.EXCHANGE_SERVER, "Send over IPv4. Exchange Server: have the Send", "inet_protocols"),
        ("5.7.57", Family.POSTFIX, "smtp_sasl_password_maps", "Send As"),
        ("5.7.64", Family.POSTFIX, "knows this relay by its address or certificate", "Exchange"),
        ("5.7.64", Family.EXCHANGE_SERVER, "Get-SendConnector", "Mail flow"),
        ("other", Family.EXCHANGE_SERVER, "the domains of the connector.", "admin center"),
    ],
)
def test_a_step_for_several_mail_systems_is_cut_to_the_one_that_is_meant(
    code: str, family: Family, has: str, has_not: str
) -> None:
    assert has in steps_of(code, family)
    assert has_not not in steps_of(code, family)


def test_causes_stay_whole_and_keep_their_details() -> None:
    about = articles().for_code("4.3.2")
    fits = fitting(about, Family.POSTFIX)
    assert set(fits.causes) < set(about.causes)
    assert len(fits.causes) == len(fits.cause_tags) == len(about.causes) - 1


@pytest.mark.parametrize("family", sorted(OWN))
def test_the_next_hops_own_port_is_named(family: Family) -> None:
    for code in OWN[family]:
        fits = fitting(articles().for_code(code), family, 2525)
        texts = (*fits.causes, *fits.fixes, fits.partner)
        assert not [text for text in texts if re.search(r"\b25\b", text)], code
    told = " ".join(fitting(articles().for_code("4.4.316"), family, None).fixes)
    assert "TCP 25 " in told
