"""One article: what a file must look like, and the checked value it becomes.

    ArticleError        a file breaks the rules; its text is "file:line: what is wrong", one line per problem

Promises: strict front matter (every key, no other), fixed headings in fixed order, https links to known hosts only, at
most 8 KiB a file, every section short enough for one Slack section. YAML is imported only when a file is read.
"""

from __future__ import annotations

import datetime
import re
from dataclasses import dataclass
from typing import Any, NoReturn

from knowledge.codes import OTHER, parse
from knowledge.signals import TAGS

SIZE_CAP = 8 * 1024
SECTION_CAP = 2900
HEADINGS = ("Meaning", "Causes", "Fix", "Fix now", "Verify", "If it is a partner")
OWNERS = frozenset({"connector", "on_premises", "dns", "partner", "sender", "microsoft"})
KINDS = frozenset({"on_premises", "partner"})
STEPS = frozenset({"reject_invalid", "domain_authoritative", "disable_connector"})
LINK_HOSTS = frozenset(
    {"learn.microsoft.com", "admin.exchange.microsoft.com", "endpoints.office.com", "testconnectivity.microsoft.com"}
    | {"www.rfc-editor.org", "www.iana.org", "www.postfix.org", "sender.office.com"}
)

_REQUIRED = ("code", "reply", "title", "aliases", "applies_to", "owner", "advice", "range", "fix_now", "source")
_OPTIONAL = ("also", "when", "queue_only", "retired")
_LINK = re.compile(r"[a-z][a-z0-9+.-]*://[^\s)>\"'`]*", re.I)
_ITEM = re.compile(r"(?:- |[0-9]{1,2}\. )(.+)")
_TAGGED = re.compile(r"\[([a-z0-9_, ]+)\] (.+)")
_VARIANT = re.compile(r"[a-z][a-z0-9-]{1,30}")


class ArticleError(Exception):
    """An article breaks the rules. The text names file and line."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FixNowRule:
    """What Fix now may do for this code, and for which kinds of connector."""

    steps: tuple[str, ...]
    kinds: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Article:
    """What to know and do about one code. Texts are plain, with `code spans`; no other markup.

    `code` is the article's key: a code, or a code and a word (`5.4.1-dbeb`) where one code has several meanings; then
    `when` holds the words that decide. `also` lists more codes and ranges (`4.7.850-4.7.899`) with the same answer.
    `cause_tags` names, for each cause, the details that make it the likely one.
    """

    code: str
    reply: str | None
    title: str
    aliases: tuple[str, ...]
    applies_to: tuple[str, ...]
    owner: tuple[str, ...]
    advice: tuple[str, ...]
    range: tuple[str, str] | None
    also: tuple[str, ...]
    when: tuple[str, ...]
    fix_now: FixNowRule | None
    source_url: str
    source_published: datetime.date
    queue_only: bool
    retired: bool
    meaning: str
    causes: tuple[str, ...]
    cause_tags: tuple[frozenset[str], ...]
    fixes: tuple[str, ...]
    fix_now_text: str
    verify: str
    partner: str

    @property
    def status(self) -> str:
        """The code itself, without the word that tells its meanings apart."""
        return self.code.partition("-")[0]

    @property
    def spans(self) -> tuple[tuple[str, str], ...]:
        """All that it answers: first and last code of each span; a single code is its own first and last."""
        pairs = [(self.status, self.status), *([self.range] if self.range else [])]
        return (*pairs, *((first, last or first) for first, _, last in (one.partition("-") for one in self.also)))


def read_article(name: str, content: bytes) -> Article:
    """One checked article. `name` is the file's name: `<code>.md`."""
    checker = _Checker(name)
    text = checker.decode(content)
    front, body, body_line = checker.split(text)
    keys = checker.front_matter(front)
    sections = checker.sections(body, body_line)
    checker.links(text)
    values = {**checker.facts(keys), **checker.texts(sections)} if not checker.problems else {}
    checker.finish()
    return Article(**values)


class _Checker:
    """Collects the problems of one file, each with its line."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.problems: list[str] = []
        self.lines: dict[str, int] = {}
        self.heading_lines: dict[str, int] = {}

    def bad(self, line: int, what: str) -> None:
        self.problems.append(f"{self.name}:{line}: {what}")

    def fail(self, line: int, what: str) -> NoReturn:
        """For problems after which nothing else can be checked."""
        self.bad(line, what)
        raise ArticleError("\n".join(self.problems))

    def finish(self) -> None:
        if self.problems:
            raise ArticleError("\n".join(self.problems))

    def decode(self, content: bytes) -> str:
        if len(content) > SIZE_CAP:
            self.fail(1, f"{len(content)} bytes; at most {SIZE_CAP} are allowed")
        try:
            return content.decode("utf-8")
        except UnicodeDecodeError:
            self.fail(1, "is not UTF-8")

    def split(self, text: str) -> tuple[str, list[str], int]:
        """Front matter, body lines and the number of the body's first line."""
        lines = text.splitlines()
        if not lines or lines[0] != "---" or "---" not in lines[1:]:
            self.fail(1, "must open with front matter between two lines of ---")
        end = lines.index("---", 1)
        self.lines = {line.partition(":")[0]: n for n, line in enumerate(lines[:end], 1)}
        return "\n".join(lines[1:end]), lines[end + 1 :], end + 2

    def front_matter(self, front: str) -> dict[str, Any]:
        import yaml

        try:
            keys = yaml.safe_load(front)
        except yaml.YAMLError as error:
            mark = getattr(error, "problem_mark", None)
            self.fail(mark.line + 2 if mark else 2, "the front matter is not valid YAML")
        if not isinstance(keys, dict):
            self.fail(2, "the front matter must be keys and values")
        for key in keys:
            if key not in _REQUIRED and key not in _OPTIONAL:
                self.bad(self.lines.get(str(key), 2), f"unknown key {key!r}")
        for key in _REQUIRED:
            if key not in keys:
                self.bad(2, f"missing key {key!r}")
        self.finish()
        return dict(keys)

    def sections(self, body: list[str], first: int) -> dict[str, list[str]]:
        """The body by heading; the headings are fixed and in fixed order."""
        found: dict[str, list[str]] = {}
        current: list[str] = []
        for number, line in enumerate(body, first):
            if line.startswith("#"):
                heading = line.removeprefix("## ")
                expected = HEADINGS[len(found)] if len(found) < len(HEADINGS) else "no further heading"
                if heading != expected:
                    self.fail(number, f"heading {heading!r} where {expected!r} belongs")
                current = found.setdefault(heading, [])
                self.heading_lines[heading] = number
            elif line.strip() and not found:
                self.bad(number, "text before the first heading")
            else:
                current.append(line)
        if len(found) < len(HEADINGS):
            self.bad(first + len(body), f"heading {HEADINGS[len(found)]!r} is missing")
        return found

    def links(self, text: str) -> None:
        for number, line in enumerate(text.splitlines(), 1):
            for link in _LINK.findall(line):
                scheme, _, rest = link.partition("://")
                host = re.split(r"[/?#:]", rest, maxsplit=1)[0].rstrip(".,;")
                if scheme.lower() != "https" or host.lower() not in LINK_HOSTS:
                    self.bad(number, f"link {link} is not https to a known host")

    def facts(self, keys: dict[str, Any]) -> dict[str, Any]:
        """The front matter as fields of Article."""
        source = self._mapping(keys, "source", {"url", "published"})
        self._check_code(keys["code"])
        if not isinstance(source.get("published"), datetime.date):
            self.bad(self.lines["source"], "source.published must be a date")
        return {
            "code": str(keys["code"]),
            "reply": None if keys["reply"] is None else str(keys["reply"]),
            "title": self._line(keys, "title"),
            "aliases": self._list(keys, "aliases"),
            "applies_to": self._list(keys, "applies_to", KINDS),
            "owner": self._list(keys, "owner", OWNERS),
            "advice": self._list(keys, "advice"),
            "range": self._range(keys),
            "also": self._also(keys),
            "when": self._list(keys, "when") if "when" in keys else (),
            "fix_now": self._fix_now(keys),
            "source_url": str(source.get("url", "")),
            "source_published": source.get("published"),
            "queue_only": self._flag(keys, "queue_only"),
            "retired": self._flag(keys, "retired"),
        }

    def texts(self, sections: dict[str, list[str]]) -> dict[str, Any]:
        """The sections as fields of Article."""
        plain = {heading: "\n".join(lines).strip() for heading, lines in sections.items()}
        for heading, text in plain.items():
            if not text or len(text) > SECTION_CAP:
                self.bad(
                    self.heading_lines[heading],
                    f"section {heading!r} has {len(text)} characters; 1 to {SECTION_CAP} are allowed",
                )
        causes = [self._tagged(item) for item in self._items(plain, "Causes")]
        return {
            "meaning": _paragraphs(plain["Meaning"]),
            "causes": tuple(words for words, _ in causes),
            "cause_tags": tuple(tags for _, tags in causes),
            "fixes": self._items(plain, "Fix"),
            "fix_now_text": _paragraphs(plain["Fix now"]),
            "verify": _paragraphs(plain["Verify"]),
            "partner": _paragraphs(plain["If it is a partner"]),
        }

    def _check_code(self, code: object) -> None:
        base, dash, word = code.partition("-") if isinstance(code, str) else ("", "", "")
        known = parse(base) is not None and (not dash or _VARIANT.fullmatch(word) is not None)
        if code != OTHER and not known:
            self.bad(self.lines["code"], f"{code!r} is not a status code")
        if self.name != f"{code}.md":
            self.bad(self.lines["code"], f"the file of code {code} must be named {code}.md")

    def _line(self, keys: dict[str, Any], key: str) -> str:
        value = keys[key]
        if not isinstance(value, str) or not value.strip() or "\n" in value:
            self.bad(self.lines[key], f"{key} must be one line of text")
        return str(value)

    def _list(self, keys: dict[str, Any], key: str, allowed: frozenset[str] | None = None) -> tuple[str, ...]:
        value = keys[key]
        if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
            self.bad(self.lines[key], f"{key} must be a list of texts")
            return ()
        for item in value:
            if allowed is not None and item not in allowed:
                self.bad(self.lines[key], f"{key}: {item!r} is none of {', '.join(sorted(allowed))}")
        return tuple(value)

    def _mapping(self, keys: dict[str, Any], key: str, wanted: set[str]) -> dict[str, Any]:
        value = keys[key]
        if not isinstance(value, dict) or set(value) != wanted:
            self.bad(self.lines[key], f"{key} must hold exactly: {', '.join(sorted(wanted))}")
            return {}
        return value

    def _flag(self, keys: dict[str, Any], key: str) -> bool:
        value = keys.get(key, False)
        if not isinstance(value, bool):
            self.bad(self.lines[key], f"{key} must be true or false")
        return bool(value)

    def _range(self, keys: dict[str, Any]) -> tuple[str, str] | None:
        if keys["range"] is None:
            return None
        ends = self._list(keys, "range")
        if len(ends) != 2 or any(parse(end) is None for end in ends):
            self.bad(self.lines["range"], "range must be null or two status codes")
            return None
        return ends[0], ends[1]

    def _also(self, keys: dict[str, Any]) -> tuple[str, ...]:
        listed = self._list(keys, "also") if "also" in keys else ()
        for item in listed:
            ends = [parse(end) for end in item.split("-")]
            if None in ends or len(ends) > 2:
                self.bad(self.lines["also"], f"also: {item!r} is neither a status code nor two joined by -")
        return listed

    def _tagged(self, item: str) -> tuple[str, frozenset[str]]:
        """A cause and the details that make it likely, which may stand in brackets before it."""
        found = _TAGGED.fullmatch(item)
        if found is None:
            return item, frozenset()
        tags = frozenset(tag.strip() for tag in found[1].split(","))
        for tag in sorted(tags - TAGS):
            self.bad(self.heading_lines["Causes"], f"section 'Causes': {tag!r} is no known detail")
        return found[2], tags

    def _fix_now(self, keys: dict[str, Any]) -> FixNowRule | None:
        if keys["fix_now"] is None:
            return None
        rule = self._mapping(keys, "fix_now", {"steps", "kinds"})
        if not rule:
            return None
        inner = {"fix_now": rule["steps"]}, {"fix_now": rule["kinds"]}
        return FixNowRule(steps=self._list(inner[0], "fix_now", STEPS), kinds=self._list(inner[1], "fix_now", KINDS))

    def _items(self, plain: dict[str, str], heading: str) -> tuple[str, ...]:
        """The list items of a section; continuation lines are indented."""
        items: list[str] = []
        for line in plain[heading].splitlines():
            found = _ITEM.fullmatch(line)
            if found:
                items.append(found[1].strip())
            elif line.startswith("  ") and items:
                items[-1] += " " + line.strip()
            elif line.strip():
                what = f"section {heading!r} may hold list items only, not {line.strip()[:40]!r}"
                self.bad(self.heading_lines[heading], what)
        return tuple(items)


def _paragraphs(text: str) -> str:
    """Paragraphs unwrapped: a line per paragraph, a blank line between; lists keep their lines."""
    return "\n\n".join(_unwrapped(block) for block in re.split(r"\n\s*\n", text))


def _unwrapped(block: str) -> str:
    return re.sub(r"\n(?!- |[0-9]{1,2}\. )\s*", " ", block)
