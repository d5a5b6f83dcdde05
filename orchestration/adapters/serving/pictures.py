"""What of a message is no text: images that stand in it. The gateway fetches nothing and lets nobody else fetch."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Any

from orchestration.adapters.llm.parts import mapping
from orchestration.adapters.serving.shape import cannot_carry, objects, text_part
from orchestration.domain.conversation import Image, Message
from orchestration.domain.errors import InvalidInput

KINDS = ("image/png", "image/jpeg", "image/gif", "image/webp")
_IMAGES = {"image", "image_url", "input_image"}
_INLINE = re.compile(r"data:([a-z]+/[a-z+.-]+);base64,([A-Za-z0-9+/=\s]+)")
_BASE64 = re.compile(r"[A-Za-z0-9+/=\s]+")
BEHIND = "(The image follows.)"


def said_of(content: object, where: str) -> tuple[str, tuple[Image, ...]]:
    """The texts and the images of a content. Raises InvalidInput for whatever else stands in it."""
    if content is None or isinstance(content, str):
        return content or "", ()
    texts: list[str] = []
    images: list[Image] = []
    for part in objects(content, f"the content of {where}"):
        if part.get("type") in _IMAGES:
            images.append(_image(part, where))
        else:
            texts.append(text_part(part, where))
    return "\n".join(texts), tuple(images)


def behind_results(messages: Iterable[Message]) -> Iterator[Message]:
    """Not every service takes an image as the result of a call: it stands behind the results of that turn."""
    due: list[Image] = []
    for message in messages:
        if message.role != "tool":
            yield from _shown(due)
            yield message
        elif message.images:
            due += message.images
            yield replace(message, text="\n".join(filter(None, (message.text, BEHIND))), images=())
        else:
            yield message
    yield from _shown(due)


def _shown(due: list[Image]) -> Iterator[Message]:
    if due:
        yield Message("user", "", images=tuple(due))
        due.clear()


def _image(part: Mapping[str, Any], where: str) -> Image:
    source = mapping(part.get("source"))
    if source.get("type") == "base64":
        return _checked(str(source.get("media_type")), str(source.get("data")), where)
    given = part.get("image_url")
    url = mapping(given).get("url") if isinstance(given, dict) else given
    found = _INLINE.fullmatch(url) if isinstance(url, str) else None
    if found is None:
        raise InvalidInput(f"An image of {where} does not stand in the request; send its bytes in base64, as no URL.")
    return _checked(found[1], found[2], where)


def _checked(media_type: str, data: str, where: str) -> Image:
    if media_type not in KINDS:
        raise cannot_carry(media_type, where)
    if not _BASE64.fullmatch(data):
        raise InvalidInput(f"An image of {where} is no base64.")
    return Image(media_type, data)
