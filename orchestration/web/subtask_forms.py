"""A subtask as people write it: the fields that the planner fills, judged by the same rules, told beside each field."""

from __future__ import annotations

from typing import Any

import pydantic
from django import forms
from django.core.exceptions import ValidationError

from orchestration.domain import graph
from orchestration.domain.planning import PlannedTask, SubmittedPlan, judge
from orchestration.domain.states import SUBTASK_LOST, SubtaskStatus
from orchestration.domain.validation import sentences
from orchestration.models import Subtask, Swarm
from orchestration.web.fields import PlainForm

PRIORITY = "Write a whole number from 1 (first) to 10."
KINDS = [
    ("change", "Change: it changes files"),
    ("verify", "Verify: it only checks"),
    ("research", "Research: it only reads"),
]


def _lines_field(label: str, help_text: str) -> forms.CharField:
    widget = forms.Textarea(attrs={"rows": 3, "class": "mono", "spellcheck": "false"})
    return forms.CharField(required=False, strip=False, label=label, help_text=help_text, widget=widget)


class SubtaskForm(PlainForm):
    """Of a subtask that is pending; NewSubtaskForm of one that is to be."""

    instruction = forms.CharField(
        strip=False,
        widget=forms.Textarea(attrs={"rows": 8, "spellcheck": "true"}),
        help_text="What the agent is told, word for word. Markdown is welcome.",
        error_messages={"required": "The instruction is empty. Write what the agent should do."},
    )
    acceptance = forms.CharField(
        required=False,
        strip=False,
        widget=forms.Textarea(attrs={"rows": 3, "spellcheck": "true"}),
        help_text="When it counts as done, in words.",
    )
    acceptance_checks = _lines_field(
        "Checks", "One shell command a line, run in the sandbox before it is believed to be done."
    )
    scope = _lines_field("Scope", "One path or glob a line, such as src/shop/**. Empty: not known.")
    priority = forms.IntegerField(
        min_value=1,
        max_value=10,
        initial=5,
        help_text="1 is first, 10 last.",
        error_messages={"required": PRIORITY, "invalid": PRIORITY, "min_value": PRIORITY, "max_value": PRIORITY},
    )
    dependencies = forms.MultipleChoiceField(
        required=False,
        label="Needs",
        widget=forms.CheckboxSelectMultiple,
        help_text="It starts when all of these have landed.",
        error_messages={"invalid_choice": "%(value)s is no subtask of this swarm."},
    )

    def __init__(self, *args: Any, swarm: Swarm, subtask: Subtask | None = None, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.own_name = subtask.name if subtask else ""
        self.working_dir = swarm.config.get("working_dir")
        rows = list(swarm.subtasks.prefetch_related("dependencies").only("name", "status"))
        self.known = {row.name: SubtaskStatus(row.status) for row in rows if row.name != self.own_name}
        self.needs = {row.name: [need.name for need in row.dependencies.all()] for row in rows}
        choice = self.fields["dependencies"]
        assert isinstance(choice, forms.MultipleChoiceField)  # noqa: S101 - for the type checker
        chosen = self.needs.get(self.own_name, [])
        choice.choices = [
            (name, name if status not in SUBTASK_LOST else f"{name} ({status.replace('_', ' ')}: it will not come)")
            for name, status in self.known.items()
            if status not in SUBTASK_LOST or name in chosen
        ]

    @classmethod
    def initial_of(cls, subtask: Subtask) -> dict[str, Any]:
        return {
            "instruction": subtask.instruction,
            "acceptance": subtask.acceptance,
            "acceptance_checks": "\n".join(subtask.acceptance_checks),
            "scope": "\n".join(subtask.scope),
            "priority": subtask.priority,
            "dependencies": [need.name for need in subtask.dependencies.all()],
        }

    def clean_instruction(self) -> str:
        text: str = self.cleaned_data["instruction"]
        if not text.strip():
            raise ValidationError("The instruction is empty. Write what the agent should do.")
        self._judge(instruction=text)
        return text

    def clean_acceptance(self) -> str:
        text: str = self.cleaned_data["acceptance"]
        self._judge(acceptance=text)
        return text

    def clean_acceptance_checks(self) -> list[str]:
        return self._lines("acceptance_checks")

    def clean_scope(self) -> list[str]:
        return self._lines("scope")

    def clean_dependencies(self) -> list[str]:
        names: list[str] = self.cleaned_data["dependencies"]
        self._judge(dependencies=names)
        cycle = graph.find_cycle(self.needs | {self.own_name: names}) if self.own_name else ()
        if cycle:
            raise ValidationError(f"Then they would wait for each other in a circle: {' -> '.join(cycle)}.")
        return names

    def _lines(self, field: str) -> list[str]:
        lines = [line.strip() for line in self.cleaned_data[field].splitlines() if line.strip()]
        self._judge(**{field: lines})
        return lines

    def _judge(self, **fields: Any) -> None:
        """By the rules that a planner's answer must keep."""
        given = {"name": self.own_name or "this-subtask", "instruction": "x"} | fields
        known = {name: status for name, status in self.known.items() if name != given["name"] or "name" in fields}
        try:
            plan = SubmittedPlan(tasks=[PlannedTask.model_validate(given)])
        except pydantic.ValidationError as error:
            raise ValidationError(sentences(error)) from error
        problems = judge(plan, known, work_in_flight=True, working_dir=self.working_dir)
        if problems:
            raise ValidationError(problems)


class NewSubtaskForm(SubtaskForm):
    name = forms.CharField(
        max_length=50,
        help_text="1 to 50 of a-z, 0-9 and -. Every name is used once in a swarm.",
        error_messages={"required": "Give it a name, such as fix-login."},
    )
    kind = forms.ChoiceField(choices=KINDS, initial="change")

    field_order = ("name", "kind", "instruction")

    def clean_name(self) -> str:
        name: str = self.cleaned_data["name"]
        self._judge(name=name)
        return name
