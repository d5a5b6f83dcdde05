"""What templates may say: states with their look, figures and times in words, Markdown."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal
from typing import Any

from django import template
from django.utils import timezone
from django.utils.html import format_html
from django.utils.safestring import SafeString

from orchestration.domain.estimates import Range
from orchestration.domain.texts import size_in_words
from orchestration.models import Event
from orchestration.web import banners, looks, markup, words

register = template.Library()

register.filter("duration", words.duration)
register.filter("span", words.span)
register.filter("money", words.money)
register.filter("tokens", words.tokens)
register.filter("size", size_in_words)
register.filter("milliseconds", words.milliseconds)
register.filter("counted", words.counted)
register.filter("markdown", markup.markdown)
register.filter("banners", banners.banners)


@register.simple_tag
def glyph(role: str) -> SafeString:
    return format_html('<svg class="glyph" aria-hidden="true"><use href="#glyph-{}"/></svg>', role)


@register.simple_tag
def pill(status: str, *, large: bool = False) -> SafeString:
    """Glyph, word and colour of a status, always all three."""
    look = looks.look(status)
    return format_html(
        '<span class="pill state-{}{}">{}{}</span>',
        look.role,
        " pill--large" if large else "",
        glyph(look.role),
        look.word,
    )


@register.filter(name="words")
def words_of(text: str) -> list[str]:
    return text.split()


@register.filter
def role(status: str) -> str:
    return looks.look(status).role


@register.filter
def word(status: str) -> str:
    return looks.look(status).word


def _time(when: datetime, text: str, kind: str) -> SafeString:
    exact = timezone.localtime(when)
    return format_html(
        '<time datetime="{}" title="{}" {}>{}</time>',
        exact.isoformat(),
        f"{exact:%Y-%m-%d %H:%M:%S %Z}",
        SafeString(kind),
        text,
    )


@register.filter
def ago(when: datetime | None) -> SafeString:
    """A relative time that the page keeps true; the exact one on hover."""
    return _time(when, words.ago(when, timezone.now()), "data-ago") if when else SafeString("")


@register.filter
def since(when: datetime | None) -> SafeString:
    """How long it has been going on, counting."""
    if when is None:
        return SafeString("")
    return _time(when, words.duration((timezone.now() - when).total_seconds()), "data-since")


@register.filter
def until(when: datetime) -> SafeString:
    """How long it is still to come, counting."""
    return _time(when, words.duration((when - timezone.now()).total_seconds()), "data-until")


@register.filter
def time_range(found: Range) -> str:
    return words.between(words.duration(found.low), words.duration(found.high))


@register.filter
def money_range(found: Range) -> str:
    return words.between(words.money(found.low), words.money(found.high))


@register.filter
def tokens_range(found: Range) -> str:
    return words.between(words.tokens(round(found.low)), words.tokens(round(found.high)))


@register.filter
def between(start: datetime, end: datetime) -> str:
    return words.duration((end - start).total_seconds())


@register.filter
def gist(arguments: Mapping[str, Any]) -> str:
    """A tool call in one line: the values that tell what it was about."""
    texts = [value for value in arguments.values() if isinstance(value, str)]
    return " ".join(text.split("\n", 1)[0][:160] for text in texts)[:200]


@register.filter
def plain(value: Any) -> str:
    """An argument as text: strings as they are, everything else as JSON, both bounded."""
    return tail(value if isinstance(value, str) else json.dumps(value, indent=2, ensure_ascii=False))


@register.filter
def clock(when: datetime) -> SafeString:
    return _time(when, f"{timezone.localtime(when):%H:%M:%S}", "")


@register.filter
def sentence(event: Event) -> str:
    return words.sentence(event.kind, event.facts)


@register.filter
def dollars_per_million(price: Decimal) -> str:
    return f"${price.normalize():f}"


@register.filter
def short(sha: str) -> str:
    return sha[:10]


@register.filter
def tail(output: str, most: int = 6000) -> str:
    """The end of an output, where the outcome stands, at a whole line."""
    if len(output) <= most:
        return output
    return "… the beginning is not shown\n" + output[-most:].partition("\n")[2]


@register.filter
def percent(part: Any) -> str:
    return f"{part:.2f}%"
