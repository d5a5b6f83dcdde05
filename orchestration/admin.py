"""Operators' side: what a team is set up with can be edited; what the engine owns can only be looked at."""

from __future__ import annotations

from typing import Any

from django.contrib import admin, messages
from django.contrib.auth.admin import UserAdmin as DjangoUserAdmin
from django.contrib.auth.models import Group
from django.db.models import Model, QuerySet, URLField
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString

from orchestration import models
from orchestration.domain.errors import InvalidInput
from orchestration.domain.presets import PRESETS
from orchestration.stages import steer
from orchestration.stages.audition import audition
from orchestration.stages.examine import examine

admin.site.site_header = "Swarmsite operations"
admin.site.site_title = "Swarmsite"
admin.site.index_title = "What runs here"
admin.site.unregister(Group)  # rights come from roles in teams; a group would change nothing


@admin.register(models.User)
class UserAdmin(DjangoUserAdmin[models.User]):
    """Without groups, which decide nothing here."""

    list_filter = ("is_staff", "is_superuser", "is_active")
    filter_horizontal = ()  # its icons and Django's dates in two parts have no label of their own
    readonly_fields = ("last_login", "date_joined")
    fieldsets = (
        (None, {"fields": ("username", "password")}),
        ("Person", {"fields": ("first_name", "last_name", "email")}),
        ("Rights", {"fields": ("is_active", "is_staff", "is_superuser", "user_permissions")}),
        ("Dates", {"fields": ("last_login", "date_joined")}),
    )


class MembershipInline(admin.TabularInline[models.Membership, models.Team]):
    model = models.Membership
    extra = 0
    autocomplete_fields = ("user",)


@admin.register(models.Team)
class TeamAdmin(admin.ModelAdmin[models.Team]):
    list_display = ("name", "public_id", "created_at")
    search_fields = ("name",)
    readonly_fields = ("public_id",)
    inlines = (MembershipInline,)


@admin.register(models.Repository)
class RepositoryAdmin(admin.ModelAdmin[models.Repository]):
    """A local path that is given here counts as one that an operator vouches for."""

    list_display = ("name", "team", "url", "branch", "is_demo")
    list_filter = ("team",)
    search_fields = ("name", "url")
    readonly_fields = ("public_id", "is_demo")
    list_select_related = ("team",)

    def save_model(self, request: HttpRequest, obj: models.Repository, form: Any, change: bool) -> None:  # noqa: FBT001 - Django's own
        """A token that was given on its page is for the address that it was given for."""
        if obj.token_kept and {"url", "token_env"} & set(form.changed_data):
            obj.token_kept = False
            self.message_user(request, "The token that was given on its page is used no more.", messages.WARNING)
        super().save_model(request, obj, form, change)

    def get_changeform_initial_data(self, request: HttpRequest) -> dict[str, Any]:
        return super().get_changeform_initial_data(request) | {"path_allowed": True}


@admin.register(models.ModelEndpoint)
class ModelEndpointAdmin(admin.ModelAdmin[models.ModelEndpoint]):
    list_display = ("name", "team", "kind", "model", "base_url", "key_env", "weight", "enabled", "is_demo")
    list_filter = ("team", "kind", "enabled")
    search_fields = ("name", "model")
    readonly_fields = ("public_id", "is_demo")
    list_select_related = ("team",)
    actions = ("test",)
    formfield_overrides = {URLField: {"assume_scheme": "https"}}

    @admin.action(description="Test: one tiny call each", permissions=["change"])
    def test(self, request: HttpRequest, chosen: QuerySet[models.ModelEndpoint]) -> None:
        for row in chosen:
            found = examine(row)
            self.message_user(request, str(found), messages.SUCCESS if found.works else messages.ERROR)

    def save_model(self, request: HttpRequest, obj: models.ModelEndpoint, form: Any, change: bool) -> None:  # noqa: FBT001 - Django's own
        """A key that was given on its page is for the address that it was given for."""
        if obj.key_kept and {"base_url", "key_env"} & set(form.changed_data):
            obj.key_kept = False
            self.message_user(request, "The key that was given on its page is used no more.", messages.WARNING)
        super().save_model(request, obj, form, change)

    def response_change(self, request: HttpRequest, obj: models.ModelEndpoint) -> HttpResponse:
        """The second button stays on the page and tells what came of it."""
        if "_test" not in request.POST:
            return super().response_change(request, obj)
        self.test(request, models.ModelEndpoint.objects.filter(pk=obj.pk))
        return HttpResponseRedirect(request.path)


@admin.register(models.Agent)
class AgentAdmin(admin.ModelAdmin[models.Agent]):
    """A preset fills the form; where the program is installed stays to be written."""

    list_display = ("name", "team", "kind", "program", "permissions", "is_active")
    list_filter = ("team", "kind", "is_active")
    search_fields = ("name",)
    readonly_fields = ("public_id",)
    list_select_related = ("team",)
    actions = ("test",)

    @admin.display(description="Program")
    def program(self, obj: models.Agent) -> str:
        return str(obj.argv[0]) if isinstance(obj.argv, list) and obj.argv else ""

    @admin.action(description="Test: start each and see who it is", permissions=["change"])
    def test(self, request: HttpRequest, chosen: QuerySet[models.Agent]) -> None:
        for row in chosen:
            found = audition(row)
            self.message_user(request, str(found), messages.SUCCESS if found.works else messages.ERROR)

    def get_changeform_initial_data(self, request: HttpRequest) -> dict[str, Any]:
        preset = PRESETS.get(request.GET.get("preset", ""))
        filled = preset.fields() | {"name": request.GET["preset"]} if preset else {}
        return super().get_changeform_initial_data(request) | filled

    def add_view(
        self, request: HttpRequest, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        return super().add_view(request, form_url, {**(extra_context or {}), "presets": PRESETS})

    def response_add(
        self, request: HttpRequest, obj: models.Agent, post_url_continue: str | None = None
    ) -> HttpResponse:
        if "_test" not in request.POST:
            return super().response_add(request, obj, post_url_continue)
        self.test(request, models.Agent.objects.filter(pk=obj.pk))
        return HttpResponseRedirect(reverse("admin:orchestration_agent_change", args=[obj.pk]))

    def response_change(self, request: HttpRequest, obj: models.Agent) -> HttpResponse:
        if "_test" not in request.POST:
            return super().response_change(request, obj)
        self.test(request, models.Agent.objects.filter(pk=obj.pk))
        return HttpResponseRedirect(request.path)


class ReadOnlyAdmin(admin.ModelAdmin[Model]):
    """For rows that the engine owns: an edit behind its back would be a lie in the log."""

    show_full_result_count = False

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return False


@admin.register(models.Resolution)
class ResolutionAdmin(ReadOnlyAdmin):
    """To forget one is to delete it: the same conflict is then settled anew."""

    list_display = ("path", "repository", "uses", "used_at", "created_at")
    list_filter = ("repository",)
    search_fields = ("path",)
    list_select_related = ("repository",)

    def has_delete_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return admin.ModelAdmin.has_delete_permission(self, request, obj)


@admin.register(models.Swarm)
class SwarmAdmin(ReadOnlyAdmin):
    list_display = ("title", "page", "status", "repository", "requester", "cost_usd", "created_at", "public_id")
    list_filter = ("status", "repository")
    search_fields = ("public_id", "title")
    list_select_related = ("repository", "requester")
    date_hierarchy = "created_at"
    actions = ("pause", "resume", "cancel")

    def view_on_site(self, obj: Any) -> str:
        """In our pages: what the rows of the admin cannot show."""
        return reverse("swarm", args=[obj.public_id])

    @admin.display(description="On site")
    def page(self, obj: Any) -> SafeString:
        return format_html('<a href="{}">View on site</a>', self.view_on_site(obj))

    @admin.action(description="Pause")
    def pause(self, request: HttpRequest, chosen: QuerySet[models.Swarm]) -> None:
        self._steer(request, chosen, steer.pause)

    @admin.action(description="Resume")
    def resume(self, request: HttpRequest, chosen: QuerySet[models.Swarm]) -> None:
        self._steer(request, chosen, steer.resume)

    @admin.action(description="Cancel")
    def cancel(self, request: HttpRequest, chosen: QuerySet[models.Swarm]) -> None:
        self._steer(request, chosen, steer.cancel)

    def _steer(self, request: HttpRequest, chosen: QuerySet[models.Swarm], how: Any) -> None:
        for swarm in chosen.select_related("repository__team"):
            try:
                how(swarm, request.user)
            except InvalidInput as error:
                self.message_user(request, f"{swarm.title}: {error}", messages.WARNING)


@admin.register(models.Attempt)
class AttemptAdmin(ReadOnlyAdmin):
    list_display = ("public_id", "subtask", "number", "status", "status_reason", "lease_expires_at", "last_sign_at")
    list_filter = ("status",)
    search_fields = ("public_id", "subtask__name")
    list_select_related = ("subtask",)


@admin.register(models.MergeEntry)
class MergeEntryAdmin(ReadOnlyAdmin):
    list_display = ("public_id", "subtask", "status", "status_reason", "infra_failures", "enqueued_at")
    list_filter = ("status",)
    list_select_related = ("subtask",)


@admin.register(models.GateRun)
class GateRunAdmin(ReadOnlyAdmin):
    list_display = ("public_id", "swarm", "status", "why", "flake", "status_reason", "duration_ms", "created_at")
    list_filter = ("status", "flake")
    search_fields = ("public_id", "swarm__public_id", "tree")
    list_select_related = ("swarm",)


@admin.register(models.Event)
class EventAdmin(ReadOnlyAdmin):
    list_display = ("swarm", "seq", "kind", "at")
    list_filter = ("kind",)
    search_fields = ("swarm__public_id",)
    list_select_related = ("swarm",)
    date_hierarchy = "at"


@admin.register(models.Lease)
class LeaseAdmin(ReadOnlyAdmin):
    list_display = ("name", "holder", "fence", "expires_at")
