"""Status codes that stand in a text, and what only looks like one.

Not a code: parts of IP addresses (5.1.1.3, 72.5.4.x), program versions (Postfix 4.4.1), dates (4.5.24 10:31),
a subject that no standard has (4.16.50). `450 4-4.395` and `550 5,4,316` are codes, mistyped.
"""

from __future__ import annotations

import re
from itertools import islice
from typing import NamedTuple

_MENTION = re.compile(
    r"(?<![A-Za-z0-9._/@-])"
    r"(?:([245][0-9]{2})(?:[ \t\u00a0]{1,3}|-)(?:[a-z]{1,12}_[a-z]{1,12} )?)?"
    r"[#(\[]{0,2}([245][.,-][0-7][.,](?:0|[1-9][0-9]{0,2}))(?![0-9A-Za-z])(?!\.[0-9xX*#])(?!\s{1,3}[0-9]{1,2}:[0-9]{2})"
)
_VERSION = re.compile(r"(?:version|ver\.?|postfix|exim|sendmail|build|release|openssl|gnutls|esmtp)\s{0,2}$", re.I)
_BARE = re.compile(
    r"(?:^\W{0,3}|\n\W{0,3}|said:\s|smtp;\s?|to me:\s|->\s?|responded with:?\s"
    r"|returned:?\s|deferred:\s|code:?\s|error:?\s)"
    r"['\"#<(]{0,2}([245][0-5][0-9])(?=[ \-'\")>]|$)",
    re.I,
)


_MOST = 300


class Mention(NamedTuple):
    """One status code as it stands in the text. `reply`: the basic code before it."""

    start: int
    end: int
    reply: str | None
    code: str

    def moved(self, by: int) -> Mention:
        """The same code, found in a text that begins so much earlier."""
        return self._replace(start=self.start + by, end=self.end + by)


def mentions(text: str) -> list[Mention]:
    """The status codes in the text, in order; the first few hundred of them."""
    if "." not in text and "," not in text:
        return []
    return [found for match in islice(_MENTION.finditer(text), _MOST) if (found := _mention(match, text)) is not None]


def _mention(match: re.Match[str], text: str) -> Mention | None:
    reply, code = match[1], match[2]
    mistyped = "-" in code or "," in code
    if reply is None and (mistyped or _VERSION.search(text[max(0, match.start() - 16) : match.start()])):
        return None
    return Mention(match.start(), match.end(), reply, code.replace("-", ".").replace(",", "."))


def bare_reply(text: str) -> tuple[str, int, int] | None:
    """The first basic reply code (421, 554 …) that stands where a server's answer stands, with its place."""
    found = _BARE.search(text)
    return (found[1], found.start(1), found.end(1)) if found else None
