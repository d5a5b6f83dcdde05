"""The API's addresses."""

from __future__ import annotations

from django.urls import path, re_path

from orchestration.web.api import artifacts
from orchestration.web.api.site import api, nowhere, told

api.add_router("", artifacts.router)
_patterns, _app, _namespace = api.urls
for _pattern in _patterns:
    if _pattern.callback:
        _pattern.callback = told(_pattern.callback)
urlpatterns = [path("", nowhere), path("", (_patterns, _app, _namespace)), re_path(r"^.*$", nowhere)]
