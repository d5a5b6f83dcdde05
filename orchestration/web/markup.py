"""Markdown of requests and handoffs as safe HTML: raw HTML is off, and what comes out is cleaned again."""

from __future__ import annotations

import nh3
from django.utils.safestring import SafeString, mark_safe
from markdown_it import MarkdownIt

TAGS = frozenset(
    {"a", "blockquote", "br", "code", "em", "hr", "li", "ol", "p", "pre", "s", "strong", "ul"}
    | {"table", "tbody", "td", "th", "thead", "tr"}
    | {"h3", "h4", "h5", "h6"}
)
SCHEMES = frozenset({"http", "https", "mailto"})
LONGEST = 100_000
# Headings of a text stand below those of the page: its highest becomes the third level, and none is left out.
HIGHEST, LOWEST = 3, 6

_parser = MarkdownIt("commonmark", {"html": False, "linkify": False}).enable("table").enable("strikethrough")


def markdown(text: str) -> SafeString:
    tokens = _parser.parse(text[:LONGEST])
    headings = [token for token in tokens if token.type in {"heading_open", "heading_close"}]
    order = sorted({token.tag for token in headings})
    for token in headings:
        token.tag = f"h{min(LOWEST, HIGHEST + order.index(token.tag))}"
    html = _parser.renderer.render(tokens, _parser.options, {})
    clean = nh3.clean(
        html,
        tags=set(TAGS),
        attributes={"a": {"href"}, "ol": {"start"}},
        url_schemes=set(SCHEMES),
        link_rel="nofollow noreferrer noopener",
    )
    return mark_safe(clean)  # noqa: S308 - cleaned by nh3 in the line above
