"""Fields that more than one form has. Their errors are sentences, and their bounds are the domain's."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from django import forms
from django.core.exceptions import ValidationError

from orchestration.domain.config import SwarmConfig
from orchestration.domain.rights import Action
from orchestration.models import User

DEFAULTS = SwarmConfig()
AMOUNT = "Write an amount in US dollars above 0, such as 5 or 0.50."
MOMENT = "Write a day and a time, in UTC."
_OFFERED = SwarmConfig.model_json_schema()["properties"]


class PlainForm(forms.Form):
    """Labels without colons; errors are drawn by components/field.html."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        kwargs.setdefault("label_suffix", "")
        super().__init__(*args, **kwargs)


def offer_teams(form: forms.ModelForm[Any], user: User) -> None:
    """Those that the person may configure, to own a new row; one that is there stays with its team."""
    choice = form.fields["team"]
    assert isinstance(choice, forms.ModelChoiceField)  # noqa: S101 - for the type checker
    choice.queryset = user.teams_for(Action.CONFIGURE).order_by("name")
    if form.instance.pk:
        del form.fields["team"]
    elif choice.queryset.count() == 1:
        choice.initial = choice.queryset.first()


def bounds(name: str) -> tuple[int, int]:
    """The domain's own, of a whole number."""
    told: Mapping[str, Any] = _OFFERED[name]
    kind = next(one for one in (told, *told.get("anyOf", ())) if "minimum" in one)
    return int(kind["minimum"]), int(kind["maximum"])


def number_field(name: str, label: str, help_text: str = "", *, required: bool = True) -> forms.IntegerField:
    """Its bounds are told in a sentence before the domain has to refuse."""
    low, high = bounds(name)
    told = f"Write a whole number from {low} to {high}."

    def check(value: int) -> None:
        if not low <= value <= high:
            raise ValidationError(told)

    return forms.IntegerField(
        required=required,
        label=label,
        help_text=help_text,
        initial=getattr(DEFAULTS, name),
        error_messages={"required": told, "invalid": told},
        validators=[check],
        widget=forms.NumberInput(attrs={"min": low, "max": high, "inputmode": "numeric"}),
    )


def money_field() -> forms.DecimalField:
    return forms.DecimalField(
        required=False,
        label="Budget, US dollars",
        help_text="Empty: none. At the limit it pauses and asks.",
        min_value=Decimal("0.000001"),
        max_value=Decimal(1_000_000),
        decimal_places=6,
        error_messages=dict.fromkeys(("invalid", "min_value", "max_value", "max_decimal_places"), AMOUNT),
        widget=forms.NumberInput(attrs={"step": "any", "inputmode": "decimal"}),
    )


def tokens_field() -> forms.IntegerField:
    return number_field("budget_tokens", "Budget, tokens", "Empty: none.", required=False)


def deadline_field() -> forms.DateTimeField:
    return forms.DateTimeField(
        required=False,
        label="Deadline, UTC",
        help_text="Empty: none. Nothing new begins after it.",
        error_messages={"invalid": MOMENT},
        widget=forms.DateTimeInput(attrs={"type": "datetime-local"}, format="%Y-%m-%dT%H:%M"),
    )
