"""What agents made is served so that nothing in it can run, and never twice to who has it."""

from __future__ import annotations

from typing import Any

import pytest

from orchestration.adapters import storage
from orchestration.models import Artifact
from orchestration.web.downloads import served_as
from tests import factories as make
from tests.web.conftest import House

EVIL = b"<script>alert(1)</script>"


def stored(house: House, content: bytes = EVIL, **fields: Any) -> Artifact:
    return make.make_artifact(house.swarm, sha256=storage.blobs().put(content), size=len(content), **fields)


def get(house: House, artifact: Artifact, query: str = "", **headers: str) -> Any:
    return house.client("viewer").get(f"/artifacts/{artifact.public_id}/{query}", headers=headers or None)


@pytest.mark.parametrize(
    ("mime", "served", "shown"),
    [
        ("text/html", "text/plain; charset=utf-8", True),
        ("text/markdown; charset=x", "text/plain; charset=utf-8", True),
        ("TEXT/JavaScript", "text/plain; charset=utf-8", True),
        ("application/json", "text/plain; charset=utf-8", True),
        ("application/x-ndjson", "text/plain; charset=utf-8", True),
        ("image/png", "image/png", True),
        ("image/svg+xml", "application/octet-stream", False),
        ("application/pdf", "application/octet-stream", False),
        ("application/xhtml+xml", "application/octet-stream", False),
        ("", "application/octet-stream", False),
        ("image/png\r\nX: y", "application/octet-stream", False),
    ],
)
def test_nothing_is_served_as_what_could_run(mime: str, served: str, shown: bool):
    assert served_as(mime) == (served, shown)


@pytest.mark.parametrize("mime", ["text/html", "image/svg+xml", "image/png"])
def test_every_answer_is_fenced(house: House, mime: str):
    response = get(house, stored(house, mime=mime))
    assert response.content == EVIL
    assert response.headers["X-Content-Type-Options"] == "nosniff"
    assert response.headers["Content-Security-Policy"].startswith("sandbox; default-src 'none';")
    assert response.headers["Cross-Origin-Resource-Policy"] == "same-origin"
    assert response.headers["Cache-Control"] == "private, max-age=31536000, immutable"


@pytest.mark.parametrize(("mime", "how"), [("text/html", "inline"), ("image/svg+xml", "attachment")])
def test_only_the_harmless_is_shown(house: House, mime: str, how: str):
    artifact = stored(house, mime=mime, name="page")
    assert get(house, artifact).headers["Content-Disposition"] == f'{how}; filename="page"'
    assert get(house, artifact, "?download=1").headers["Content-Disposition"] == 'attachment; filename="page"'


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ('../a "b"\r\nX: y.html', 'filename="_a _b___X: y.html"'),
        ("..", 'filename="artifact"'),
        ("ä.txt", "filename*=utf-8''%C3%A4.txt"),
        ("a\\b/c\0", 'filename="a_b_c_"'),
        ("\u202egnp.exe", 'filename="_gnp.exe"'),
    ],
)
def test_a_name_stays_a_name(house: House, name: str, shown: str):
    row = stored(house, name="x", mime="text/plain")
    row.name = name  # PostgreSQL would not store each of these
    from orchestration.web.downloads import _disposition

    assert _disposition(row.name, inline=True) == f"inline; {shown}"


def test_who_has_it_is_not_sent_it_again(house: House, monkeypatch: pytest.MonkeyPatch):
    artifact = stored(house)
    first = get(house, artifact)
    monkeypatch.setattr("orchestration.web.downloads.content_of", lambda _row: pytest.fail("it was read"))
    again = get(house, artifact, **{"If-None-Match": first.headers["ETag"]})
    assert (again.status_code, again.content) == (304, b"")
    assert again.headers["ETag"] == first.headers["ETag"] == f'"{artifact.sha256}"'


def test_what_is_gone_is_no_page(house: House):
    assert get(house, make.make_artifact(house.swarm, sha256="1" * 64)).status_code == 404
