"""Well-known model services, hosted and on one's own machine: what a form has to ask for each."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal
from urllib.parse import SplitResult, urlsplit

from orchestration.domain.errors import InvalidInput


@dataclass(frozen=True, slots=True)
class Service:
    """`local`: it runs on the machine or in the network of whoever connects it, and mostly wants no key."""

    title: str
    kind: Literal["openai", "anthropic"]
    base_url: str
    about: str
    hint: str = ""
    local: bool = False


_KEY = "It wants a key: make one on its site, for this installation alone."

SERVICES: Mapping[str, Service] = {
    "anthropic": Service("Anthropic", "anthropic", "https://api.anthropic.com", "Claude models", _KEY),
    "openai": Service("OpenAI", "openai", "https://api.openai.com/v1", "GPT models", _KEY),
    "gemini": Service(
        "Google Gemini",
        "openai",
        "https://generativelanguage.googleapis.com/v1beta/openai",
        "Gemini models",
        _KEY,
    ),
    "openrouter": Service("OpenRouter", "openai", "https://openrouter.ai/api/v1", "Many makers, one key", _KEY),
    "mistral": Service("Mistral", "openai", "https://api.mistral.ai/v1", "Mistral and Codestral", _KEY),
    "deepseek": Service("DeepSeek", "openai", "https://api.deepseek.com/v1", "DeepSeek models", _KEY),
    "groq": Service("Groq", "openai", "https://api.groq.com/openai/v1", "Open models, quickly", _KEY),
    "ollama": Service(
        "Ollama",
        "openai",
        "http://127.0.0.1:11434/v1",
        "Port 11434",
        "Start it with a context length that is long enough for agents, such as OLLAMA_CONTEXT_LENGTH=32768, and write "
        "the same number under Context window: it cuts what is longer without a word. The model must know tools.",
        local=True,
    ),
    "vllm": Service(
        "vLLM",
        "openai",
        "http://127.0.0.1:8000/v1",
        "Port 8000",
        "Start it with --enable-auto-tool-choice and the --tool-call-parser of your model, or it calls no tools. Port "
        "8000 is this site's own default: give one of the two another.",
        local=True,
    ),
    "lm-studio": Service(
        "LM Studio",
        "openai",
        "http://127.0.0.1:1234/v1",
        "Port 1234",
        "Start its server on the Developer page, and load the model with a long context.",
        local=True,
    ),
    "llama-cpp": Service(
        "llama.cpp",
        "openai",
        "http://127.0.0.1:8080/v1",
        "Port 8080",
        "Start llama-server with --jinja, or it calls no tools.",
        local=True,
    ),
    "other": Service(
        "Another service",
        "openai",
        "",
        "Any that speaks one of the two formats",
        "Everything that speaks Chat Completions or Messages works by its address alone.",
    ),
}


def service_at(base_url: str) -> str:
    """The name of the well-known service at this address; empty: it is none of them."""
    plain = base_url.rstrip("/")
    return next((name for name, one in SERVICES.items() if one.base_url and one.base_url == plain), "")


def check_base_url(text: str) -> str:
    """The address in its plain form. Raises InvalidInput."""
    parts = _parts(text)
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise InvalidInput("Write an address that begins with https:// or, on your own network, http://.")
    if "@" in parts.netloc:
        raise InvalidInput("The address must not hold a name, password or key: the key has a field of its own.")
    if parts.query or parts.fragment:
        raise InvalidInput("The address must not have a ? or # part.")
    return text.strip().rstrip("/")


def origin_of(base_url: str) -> str:
    """To whom a key for this address is sent: the scheme, the host and the port."""
    parts = _parts(base_url)
    return f"{parts.scheme}://{parts.netloc}".lower()


def sends_in_clear(base_url: str) -> bool:
    """Whether a key would go over somebody else's network without encryption."""
    parts = _parts(base_url)
    host = parts.hostname or ""
    return parts.scheme == "http" and "." in host.replace(":", ".") and not _near(host)


def _near(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_private
    except ValueError:
        return host.endswith((".localhost", ".local", ".internal"))


def _parts(text: str) -> SplitResult:
    try:
        parts = urlsplit(text.strip())
        _ = parts.port
    except ValueError:
        return urlsplit("")
    return parts
