"""Articles are checked like code: every rule has a bad file that breaks it, and the message names file and line."""

from __future__ import annotations

import datetime

import pytest

from knowledge.article import HEADINGS, SECTION_CAP, SIZE_CAP, ArticleError, read_article
from knowledge.articles import Articles, articles, load
from knowledge.diagnose import explain

GOOD = """\
---
code: 4.4.316
reply: 450
title: Connection refused
aliases: ["actively refused"]
applies_to: [on_premises, partner]
owner: [on_premises]
advice: []
range: null
fix_now: {steps: [reject_invalid], kinds: [on_premises]}
source: {url: "https://learn.microsoft.com/x", published: 2023-06-14}
---
## Meaning
First line
goes on.

Second paragraph:
- a point
- another

## Causes
- One cause
  on two lines
- Another

## Fix
1. Do `this`.

2. Then that.

## Fix now
Now.

## Verify
Look.

## If it is a partner
Tell them.
"""


def changed(old: str, new: str, *, name: str = "4.4.316.md") -> str:
    """The complaint about GOOD with one change."""
    assert old in GOOD
    with pytest.raises(ArticleError) as caught:
        read_article(name, GOOD.replace(old, new, 1).encode())
    return str(caught.value)


def test_a_good_article_is_read_whole() -> None:
    article = read_article("4.4.316.md", GOOD.encode())
    assert (article.code, article.reply, article.title) == ("4.4.316", "450", "Connection refused")
    assert article.meaning == "First line goes on.\n\nSecond paragraph:\n- a point\n- another"
    assert article.causes == ("One cause on two lines", "Another")
    assert article.fixes == ("Do `this`.", "Then that.")
    assert article.fix_now is not None
    assert (article.fix_now.steps, article.fix_now.kinds) == (("reject_invalid",), ("on_premises",))
    assert (article.source_published, article.range) == (datetime.date(2023, 6, 14), None)
    assert (article.queue_only, article.retired) == (False, False)


@pytest.mark.parametrize(
    ("old", "new", "complaint"),
    [
        ("---\ncode", "code", "4.4.316.md:1: must open with front matter"),
        ("reply: 450", "reply: [450", "is not valid YAML"),
        ("code: 4.4.316", "code: 4.4.316\nextra: 1", "4.4.316.md:3: unknown key 'extra'"),
        ("title: Connection refused\n", "", "4.4.316.md:2: missing key 'title'"),
        ("code: 4.4.316", "code: 4.4", "4.4.316.md:2: 4.4 is not a status code"),
        ("code: 4.4.316", "code: 4.4.317", "4.4.316.md:2: the file of code 4.4.317 must be named 4.4.317.md"),
        ("title: Connection refused", "title: ''", "4.4.316.md:4: title must be one line of text"),
        ("title: Connection refused", "title: 7", "4.4.316.md:4: title must be one line of text"),
        ('aliases: ["actively refused"]', "aliases: word", "4.4.316.md:5: aliases must be a list of texts"),
        ("owner: [on_premises]", "owner: [nobody]", "4.4.316.md:7: owner: 'nobody' is none of"),
        ("range: null", "range: [4.4.1]", "4.4.316.md:9: range must be null or two status codes"),
        ("range: null", "range: [4.4.1, x]", "4.4.316.md:9: range must be null or two status codes"),
        ("steps: [reject_invalid]", "steps: [format_disk]", "4.4.316.md:10: fix_now: 'format_disk' is none of"),
        ("kinds: [on_premises]", "sorts: []", "4.4.316.md:10: fix_now must hold exactly: kinds, steps"),
        ("range: null", "range: null\nalso: [4.4.1, x]", "4.4.316.md:10: also: 'x' is neither a status code nor two"),
        ("range: null", "range: null\nalso: [4.4.1-4.4.2-4.4.3]", "is neither a status code nor two joined by -"),
        ("range: null", "range: null\nwhen: words", "4.4.316.md:10: when must be a list of texts"),
        ("- One cause", "- [refused, sunspots] One cause", "4.4.316.md:21: section 'Causes': 'sunspots' is no known"),
        ("code: 4.4.316", "code: 4.4.316-", "'4.4.316-' is not a status code"),
        ("code: 4.4.316", "code: 4.4.316-A b", "'4.4.316-A b' is not a status code"),
        ("published: 2023-06-14", "published: soon", "4.4.316.md:11: source.published must be a date"),
        (", published: 2023-06-14", "", "4.4.316.md:11: source must hold exactly: published, url"),
        ("https://learn", "http://learn", "4.4.316.md:11: link http://learn.microsoft.com/x is not https"),
        ("learn.microsoft.com", "learn.microsoft.com.test", "is not https to a known host"),
        ("Look.", "Look at ftp://a.test now.", "4.4.316.md:35: link ftp://a.test is not https"),
        ("## Meaning", "words\n## Meaning", "4.4.316.md:13: text before the first heading"),
        ("## Causes", "## Reasons", "4.4.316.md:21: heading 'Reasons' where 'Causes' belongs"),
        ("## Fix now", "### Fix now", "heading '### Fix now' where 'Fix now' belongs"),
        ("Tell them.", "Tell them.\n## More", "heading 'More' where 'no further heading' belongs"),
        ("## If it is a partner\nTell them.\n", "", "heading 'If it is a partner' is missing"),
        ("Now.", "", "4.4.316.md:31: section 'Fix now' has 0 characters"),
        ("Now.", "x" * (SECTION_CAP + 1), f"section 'Fix now' has {SECTION_CAP + 1} characters"),
        ("- One cause", "One cause", "4.4.316.md:21: section 'Causes' may hold list items only, not 'One cause'"),
        ("reply: 450", "reply: 450\nretired: maybe", "4.4.316.md:4: retired must be true or false"),
        ("Now.", "x" * SIZE_CAP, "bytes; at most"),
    ],
)
def test_each_broken_rule_is_told_with_file_and_line(old: str, new: str, complaint: str) -> None:
    assert complaint in changed(old, new)


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (b"\xff\xfe", "is not UTF-8"),
        (b"", "must open with front matter"),
        (b"---\n- a list\n---\n", "must be keys and values"),
        (b"---\n\x01\n---\n", "is not valid YAML"),
        (b"---\n!!python/object/apply:os.getcwd []\n---\n", "is not valid YAML"),
    ],
)
def test_files_that_are_no_articles_are_refused(content: bytes, complaint: str) -> None:
    with pytest.raises(ArticleError, match=complaint):
        read_article("x.md", content)


def test_more_codes_other_meanings_and_likely_causes_are_read() -> None:
    changed = GOOD.replace("code: 4.4.316", "code: 4.4.316-gone").replace("- Another", "- [refused, relay] Another")
    changed = changed.replace("range: null", 'range: null\nalso: [5.1.1, 4.7.1-4.7.9]\nwhen: ["gone"]')
    article = read_article("4.4.316-gone.md", changed.encode())
    assert (article.status, article.when) == ("4.4.316", ("gone",))
    assert article.spans == (("4.4.316", "4.4.316"), ("5.1.1", "5.1.1"), ("4.7.1", "4.7.9"))
    assert article.causes == ("One cause on two lines", "Another")
    assert article.cause_tags == (frozenset(), frozenset({"refused", "relay"}))


def test_a_search_ranks_articles_and_needs_half_of_the_words() -> None:
    found = [article.code for article in articles().search("certificate expired dane")]
    assert found[0] == "4.7.322"
    assert "4.7.320" in found
    assert articles().search("certificate purple elephant dancing") == []


def test_all_problems_of_all_files_are_told_at_once() -> None:
    with pytest.raises(ArticleError) as caught:
        load([("a.md", b""), ("b.md", b"")])
    assert [line.split(":")[0] for line in str(caught.value).splitlines()] == ["a.md", "b.md"]


def test_without_the_article_for_other_codes_nothing_works() -> None:
    with pytest.raises(ArticleError, match=r"other\.md"):
        load([("4.4.316.md", GOOD.encode())])


def test_a_range_is_one_article() -> None:
    ranged = read_article(
        "4.7.500.md", GOOD.replace("4.4.316", "4.7.500").replace("range: null", "range: [4.7.500, 4.7.699]").encode()
    )
    known = Articles([ranged, articles()["other"]])
    assert known.for_code("4.7.650") is ranged
    assert known.for_code("4.7.700").code == "other"
    assert known.for_code("421").code == "other"


@pytest.mark.parametrize(
    ("words", "best"),
    [
        ("Connection refused", "4.4.316"),
        ("what is: certificate expired?", "4.7.320"),
        ("firewall inspection", "4.4.318"),
        ("starttls required", "4.4.317"),
        ("timeout", "4.4.315"),
        ("certificate untrusted mismatch", "4.7.320"),
        ("purple elephant", None),
        ("what is the", None),
        ("", None),
    ],
)
def test_words_find_the_article_that_holds_them_all(words: str, best: str | None) -> None:
    found = articles().search(words)
    assert (found[0].code if found else None) == best


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("550 5.7.54 SMTP; Unable to relay recipient in non-accepted domain", "5.7.1"),
        ("550 5.7.350 Remote server returned message detected as spam -> 554 5.7.1 Spam message rejected", "5.7.1"),
        ("550 5.7.367 Remote server returned not permitted to relay -> 554 5.7.1 Relaying denied", "5.7.1"),
        ("550 5.7.515 Access denied, sending domain contoso.com does not meet the required level", "4.7.26"),
        ("550;5.7.711 Access denied, bad inbound connector. AS(2204)", "5.1.8"),
        ("535 5.7.139 Authentication unsuccessful, SmtpClientAuthentication is disabled for the Tenant.", "5.7.57"),
        ("550 5.7.27 Sender address has null MX", "5.1.0-null-mx"),
    ],
)
def test_codes_outside_microsofts_list_of_bounces_are_answered_too(text: str, answer: str) -> None:
    assert explain(text).article.code == answer


def test_articles_are_a_mapping_that_is_read_once() -> None:
    known = articles()
    assert articles() is known
    assert len(known) == len(list(known))
    assert known.get("9.9.9") is None


def test_headings_are_those_of_every_article() -> None:
    assert HEADINGS == ("Meaning", "Causes", "Fix", "Fix now", "Verify", "If it is a partner")
