"""Which models a service says it has. Most services of both kinds keep such a list; none has to."""

from __future__ import annotations

import asyncio
import os
from typing import Any

import httpx
import orjson

from orchestration.adapters.llm.anthropic import Anthropic
from orchestration.adapters.llm.failures import BASE, address, join, permanent, refusal, transient, unreachable
from orchestration.adapters.llm.keys import Key, read_key
from orchestration.adapters.llm.openai import OpenAI
from orchestration.adapters.llm.pool import PUBLIC_ONLY, ManyPools
from orchestration.domain.conversation import Endpoint

TIMEOUT_S = 20.0
MOST_BYTES = 4_000_000
MOST_MODELS = 1000
LONGEST_NAME = 200
NO_LIST = frozenset({400, 404, 405, 501})

_PROVIDERS = {"openai": OpenAI(), "anthropic": Anthropic()}
_PATHS = {"openai": "/models", "anthropic": "/v1/models"}


def list_models(endpoint: Endpoint) -> tuple[str, ...]:
    """Sorted by name; empty where the service keeps no list. Raises AdapterError where it cannot be asked at all."""
    return asyncio.run(_listed(endpoint, read_key(endpoint, os.environ)))


async def _listed(endpoint: Endpoint, key: Key) -> tuple[str, ...]:
    async with httpx.AsyncClient(transport=ManyPools(), trust_env=False, follow_redirects=False) as client:
        try:
            async with asyncio.timeout(TIMEOUT_S):
                response = await client.send(_request(endpoint, key), stream=True)
                body = await _body(endpoint, response)
        except TimeoutError:
            raise transient(endpoint, f"sent no list of its models within {TIMEOUT_S:g} s", BASE) from None
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise unreachable(endpoint, error) from None
    if response.status_code in NO_LIST:
        return ()
    if not response.is_success:
        raise refusal(endpoint, key, response.status_code, response.headers, body)
    return _names(body)


def _request(endpoint: Endpoint, key: Key) -> httpx.Request:
    parts = address(endpoint.base_url)
    url = httpx.URL(endpoint.base_url).copy_with(path=join(parts.path, _PATHS[endpoint.kind]))
    headers = {"Accept": "application/json", "Accept-Encoding": "identity", "User-Agent": "swarmsite"}
    headers |= _PROVIDERS[endpoint.kind].headers(key)
    timeout = {"connect": TIMEOUT_S, "read": TIMEOUT_S, "write": TIMEOUT_S, "pool": None}
    return httpx.Request(
        "GET", url, headers=headers, extensions={"timeout": timeout, PUBLIC_ONLY: not endpoint.vouched}
    )


async def _body(endpoint: Endpoint, response: httpx.Response) -> bytes:
    body = bytearray()
    try:
        async for chunk in response.aiter_raw():
            body += chunk
            if len(body) > MOST_BYTES:
                raise permanent(endpoint, f"sent a list of models of more than {MOST_BYTES:,} bytes")
    finally:
        await response.aclose()
    return bytes(body)


def _names(body: bytes) -> tuple[str, ...]:
    try:
        value = orjson.loads(body)
    except orjson.JSONDecodeError:
        return ()
    rows: Any = value.get("data") if isinstance(value, dict) else None
    found = {row.get("id") for row in rows if isinstance(row, dict)} if isinstance(rows, list) else set()
    names = (name.removeprefix("models/") for name in found if isinstance(name, str))  # as Gemini's list has them
    return tuple(sorted(name for name in names if name.isprintable() and 0 < len(name) <= LONGEST_NAME)[:MOST_MODELS])
