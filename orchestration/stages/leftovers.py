"""The janitor: what was left behind and belongs to nobody any more, found first and then removed, with its bytes.

What can be made again goes by itself. A bare repository may hold the only copy of work, so it goes only when a person
says so. The disk is read before the rows: what is being made has its row first.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from pathlib import Path
from typing import Any

from django.apps import apps
from django.conf import settings
from django.db.models import Field, QuerySet
from django.utils import timezone

from orchestration.adapters import leftovers, storage
from orchestration.domain.errors import InvalidInput
from orchestration.domain.states import SWARM_OVER
from orchestration.models import Artifact, CacheEntry, Repository

logger = logging.getLogger(__name__)
LEASE = "maintain:content"
WRONG_DATABASE = (
    "There are repositories on the disk, and this database knows of none: is DATABASE_URL the right one? Nothing was "
    "removed. If they are meant to go, delete the directory `repositories` by hand."
)
OLD_S = 24 * 3600.0  # content is stored before a row names it


class Kind(StrEnum):
    GATEWAYS = "gateways"
    SCRATCH = "scratch"
    WORKSPACES = "workspaces"
    REPOSITORIES = "repositories"
    ARTIFACTS = "artifacts"
    CONTENT = "content"


MEANINGS = {
    Kind.GATEWAYS: "sockets and directories of agents' gateways whose attempt is gone",
    Kind.SCRATCH: "scratch directories of git children that were killed",
    Kind.WORKSPACES: "workspaces of repositories that were deleted",
    Kind.REPOSITORIES: "bare repositories of repositories that were deleted",
    Kind.ARTIFACTS: "artifacts of swarms that ended longer ago than SWARM_ARTIFACT_DAYS",
    Kind.CONTENT: "stored content that nothing names any more",
}


@dataclass(frozen=True, slots=True)
class Left:
    """Of one kind. The bytes of artifacts count as content, which they share."""

    kind: Kind
    names: tuple[str, ...]
    bytes: int

    @property
    def meaning(self) -> str:
        return MEANINGS[self.kind]


def left_behind() -> list[Left]:
    """Nothing is touched."""
    found = [_directories(kind, look()) for kind, look in _LOOKS.items()]
    expired = expired_artifacts()
    names = tuple(expired.values_list("public_id", flat=True))
    content = unnamed_content(besides=expired)
    return [*found, Left(Kind.ARTIFACTS, names, 0), Left(Kind.CONTENT, tuple(content), sum(content.values()))]


def clear(*, repositories: bool = False) -> list[Left]:
    """What was removed. `repositories`: a person said that the bare ones go too. Raises InvalidInput where the database
    knows none at all: it is more likely to be the wrong one."""
    if repositories and leftovers.repositories() and not Repository.objects.exists():
        raise InvalidInput(WRONG_DATABASE)
    gone = []
    for kind, look in _LOOKS.items():
        if kind is Kind.REPOSITORIES and not repositories:
            continue
        gone.append(_removed(kind, look()))
    gone.append(_expired())
    forgotten = forget_content()
    gone.append(Left(Kind.CONTENT, tuple(forgotten), sum(forgotten.values())))
    for one in gone:
        if one.names:
            logger.info("Removed %d %s, %d bytes.", len(one.names), one.meaning, one.bytes)
    return gone


def expired_artifacts() -> QuerySet[Artifact]:
    days = settings.SWARM["ARTIFACT_DAYS"]
    if not days:
        return Artifact.objects.none()
    before = timezone.now() - timedelta(days=days)
    return Artifact.objects.filter(swarm__status__in=SWARM_OVER, swarm__finished_at__lt=before)


def _expired() -> Left:
    rows = list(expired_artifacts().values_list("pk", "public_id"))
    Artifact.objects.filter(pk__in=[pk for pk, _ in rows]).delete()
    return Left(Kind.ARTIFACTS, tuple(name for _, name in rows), 0)


def _directories(kind: Kind, paths: Sequence[Path]) -> Left:
    return Left(kind, tuple(path.name for path in paths), sum(map(leftovers.size_of, paths)))


def _removed(kind: Kind, paths: Sequence[Path]) -> Left:
    """What resists, or is still held, was not freed."""
    before = {path: leftovers.size_of(path) for path in paths}
    for path in paths:
        (leftovers.remove_pool if kind is Kind.WORKSPACES else leftovers.remove)(path)
    gone = [path for path in paths if not path.exists()]
    return Left(kind, tuple(path.name for path in gone), sum(before[path] for path in gone))


def _of_nobody(found: dict[str, Path]) -> list[Path]:
    known = set(Repository.objects.filter(public_id__in=list(found)).values_list("public_id", flat=True))
    return [path for name, path in found.items() if name not in known]


_LOOKS: dict[Kind, Callable[[], Sequence[Path]]] = {
    Kind.GATEWAYS: leftovers.gateways,
    Kind.SCRATCH: leftovers.scratch,
    Kind.WORKSPACES: lambda: _of_nobody(leftovers.workspaces()),
    Kind.REPOSITORIES: lambda: _of_nobody(leftovers.repositories()),
}


def total(found: Iterable[Left]) -> int:
    return sum(one.bytes for one in found)


def forget_content() -> dict[str, int]:
    """Content that was stored long ago and that no row names; the bytes of each that went."""
    blobs, left = storage.blobs(), unnamed_content()
    for name in left:
        blobs.remove(name)
    return left


def unnamed_content(besides: QuerySet[Artifact] | None = None) -> dict[str, int]:
    """Its bytes by its name. `besides`: rows that are about to go name nothing."""
    blobs = storage.blobs()
    left = set(blobs.older_than(OLD_S))
    for field in _naming_fields():
        rows = field.model._default_manager.filter(**{f"{field.name}__in": left})  # noqa: SLF001 - Django's own name
        if besides is not None and field.model is Artifact:
            rows = rows.exclude(pk__in=besides.values("pk"))
        left -= set(rows.values_list(field.name, flat=True))
    kept = (name for name in left if not CacheEntry.objects.filter(content__icontains=name).exists())
    return {name: blobs.size(name) for name in kept}


def _naming_fields() -> list[Field[Any, Any]]:
    """Whatever model it is in: a field that ends so holds a name of stored content."""
    models = apps.get_app_config("orchestration").get_models()
    fields = [field for model in models for field in model._meta.concrete_fields]  # noqa: SLF001 - Django's own name
    return [field for field in fields if field.name.endswith("sha256")]
