"""What the agents of a swarm made, listed and served."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.urls import reverse
from ninja import Field, Query, Router, Schema
from ninja.decorators import decorate_view

from orchestration.models import Artifact
from orchestration.web.access import artifact_of, swarm_of
from orchestration.web.api.site import Page, Problem, Window, cached, part, person
from orchestration.web.downloads import artifact_response

router = Router(tags=["artifacts"])
REFUSED = {401: Problem, 404: Problem}


class ArtifactOut(Schema):
    id: str
    type: str
    name: str
    mime: str = Field(description="as its maker said; it is served as plain text, an image, or bytes")
    size: int = Field(description="in bytes")
    sha256: str
    subtask: str | None = Field(description="the name of the subtask that made it; null: the swarm as a whole")
    attempt: int | None = Field(description="the number of the attempt that made it")
    created_at: datetime
    url: str = Field(description="where its content is")


class Wanted(Window):
    subtask: str = Field("", max_length=50, description="only those of the subtask of this name")
    type: str = Field("", max_length=40)


@router.get("/swarms/{public_id}/artifacts", response={200: Page[ArtifactOut], 422: Problem, 400: Problem, **REFUSED})
@decorate_view(cached)
def list_artifacts(request: HttpRequest, public_id: str, wanted: Query[Wanted]) -> Any:
    """What was made in a swarm, the oldest first."""
    rows = Artifact.objects.filter(swarm=swarm_of(person(request), public_id))
    return part(request, _chosen(rows, wanted), wanted, described)


@router.get("/artifacts/{public_id}/content", response={200: bytes, **REFUSED})
def content(request: HttpRequest, public_id: str) -> HttpResponse:
    """The bytes themselves, under their hash as an ETag."""
    return artifact_response(request, artifact_of(person(request), public_id))


def _chosen(rows: QuerySet[Artifact], wanted: Wanted) -> QuerySet[Artifact]:
    rows = rows.filter(attempt__subtask__name=wanted.subtask) if wanted.subtask else rows
    rows = rows.filter(type=wanted.type) if wanted.type else rows
    return rows.select_related("attempt__subtask")


def described(row: Artifact) -> ArtifactOut:
    return ArtifactOut(
        id=row.public_id,
        type=row.type,
        name=row.name,
        mime=row.mime,
        size=row.size,
        sha256=row.sha256,
        subtask=row.attempt.subtask.name if row.attempt else None,
        attempt=row.attempt.number if row.attempt else None,
        created_at=row.created_at,
        url=reverse("api-v1:content", args=[row.public_id]),
    )
