"""What every response gets: the content security policy, and a body that an asynchronous server can send."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable
from typing import cast

from django.core.handlers.asgi import ASGIRequest
from django.http import HttpRequest, StreamingHttpResponse
from django.http.response import HttpResponseBase

Respond = Callable[[HttpRequest], HttpResponseBase]
# Nothing inline, nothing from elsewhere, no frame around us.
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)


class ContentSecurityPolicy:
    def __init__(self, get_response: Respond) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        response = self.get_response(request)
        response.headers.setdefault("Content-Security-Policy", POLICY)
        return response


class AsynchronousFiles:
    """WhiteNoise streams files synchronously, which Django warns about and reads whole under ASGI.

    Stands before WhiteNoise in MIDDLEWARE.
    """

    def __init__(self, get_response: Respond) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        response = self.get_response(request)
        if isinstance(response, StreamingHttpResponse) and isinstance(request, ASGIRequest) and not response.is_async:
            response.streaming_content = _pieces(cast("Iterable[bytes]", response.streaming_content))
        return response


async def _pieces(chunks: Iterable[bytes]) -> AsyncIterator[bytes]:
    for chunk in chunks:
        yield chunk
