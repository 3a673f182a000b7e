"""Status codes: what is one, how they order, which family they belong to, what their structure says."""

from __future__ import annotations

import pytest

from knowledge.codes import FAMILY, EnhancedStatus, family_of, is_family, parse
from knowledge.registry import CLASSES, DETAILS, OWNERS, SUBJECTS, describe, owners_of, title_of


@pytest.mark.parametrize("text", ["2.0.0", "4.4.316", "5.999.999"])
def test_a_status_prints_as_it_was_read(text: str) -> None:
    assert str(parse(text)) == text


@pytest.mark.parametrize("text", ["", "4.4", "3.1.1", "4.4.0316", "4.4.1000", " 4.4.1", "4.4.1.2", "4,4,1", "٤.4.1"])
def test_anything_else_is_no_status(text: str) -> None:
    assert parse(text) is None


def test_statuses_order_as_numbers() -> None:
    texts = ["5.1.1", "4.4.312", "4.4.7", "4.7.320"]
    assert [str(s) for s in sorted(EnhancedStatus(*map(int, t.split("."))) for t in texts)] == [
        "4.4.7",
        "4.4.312",
        "4.7.320",
        "5.1.1",
    ]


def test_class_4_is_transient_and_class_5_permanent() -> None:
    assert [(EnhancedStatus(k, 4, 1).transient, EnhancedStatus(k, 4, 1).permanent) for k in (2, 4, 5)] == [
        (False, False),
        (True, False),
        (False, True),
    ]


@pytest.mark.parametrize("code", FAMILY)
def test_the_expired_form_belongs_to_the_family(code: str) -> None:
    assert family_of("5" + code[1:]) == family_of(code) == code
    assert is_family(code) and is_family("5" + code[1:])


@pytest.mark.parametrize("code", ["5.1.1", "4.4.1", "421", "other", None])
def test_other_codes_are_their_own_family(code: str | None) -> None:
    assert family_of(code) == code
    assert not is_family(code)


@pytest.mark.parametrize(
    ("code", "title", "description", "owner"),
    [
        ("5.1.1", "No such mailbox", "refused for good", "sender"),
        ("4.4.99", "Something about the network", "keeps trying", "connector"),
        ("4.99.1", "Something about a subject that no standard defines", "keeps trying", None),
        ("2.0.0", "Something about an undefined problem", "It was delivered", "partner"),
        ("421", None, "answered 421", None),
        ("999", None, "It failed", None),
        (None, None, None, None),
    ],
)
def test_the_structure_of_a_code_says_at_least_this(
    code: str | None, title: str | None, description: str | None, owner: str | None
) -> None:
    assert (title_of(code) or "").startswith(title or "")
    assert (description or "") in (describe(code) or "")
    assert (describe(code) is None) == (description is None)
    assert (owners_of(code) or (None,))[0] == owner


def test_every_class_and_subject_of_the_standard_is_described() -> None:
    assert set(CLASSES) == {2, 4, 5}
    assert set(SUBJECTS) == set(OWNERS) == set(range(8))
    assert {subject for subject, _ in DETAILS} <= set(SUBJECTS)
