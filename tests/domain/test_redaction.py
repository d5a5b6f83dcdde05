"""A secret is taken out in every form in which it can be written, and nothing else is."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestration.domain.redaction import REMOVED, SHORTEST, Redactor

SECRET = "sk-live/a+b~9?Zq"
ALL = Redactor.of([SECRET])

FORMS: dict[str, Callable[[str], str]] = {
    "plain": lambda text: text,
    "base64": lambda text: base64.b64encode(text.encode()).decode(),
    "base64 for URLs": lambda text: base64.urlsafe_b64encode(text.encode()).decode(),
    "hex": lambda text: text.encode().hex(),
    "HEX": lambda text: text.encode().hex().upper(),
    "in a URL": lambda text: quote(text, safe=""),
    "in a URL, small": lambda text: "".join(
        f"%{ord(each):02x}" if not each.isalnum() and each not in "-~" else each for each in text
    ),
    "every byte escaped": lambda text: "".join(f"%{byte:02X}" for byte in text.encode()),
    "json": json.dumps,
}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("before", ["", "a", "ab"])
def test_every_form_is_taken_out_wherever_it_begins(form: str, before: str):
    written = FORMS[form](f"{before}{SECRET}--")
    shown = ALL.text(f"It is {written}.")
    assert REMOVED in shown
    assert SECRET not in shown
    assert FORMS[form](SECRET).strip("=")[4:-4] not in shown
    assert ALL.is_in(written.encode())
    assert REMOVED.encode() in ALL.content(b"\xff" + written.encode())


@given(
    st.text(min_size=SHORTEST, max_size=40).filter(lambda text: len(text.strip()) >= SHORTEST), st.binary(max_size=5)
)
def test_any_value_is_found_in_base64_behind_anything(value: str, before: bytes):
    written = base64.b64encode(before + value.strip().encode("utf-8", "replace") + b"tail").decode()
    assert REMOVED in Redactor.of([value]).text(written)


def test_innocent_text_stays_as_it_is():
    text = "The key is sk-live, and the page says 10 %."
    assert ALL.text(text) == text
    assert Redactor.of([]).text(SECRET) == SECRET


@pytest.mark.parametrize("short", ["", "short", "1234567", " 1234567 "])
def test_short_values_are_no_secrets(short: str):
    assert Redactor.of([short]).text("1234567 short") == "1234567 short"


def test_a_longer_secret_goes_before_one_that_is_part_of_it():
    both = Redactor.of(["abcdefgh", "abcdefgh-and-more"])
    assert both.text("abcdefgh-and-more") == REMOVED


def test_values_are_cleaned_through_and_through():
    value = {"path": SECRET, SECRET: [1, None, {"deep": f"x{SECRET}"}], "n": 3}
    assert ALL.value(value) == {"path": REMOVED, REMOVED: [1, None, {"deep": f"x{REMOVED}"}], "n": 3}


def test_escapes_in_arguments_hide_nothing():
    escaped = "".join(f"\\u{ord(each):04x}" for each in SECRET)
    assert json.loads(ALL.arguments(f'{{"content": "{escaped}"}}')) == {"content": REMOVED}
    assert ALL.arguments('{"content": "a\\nb"}') == '{"content": "a\\nb"}'
    assert ALL.arguments("{broken\\") == "{broken\\"


def test_each_line_of_a_private_key_is_one():
    line = "MIIEvQIBADANBgkqhkiG9w0BAQEFAASCBKcwggSj"
    key = f"-----BEGIN PRIVATE KEY-----\n{line}\nshort==\n-----END PRIVATE KEY-----\n"
    shown = Redactor.of([key]).text(f"first: {line}; -----BEGIN PRIVATE KEY-----")
    assert shown == f"first: {REMOVED}; -----BEGIN PRIVATE KEY-----"


def test_a_value_that_is_no_text_hinders_nobody():
    odd = b"latin-\xe4-secret".decode("utf-8", "surrogateescape")  # as a variable of the environment is read
    all_of = Redactor.of([odd, SECRET])
    assert all_of.text(f"{odd} {SECRET}") == f"{REMOVED} {REMOVED}"


def test_it_shows_no_secret_itself():
    assert SECRET not in repr(ALL)
