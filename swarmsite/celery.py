"""The Celery application. A message says only "look at row N"; the rows decide."""

from __future__ import annotations

import os
from typing import Any

from celery import Celery
from django.conf import settings
from kombu.transport import TRANSPORT_ALIASES

# Kombu's own looks for messages once in a while, which every nudge would wait for; ours is woken.
TRANSPORT_ALIASES["memory"] = "orchestration.adapters.broker:Transport"
os.environ.setdefault("DJANGO_SETTINGS_MODULE", "swarmsite.settings")
app = Celery("swarmsite")


@app.on_configure.connect
def _configure(sender: Celery, **_: Any) -> None:
    """With a plain mapping: Celery asks for several of them for each message, and in Django's it takes its time."""
    prefix = "CELERY_"
    names = [name for name in dir(settings) if name.startswith(prefix)]
    known = {name.removeprefix(prefix).lower(): getattr(settings, name) for name in names}
    reuse = f"{prefix}DB_REUSE_MAX"  # Celery asks for this one by its whole name, and closes each connection without
    sender.config_from_object(known | {reuse: getattr(settings, reuse)})


# Nudges come from many threads; without this each of them would make an application of its own.
app.set_default()
app.autodiscover_tasks(["orchestration"])
