"""What was wrong is told in sentences: where, what, and never more than a reader can mend."""

from __future__ import annotations

from typing import Annotated, Any

import pytest
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from orchestration.domain.validation import MAX_WHERE, MOST, FromModel, sentences


class Inner(FromModel):
    name: Annotated[str, Field(max_length=3)]
    tags: list[str] = []


class Outer(FromModel):
    count: Annotated[int, Field(ge=1)] = 1
    inner: list[Inner] = []


class Strict(BaseModel):
    model_config = ConfigDict(extra="forbid")

    size: int = 0

    @field_validator("size")
    @classmethod
    def _not_thirteen(cls, value: int) -> int:
        if value == 13:
            raise ValueError("take another number")
        return value


def told(kind: type[BaseModel], given: dict[str, Any], **options: Any) -> list[str]:
    with pytest.raises(ValidationError) as caught:
        kind.model_validate(given)
    return sentences(caught.value, **options)


def test_a_sentence_says_where_and_what():
    assert told(Outer, {"count": 0}) == ["count: input should be greater than or equal to 1."]


def test_a_place_inside_is_a_path():
    assert told(Outer, {"inner": [{"name": "ok"}, {"name": "long"}]}) == [
        "inner.1.name: string should have at most 3 characters."
    ]


def test_what_is_missing_is_said_to_be_missing():
    assert told(Outer, {"inner": [{}]}) == ["inner.0.name is missing."]


def test_our_own_sentence_is_told_without_pydantics_words():
    assert told(Strict, {"size": 13}) == ["size: take another number."]


def test_an_unknown_name_is_answered_with_the_known_ones():
    assert told(Strict, {"sise": 1}, known=("size", "age")) == ["sise is not known; the fields are age, size."]


def test_a_very_long_name_is_cut():
    (sentence,) = told(Strict, {"x" * 10_000: 1}, known=("size",))
    assert sentence == f"{'x' * MAX_WHERE}… is not known; the fields are size."


@pytest.mark.parametrize(("wrong", "closing"), [(MOST, []), (MOST + 1, ["And 1 more."]), (50, ["And 45 more."])])
def test_at_most_five_are_told(wrong: int, closing: list[str]):
    found = told(Outer, {"inner": [{}] * wrong})
    assert len(found) == MOST + len(closing)
    assert found[MOST:] == closing


def test_what_a_model_adds_is_ignored_and_its_null_is_nothing():
    assert Outer.model_validate({"count": None, "more": 1, "inner": [{"name": "a", "tags": None}]}) == Outer(
        inner=[Inner(name="a")]
    )


def test_null_for_what_is_needed_is_missing():
    assert told(Inner, {"name": None}) == ["name is missing."]


@pytest.mark.parametrize("given", [None, 3, "text", [1]])
def test_what_is_no_object_is_refused(given: object):
    (sentence,) = told(Outer, {"inner": [given]})
    assert sentence.startswith("inner.0: input should be a valid dictionary")
