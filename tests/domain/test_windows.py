"""How much a model reads is known by its name, and learned from what services say when it was too much."""

from __future__ import annotations

import pytest

from orchestration.domain.windows import LEAST, UNKNOWN, answer_room, known_window, learned, request_room

# As services say it. The limit is what the second figure is; the third is the request's size where it is told.
SAID = [
    (
        "This model's maximum context length is 8192 tokens. However, your messages resulted in 10000 tokens.",
        8192,
        10_000,
    ),
    (
        "This model's maximum context length is 16385 tokens. However, you requested 17000 tokens (16000, 1000).",
        16_385,
        17_000,
    ),
    ("prompt is too long: 213462 tokens > 200000 maximum", 200_000, 213_462),
    ("input length and `max_tokens` exceed context limit: 195000 + 8192 > 200000, decrease either", 200_000, 203_192),
    ("The input token count (1200000) exceeds the maximum number of tokens allowed (1048576).", 1_048_576, 1_200_000),
    ("request (9000 tokens) exceeds the available context size (4096 tokens), try increasing it", 4096, 9000),
    ("Prompt contains 40000 tokens, too large for model with 32768 maximum context length", 32_768, 40_000),
    (
        "This model's maximum prompt length is 131072 but the request contains 140000 tokens.",
        131_072,
        140_000,
    ),
    ("The input (5000 tokens) is longer than the model's context length (4096 tokens).", 4096, 5000),
    ("`inputs` tokens + `max_new_tokens` must be <= 4097. Given: 5000 `inputs` tokens", 4097, 5000),
    ("too many tokens: total number of tokens in the prompt cannot exceed 4081 - received 6500", 4081, 6500),
    ("Request too large for m on tokens per min (TPM): Limit 30,000, Requested 41,000.", 30_000, 41_000),
    ("the model is loaded with context length of only 4096 tokens", 4096, 0),
]


@pytest.mark.parametrize(("words", "limit", "asked"), SAID)
def test_both_figures_correct_what_we_believe(words: str, limit: int, asked: int):
    """The request that fits by the corrected estimate is, as the service counts, a request that leaves an answer."""
    sent = 12_000  # by our estimate, which may be wrong in either direction
    room, told = learned(words, sent)
    assert told == limit
    if asked:
        as_the_service_counts = room * asked / sent
        assert 0.5 * limit < as_the_service_counts < request_room(limit)
    assert room < sent * (limit / asked if asked else 0.76)


def test_without_figures_a_quarter_less_is_tried():
    assert learned("Your input exceeds the context window of this model.", 40_000) == (30_000, 0)
    assert learned("", LEAST) == (LEAST, 0)


def test_a_small_number_is_no_limit():
    assert learned("maximum context: see page 404", 40_000) == (30_000, 0)


@pytest.mark.parametrize(
    ("model", "window"),
    [
        ("claude-sonnet-4-20250514", 200_000),
        ("anthropic/claude-3.5-haiku", 200_000),
        ("gpt-4", 8_192),
        ("gpt-4-turbo-2024-04-09", 128_000),
        ("openai/gpt-4o-mini", 128_000),
        ("GPT-4.1-mini", 1_047_576),
        ("models/gemini-2.5-pro", 1_048_576),
        ("meta-llama/Llama-3.1-8B-Instruct", 128_000),
        ("llama3:8b", 8_192),
        ("qwen2.5-coder:7b", 32_768),
        ("scripted", UNKNOWN),
        ("", UNKNOWN),
    ],
)
def test_models_are_known_by_their_names(model: str, window: int):
    assert known_window(model) == window


@pytest.mark.parametrize("window", [2000, 8192, 32_000, 1_000_000])
def test_an_answer_always_has_room(window: int):
    assert request_room(window) + answer_room(window) == window
    assert 0 < answer_room(window) <= window / 4
