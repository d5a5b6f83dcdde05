"""A prompt takes exactly the inputs that it names, and what is put in is never read as a prompt again."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestration.adapters import prompts
from orchestration.adapters.prompts import Prompt, load, parse_prompt, prompts_directory, render

TEXT = "---\ninputs: who, what\npurpose: a test\n---\n\nTell $who about ${what}s for $$5.\n\n"
GREETING = parse_prompt("greeting", TEXT)


def test_the_front_matter_names_the_inputs_and_is_not_part_of_the_body():
    assert Prompt("greeting", frozenset({"who", "what"}), "Tell $who about ${what}s for $$5.\n") == GREETING


def test_it_is_rendered():
    assert GREETING.render({"who": "Ada", "what": 3}) == "Tell Ada about 3s for $5.\n"


@pytest.mark.parametrize("inputs", ["", "inputs:\n", "inputs: , ,\n"])
def test_a_prompt_may_take_nothing(inputs: str):
    assert parse_prompt("plain", f"---\n{inputs}---\nHello.").render({}) == "Hello.\n"


@pytest.mark.parametrize("values", [{}, {"who": 1}, {"who": 1, "what": 2, "more": 3}, {"whom": 1, "what": 2}])
def test_a_missing_and_a_superfluous_input_are_refused(values: dict[str, object]):
    with pytest.raises(ValueError, match=r"^The prompt greeting takes \['what', 'who'\], not "):
        GREETING.render(values)


@pytest.mark.parametrize("text", ["", "Hello.", "---\ninputs: a\nHello $a.", "Hello.\n---\ninputs: a\n---\n$a"])
def test_a_text_without_front_matter_is_no_prompt(text: str):
    with pytest.raises(ValueError, match=r"^The prompt x has no front matter\.$"):
        parse_prompt("x", text)


def test_a_line_of_dashes_in_the_body_belongs_to_it():
    assert parse_prompt("x", "---\ninputs:\n---\nabove\n---\nbelow").body == "above\n---\nbelow\n"


@given(st.text())
def test_what_is_put_in_comes_out_unchanged(value: str):
    assert parse_prompt("x", "---\ninputs: a\n---\n[$a]").render({"a": value}) == f"[{value}]\n"


@pytest.mark.parametrize("value", ["$who", "${what}", "$$", "---\ninputs: x\n---\n", "$100"])
def test_a_dollar_in_what_a_person_wrote_is_a_dollar(value: str):
    assert GREETING.render({"who": value, "what": ""}) == f"Tell {value} about s for $5.\n"


def test_the_products_prompts_are_read_from_its_own_directory():
    assert prompts_directory().is_dir()
    assert load("planner-repair").inputs == {"problems"}
    assert render("planner-repair", problems="No $tasks.").startswith("That plan cannot be used. No $tasks.\n")


def test_a_prompt_is_read_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "test-only.md").write_text("---\ninputs:\n---\nfirst")
    monkeypatch.setattr(prompts, "prompts_directory", lambda: tmp_path)
    assert render("test-only") == "first\n"
    (tmp_path / "test-only.md").write_text("---\ninputs:\n---\nsecond")
    assert render("test-only") == "first\n"


def test_a_prompt_that_is_not_there_is_a_fault_of_ours():
    with pytest.raises(FileNotFoundError):
        render("no-such-prompt")
