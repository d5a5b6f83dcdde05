"""What a planner is sent again, and what it has already."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from orchestration.domain.context import (
    MAX_SCRATCHPADS,
    MOST_NEWS,
    Part,
    compose,
    digest,
    dump,
    history,
    line_news,
    load,
    size,
)
from orchestration.domain.conversation import Message, ToolCall

FILES = Part("Files", "a.py\nb.py")


def test_at_first_everything_is_told_but_what_is_not_there():
    told = compose([FILES, Part("SPEC.md", "")], {})
    assert told.text == "Files:\na.py\nb.py"
    assert (told.saved, told.sent["Files"]) == (0, digest(FILES.text))


def test_what_has_not_changed_is_named_and_saved():
    first = compose([FILES, Part("SPEC.md", "Be fast.")], {})
    again = compose([FILES, Part("SPEC.md", "Be fast.")], first.sent)
    assert again.text == "Unchanged since you were last told: Files, SPEC.md."
    assert again.saved == len(FILES.text) + len("Be fast.")


def test_what_has_changed_is_told_whole_or_by_its_news():
    first = compose([FILES, Part("SPEC.md", "Be fast.")], {})
    longer = Part("Files", "a.py\nb.py\nc.py", news="+ c.py")
    again = compose([longer, Part("SPEC.md", "Be slow.")], first.sent)
    assert again.text == "Files, what changed since you were last told:\n+ c.py\n\nSPEC.md:\nBe slow."
    assert again.sent["Files"] == digest(longer.text)


def test_news_are_of_no_use_to_whoever_never_had_the_part():
    assert compose([Part("Files", "a.py\nb.py", news="+ b.py")], {}).text == "Files:\na.py\nb.py"


def test_what_is_gone_is_told_once():
    first = compose([Part("SPEC.md", "Be fast.")], {})
    gone = compose([Part("SPEC.md", "")], first.sent)
    assert gone.text == "SPEC.md: there is none any more."
    assert "none any more" not in compose([Part("SPEC.md", "")], gone.sent).text


@given(st.lists(st.text(max_size=4)), st.lists(st.text(max_size=4)))
def test_news_rebuild_the_lines(before: list[str], now: list[str]):
    news = line_news(before, now)
    if "\n" in "".join(before + now) or len(set(before) ^ set(now)) > MOST_NEWS // 2:
        return
    lines = news.split("\n") if news else []
    came = {line[2:] for line in lines if line.startswith("+ ")}
    went = {line[2:] for line in lines if line.startswith("- ")}
    assert (set(before) - went) | came == set(now)


def test_too_many_news_are_none():
    assert line_news([], [str(n) for n in range(MOST_NEWS + 1)]) == ""


def test_a_new_conversation_begins_with_the_newest_scratchpads():
    assert history([]) == ""
    assert history(["one", " ", "two"]) == "one\n\n---\n\ntwo"
    long = "x" * (MAX_SCRATCHPADS - 10)
    assert history(["an older one that does not fit", long]) == f"(Earlier ones are left out.)\n\n---\n\n{long}"
    whole = "y" * (MAX_SCRATCHPADS + 1)
    assert history([whole]) == whole


def test_a_conversation_survives_being_stored():
    messages = [
        Message("system", "s"),
        Message("assistant", "a", (ToolCall("1", "submit_plan", '{"done": true}'),)),
        Message("tool", "t", tool_call_id="1"),
    ]
    assert load(dump(messages)) == messages
    assert size(messages) == 3 + len('{"done": true}')
