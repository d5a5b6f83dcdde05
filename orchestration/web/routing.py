"""The sockets' addresses."""

from __future__ import annotations

from django.urls import path

from orchestration.web.consumers import BoardPage, SwarmPage
from orchestration.web.queue_sockets import RepositoryQueuePage, SwarmQueuePage

websocket_urlpatterns = [
    path("ws/board/", BoardPage.as_asgi()),  # type: ignore[arg-type]  # Channels' routes are Django's
    path("ws/swarms/<str:public_id>/", SwarmPage.as_asgi()),  # type: ignore[arg-type]
    path("ws/swarms/<str:public_id>/queue/", SwarmQueuePage.as_asgi()),  # type: ignore[arg-type]
    path("ws/repositories/<str:public_id>/queue/", RepositoryQueuePage.as_asgi()),  # type: ignore[arg-type]
]
