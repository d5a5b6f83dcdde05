"""Keys, schemas and limits of what agents publish, and how much of it a model is told."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestration.domain.errors import InvalidInput
from orchestration.domain.sharing import (
    MAX_TAGS,
    MAX_TOLD,
    MAX_TOLD_FIRST,
    MAX_VALUE_BYTES,
    Shared,
    as_json,
    check_key,
    check_tags,
    describe,
    schema_of,
    size_of,
    told,
    told_first,
)


def shared(key: str = "api", value: Any = 1, **more: Any) -> Shared:
    given: dict[str, Any] = {"producer": "survey", "schema": schema_of(value), "tags": [], "size": size_of(value)}
    return Shared(key=key, value=value, **given | more)


@pytest.mark.parametrize("key", ["a", "api/users", "v1.2:names-of_things", "9", "a" * 200])
def test_a_key_is_a_word(key: str):
    assert check_key(key) == key


@pytest.mark.parametrize("key", ["", " a", "a b", "/a", ".hidden", "ä", "a\n", "a" * 201, "[secret removed]", "a\0"])
def test_what_is_no_key_is_refused_with_what_one_is(key: str):
    with pytest.raises(InvalidInput, match="1 to 200 of letters, digits"):
        check_key(key)


def test_tags_are_kept_once_and_in_order():
    assert check_tags(["b", "a", "b"]) == ["b", "a"]


@pytest.mark.parametrize(
    ("tags", "why"),
    [([""], "The tag ''"), (["a b"], "The tag 'a b'"), ([str(n) for n in range(MAX_TAGS + 1)], "at most")],
)
def test_wrong_tags_are_refused(tags: list[str], why: str):
    with pytest.raises(InvalidInput, match=why):
        check_tags(tags)


def test_a_value_may_be_as_large_as_an_answer_can_carry():
    most = "x" * (MAX_VALUE_BYTES - 2)
    assert size_of(most) == MAX_VALUE_BYTES
    with pytest.raises(InvalidInput, match=r"25,001 bytes as JSON; at most 25,000"):
        size_of(most + "x")


def test_bytes_count_and_not_characters():
    with pytest.raises(InvalidInput):
        size_of("ä" * (MAX_VALUE_BYTES - 2))


@pytest.mark.parametrize(
    ("value", "schema", "words"),
    [
        (None, {"type": "null"}, "null"),
        (True, {"type": "boolean"}, "boolean"),
        (3, {"type": "integer"}, "integer"),
        (3.5, {"type": "number"}, "number"),
        ("x", {"type": "string"}, "string"),
        ([], {"type": "array", "items": [], "length": 0}, "array of 0 (nothing)"),
        ([1, "a", 2], {"type": "array", "items": ["integer", "string"], "length": 3}, "array of 3 (integer or string)"),
        ({}, {"type": "object", "properties": {}}, "object {}"),
        (
            {"port": 80, "hosts": []},
            {"type": "object", "properties": {"port": "integer", "hosts": "array"}},
            "object {port: integer, hosts: array}",
        ),
    ],
)
def test_the_schema_is_found_from_the_value(value: Any, schema: dict[str, Any], words: str):
    assert schema_of(value) == schema
    assert describe(schema) == words


def test_the_schema_of_a_large_object_is_bounded():
    schema = schema_of({f"field-{n}": n for n in range(1000)})
    assert len(schema["properties"]) == 30
    assert describe(schema).endswith("field-29: integer, and 970 more}")


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=200), inner, max_size=40),
    max_leaves=60,
)


@given(JSON)
def test_every_json_value_has_a_schema_that_says_its_type_and_stays_small(value: Any):
    schema = schema_of(value)
    assert schema["type"] in describe(schema)
    assert len(as_json(schema)) < 8000


def test_what_was_found_is_told_with_its_value():
    found = [shared("api", {"port": 80}, tags=["net", "x"]), shared("name", "shop", producer="naming")]
    assert told(found) == (
        'api (from survey; object {port: integer}, 11 bytes; tags net, x)\n{"port":80}\n\n'
        'name (from naming; string, 6 bytes)\n"shop"'
    )


def test_a_value_alone_is_always_told_whole():
    value = {f"{n:080}": "y" * 500 for n in range(42)}
    one = shared("k" * 200, value, producer="p" * 50, tags=["t" * 50] * MAX_TAGS)
    assert size_of(value) > MAX_VALUE_BYTES - 1000
    assert as_json(value) in told([one])
    assert len(told([one])) <= MAX_TOLD


@pytest.mark.parametrize(("tell", "most"), [(told, MAX_TOLD), (told_first, MAX_TOLD_FIRST)])
@pytest.mark.parametrize(("count", "length"), [(5, 20_000), (2000, 40), (300, 3000), (40, 1900)])
def test_no_answer_is_longer_than_a_model_can_use(tell: Any, most: int, count: int, length: int):
    found = [shared(f"part-{n:04}", "x" * length) for n in range(count)]
    text = tell(found)
    assert len(text) <= most + 100
    assert "part-0000" in text


def test_what_does_not_fit_is_named_and_the_rest_counted():
    text = told([shared(f"part-{n}", "x" * 20_000) for n in range(3)])
    assert text.count("(left out here; ask for this key alone)") == 2
    assert "more; narrow the query" in told([shared(f"{n}", "x" * 10) for n in range(2000)])


def test_the_first_message_has_small_values_whole_and_large_ones_by_name():
    text = told_first([shared("small", [1, 2]), shared("large", "x" * 2500)])
    assert text.splitlines() == [
        "small (from survey; array of 2 (integer), 5 bytes): [1,2]",
        'large (from survey; string, 2,502 bytes): get_results(key="large")',
    ]


def test_the_first_message_counts_what_it_cannot_name():
    text = told_first([shared(f"part-{n:04}", n) for n in range(1000)])
    last = text.splitlines()[-1]
    named = len(text.splitlines()) - 1
    assert last == f"and {1000 - named} more: get_results lists them."


def test_nothing_shared_says_nothing():
    assert told([]) == told_first([]) == ""
