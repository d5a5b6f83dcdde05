"""What all of the API has in common: who asks, what goes wrong in a sentence, pages of lists, ETags."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Generic, TypeVar, cast

from django.core.exceptions import PermissionDenied
from django.db.models import Model, QuerySet
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseBase, JsonResponse
from django.views.decorators.cache import never_cache
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import conditional_page
from ninja import Field, NinjaAPI, Schema
from ninja.errors import AuthenticationError, ValidationError
from ninja.openapi.docs import Swagger
from ninja.security import HttpBearer
from typing_extensions import override

from orchestration.domain.errors import InvalidInput
from orchestration.models import User
from orchestration.stages import tokens
from orchestration.web.access import SignedIn

MOST = 200
Row = TypeVar("Row", bound=Model)
Item = TypeVar("Item")


class Problem(Schema):
    """What every answer that is no success holds."""

    code: str = Field(description="for programs: unauthorised, not_found, forbidden, invalid, method_not_allowed")
    message: str = Field(description="for people: one sentence")


class Page(Schema, Generic[Item]):
    """A part of a list, the oldest first. `next` is the address of the following part, null on the last."""

    items: list[Item]
    next: str | None


class Window(Schema):
    """Which part of a list."""

    limit: int = Field(100, ge=1, le=MOST)
    after: str = Field("", max_length=12, description="the id of the last item that was seen")


class Bearer(HttpBearer):
    """`Authorization: Bearer TOKEN`, with a token from the profile page. It may what its person may."""

    @override
    def authenticate(self, request: HttpRequest, token: str) -> User | None:
        person = tokens.person_of(token)
        if person:
            request.user = person
        return person


def _signed_in(view: Callable[..., HttpResponseBase]) -> Callable[..., HttpResponseBase]:
    """The description of the API: for who is signed in or has a token."""

    def checked(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        if not request.user.is_authenticated and Bearer()(request) is None:
            return problem(401, "unauthorised", UNKNOWN)
        return view(request, *args, **kwargs)

    return checked


UNKNOWN = "Send a token of yours in the header Authorization: Bearer TOKEN. Tokens are made on your profile page."
MISSING = "There is nothing of this name, or it is not yours to see."

api = NinjaAPI(
    title="Swarmsite",
    version="1",
    description="Swarms, what they made, and how they stand. Lists come in parts; every GET has an ETag.",
    urls_namespace="api-v1",
    docs=Swagger(),
    docs_url=None,  # its page would load scripts from elsewhere
    docs_decorator=_signed_in,
    auth=Bearer(),
)


def problem(status: int, code: str, message: str) -> HttpResponse:
    response = JsonResponse({"code": code, "message": message}, status=status)
    response.headers["Cache-Control"] = "no-store"
    if status == 401:
        response.headers["WWW-Authenticate"] = 'Bearer realm="Swarmsite"'
    return response


@api.exception_handler(AuthenticationError)
def _unauthorised(_request: HttpRequest, _error: AuthenticationError) -> HttpResponse:
    return problem(401, "unauthorised", UNKNOWN)


@api.exception_handler(Http404)
def _not_found(_request: HttpRequest, _error: Http404) -> HttpResponse:
    return problem(404, "not_found", MISSING)


@api.exception_handler(PermissionDenied)
def _forbidden(_request: HttpRequest, error: PermissionDenied) -> HttpResponse:
    return problem(403, "forbidden", str(error))


@api.exception_handler(InvalidInput)
def _invalid(_request: HttpRequest, error: InvalidInput) -> HttpResponse:
    return problem(400, "invalid", str(error))


@api.exception_handler(ValidationError)
def _unfit(_request: HttpRequest, error: ValidationError) -> HttpResponse:
    found = [f"{one['loc'][-1]}: {one['msg']}." for one in error.errors]
    return problem(422, "invalid", " ".join(found))


def told(view: Callable[..., HttpResponse]) -> Callable[..., HttpResponse]:
    """A wrong method is answered by the framework itself, without a word that a program can read."""

    def answered(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        response: HttpResponse = view(request, *args, **kwargs)
        if response.status_code != 405:
            return response
        refusal = problem(405, "method_not_allowed", f"This address takes {response.headers['Allow']} only.")
        refusal.headers["Allow"] = response.headers["Allow"]
        return refusal

    answered.csrf_exempt = True  # type: ignore[attr-defined]  # no cookie opens anything here
    return answered


@csrf_exempt
@never_cache
def nowhere(_request: HttpRequest, **_kwargs: str) -> HttpResponse:
    """Every address of the API that there is not."""
    return problem(404, "not_found", "The API has no such address; /api/v1/openapi.json lists them.")


def cached(view: Callable[..., HttpResponse]) -> Callable[..., HttpResponse]:
    """With an ETag, and not sent again to who has it. For one person only, and asked for anew each time."""
    conditional = conditional_page(view)

    def answered(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        response: HttpResponse = conditional(request, *args, **kwargs)
        response.headers["Cache-Control"] = "private, no-cache"
        response.headers["Vary"] = "Authorization"
        return response

    return answered


def person(request: HttpRequest) -> User:
    return cast("SignedIn", request).user


def part(
    request: HttpRequest, rows: QuerySet[Row], window: Window, make: Callable[[Row], Item]
) -> dict[str, list[Item] | str | None]:
    """One part of `rows`, which have a public id; where its last item is gone, InvalidInput says so."""
    rows = rows.order_by("pk")
    if window.after:
        last = rows.filter(public_id=window.after).values_list("pk", flat=True).first()
        if last is None:
            raise InvalidInput("after: there is no such item in this list; begin again without it.")
        rows = rows.filter(pk__gt=last)
    found = list(rows[: window.limit + 1])
    items = found[: window.limit]
    more = len(found) > window.limit
    return {"items": [make(row) for row in items], "next": _address(request, items[-1]) if more else None}


def _address(request: HttpRequest, last: Model) -> str:
    query = request.GET.copy()
    query["after"] = str(getattr(last, "public_id"))  # noqa: B009 - rows of several kinds have one
    return f"{request.path}?{query.urlencode()}"
