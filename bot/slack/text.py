"""The only door through which text from outside reaches Slack.

Promises: what comes out of `prose`, `code`, `plain` and `mrkdwn` holds no control, direction or invisible characters,
no mention, no link, no broken or fake formatting, and not more characters than asked for. What `mrkdwn` builds from our
own templates stays as we wrote it; every value put into one is treated as foreign unless this module made it.
Trusts nobody: connector names, banners, certificate and DNS names, slash text and stored errors are all foreign.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import NewType

from knowledge.article import LINK_HOSTS

Plain = NewType("Plain", str)
"""Text that is fit for a plain_text object."""

SHOWN = 200
"""How many characters of one foreign text are shown unless said otherwise."""

_LINE_BREAKS = re.compile(r"(?:\r\n|[\n\r\x0b\x0c\x85\u2028\u2029])+")
_SPACES = re.compile(r"\s+")
_INVISIBLE = frozenset("\u00ad\u034f\u115f\u1160\u17b4\u17b5\u180b\u180c\u180d\u180e\u2800\u3164\uffa0\ufeff")
_UNSEEN_CATEGORIES = frozenset({"Cc", "Cf", "Cs", "Co", "Cn"})
_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]{0,30}):(?=//)")
_BARE_SCHEME = re.compile(r"\b(mailto|tel|sip|sips|javascript|vbscript|data|slack|file|facetime|skype):", re.IGNORECASE)
_WWW = re.compile(r"\bwww\.", re.IGNORECASE)
_BARE_URL = re.compile(r"(?<=[\w-])\.(?=[A-Za-z]{2,24}(?::\d+)?[/?#])")
_EMOJI = re.compile(r":(?=[\w+'-]{0,99}[A-Za-z][\w+'-]{0,99}:)")
_ID = {"user": re.compile(r"[UW][A-Z0-9]{1,20}"), "group": re.compile(r"S[A-Z0-9]{1,20}")}
_CHANNEL = re.compile(r"[CGD][A-Z0-9]{1,20}")
_TS = re.compile(r"\d{1,12}\.\d{1,6}")


class Mrkdwn(str):
    """Text that is fit for a mrkdwn object. Made only in this module."""

    __slots__ = ()


def visible(foreign: object, limit: int = SHOWN) -> str:
    """One line of at most `limit` visible characters, in logical order; no markup is touched yet."""
    raw = str(foreign)[: limit * 4 + 64]
    joined = _LINE_BREAKS.sub(" ⏎ ", unicodedata.normalize("NFC", raw).strip())
    kept = _SPACES.sub(" ", "".join(_seen(joined))).strip()
    return kept if len(kept) <= limit else kept[: limit - 1].rstrip() + "…"


def _seen(text: str) -> list[str]:
    """The characters that a reader sees, with at most two combining marks in a row."""
    out: list[str] = []
    marks = 0
    for char in text:
        category = unicodedata.category(char)
        marks = marks + 1 if category in ("Mn", "Me") else 0
        if char.isspace() and category != "Cf":
            out.append(" ")
        elif category not in _UNSEEN_CATEGORIES and char not in _INVISIBLE and marks <= 2:
            out.append(char)
    return out


def _defang(text: str) -> str:
    """Nothing in it is taken for a link any more, and a reader still sees what it was."""
    text = _SCHEME.sub(r"\1[:]", text)
    text = _BARE_SCHEME.sub(r"\1[:]", text)
    text = _WWW.sub(lambda found: found.group()[:3] + "[.]", text)
    return _BARE_URL.sub("[.]", text)


def _escape(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def plain(foreign: object, limit: int = SHOWN) -> Plain:
    """For plain_text objects and notification titles: visible, no links, no angle brackets, no emoji codes."""
    text = _EMOJI.sub("꞉", _defang(visible(foreign, limit)))
    return Plain(text.replace("<", "‹").replace(">", "›").replace("@", "＠").replace("`", "'")[: limit + 24])


def literal(foreign: object, limit: int = 4000) -> Plain:
    """For text to copy, in a preformatted block, where Slack reads no markup: lines and known links stay whole."""
    shown = "\n".join(_copied(line) for line in str(foreign)[: limit + 64].split("\n"))
    return Plain(shown if len(shown) <= limit else shown[: limit - 1] + "…")


def _copied(line: str) -> str:
    """One line with its blanks; what could become a link is defanged unless it leads to a known host."""
    inner = "".join(_seen(unicodedata.normalize("NFC", line.rstrip()[:1000])))
    out: list[str] = []
    done = 0
    for found in _HTTPS.finditer(inner):
        if found[1] in LINK_HOSTS:
            out += [_defang(inner[done : found.start()]), found[0]]
            done = found.end()
    return re.sub(r"<(?=[@!#])", "‹", "".join([*out, _defang(inner[done:])])).replace("`", "'")


_INERT = str.maketrans({"*": "∗", "~": "∼", "`": "'", "@": "＠", "|": "¦"})


_ADDRESS = re.compile(r"(?<![\w.+@-])([A-Za-z0-9.+-]{1,64}@[A-Za-z0-9-]+(?:\.[A-Za-z0-9-]+)+)(?![\w@-])", re.ASCII)


def prose(foreign: object, limit: int = SHOWN) -> Mrkdwn:
    """For running text: reads as the original, but nothing in it formats, mentions, links or becomes an emoji.

    A mail address becomes a code span: it can be copied, and Slack makes no link of it.
    """
    parts = _ADDRESS.split(visible(foreign, limit))
    return Mrkdwn("".join(code(part) if n % 2 else _inert(part) for n, part in enumerate(parts)))


def _inert(visible_text: str) -> str:
    text = _EMOJI.sub("꞉", _defang(visible_text)).translate(_INERT)
    text = re.sub(r"(?<!\w)_|_(?!\w)", "＿", text)
    return _escape(text.replace(">", "›", 1) if text.startswith(">") else text)


def code(foreign: object, limit: int = SHOWN) -> Mrkdwn:
    """For evidence: the original in a code span that it can't leave."""
    text = _escape(_defang(visible(foreign, limit)).replace("`", "'"))
    return Mrkdwn(f"`{text or ' '}`")


def mrkdwn(template: str, /, *args: object, **values: object) -> Mrkdwn:
    """Our own template with values put in: foreign ones as `prose`, ours (Mrkdwn, numbers) as they are.

    The template is always a literal of this package; formatting and line breaks in it are meant.
    """
    return Mrkdwn(template.format(*map(_value, args), **{name: _value(value) for name, value in values.items()}))


def _value(value: object) -> str:
    if isinstance(value, Mrkdwn):
        return str(value)
    return f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else str(prose(value))


def num(number: int) -> Mrkdwn:
    """A number as people type it: #1284, without separators."""
    return Mrkdwn(f"{number:d}")


def of_object(text_object: Mapping[str, str]) -> Mrkdwn:
    """The text of an object that was built before: what was mrkdwn stays so, what was plain becomes `prose`."""
    text = text_object["text"]
    return Mrkdwn(text) if text_object["type"] == "mrkdwn" else prose(text, 300)


def lines(*parts: Mrkdwn | None) -> Mrkdwn:
    """These, each on its own line; absent and empty ones leave no gap."""
    return Mrkdwn("\n".join(part for part in parts if part))


def joined(parts: list[Mrkdwn], between: str = " · ") -> Mrkdwn:
    """These in one line."""
    return Mrkdwn(between.join(part for part in parts if part))


def fit(text: Mrkdwn, limit: int) -> Mrkdwn:
    """At most `limit` characters, never cut inside an entity, a mention, a link or a code span."""
    if len(text) <= limit:
        return text
    cut = text[: limit - 1]
    cut = re.sub(r"&[a-z]{0,4}$", "", cut)
    cut = re.sub(r"<[^>]*$", "", cut)
    if cut.count("`") % 2:
        cut = cut[: cut.rindex("`")]
    return Mrkdwn(cut.rstrip() + "…")


def user(user_id: str | None) -> Mrkdwn:
    """The person as Slack shows people; anything that isn't a user id is only quoted. None is the bot itself."""
    if user_id is None:
        return Mrkdwn("mfi")
    return Mrkdwn(f"<@{user_id}>") if _ID["user"].fullmatch(user_id) else code(user_id, 40)


def group(group_id: str) -> Mrkdwn:
    """The user group as Slack shows it. Only for ephemeral answers: elsewhere it would call everybody in it."""
    return Mrkdwn(f"<!subteam^{group_id}>") if _ID["group"].fullmatch(group_id) else code(group_id, 40)


_MARKUP = re.compile(r"`([^`]+)`|(https://[^\s)>\"'`]+)")


def article(text: str, limit: int = 600) -> Mrkdwn:
    """Our own articles' text: code spans and links to known hosts; everything else is `prose`."""
    out: list[str] = []
    line, done = visible(text.replace("\n", " "), limit), 0
    for found in _MARKUP.finditer(line):
        out.append(_between(line[done : found.start()]))
        span, url = found.groups()
        out.append(code(span, limit) if span else source(url))
        done = found.end()
    return Mrkdwn("".join([*out, _between(line[done:])]))


def _between(text: str) -> str:
    """`prose` that keeps the blanks at its ends."""
    inner = prose(text, len(text) + 1)
    return (" " if text[:1] == " " and inner else "") + inner + (" " if text[-1:] == " " else "")


def sentence(text: str, people: Iterable[str | None] = (), limit: int = 600) -> Mrkdwn:
    """A refusal of one of our services: `prose`, in which only these people are mentioned live."""
    said = str(prose(text, limit))
    for one in {one for one in people if one and _ID["user"].fullmatch(one)}:
        said = said.replace(f"&lt;＠{one}&gt;", user(one))
    return Mrkdwn(said)


def when(moment: datetime) -> Mrkdwn:
    """A moment, shown in each reader's own time zone."""
    fallback = moment.strftime("%Y-%m-%d %H:%M UTC")
    return Mrkdwn(f"<!date^{int(moment.timestamp())}^{{date_short_pretty}} {{time}}|{fallback}>")


_HTTPS = re.compile(r"https://([a-z0-9.-]+)(?:[/?#][^\s<>|`\"\\]*)?")


def source(url: str, label: str | None = None) -> Mrkdwn:
    """A link to documentation: https and a known host, or no link at all. The label is the host unless given."""
    found = _HTTPS.fullmatch(url)
    if found is None or found[1] not in LINK_HOSTS:
        return prose(label or url, 80)
    return Mrkdwn(f"<{_escape(url)}|{prose(label or found[1], 80)}>")


def message_link(workspace: str, channel: str, ts: str, label: str) -> Mrkdwn:
    """A link to a Slack message. `workspace` is what Slack itself calls our address."""
    if not (_CHANNEL.fullmatch(channel) and _TS.fullmatch(ts) and re.fullmatch(r"https?://[\w.:-]+/?", workspace)):
        return prose(label, 80)
    address = f"{workspace.rstrip('/')}/archives/{channel}/p{ts.replace('.', '')}"
    return Mrkdwn(f"<{address}|{prose(label, 80)}>")
