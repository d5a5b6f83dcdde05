"""Celery's part of the settings as a plain mapping: it asks for several of them for each message, and in Django's that
takes its time. Imported when it asks first, so that what is wrong with the settings is said there."""

from __future__ import annotations

from django.conf import settings

_PREFIX = "CELERY_"
_REUSE = f"{_PREFIX}DB_REUSE_MAX"  # Celery asks for this one by its whole name, and closes each connection without
_own = {name: getattr(settings, name) for name in dir(settings) if name.startswith(_PREFIX)}

CONFIGURATION = {name.removeprefix(_PREFIX).lower(): value for name, value in _own.items()} | {_REUSE: _own[_REUSE]}
