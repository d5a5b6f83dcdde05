"""The form of a model service: little to fill in for a well-known one, and a key that is never shown again."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING, Any

from django import forms
from django.core.exceptions import ValidationError

from orchestration.domain.endpoints import ModelRole
from orchestration.domain.errors import InvalidInput
from orchestration.domain.rights import Action
from orchestration.domain.well_known import SERVICES, check_base_url, origin_of, sends_in_clear, service_at
from orchestration.models import ModelEndpoint, Team, User
from orchestration.stages.connect import check_address
from orchestration.web.fields import AMOUNT, offer_teams

LONGEST_KEY = 4000
ROLE_WORDS = {
    ModelRole.PLANNER: "Planner",
    ModelRole.SUBPLANNER: "Subplanners",
    ModelRole.WORKER: "Workers",
    ModelRole.REVIEWER: "Reviewer",
    ModelRole.RECONCILER: "Reconciler",
}

if TYPE_CHECKING:
    FormOfEndpoint = forms.ModelForm[ModelEndpoint]
else:
    FormOfEndpoint = forms.ModelForm


def key_field(label: str) -> forms.CharField:
    """Written and never shown: what is typed into it is in no page that we send."""
    attrs = {"autocomplete": "off", "spellcheck": "false", "class": "mono"}
    return forms.CharField(
        required=False,
        label=label,
        max_length=LONGEST_KEY,
        widget=forms.PasswordInput(attrs=attrs, render_value=False),
        validators=[check_key],
    )


def check_key(value: str) -> None:
    if not all("!" <= character <= "~" for character in value):
        raise ValidationError("It holds a space, a line break or another character that cannot be sent: copy it anew.")


def plain_amount(amount: Decimal) -> str:
    """`3.5` for 3.500000, and nothing for nothing."""
    return f"{amount.normalize():f}" if amount else ""


def price_field(label: str) -> forms.DecimalField:
    return forms.DecimalField(
        required=False,
        label=label,
        min_value=0,
        max_value=100_000,
        decimal_places=6,
        help_text="US dollars per million tokens. Empty or 0: it costs nothing.",
        error_messages=dict.fromkeys(("invalid", "min_value", "max_value", "max_decimal_places"), AMOUNT),
        widget=forms.NumberInput(attrs={"step": "any", "min": 0, "inputmode": "decimal"}),
    )


class EndpointForm(FormOfEndpoint):
    LIMITS = ("input_price", "output_price", "context_window", "max_concurrent", "weight")

    base_url = forms.CharField(
        max_length=500,
        label="Address",
        widget=forms.URLInput(attrs={"spellcheck": "false", "class": "mono", "placeholder": "https://"}),
        error_messages={"required": "Write where the service is, such as https://api.example.org/v1."},
    )
    model = forms.CharField(
        required=False,
        max_length=200,
        label="Model",
        help_text="Its name as the service writes it. Empty: a test asks the service which ones it has.",
        widget=forms.TextInput(attrs={"list": "models", "autocomplete": "off", "spellcheck": "false", "class": "mono"}),
    )
    key = key_field("Key")
    forget_key = forms.BooleanField(required=False, label="Forget the key that is kept")
    input_price = price_field("Price of input")
    output_price = price_field("Price of output")
    roles = forms.MultipleChoiceField(
        required=False,
        choices=[(role.value, word) for role, word in ROLE_WORDS.items()],
        widget=forms.CheckboxSelectMultiple,
        label="Who may use it",
    )
    team = forms.ModelChoiceField(
        Team.objects.none(), empty_label=None, error_messages={"required": "Choose the team that it is for."}
    )

    class Meta:
        model = ModelEndpoint
        fields = [
            "team",
            "name",
            "kind",
            "base_url",
            "model",
            "input_price",
            "output_price",
            "context_window",
            "max_concurrent",
            "weight",
            "roles",
        ]
        labels = {
            "kind": "Format",
            "context_window": "Context window, tokens",
            "max_concurrent": "Calls at once",
            "weight": "Weight",
        }
        help_texts = {
            "kind": "Which of the two formats the service speaks.",
            "name": "What your team calls it.",
            "context_window": "What the model takes, its answer included. Empty: known by its name, or learned.",
            "max_concurrent": "Empty: as many as the service takes, found out by itself.",
            "weight": "Higher is asked first.",
        }
        error_messages = {"name": {"required": "Give it a name that your team will know."}}

    def __init__(self, *args: Any, user: User, service: str = "", **kwargs: Any) -> None:
        kwargs.setdefault("label_suffix", "")
        super().__init__(*args, **kwargs)
        self._user = user
        self._before = (self.instance.base_url, self.instance.key_kept or bool(self.instance.key_env))
        self.service = service if service in SERVICES else service_at(self.instance.base_url)
        self.testing = self.is_bound and bool({"test", "choose"} & set(self.data))
        self.fields["weight"].required = False
        offer_teams(self, user)
        if self.instance.pk:
            self.initial.update({name: plain_amount(getattr(self.instance, name)) for name in self.LIMITS[:2]})
            self.initial["roles"] = [role.strip() for role in self.instance.roles.split(",") if role.strip()]
        elif self.service:
            self._prefill()
        if not self.instance.key_kept:
            del self.fields["forget_key"]

    def _prefill(self) -> None:
        one = SERVICES[self.service]
        taken = set(
            ModelEndpoint.objects.filter(team__in=self._user.teams_for(Action.CONFIGURE)).values_list("name", flat=True)
        )
        plain = "" if self.service == "other" else self.service
        names = (plain, *(f"{plain}-{number}" for number in range(2, 100)))
        self.initial.update(kind=one.kind, base_url=one.base_url)
        self.initial["name"] = next((name for name in names if name not in taken), plain)

    @property
    def one_team(self) -> bool:
        """Then there is nothing to choose."""
        choice = self.fields.get("team")
        return isinstance(choice, forms.ModelChoiceField) and choice.queryset is not None and len(choice.queryset) == 1

    @property
    def limits(self) -> list[forms.BoundField]:
        return [self[name] for name in self.LIMITS]

    @property
    def limits_open(self) -> bool:
        """Folded away, unless something in there is wrong or was changed."""
        return any(self[name].errors for name in (*self.LIMITS, "roles"))

    @property
    def is_elsewhere(self) -> bool:
        """Whether what a key was given for is not the address that is written now."""
        return bool(self.instance.pk) and origin_of(self._before[0]) != origin_of(self.instance.base_url)

    def clean_base_url(self) -> str:
        try:
            return check_base_url(self.cleaned_data["base_url"])
        except InvalidInput as error:
            raise ValidationError(str(error)) from None

    def clean_name(self) -> str:
        name: str = self.cleaned_data["name"].strip()
        team = self.instance.team if self.instance.pk else self.data.get("team")
        given = team if isinstance(team, Team) or str(team).isdigit() else None
        if ModelEndpoint.objects.filter(name=name, team=given).exclude(pk=self.instance.pk).exists():
            raise ValidationError("The team has a model of that name already; choose another.")
        if "/" in name:
            raise ValidationError("The name must not hold a slash: swarms name a model as name/model.")
        return name

    def clean_model(self) -> str:
        model: str = self.cleaned_data["model"].strip()
        if not model and not self.testing:
            raise ValidationError("Name the model, or test the address to see which ones the service has.")
        return model

    def clean_input_price(self) -> Any:
        return self.cleaned_data["input_price"] or 0

    def clean_output_price(self) -> Any:
        return self.cleaned_data["output_price"] or 0

    def clean_weight(self) -> int:
        weight = self.cleaned_data["weight"]
        return 100 if weight is None else int(weight)

    def clean_roles(self) -> str:
        return ", ".join(self.cleaned_data["roles"])

    def settle(self, key: str) -> None:
        """What the fields mean together, once each is right: `key` is what was typed, now or for the last test."""
        row, (_, had_key) = self.instance, self._before
        forgets = bool(self.cleaned_data.get("forget_key"))
        if self.is_elsewhere or not row.pk:
            row.address_allowed = self._user.is_staff  # who writes it is the operator who vouches for it
        if self.is_elsewhere and had_key and not key and not forgets:
            told = f"The key was given for {origin_of(self._before[0])} and is sent nowhere else: give one for the new"
            self.add_error("key", f"{told} address{', or forget it' if 'forget_key' in self.fields else ''}.")
        if forgets or self.is_elsewhere:
            row.key_kept, row.key_env = False, ""
        if (key or row.key_kept or row.key_env) and sends_in_clear(row.base_url):
            self.add_error("base_url", "http:// would send the key unencrypted: give the https:// address.")
        try:
            check_address(row)
        except InvalidInput as error:
            self.add_error("base_url", str(error))
