"""Serves what agents made. It is never a page of this site: nothing in it can run, whatever it says it is."""

from __future__ import annotations

from django.http import Http404, HttpRequest, HttpResponse
from django.utils.http import content_disposition_header, parse_etags

from orchestration.domain.errors import AdapterError
from orchestration.models import Artifact
from orchestration.reads.artifacts import content_of

YEAR = 365 * 24 * 3600
POLICY = "sandbox; default-src 'none'; style-src 'none'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'"
PLAIN = "text/plain; charset=utf-8"
IMAGES = frozenset({"image/png", "image/jpeg", "image/gif", "image/webp"})
TEXTS = frozenset({"application/json", "application/x-ndjson", "application/x-yaml", "application/toml"})
BINARY = "application/octet-stream"


def artifact_response(request: HttpRequest, artifact: Artifact) -> HttpResponse:
    """Its content by its hash: it never changes, so that a browser need not ask again. Raises Http404."""
    tag = f'"{artifact.sha256}"'
    if tag in parse_etags(request.headers.get("If-None-Match", "")):
        response = HttpResponse(status=304)
    else:
        response = HttpResponse(_content(artifact))
    kind, inline = served_as(artifact.mime)
    inline = inline and "download" not in request.GET
    response.headers["Content-Type"] = kind
    response.headers["Content-Disposition"] = _disposition(artifact.name, inline=inline)
    response.headers["ETag"] = tag
    response.headers["Cache-Control"] = f"private, max-age={YEAR}, immutable"
    response.headers["Content-Security-Policy"] = POLICY
    response.headers["X-Content-Type-Options"] = "nosniff"
    response.headers["Cross-Origin-Resource-Policy"] = "same-origin"
    return response


def served_as(mime: str) -> tuple[str, bool]:
    """The content type and whether a browser may show it: plain text and pixels, nothing that could hold a script."""
    plain = mime.split(";", 1)[0].strip().lower()
    if plain in IMAGES:
        return plain, True
    if plain.startswith("text/") or plain in TEXTS:
        return PLAIN, True
    return BINARY, False


def _content(artifact: Artifact) -> bytes:
    try:
        return content_of(artifact)
    except AdapterError as error:
        raise Http404(str(error)) from error


def _disposition(name: str, *, inline: bool) -> str:
    """Named after its artifact, without what could leave the header or the directory."""
    plain = "".join(letter if letter.isprintable() and letter not in '/\\"' else "_" for letter in name).strip(". ")
    header = content_disposition_header(as_attachment=not inline, filename=plain or "artifact")
    return header or "attachment"
