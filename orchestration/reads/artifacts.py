"""An artifact's bytes."""

from __future__ import annotations

from orchestration.adapters import storage
from orchestration.models import Artifact


def content_of(artifact: Artifact) -> bytes:
    """Raises AdapterError where the content is gone."""
    return storage.blobs().get(artifact.sha256)
