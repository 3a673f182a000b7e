"""Errors told in words: what mail systems write, by meaning, whichever system writes it.

One table, in order of precedence. A row looks at the text only when one of its triggers (plain substrings) is there, so
that long hostile texts stay cheap; every pattern has bounded gaps and works on lower-case text. A cause's code comes
from the same table that probes use (classify), so words and probes can never disagree.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import NamedTuple

from knowledge.classify import Cause, code_of

C = Cause


class Hit(NamedTuple):
    """Words that tell the error: the code they mean, the cause if they name it, and where they stand.

    `firm`: they outweigh even a definite status code, because they tell how far the conversation came.
    """

    code: str
    cause: Cause | None
    firm: bool
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class _Row:
    code: str
    cause: Cause | None
    triggers: tuple[str, ...]
    pattern: re.Pattern[str]
    firm: bool = False


def _row(meaning: Cause | str, triggers: str, pattern: str, *, firm: bool = False, cause: Cause | None = None) -> _Row:
    """`triggers`: alternatives separated by |; each must be a literal part of what the pattern matches."""
    if isinstance(meaning, Cause):
        code = code_of(meaning)
        assert code is not None
        return _Row(code, meaning, tuple(triggers.split("|")), re.compile(pattern), firm)
    return _Row(meaning, cause, tuple(triggers.split("|")), re.compile(pattern), firm)


_ROWS: tuple[_Row, ...] = (
    # How far the conversation came outweighs what was said in it.
    _row(C.SMTP_ERROR, "refused to talk", r"refused to talk to (?:me|us)", firm=True),
    _row(C.STARTTLS_REJECTED, "in reply to starttls", r"in reply to starttls", firm=True),
    _row(C.SMTP_ERROR, "in reply to ehlo|in reply to helo", r"in reply to (?:ehlo|helo)", firm=True),
    _row("5.4.6", "loop|too many hops", r"loops back to myself|mail (?:forwarding )?loop|routing loop|too many hops"),
    _row("5.3.4", "size", r"message size [0-9]{0,12} ?exceeds|exceeds (?:the )?(?:maximum )?(?:message )?size limit"),
    _row("5.1.0", "nullmx|null mx", r"null ?mx", cause=C.NULL_MX),
    # Certificates before TLS: "TLS failed: certificate has expired" is about the certificate.
    _row(C.CERT_EXPIRED, "expired", r"certificate ?-?(?:has |is )?expired|expired certificate"),
    _row(
        C.CERT_NAME,
        "mismatch|match",
        r"subject ?mismatch|(?:hostname|certificate|name)[ -]?(?:name |host )?mismatch|certificate [^\n]{0,60}"
        r"(?:does not|doesn't|did not) match",
    ),
    _row(C.CERT_REVOKED, "revoked", r"certificate ?(?:has been |was |is )?revoked|revoked certificate"),
    _row(C.CERT_NOT_YET_VALID, "not yet valid", r"certificate ?(?:is )?not yet valid"),
    _row(C.CERT_SELF_SIGNED, "self", r"self[ -]?signed certificate|certificate (?:is )?self[ -]?signed"),
    _row(
        C.CERT_UNTRUSTED,
        "untrusted|trusted|issuer",
        r"untrusted ?(?:root|issuer)|certificate (?:is )?not (?:verified|trusted)|untrusted certificate"
        r"|certificate (?:is )?untrusted|unable to get (?:local )?issuer certificate",
    ),
    _row(
        C.CERT_UNTRUSTED,
        "certificate",
        r"certificate (?:verif(?:y|ication)|validation) ?(?:has )?fail(?:ed|ure)|certificate not verified"
        r"|(?:could not|cannot|can't|unable to) (?:verify|validate) [^\n]{0,40}certificate"
        r"|invalid certificate|certificate (?:is )?(?:invalid|not valid)|bad certificate",
    ),
    _row(
        C.NO_STARTTLS,
        "tls",
        r"tls is required,? but was not offered|starttls is required|issue a starttls command"
        r"|(?:did not|does not|doesn't|not) (?:offer|support|advertise)(?:ed)? (?:start)?tls"
        r"|starttls (?:is )?not (?:offered|supported|available|advertised)",
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
        r"|(?:tls|ssl) (?:error|failure)|ssl routines",
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
        "inforecords|infonorecords|no relevant answers|no data known|no such record|no mx|no address|no valid mx",
        r"infonorecords|had no relevant answers|no data known|no (?:valid )?mx (?:records? )?(?:found|for|exist)"
        r"|no mx or a|no address(?: record)?s? (?:found|associated)",
    ),
    _row(C.DNS_ERROR, "name server", r"(?:malformed|unexpected|bad) (?:or unexpected )?name server reply"),
    _row(C.DNS_TIMEOUT, "dns|name server", r"(?:dns|name server)[^\n]{0,60}tim(?:ed|e) ?out"),
    _row(
        C.NXDOMAIN,
        "not found|nxdomain|nonexistent|non-existent|not known|unknown|not exist|couldn't find any host",
        r"host or domain name not found|name service error|nxdomain|infodomainnonexistent|nonexistentdomain"
        r"|non-?existent (?:host|domain)|name or service not known|(?<!ress rejected: )domain (?:name )?not found"
        r"|(?<!sender )host (?:is )?unknown|unknown host|domain [^\n]{0,260}does not exist|host not found"
        r"|couldn't find any host|(?:host|domain) does not exist",
    ),
    _row(
        C.DNS_ERROR,
        "dns|name server|lookup|look up|resol|name service|network protocols",
        r"dns (?:query|lookup|resolution)[^\n]{0,40}(?:fail|error)|dns error|errordnsqueryfailed|smtpsend\.dns"
        r"|host ?name lookup failure|unable to look up host|(?:name|address|host) resolution[^\n]{0,270}fail"
        r"|(?:could not|cannot|can't|unable to|failed to) (?:resolve|look up)|name service error"
        r"|lookup [^\n]{0,270}failed|all network protocols are disabled|name server: [^\n]{0,270}(?:failure|error)",
    ),
    # Connected, then silence or a broken session
    _row(
        C.STALLED,
        "timed out while|timeout while|smtp timeout|due to timeout|conversation with",
        r"conversation with [^\n]{0,330}timed out|(?:timed out|timeout) while (?!connecting)|smtp timeout"
        r"|dropped due to timeout|unable to read banner",
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
        "lost connection|connection lost|closed|dropped|disconnect|suspiciousremote|broken pipe|died|unexpected eof",
        r"lost connection|connection lost|suspiciousremoteservererror|disconnected abruptly|remotely closed"
        r"|connection (?:was |has been |is )?(?:unexpectedly |abruptly |prematurely )?(?:closed|dropped|died)"
        r"|(?:closed|dropped) (?:the )?connection|connection died|broken pipe|unexpected eof|remote(?:ly)? disconnected"
        r"|(?:server|host|peer) disconnected",
    ),
    # Never connected
    _row(
        C.UNREACHABLE,
        "no route|unreachable|10065|10051|(113)|(101)|errno = 113|errno = 101",
        r"no route to host|(?:network|host|destination) (?:is )?unreachable|\b10065\b|\b10051\b|\((?:113|101)\)"
        r"|errno = 1(?:13|01)\b",
    ),
    _row(
        C.REFUSED,
        "refused|10061|errno = 111|(111)",
        r"connection (?:was |is )?(?:actively )?refused|actively refused|econnrefused|socketconnectionrefused|\b10061\b"
        r"|errno = 111\b|\(111\)",
    ),
    _row(
        C.CONNECT_TIMEOUT,
        "timed out|timedout|timeout|10060|274c|(110)|errno = 110|properly respond|deadline_exceeded",
        r"connection (?:attempt )?timed ?out|socket ?timed ?out|connect[^\n]{0,80}tim(?:ed|e) ?out|\b10060\b"
        r"|0x0?274c|0000274c|\(110\)|errno = 110\b|did not properly respond|operation timed out|: timed out|timedout"
        r"|timed out[^\n]{0,20}connect|connection time-?out|deadline_exceeded|^timed out$",
    ),
    # Somehow not connected: the least telling words come last.
    _row("4.4.317", "ssl_connect", r"ssl_connect error", cause=C.TLS_FAILED),
    _row(
        "4.4.317", "service not available|no smtp service", r"service not available|no smtp service", cause=C.SMTP_ERROR
    ),
    _row(
        "4.4.317",
        "connect|socket error|session",
        r"(?:could not|cannot|can't|unable to|failed to|wasn't able to) (?:connect|establish)|socket ?error"
        r"|connect error|failed connect(?:ion)?\b|couldn't connect|did not accept our requests to connect",
    ),
)

_GENERIC = 3
"""So many rows at the end tell only that it failed: any other row wins over them, wherever it stands."""

_OPPOSITE = re.compile(
    r"establish appropriate tls channel|tlscertificatename|mta-sts|\bdane\b|tlsa|dnssec"
    r"|certificate-expired|certificate-host"
)
"""Certificates that *we* present, and policies with codes of their own: never the family's certificate failure."""

_POLICY = re.compile(
    r"block(?:ed|ing)? ?(?:list)?|black ?list|reputation|spam|\b(?:rbl|dnsbl|rdns|ptr)\b|policy|abuse|unauthori[sz]ed"
    r"|reverse dns|too many|not allowed|denied|name lookup failed"
)
_SOCKET = re.compile(r"10061|\(111\)|errno|socket|econnrefused|connect to |connect error|actively")
_ANSWER = re.compile(r"(?:^|[^0-9.])(?:421|5[0-9]{2})[ -][^\n]{0,60}$")

_TLS_CAUSES = frozenset({C.NO_STARTTLS, C.TLS_FAILED, C.TLS_VERSION})


def lowered(text: str) -> str:
    """Lower case of the same length, so that places found in it hold in the text (a few letters grow: left as is)."""
    low = text.lower()
    if len(low) == len(text):
        return low
    return "".join(small if len(small := letter.lower()) == 1 else letter for letter in text)


def hit(low: str) -> Hit | None:
    """What the words of this lower-case text tell, or None.

    1. Each row may hit once. Rows that say only "it failed" count only if no other does.
    2. The hit that stands first wins, but a row of higher precedence on the same line takes over.
    """
    found = [h for row in _ROWS[:-_GENERIC] if (h := _find(row, low)) is not None]
    if not found:
        return next((h for row in _ROWS[-_GENERIC:] if (h := _find(row, low)) is not None), None)
    first = min(found, key=lambda h: h.start)
    end = _line_end(low, first.end)
    return next(h for h in found if h.start <= end)


def _find(row: _Row, low: str) -> Hit | None:
    if not any(trigger in low for trigger in row.triggers):
        return None
    for match in row.pattern.finditer(low):
        if not _vetoed(row, low, match):
            return Hit(row.code, row.cause, row.firm, match.start(), match.end())
    return None


def _vetoed(row: _Row, low: str, match: re.Match[str]) -> bool:
    """Words that mean something else in their surroundings."""
    around = low[max(0, match.start() - 160) : match.end() + 160]
    if row.code == "4.7.320" or row.cause in _TLS_CAUSES:
        return _OPPOSITE.search(around) is not None
    if row.cause is not C.REFUSED or _SOCKET.search(around):
        return False
    before = low[max(0, match.start() - 90) : match.start()]
    return _POLICY.search(around) is not None or _ANSWER.search(before) is not None


def _line_end(low: str, start: int) -> int:
    """The end of this line, folded lines counted as one, at most 400 characters on."""
    while True:
        end = low.find("\n", start)
        if end < 0 or end > start + 400:
            return start + 400
        if low[end + 1 : end + 2] not in (" ", "\t"):
            return end
        start = end + 1
