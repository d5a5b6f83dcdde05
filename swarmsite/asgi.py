"""HTTP goes to Django, below /gateway/ to the model gateway; sockets go to the pages' consumers behind session and
Origin checks."""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable
from typing import Any

from channels.auth import AuthMiddlewareStack
from channels.routing import ProtocolTypeRouter, URLRouter
from channels.security.websocket import AllowedHostsOriginValidator
from django.core.asgi import get_asgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "swarmsite.settings")
pages = get_asgi_application()

from orchestration.stages.forward import house_gateway  # noqa: E402
from orchestration.web.routing import websocket_urlpatterns  # noqa: E402 - needs the app registry

gateway = house_gateway()


async def http(
    scope: dict[str, Any], receive: Callable[[], Awaitable[Any]], send: Callable[..., Awaitable[None]]
) -> None:
    answer: Any = gateway if scope["path"].startswith("/gateway/") else pages
    await answer(scope, receive, send)


application = ProtocolTypeRouter(
    {
        "http": http,
        "websocket": AllowedHostsOriginValidator(AuthMiddlewareStack(URLRouter(websocket_urlpatterns))),  # type: ignore[arg-type]  # routes are Django's
    }
)
