"""The key of a model service: read when a call is made, and shown nowhere."""

from __future__ import annotations

from collections.abc import Mapping

from typing_extensions import override

from orchestration.adapters import keyring
from orchestration.domain.conversation import Endpoint
from orchestration.domain.errors import AdapterError, Failure


class Key:
    """A secret that no repr, log line or error shows."""

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        self._value = value

    def headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self._value}"} if self._value else {}

    def api_headers(self) -> dict[str, str]:
        return {"x-api-key": self._value} if self._value else {}

    def hide_in(self, text: str) -> str:
        """`text` without the key: some services quote it in their errors."""
        return text.replace(self._value, "[key]") if self._value else text

    @override
    def __repr__(self) -> str:
        return "Key(hidden)" if self._value else "Key(none)"


def read_key(endpoint: Endpoint, environ: Mapping[str, str]) -> Key:
    if endpoint.key_name:
        return Key(keyring.read(endpoint.key_name))
    value = environ.get(endpoint.key_env, "").strip() if endpoint.key_env else ""
    if not value and endpoint.key_env and not endpoint.loopback:
        raise AdapterError(
            Failure.PERMANENT,
            f"The key of {endpoint.name} is missing: set the environment variable ${endpoint.key_env} and restart.",
        )
    if not all("!" <= character <= "~" for character in value):
        raise AdapterError(
            Failure.PERMANENT,
            f"The key in ${endpoint.key_env} holds a space, a line break or another character that cannot be sent.",
        )
    return Key(value)
