"""Which agents a form offers: none to choose from where a team has only ours."""

from __future__ import annotations

from django import forms

from orchestration.domain.agents import BUILTIN
from orchestration.domain.rights import Action
from orchestration.models import Agent, Repository, User


def agent_field() -> forms.ChoiceField:
    return forms.ChoiceField(
        required=False,
        help_text="Who works. The repository's own choice, unless you choose another.",
        error_messages={"invalid_choice": "That agent is not one of yours; choose another."},
    )


def offer_agents(form: forms.Form, user: User) -> None:
    """Fills the form's field, or takes it out."""
    rows = Agent.objects.filter(team__in=user.teams_for(Action.SUBMIT), is_active=True)
    names = list(dict.fromkeys(rows.values_list("name", flat=True)))
    if not names:
        del form.fields["agent"]
        return
    field = form.fields["agent"]
    assert isinstance(field, forms.ChoiceField)  # noqa: S101 - for the type checker
    field.choices = [("", "The repository's"), (BUILTIN, "Built-in"), *((name, name) for name in names)]


def offer_default_agents(form: forms.ModelForm[Repository], user: User) -> None:
    """Of the repository's team; for a new one, of all teams that the person may configure."""
    field = form.fields["agent"]
    assert isinstance(field, forms.ModelChoiceField)  # noqa: S101 - for the type checker
    teams = [form.instance.team] if form.instance.pk else user.teams_for(Action.CONFIGURE)
    field.queryset = Agent.objects.filter(team__in=teams, is_active=True).order_by("name")
    field.empty_label = "Built-in"
    if not field.queryset.exists() and not form.instance.agent_id:
        del form.fields["agent"]
