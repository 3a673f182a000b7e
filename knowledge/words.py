"""The words that mail systems use for errors: one table, in order of precedence.

A row looks at a text only when one of its triggers (plain substrings) is there, so that long hostile texts stay cheap;
every pattern has bounded gaps and is for lower-case text. A cause's code comes from the table that probes use
(classify), so words and probes can never disagree.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from knowledge.classify import Cause, code_of
from knowledge.languages import PHRASES

C = Cause


@dataclass(frozen=True, slots=True)
class Row:
    """Words that mean a code. `firm`: they tell how far the conversation came and outweigh codes said in it."""

    code: str
    cause: Cause | None
    triggers: tuple[str, ...]
    pattern: re.Pattern[str]
    firm: bool = False


def _row(meaning: Cause | str, triggers: str, pattern: str, *, firm: bool = False, cause: Cause | None = None) -> Row:
    """`triggers`: alternatives separated by |; each must be a literal part of what the pattern matches."""
    if isinstance(meaning, Cause):
        code = code_of(meaning)
        assert code is not None
        return Row(code, meaning, tuple(triggers.split("|")), re.compile(pattern), firm)
    return Row(meaning, cause, tuple(triggers.split("|")), re.compile(pattern), firm)


ROWS: tuple[Row, ...] = (
    # How far the conversation came outweighs what was said in it.
    _row(C.SMTP_ERROR, "refused to talk", r"refused to talk to (?:me|us)", firm=True),
    _row(C.SMTP_ERROR, "mail server after", r"remote mail server after (?:initial connection|[eh][he]lo)", firm=True),
    _row(C.SMTP_ERROR, "greeting failed|refused mail service", r"but greeting failed|refused mail service", firm=True),
    _row(C.STARTTLS_REJECTED, "in reply to starttls", r"in reply to starttls", firm=True),
    _row(C.SMTP_ERROR, "in reply to ehlo|in reply to helo", r"in reply to (?:ehlo|helo)", firm=True),
    _row("5.4.6", "loop|too many hops", r"loops back to myself|mail (?:forwarding )?loop|routing loop|too many hops"),
    _row("5.3.4", "size", r"message size [0-9]{0,12} ?exceeds|exceeds (?:the )?(?:maximum )?(?:message )?size limit"),
    _row(
        "4.4.4",
        "matching connector",
        r"matching connector (?:cannot|can't|can not|could not|couldn't) be found|no matching connector",
    ),
    _row("5.1.0", "nullmx|null mx|no smtp", r"null ?mx|record indicated no smtp service", cause=C.NULL_MX),
    # What DANE and MTA-STS say has codes of its own, also where only the words were pasted.
    _row("4.4.8", "mta-sts", r"mx hosts? [^\n]{0,270}failed mta-sts"),
    _row("4.7.321", "starttls-not-supported", r"starttls-not-supported"),
    _row("4.7.323", "tlsa-invalid", r"tlsa-invalid"),
    _row("4.7.324", "dnssec-invalid", r"dnssec-invalid"),
    _row("4.7.325", "certificate-host-mismatch", r"certificate-host-mismatch"),
    # Certificates before TLS: "TLS failed: certificate has expired" is about the certificate.
    _row(C.CERT_EXPIRED, "expired", r"certificate ?-?(?:has |is )?expired|expired certificate"),
    _row(
        C.CERT_NAME,
        "mismatch|match|valid for",
        r"subject ?mismatch|(?:hostname|certificate|name)[ -]?(?:name |host )?mismatch|certificate [^\n]{0,60}"
        r"(?:does not|doesn't|did not) match|certificate is valid for [^\n]{1,120}, not ",
    ),
    _row(C.CERT_REVOKED, "revoked", r"certificate ?(?:has been |was |is )?revoked|revoked certificate"),
    _row(C.CERT_NOT_YET_VALID, "not yet valid", r"certificate ?(?:is )?not yet valid"),
    _row(C.CERT_SELF_SIGNED, "self", r"self[ -]?signed certificate|certificate (?:is )?self[ -]?signed"),
    _row(
        C.CERT_UNTRUSTED,
        "untrusted|trusted|issuer|certification path|pkix path|unknown authority|unknown ca",
        r"valid certification path|pkix path|signed by unknown authority|unknown ca\b"
        r"|untrusted ?(?:root|issuer)|certificate (?:is )?not (?:verified|trusted)|untrusted certificate"
        r"|certificate (?:is )?untrusted|unable to get (?:local )?issuer certificate",
    ),
    _row(
        C.CERT_UNTRUSTED,
        "certificate",
        r"certificate (?:verif(?:y|ication)|validation) ?(?:has )?(?:failed|failure)|certificate not verified"
        r"|(?:could not|cannot|can't|unable to) (?:verify|validate) [^\n]{0,40}certificate"
        r"|invalid certificate|certificate (?:is )?(?:invalid|not valid)|bad certificate",
    ),
    _row(
        C.NO_STARTTLS,
        "tls",
        r"tls is required,? but was not offered|starttls is required|issue a starttls command"
        r"|(?:did not|does not|doesn't|not) (?:offer|support|advertise)(?:ed)? (?:start)?tls"
        r"|starttls (?:extension )?(?:is )?not (?:offered|supported|available|advertised)",
    ),
    _row(
        C.STALLED,
        "ssl_connect|handshake|tls",
        r"(?:ssl_connect error|handshake|starttls|tls)[^\n]{0,120}tim(?:ed|e) ?out",
    ),
    _row(
        C.TLS_VERSION,
        "protocol version|unsupported protocol",
        r"(?:tls|ssl)[^\n]{0,60}(?:protocol version|unsupported protocol)",
    ),
    _row(
        C.TLS_FAILED,
        "tls|ssl|handshake",
        r"handshake[ _]fail|cannot start tls|tls negotiation fail|tls handshake (?:error|fail)"
        r"|tls (?:is )?(?:currently |temporarily )?(?:not available|unavailable)|starttls (?:error|fail)"
        r"|(?:gnutls|ssl)_handshake|tls session fail"
        r"|(?:tls|ssl) (?:error|failure)|ssl routines|ssl[^\n]{0,30}wrong[ _]version",
    ),
    # DNS
    _row(
        C.SERVFAIL,
        "try again|errorretry|temporar|servfail|did not complete",
        r"name service error[^\n]{0,330}try again|host not found, try again|errorretry|servfail"
        r"|(?:cname|dns|host|name|mx) lookup (?:failed temporarily|did not complete)|temporar(?:y|ily) dns"
        r"|temporary failure in name resolution",
    ),
    _row(
        C.NODATA,
        "inforecords|infonorecords|no relevant answers|no data known|no such record|no mx|no address|no valid mx"
        "|mail exchanger",
        r"infonorecords|had no relevant answers|no data known|no (?:valid )?mx (?:records? )?(?:found|for|exist)"
        r"|no mx or a|no address(?: record)?s? (?:found|associated)|no mx host for"
        r"|couldn't find a mail exchanger",
    ),
    _row(C.DNS_ERROR, "name server", r"(?:malformed|unexpected|bad) (?:or unexpected )?name server reply"),
    _row(C.DNS_TIMEOUT, "dns|name server", r"(?:\bdns\b|name server)[^\n]{0,60}tim(?:ed|e) ?out"),
    _row(
        C.NXDOMAIN,
        "not found|nxdomain|nonexistent|non-existent|not known|unknown|not exist|couldn't find any host|no such"
        "|enotfound|could not be",
        r"host or domain name not found|name service error|nxdomain|infodomainnonexistent|nonexistentdomain"
        r"|non-?existent (?:host|domain)|name or service not known|(?<!ress rejected: )domain (?:name )?not found"
        r"|(?<!sender )host (?:is )?unknown|unknown host|domain [^\n]{0,260}does not exist|host not found"
        r"|couldn't find any host|(?:host|domain) does not exist|no such (?:host|domain)\b|enotfound"
        r"|dns records for the destination [^\n]{0,40}could not be found|name could not be resolved",
    ),
    _row(
        C.DNS_ERROR,
        "dns|name server|lookup|look up|resol|name service|network protocols",
        r"dns (?:query|lookup|resolution)[^\n]{0,40}(?:fail|error)|dns error|errordnsqueryfailed|smtpsend\.dns"
        r"|host ?name lookup failure|unable to look up host|(?:name|address|host) resolution[^\n]{0,270}fail"
        r"|(?:could not|cannot|can't|unable to|failed to) (?:resolve|look up)|name service error"
        r"|lookup [^\n]{0,270}failed|all network protocols are disabled|name server: [^\n]{0,90}(?:failure|error)",
    ),
    # Connected, then silence or a broken session
    _row(
        C.STALLED,
        "timed out while|timeout while|read banner|smtp timeout|due to timeout|conversation with|waiting for input"
        "|i/o timeout",
        r"conversation with [^\n]{0,330}timed out|(?:timed out|timeout) while (?!connecting)|smtp timeout"
        r"|dropped due to timeout|unable to read banner|timeout waiting for input|read tcp [^\n]{0,120}i/o timeout",
        firm=True,
    ),
    _row(
        C.RESET,
        "reset|10054|10053|(104)|aborted",
        r"connection (?:was |has been )?reset|econnreset|\b1005[34]\b|"
        r"\(104\)|socketconnectionreset|connection (?:was )?aborted",
    ),
    _row(
        C.CLOSED,
        "lost connection|connection lost|closed|dropped|disconnect|suspiciousremote|broken pipe|died|unexpected eof"
        "|read error|transport connection",
        r"forcibly closed|from the transport connection"
        r"|lost connection|connection lost|suspiciousremoteservererror|disconnected abruptly|remotely closed"
        r"|connection (?:was |has been |is )?(?:unexpectedly |abruptly |prematurely )?(?:closed|dropped|died)"
        r"|(?:closed|dropped) (?:the )?connection|connection died|broken pipe|unexpected eof|read error from"
        r"|(?:remote|server|host|peer) disconnected",
    ),
    # Never connected
    _row(
        C.UNREACHABLE,
        "no route|unreach|10065|10051|(113)|(101)|errno = 113|errno = 101",
        r"no route to host|(?:network|host|destination) (?:is )?unreachable|\b10065\b|\b10051\b|\((?:113|101)\)"
        r"|errno = 1(?:13|01)\b|e(?:host|net)unreach",
    ),
    _row(
        C.REFUSED,
        "refused|10061|errno = 111|(111)",
        r"connection (?:was |is )?(?:actively )?refused|connection to [^\n]{1,120} was refused"
        r"|actively refused|econnrefused|socketconnectionrefused|\b10061\b"
        r"|errno = 111\b|\(111\)",
    ),
    _row(
        C.CONNECT_TIMEOUT,
        "timed out|timedout|timeout|10060|274c|(110)|errno = 110|properly respond|deadline_exceeded",
        r"connection (?:attempt )?timed ?out|socket ?timed ?out|connect[^\n]{0,80}tim(?:ed|e) ?out|\b10060\b"
        r"|0x0?274c|0000274c|\(110\)|errno = 110\b|did not properly respond|operation timed out|: timed out|timedout"
        r"|timed out[^\n]{0,20}connect|connection time-?out|deadline_exceeded|^timed out$"
        r"|dial tcp [^\n]{0,80}i/o timeout",
    ),
    # The same in other languages, where nothing else survived.
    *(_row(cause, triggers, pattern) for cause, triggers, pattern in PHRASES),
    # Somehow not connected: the least telling words come last.
    _row("4.4.317", "ssl_connect", r"ssl_connect error", cause=C.TLS_FAILED),
    _row(
        "4.4.317", "service not available|no smtp service", r"service not available|no smtp service", cause=C.SMTP_ERROR
    ),
    _row(
        "4.4.317",
        "connect|socket error|session",
        r"(?:could not|cannot|can't|unable to|failed to|wasn't able to) (?:connect|establish)|socket ?error"
        r"|connect error|failed connect(?:ion)?\b|couldn't connect|did not accept our requests to connect"
        r"|connect to [^\s\[]{1,255}\[[^\s\]]{2,45}\]:[0-9]{1,5}: ",
    ),
)

GENERIC = 3
"""So many rows at the end tell only that it failed: any other row wins over them, wherever it stands."""
