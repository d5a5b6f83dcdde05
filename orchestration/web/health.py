"""For load balancers and orchestrators: alive, and ready. Nothing here is secret, so nobody signs in."""

from __future__ import annotations

from django.http import HttpRequest, HttpResponse, JsonResponse
from django.views.decorators.http import require_safe

from orchestration.reads.health import troubles

UNAVAILABLE = 503


@require_safe
def alive(request: HttpRequest) -> HttpResponse:
    return HttpResponse("alive\n", content_type="text/plain")


@require_safe
def ready(request: HttpRequest) -> JsonResponse:
    found = troubles()
    return JsonResponse({"ready": not found, "troubles": found}, status=UNAVAILABLE if found else 200)
