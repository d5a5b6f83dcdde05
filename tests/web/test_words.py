"""Figures, times and events in words, and Markdown that cannot hurt."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from html.parser import HTMLParser

import pytest
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt
from typing_extensions import override

from orchestration.domain.events import KINDS
from orchestration.domain.texts import size_in_words
from orchestration.web import words
from orchestration.web.markup import markdown


class Elements(HTMLParser):
    """The tags and attributes that a browser would see."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[tuple[str, dict[str, str | None]]] = []

    @override
    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append((tag, dict(attrs)))


NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (0, "0 s"),
        (-3, "0 s"),
        (59, "59 s"),
        (192, "3 m 12 s"),
        (180, "3 m"),
        (1080, "18 m"),
        (7500, "2 h 5 m"),
        (200_000, "2 d 7 h"),
    ],
)
def test_a_duration_has_its_two_largest_units(seconds: int, said: str):
    assert words.duration(seconds) == said


@pytest.mark.parametrize(("seconds", "said"), [(0, "now"), (4, "now"), (61, "1 m ago"), (7500, "2 h ago")])
def test_a_moment_is_told_from_now(seconds: int, said: str):
    assert words.ago(NOW - timedelta(seconds=seconds), NOW) == said


@pytest.mark.parametrize(
    ("dollars", "said"),
    [
        (Decimal(0), "$0.00"),
        (Decimal("0.000001"), "< $0.01"),
        (Decimal("4.18"), "$4.18"),
        (Decimal("1234.5"), "$1,234.50"),
    ],
)
def test_money_is_never_rounded_to_nothing(dollars: Decimal, said: str):
    assert words.money(dollars) == said


@pytest.mark.parametrize(
    ("count", "said"),
    [(0, "0"), (999, "999"), (1234, "1.2 k"), (999_999, "1.0 M"), (1_900_000, "1.9 M")],
)
def test_tokens_are_short(count: int, said: str):
    assert words.tokens(count) == said


@given(st.integers(0, 10**12))
def test_every_figure_fits_its_place(count: int):
    assert len(words.tokens(count)) <= 12
    assert len(words.duration(count)) <= 14


@pytest.mark.parametrize(("count", "said"), [(5, "5 B"), (2048, "2 kB"), (3 * 1024 * 1024, "3.0 MB")])
def test_sizes(count: int, said: str):
    assert size_in_words(count) == said


@pytest.mark.parametrize(("count", "said"), [(12, "12 ms"), (1500, "1.5 s"), (192_000, "3 m 12 s")])
def test_short_times(count: int, said: str):
    assert words.milliseconds(count) == said


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_every_event_is_a_sentence(kind: str):
    said = words.sentence(kind, {"name": "survey", "number": 2, "requester": "Ada", "command": "make test"})
    assert said[0].isupper() or said.startswith("survey")
    assert said.endswith(".")


def test_an_event_tells_its_reason():
    said = words.sentence("subtask.blocked", {"name": "docs", "reason": "its dependency survey failed."})
    assert said == "docs is blocked: its dependency survey failed."


def test_a_note_is_its_own_sentence():
    assert words.sentence("swarm.noted", {"reason": "No checks are configured."}) == "No checks are configured."


def test_an_unknown_event_is_a_mistake_and_no_silence():
    with pytest.raises(KeyError):
        words.sentence("swarm.exploded", {})


def test_markdown_keeps_the_text_s_structure_under_the_page_s_headings():
    html = markdown("# Title\n\n- one\n- `two`\n\n[link](https://example.com)")
    assert "<h3>Title</h3>" in html
    assert "<li>one</li>" in html
    assert '<a href="https://example.com" rel="nofollow noreferrer noopener">' in html


@pytest.mark.parametrize(
    ("text", "levels"),
    [
        ("## a\n#### b", ["h3", "h4"]),
        ("# a\n## b\n# c", ["h3", "h4", "h3"]),
        ("# a\n## b\n### c\n#### d\n##### e", ["h3", "h4", "h5", "h6", "h6"]),
    ],
)
def test_headings_leave_no_level_out(text: str, levels: list[str]):
    found = Elements()
    found.feed(markdown(text))
    assert [tag for tag, _ in found.seen] == levels


@pytest.mark.parametrize(
    "attack",
    [
        "<script>alert(1)</script>",
        "<img src=x onerror=alert(1)>",
        "[x](javascript:alert(1))",
        "[x](data:text/html,<script>1</script>)",
        "![x](https://example.com/pixel.png)",
        "<style>body{display:none}</style>",
        "<a href='https://example.com' style='x'>a</a>",
        '<https://example.com/"onmouseover=alert(1)>',
    ],
)
def test_markdown_cannot_bring_markup_of_its_own(attack: str):
    found = Elements()
    found.feed(markdown(attack))
    for tag, attributes in found.seen:
        assert tag in {"p", "a", "blockquote"}
        assert set(attributes) <= {"href", "rel"}
        assert attributes.get("href", "https://").startswith("https://")


def test_the_same_attacks_would_come_through_a_parser_with_html_on():
    found = Elements()
    found.feed(MarkdownIt("commonmark", {"html": True}).render("<img src=x onerror=alert(1)>"))
    assert "onerror" in found.seen[0][1]


def test_markdown_of_a_very_long_text_ends():
    assert len(markdown("a " * 1_000_000)) <= 110_000


def test_markdown_of_deep_nesting_ends():
    markdown("> " * 5000 + "x")
    markdown("[" * 20_000)
