"""The site: wiring only, no behaviour."""

from __future__ import annotations

from swarmsite.celery import app as celery_app

__all__ = ["celery_app"]
