"""What went wrong at a model service, as one sentence that says what to do and one kind that says what follows."""

from __future__ import annotations

import re
import socket
import ssl
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import SplitResult, urlsplit

import httpx
import orjson

from orchestration.adapters.llm.keys import Key
from orchestration.domain.conversation import Endpoint
from orchestration.domain.errors import AdapterError, Failure

BASE = "base_url"  # what of an endpoint is at fault
QUOTED = 300  # characters of a service's own words

_QUOTA = {
    "insufficient_quota",
    "insufficient_balance",
    "insufficient_credits",
    "billing_hard_limit_reached",
    "billing_not_active",
    "exceeded_current_quota_error",
}
_TOO_LONG = re.compile(
    r"context.?(length|window|size|limit)|maximum (context|prompt length|number of tokens)|(prompt|input) is too long"
    r"|too many (input )?tokens|too large for model|reduce the length|max_new_tokens.{0,9} must be"
    r"|longer than the model",
    re.IGNORECASE,
)
_TOO_LARGE = re.compile(r"request too large", re.IGNORECASE)  # for what a minute allows: waiting would not help
_NO_CREDIT = re.compile(r"credit balance is too low", re.IGNORECASE)
_REFUSED_CONTENT = {"content_filter", "content_policy_violation", "ResponsibleAIPolicyViolation"}
_KIND_STATUS = {
    "rate_limit": 429,
    "overloaded": 529,
    "authentication": 401,
    "permission": 403,
    "billing": 402,
    "not_found": 404,
    "request_too_large": 413,
    "invalid_request": 400,
}
_PATHS = {"openai": "/chat/completions", "anthropic": "/v1/messages"}


class Busy(AdapterError):
    """Ask again later. `rate_limited` means that every caller of the endpoint should."""

    def __init__(self, message: str, *, retry_after_s: float | None, rate_limited: bool) -> None:
        super().__init__(Failure.TRANSIENT, message)
        self.retry_after_s = retry_after_s
        self.rate_limited = rate_limited


class NoCredit(AdapterError):
    """The service answers again once somebody has paid."""

    def __init__(self, message: str) -> None:
        super().__init__(Failure.BUDGET, message)


class Misconfigured(AdapterError):
    """What was entered for the service may be at fault: `part` of it is base_url, key or model."""

    def __init__(self, kind: Failure, message: str, part: str) -> None:
        super().__init__(kind, message)
        self.part = part


class RequestRefused(AdapterError):
    """The request itself is at fault: another endpoint would have to refuse it as well."""

    def __init__(self, message: str) -> None:
        super().__init__(Failure.PERMANENT, message)


class ContextTooLong(RequestRefused):
    """The conversation is larger than the model's window: shorten it and ask again. `said` are the service's words."""

    def __init__(self, message: str, said: str = "") -> None:
        super().__init__(message)
        self.said = said


class ContentRefused(RequestRefused):
    """The model or its service will not answer this; `said` are its words, where it has any."""

    def __init__(self, where: str, said: str = "") -> None:
        super().__init__(f"{where} refused to answer: its content filter said no{said}.")


def address(url: str) -> SplitResult:
    """The parts of a URL, empty ones where it is none."""
    try:
        return urlsplit(url)
    except ValueError:
        return urlsplit("")


def place(endpoint: Endpoint) -> str:
    """Name and address as a page may show them."""
    host = _host(endpoint.base_url)
    return f"{endpoint.name} ({host})" if host else endpoint.name


def _host(url: str) -> str:
    return address(url).netloc.rpartition("@")[2]


def transient(endpoint: Endpoint, what: str, part: str = "") -> AdapterError:
    return _error(Failure.TRANSIENT, f"{place(endpoint)} {what}.", part)


def permanent(endpoint: Endpoint, what: str, part: str = "") -> AdapterError:
    return _error(Failure.PERMANENT, f"{place(endpoint)} {what}.", part)


def _error(kind: Failure, message: str, part: str) -> AdapterError:
    return Misconfigured(kind, message, part) if part else AdapterError(kind, message)


def refusal(endpoint: Endpoint, key: Key, status: int, headers: Mapping[str, str], body: bytes) -> AdapterError:
    """From an answer that is not a success."""
    if 300 <= status < 400:
        target = _host(headers.get("location", "")) or "another path"
        return permanent(endpoint, f"redirects to {target}; enter the final address as the endpoint's base URL", BASE)
    return _from_status(endpoint, key, status, _error_of(body), retry_after(headers))


def told(endpoint: Endpoint, key: Key, error: Any) -> AdapterError:
    """From an error inside a body that began as a success."""
    error = error if isinstance(error, dict) else {"message": str(error)}
    code = error.get("code")
    status = code if isinstance(code, int) and 400 <= code < 600 else _guess_status(error)
    return _from_status(endpoint, key, status, error, None)


def unreachable(endpoint: Endpoint, error: Exception) -> AdapterError:
    """From what the client raised; its own text is not quoted, it may hold anything."""
    if isinstance(error, httpx.InvalidURL | httpx.UnsupportedProtocol | httpx.LocalProtocolError):
        return permanent(endpoint, "cannot be asked: its base URL is not a valid http or https address", BASE)
    if isinstance(error, httpx.ConnectTimeout):
        return transient(endpoint, "did not accept a connection in time", BASE)
    if isinstance(error, httpx.TimeoutException):
        return transient(endpoint, "sent nothing for too long")
    if isinstance(error, httpx.ConnectError):
        return _unconnected(endpoint, error)
    return transient(endpoint, "closed the connection before its answer was complete")


def retry_after(headers: Mapping[str, str]) -> float | None:
    """Seconds, from a number or a date; None where the service does not say or says nonsense."""
    milliseconds = number(headers.get("retry-after-ms", ""))
    if milliseconds is not None:
        return milliseconds / 1000
    value = headers.get("retry-after", "").strip()
    seconds = number(value)
    return seconds if seconds is not None else _until(value)


def number(text: str) -> float | None:
    return float(text) if re.fullmatch(r"\d{1,12}(\.\d+)?", text.strip()) else None


def _until(text: str) -> float | None:
    try:
        when = parsedate_to_datetime(text)
    except ValueError:
        return None
    return max(0.0, (when.replace(tzinfo=when.tzinfo or UTC) - datetime.now(UTC)).total_seconds())


def _unconnected(endpoint: Endpoint, error: Exception) -> AdapterError:
    causes = list(_causes(error))
    if any(isinstance(cause, ssl.SSLCertVerificationError) for cause in causes):
        return permanent(endpoint, "shows a certificate that is not valid for its address", BASE)
    if any(isinstance(cause, socket.gaierror) for cause in causes):
        return transient(endpoint, "was not found: its host name has no address", BASE)
    if any(isinstance(cause, ConnectionRefusedError) for cause in causes):
        return transient(endpoint, "refused the connection; check that the service runs", BASE)
    return transient(endpoint, "cannot be reached over the network", BASE)


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def _error_of(body: bytes) -> dict[str, Any]:
    try:
        value = orjson.loads(body)
    except orjson.JSONDecodeError:
        return {}
    value = value[0] if isinstance(value, list) and value else value
    error = value.get("error", value) if isinstance(value, dict) else value
    return error if isinstance(error, dict) else {"message": str(error)}


def _guess_status(error: Mapping[str, Any]) -> int:
    kind = f"{error.get('type')} {error.get('code')}"
    return next((status for word, status in _KIND_STATUS.items() if word in kind), 500)


def _from_status(
    endpoint: Endpoint, key: Key, status: int, error: Mapping[str, Any], retry_after_s: float | None
) -> AdapterError:
    said = _quote(key, error)
    quota = bool(_QUOTA & {str(error.get("code")), str(error.get("type"))})
    quota = quota or (status in {400, 403} and bool(_NO_CREDIT.search(said)))
    if status == 402 or (quota and status in {400, 403, 429}):
        message = f"{place(endpoint)} has no credit left ({status}{said}); pay or raise its limit."
        return NoCredit(message)
    if _is_too_long(status, error):
        message = f"The conversation is too long for {endpoint.model} at {place(endpoint)} ({status}{said})."
        return ContextTooLong(message, said)
    if status == 429:
        message = f"{place(endpoint)} asks for fewer requests ({status}{said})."
        return Busy(message, retry_after_s=retry_after_s, rate_limited=True)
    if status >= 500:
        message = f"{place(endpoint)} is overloaded or broken ({status}{said})."
        return Busy(message, retry_after_s=retry_after_s, rate_limited=False)
    return _client_error(endpoint, status, said, error)


def _client_error(endpoint: Endpoint, status: int, said: str, error: Mapping[str, Any]) -> AdapterError:
    if status in {401, 403}:
        return permanent(endpoint, f"refused {_source(endpoint)} ({status}{said})", "key")
    if status == 404:
        return permanent(endpoint, f"knows no model {endpoint.model} at {_path(endpoint)} ({status}{said})", "model")
    if _REFUSED_CONTENT & {str(error.get("code")), str(error.get("type"))}:
        return ContentRefused(place(endpoint), f" ({status}{said})")
    if status in {408, 409, 425}:
        return transient(endpoint, f"did not take the request this time ({status}{said})")
    return RequestRefused(f"{place(endpoint)} refused the request ({status}{said}).")


def _source(endpoint: Endpoint) -> str:
    if endpoint.key_name:
        return "the key that was given"
    return f"the key in ${endpoint.key_env}" if endpoint.key_env else "a request without a key"


def _is_too_long(status: int, error: Mapping[str, Any]) -> bool:
    words = f"{error.get('code')} {error.get('type')} {error.get('message')}"
    if status == 429:
        return bool(_TOO_LARGE.search(words))
    return status == 413 or (status in {400, 422, 500} and bool(_TOO_LONG.search(words)))


def _path(endpoint: Endpoint) -> str:
    return join(address(endpoint.base_url).path, _PATHS[endpoint.kind])


def join(base_path: str, path: str) -> str:
    """Base URLs are entered with and without the version that a path begins with."""
    base = base_path.rstrip("/")
    return base + (path.removeprefix("/v1") if base.endswith("/v1") else path)


def _quote(key: Key, error: Mapping[str, Any]) -> str:
    message = " ".join(str(error.get("message") or "").split())
    words = key.hide_in(message)  # before it is cut: half a key is a secret too
    short = words if len(words) <= QUOTED else words[:QUOTED] + "…"
    return f": {short.rstrip('.')}" if short else ""
