"""How much a model can read at once: as an operator says, as its name is known, and as a service's refusal tells."""

from __future__ import annotations

import re
from functools import lru_cache

LONGEST_ANSWER = 8192  # tokens that are kept free for it
UNKNOWN = 128_000  # for a model whose name says nothing: a service that takes less refuses, and that is remembered
LEAST = 1000  # tokens of a request: below it nothing is learned any more
LESS = 0.75  # of what was too long, where nobody says how much too long it was
_MARGIN = 0.9

# By how a model's name begins, without its maker's; of several that fit, the longest.
_KNOWN = {
    "chatgpt-4o": 128_000,
    "claude": 200_000,
    "codestral": 256_000,
    "command-r": 128_000,
    "deepseek": 64_000,
    "devstral": 128_000,
    "gemini": 1_048_576,
    "gemma": 8_192,
    "gemma-3": 128_000,
    "gemma3": 128_000,
    "glm-4": 128_000,
    "gpt-3.5": 16_385,
    "gpt-4": 8_192,
    "gpt-4-0125": 128_000,
    "gpt-4-1106": 128_000,
    "gpt-4-32k": 32_768,
    "gpt-4-turbo": 128_000,
    "gpt-4.1": 1_047_576,
    "gpt-4.5": 128_000,
    "gpt-4o": 128_000,
    "gpt-5": 272_000,
    "gpt-oss": 128_000,
    "grok": 131_072,
    "grok-4": 256_000,
    "kimi-k2": 128_000,
    "llama-3": 8_192,
    "llama-3.1": 128_000,
    "llama-3.2": 128_000,
    "llama-3.3": 128_000,
    "llama3": 8_192,
    "llama3.1": 128_000,
    "llama3.2": 128_000,
    "llama3.3": 128_000,
    "mistral": 32_768,
    "mistral-large": 128_000,
    "mistral-medium": 128_000,
    "mistral-small": 32_768,
    "o1": 200_000,
    "o1-mini": 128_000,
    "o1-preview": 128_000,
    "o3": 200_000,
    "o4": 200_000,
    "phi-3": 4_096,
    "phi-4": 16_384,
    "phi4": 16_384,
    "qwen2.5": 32_768,
    "qwen3": 32_768,
    "qwen3-coder": 256_000,
    "qwq": 32_768,
}

_NUMBER = r"(\d[\d,]{2,})"
_LIMITS = [
    re.compile(pattern, re.IGNORECASE)
    for pattern in (
        rf"(?:>|<=) *{_NUMBER}",
        rf"\b{_NUMBER} (?:tokens? )?maximum",
        rf"(?:maximum|max\b|limit\b|allowed|cannot exceed|context (?:length|size|window))\D{{0,40}}?{_NUMBER}",
    )
]
_ALL = re.compile(rf"\b{_NUMBER}\b")
_SUM = re.compile(rf"{_NUMBER} \+ {_NUMBER}")


@lru_cache(maxsize=256)  # asked several times for every call
def known_window(model: str) -> int:
    """Of a model by its name, whatever stands before it: anthropic/claude-…, models/gemini-…"""
    name = model.lower().rpartition("/")[2]
    fitting = [begin for begin in _KNOWN if name.startswith(begin)]
    return _KNOWN[max(fitting, key=len)] if fitting else UNKNOWN


def answer_room(window: int) -> int:
    """Tokens of the window that are kept for the answer."""
    return min(LONGEST_ANSWER, window // 4)


def request_room(window: int) -> int:
    return window - answer_room(window)


def learned(words: str, sent: int) -> tuple[int, int]:
    """After a request of `sent` tokens, by our own estimate, was too long in these words: how long the next one may
    be, and the whole window where they tell it, otherwise 0.

    Where they tell both the limit and the request's true size, our estimate is corrected by them.
    """
    limit, asked = _read(words)
    if limit < LEAST:
        return max(LEAST, int(sent * LESS)), 0
    if asked > limit:
        return max(LEAST, int(request_room(limit) * sent / asked * _MARGIN)), limit
    return max(LEAST, int(min(request_room(limit), sent * LESS))), limit


def _read(words: str) -> tuple[int, int]:
    """The limit, 0 where it is not told, and the largest other number."""
    for pattern in _LIMITS:
        found = pattern.search(words)
        if found:
            limit = _int(found[1])
            others = [_int(number) for number in _ALL.findall(words)]
            others += [_int(one) + _int(other) for one, other in _SUM.findall(words)]
            return limit, max(others)
    return 0, 0


def _int(number: str) -> int:
    return int(number.replace(",", ""))
