"""A name and a token for one host, handed to git in its environment: in no argument, file or log."""

from __future__ import annotations

import base64
import os
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from orchestration.adapters import keyring
from orchestration.adapters.secrets import learn, watch
from orchestration.domain.errors import AdapterError, Failure


@dataclass(frozen=True, slots=True)
class Credential:
    """Shows its secret nowhere, and is sent to the host that it is made for and to no other."""

    user: str
    secret: str = field(repr=False)

    def environment(self, source: str) -> dict[str, str]:
        """For a git child that talks to `source`; it wins over nothing and is read by that child alone."""
        parts = urlsplit(source)
        pair = f"{self.user}:{self.secret}".encode()
        encoded = base64.b64encode(pair).decode()
        learn(encoded)
        return {
            "GIT_CONFIG_COUNT": "1",
            "GIT_CONFIG_KEY_0": f"http.{parts.scheme}://{parts.netloc}/.extraHeader",
            "GIT_CONFIG_VALUE_0": f"Authorization: Basic {encoded}",
        }


def from_environment(name: str, user: str) -> Credential:
    """Raises AdapterError where the variable that a repository names is not set."""
    watch([name])
    secret = os.environ.get(name, "").strip()
    if not secret:
        raise AdapterError(
            Failure.PERMANENT,
            f"The environment variable {name}, which the repository names for its token, is not set on this server.",
        )
    if not secret.isprintable() or " " in secret:
        raise AdapterError(Failure.PERMANENT, f"The token in {name} holds spaces or control characters.")
    return Credential(user or "x-access-token", secret)


def from_keyring(name: str, user: str) -> Credential:
    """Raises AdapterError where what was given on the repository's page cannot be read here."""
    return Credential(user or "x-access-token", keyring.read(name))
