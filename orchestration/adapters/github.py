"""GitHub's API: one pull request for a branch, and short-lived tokens for one repository each."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx
import jwt

from orchestration.adapters.secrets import clean, learn
from orchestration.domain.errors import AdapterError, Failure
from orchestration.domain.publishing import RemoteError, Trouble

TIMEOUT_S = 30.0
EARLY_S = 300.0  # before its end a token is made anew
RIGHTS = {"contents": "write", "pull_requests": "write", "metadata": "read"}
_HEADERS = {"Accept": "application/vnd.github+json", "X-GitHub-Api-Version": "2022-11-28", "User-Agent": "Swarmsite"}
_TROUBLE = {401: Trouble.SIGN_IN, 404: Trouble.SIGN_IN, 429: Trouble.LIMITED}
_lock = threading.Lock()
_tokens: dict[tuple[str, str], tuple[str, float]] = {}  # of each repository, and until when


@dataclass(frozen=True, slots=True)
class PullRequest:
    number: int
    url: str
    head_sha: str
    title: str
    body: str
    open: bool
    merged: bool
    draft: bool
    node_id: str  # what the GraphQL API knows it by


class GitHub:
    """One repository of it, `slug` being owner/name. Every failure is a RemoteError with what GitHub said."""

    def __init__(self, api_url: str, slug: str, token: str) -> None:
        self._api_url, self._slug, self._token = api_url.rstrip("/"), slug, token

    def pull_request(self, branch: str) -> PullRequest | None:
        """The branch's own: an open one before one that is over, the latest of several."""
        owner = self._slug.partition("/")[0]
        asked = f"/repos/{self._slug}/pulls?state=all&per_page=50&head={quote(f'{owner}:{branch}', safe=':')}"
        found = [_read(one) for one in self._call("GET", asked) if one["head"]["ref"] == branch]
        return max(found, key=lambda one: (one.open, one.number), default=None)

    def open(self, branch: str, target: str, title: str, body: str, *, draft: bool = False) -> PullRequest:
        fields = {"head": branch, "base": target, "title": clean(title)[:256], "body": clean(body)}
        try:
            return _read(self._call("POST", f"/repos/{self._slug}/pulls", fields | ({"draft": True} if draft else {})))
        except RemoteError as error:
            if draft and error.trouble is Trouble.OTHER and "draft pull request" in str(error).lower():
                raise RemoteError(Trouble.DRAFT, str(error)) from error
            raise

    def update(self, number: int, title: str, body: str) -> PullRequest:
        fields = {"title": clean(title)[:256], "body": clean(body)}
        return _read(self._call("PATCH", f"/repos/{self._slug}/pulls/{number}", fields))

    def mark(self, found: PullRequest, *, draft: bool) -> None:
        """Only the GraphQL API can: it answers a refusal with 200 and a list of errors."""
        field = "convertPullRequestToDraft" if draft else "markPullRequestReadyForReview"
        query = f"mutation($id: ID!) {{ {field}(input: {{pullRequestId: $id}}) {{ clientMutationId }} }}"
        fields = {"query": query, "variables": {"id": found.node_id}}
        told = _call(_graphql(self._api_url), self._token, "POST", "", fields)
        if errors := told.get("errors") if isinstance(told, dict) else [{}]:
            raise _graphql_error(errors, found.number, draft=draft)

    def _call(self, method: str, path: str, fields: Mapping[str, Any] | None = None) -> Any:
        return _call(self._api_url, self._token, method, path, fields)


def installation_token(api_url: str, app_id: str, slug: str) -> str:
    """For this repository alone, for an hour at most; made anew shortly before its end."""
    with _lock:
        token, until = _tokens.get((api_url, slug), ("", 0.0))
        if time.monotonic() < until - EARLY_S:
            return token
    proof = _proof(app_id)
    installed = _call(api_url, proof, "GET", f"/repos/{slug}/installation")
    fields = {"repositories": [slug.partition("/")[2]], "permissions": RIGHTS}
    made = _call(api_url, proof, "POST", f"/app/installations/{installed['id']}/access_tokens", fields)
    token = str(made["token"])
    learn(token)
    with _lock:
        _tokens[api_url, slug] = token, time.monotonic() + 3600
    return token


def forget_tokens() -> None:
    with _lock:
        _tokens.clear()


def _proof(app_id: str) -> str:
    now = int(time.time())
    try:
        proof = jwt.encode({"iat": now - 60, "exp": now + 540, "iss": app_id}, _private_key(), algorithm="RS256")
    except (ValueError, TypeError, jwt.PyJWTError) as error:
        raise AdapterError(Failure.PERMANENT, "GITHUB_APP_PRIVATE_KEY holds no private key in PEM form.") from error
    learn(proof)
    return proof


def _private_key() -> str:
    """The key itself, with line ends as they are or written as backslash and n; or the file that holds it."""
    given = os.environ.get("GITHUB_APP_PRIVATE_KEY", "").strip()
    if not given.startswith("/"):
        return given.replace("\\n", "\n")
    try:
        return Path(given).read_text()
    except OSError as error:
        raise AdapterError(
            Failure.PERMANENT, f"The file that GITHUB_APP_PRIVATE_KEY names cannot be read: {error.strerror}."
        ) from error


def _call(api_url: str, token: str, method: str, path: str, fields: Mapping[str, Any] | None = None) -> Any:
    headers = _HEADERS | {"Authorization": f"Bearer {token}"}
    try:
        with httpx.Client(timeout=TIMEOUT_S, trust_env=False, follow_redirects=False) as client:
            response = client.request(method, api_url.rstrip("/") + path, headers=headers, json=fields)
    except httpx.HTTPError as error:
        raise RemoteError(Trouble.DOWN, f"GitHub cannot be reached at {api_url}: {type(error).__name__}.") from error
    if response.is_success:
        try:
            return response.json()
        except ValueError as error:
            raise RemoteError(Trouble.DOWN, "GitHub gave an answer that is no JSON.") from error
    raise _error(response, path)


def _error(response: httpx.Response, path: str) -> RemoteError:
    status, said = response.status_code, _said(response)
    limited = response.headers.get("x-ratelimit-remaining") == "0" or "rate limit" in said.lower()
    trouble = _TROUBLE.get(status, Trouble.DOWN if status >= 500 else Trouble.OTHER)
    if status == 403:
        trouble = Trouble.LIMITED if limited or "retry-after" in response.headers else Trouble.SIGN_IN
    place = path.partition("?")[0]
    sentences = {
        Trouble.SIGN_IN: f"GitHub does not let us use {place}: the token is wrong, or has no such right ({status}).",
        Trouble.LIMITED: f"GitHub asks for fewer requests ({status}).",
        Trouble.DOWN: f"GitHub has trouble of its own ({status}).",
        Trouble.OTHER: f"GitHub refused {place} ({status}).",
    }
    sentence = f"{sentences[trouble]} It said: {said}" if said else sentences[trouble]
    return RemoteError(trouble, sentence, wait_s=_asked_s(response))


def _asked_s(response: httpx.Response) -> float:
    """As GitHub has it: Retry-After, else where nothing remains the moment at which there is more."""
    told = response.headers
    for name, now in (("retry-after", 0.0), ("x-ratelimit-reset", time.time())):
        given = told.get(name, "")
        if given.isascii() and given.isdigit() and (name == "retry-after" or told.get("x-ratelimit-remaining") == "0"):
            return max(0.0, float(given) - now)
    return 0.0


def _graphql(api_url: str) -> str:
    """Beside the REST API: of GitHub itself, or of a server of one's own."""
    return f"{api_url.removesuffix('/api/v3')}/api/graphql" if api_url.endswith("/api/v3") else f"{api_url}/graphql"


def _graphql_error(errors: Any, number: int, *, draft: bool) -> RemoteError:
    first = errors[0] if isinstance(errors, list) and errors and isinstance(errors[0], dict) else {}
    kind, said = str(first.get("type", "")), str(first.get("message", ""))[:500]
    trouble = {"FORBIDDEN": Trouble.SIGN_IN, "RATE_LIMITED": Trouble.LIMITED}.get(kind, Trouble.OTHER)
    wanted = "a draft" if draft else "ready for review"
    return RemoteError(trouble, f"GitHub did not make pull request {number} {wanted}. It said: {said or kind or 'no'}")


def _said(response: httpx.Response) -> str:
    try:
        told = response.json()
        parts = [told.get("message", ""), *(one.get("message", "") for one in told.get("errors", []))]
    except (ValueError, AttributeError):
        return ""
    return " ".join(str(part) for part in parts if part)[:500]


def _read(told: Any) -> PullRequest:
    try:
        return PullRequest(
            number=int(told["number"]),
            url=str(told["html_url"]),
            head_sha=str(told["head"]["sha"]),
            title=str(told["title"]),
            body=str(told["body"] or ""),
            open=told["state"] == "open",
            merged=bool(told.get("merged_at")),
            draft=bool(told.get("draft")),
            node_id=str(told.get("node_id", "")),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise RemoteError(Trouble.DOWN, "GitHub told of a pull request in a way that we do not know.") from error
