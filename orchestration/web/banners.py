"""What stands above every page: how this installation is unsafe or unable, said plainly."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from django.http import HttpRequest

from orchestration.reads.safety import sandbox_warning


@dataclass(frozen=True)
class Banner:
    role: str
    text: str


def banners(request: HttpRequest | None) -> Iterator[Banner]:
    """Nothing for strangers: how a site is set up is not their business."""
    if request is None or not getattr(request, "user", None) or not request.user.is_authenticated:
        return
    if warning := sandbox_warning():
        yield Banner("waiting", warning)
