"""The Celery application. A message says only "look at row N"; the rows decide."""

from __future__ import annotations

import os

from celery import Celery
from kombu.transport import TRANSPORT_ALIASES

# Kombu's own looks for messages once in a while, which every nudge would wait for; ours is woken.
TRANSPORT_ALIASES["memory"] = "orchestration.adapters.broker:Transport"
os.environ.setdefault("DJANGO_SETTINGS_MODULE", "swarmsite.settings")
app = Celery("swarmsite")
app.config_from_object("swarmsite.celeryconfig:CONFIGURATION")
# Nudges come from many threads; without this each of them would make an application of its own.
app.set_default()
app.autodiscover_tasks(["orchestration"])
