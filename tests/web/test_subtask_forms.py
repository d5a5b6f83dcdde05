"""Editing the plan: every error is a sentence beside its field, and nothing typed is lost."""

from __future__ import annotations

import re
from html import unescape
from typing import Any

import pytest

from orchestration.models import Subtask, Swarm
from orchestration.web.subtask_forms import NewSubtaskForm, SubtaskForm
from tests import factories as make
from tests.web.conftest import House

GIVEN: dict[str, Any] = {
    "instruction": "Write the store.",
    "acceptance": "It works.",
    "acceptance_checks": "make test\n\n make lint \n",
    "scope": "shop/sessions/**\nshop/settings.py",
    "priority": "3",
    "dependencies": ["survey"],
}


@pytest.fixture
def swarm(house: House) -> Swarm:
    return make.make_swarm(house.repository, requester=house.member, status="awaiting_approval")


@pytest.fixture
def survey(swarm: Swarm) -> Subtask:
    return make.make_subtask(swarm, name="survey")


@pytest.fixture
def store(swarm: Swarm, survey: Subtask) -> Subtask:
    return make.make_subtask(swarm, name="store", needs=[survey])


def errors_of(store: Subtask, **fields: Any) -> dict[str, list[str]]:
    form = SubtaskForm(GIVEN | fields, swarm=store.swarm, subtask=store)
    form.is_valid()
    return {name: list(found) for name, found in form.errors.items()}


def test_what_is_written_comes_out_clean(store: Subtask):
    form = SubtaskForm(GIVEN, swarm=store.swarm, subtask=store)
    assert form.is_valid(), form.errors
    assert form.cleaned_data == {
        "instruction": "Write the store.",
        "acceptance": "It works.",
        "acceptance_checks": ["make test", "make lint"],
        "scope": ["shop/sessions/**", "shop/settings.py"],
        "priority": 3,
        "dependencies": ["survey"],
    }


def test_it_begins_with_what_is_there(store: Subtask):
    initial = SubtaskForm.initial_of(store)
    form = SubtaskForm(initial, swarm=store.swarm, subtask=store)
    assert form.is_valid(), form.errors
    assert form.cleaned_data["scope"] == store.scope
    assert form.cleaned_data["dependencies"] == ["survey"]


@pytest.mark.parametrize(
    ("field", "value", "said"),
    [
        ("instruction", " \n ", "The instruction is empty."),
        ("instruction", "", "The instruction is empty."),
        ("acceptance", "x" * 20_001, "at most 20000 characters"),
        ("acceptance_checks", "x" * 1001, "at most 1000 characters"),
        ("acceptance_checks", "true\n" * 21, "at most 20 items"),
        ("scope", "../outside", "leaves the repository"),
        ("scope", "/etc/passwd", "leaves the repository"),
        ("priority", "0", "Write a whole number from 1 (first) to 10."),
        ("priority", "eleven", "Write a whole number from 1 (first) to 10."),
        ("priority", "", "Write a whole number from 1 (first) to 10."),
        ("dependencies", ["nobody"], "nobody is no subtask of this swarm."),
        ("dependencies", ["store"], "store is no subtask of this swarm."),
    ],
)
def test_what_is_wrong_is_said_beside_its_field(store: Subtask, field: str, value: Any, said: str):
    found = errors_of(store, **{field: value})
    assert list(found) == [field]
    assert said in found[field][0]


def test_a_circle_is_refused_with_its_names(swarm: Swarm, survey: Subtask, store: Subtask):
    form = SubtaskForm(GIVEN | {"dependencies": ["store"]}, swarm=swarm, subtask=survey)
    assert not form.is_valid()
    (said,) = form.errors["dependencies"]
    assert "in a circle: " in said
    assert "survey" in said
    assert "store" in said


def test_what_will_not_come_is_shown_and_refused(swarm: Swarm, survey: Subtask, store: Subtask):
    Subtask.objects.filter(pk=survey.pk).update(status="cancelled")
    form = SubtaskForm(swarm=swarm, subtask=store)
    assert "survey (cancelled: it will not come)" in str(form["dependencies"])
    assert "which is cancelled" in errors_of(store)["dependencies"][0]
    assert errors_of(store, dependencies=[]) == {}


def test_a_scope_keeps_to_the_working_directory(swarm: Swarm, store: Subtask):
    swarm.config["working_dir"] = "services/api"
    swarm.save()
    assert "lies outside 'services/api'" in errors_of(Subtask.objects.get(pk=store.pk))["scope"][0]


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("", "Give it a name"),
        ("Not Good", "must be 1 to 50 of a-z, 0-9 and -"),
        ("store", "is taken by an earlier task"),
        ("this-subtask", ""),
    ],
)
def test_a_new_one_needs_a_name_of_its_own(swarm: Swarm, store: Subtask, name: str, said: str):
    form = NewSubtaskForm(GIVEN | {"name": name, "kind": "verify"}, swarm=swarm)
    assert form.is_valid() is (not said)
    assert said in str(form.errors)
    assert list(form.fields)[:3] == ["name", "kind", "instruction"]


# The pages.


def text_of(html: str) -> str:
    return unescape(re.sub(r"\s+", " ", re.sub(r"<[^>]*>", " ", html)))


def test_a_member_edits_a_pending_subtask(house: House, store: Subtask):
    client = house.client("member")
    assert store.instruction in client.get(f"/subtasks/{store.public_id}/edit/").content.decode()
    answer = client.post(f"/subtasks/{store.public_id}/edit/", GIVEN | {"dependencies": []})
    assert answer.headers["Location"] == f"/swarms/{store.swarm.public_id}/plan/"
    store.refresh_from_db()
    assert (store.instruction, store.acceptance, store.priority) == ("Write the store.", "It works.", 3)
    assert store.acceptance_checks == ["make test", "make lint"]
    assert store.scope == ["shop/sessions/**", "shop/settings.py"]
    assert not store.dependencies.exists()


def test_nothing_typed_is_lost(house: House, store: Subtask):
    typed = GIVEN | {"scope": "../up", "instruction": "Something <new>"}
    answer = house.client("member").post(f"/subtasks/{store.public_id}/edit/", typed)
    assert answer.status_code == 400
    page = answer.content.decode()
    assert "Something &lt;new&gt;" in page
    assert "../up</textarea>" in page
    assert 'value="survey" id="id_dependencies_0" checked' in re.sub(r"\s+", " ", page) or "checked" in page
    assert "1 field below needs another look. Nothing you wrote is lost." in text_of(page)
    store.refresh_from_db()
    assert store.instruction == "Write the **store**."


def test_a_member_adds_a_subtask(house: House, swarm: Swarm, store: Subtask):
    client = house.client("member")
    path = f"/swarms/{swarm.public_id}/subtasks/new/"
    assert "Add a subtask" in client.get(path).content.decode()
    answer = client.post(path, GIVEN | {"name": "extra", "kind": "verify", "dependencies": ["store"]})
    assert answer.headers["Location"] == f"/swarms/{swarm.public_id}/plan/"
    extra = swarm.subtasks.get(name="extra")
    assert (extra.kind, extra.status, extra.level) == ("verify", "pending", 2)
    assert [need.name for need in extra.dependencies.all()] == ["store"]


def test_a_name_that_is_taken_is_said_beside_it(house: House, swarm: Swarm, store: Subtask):
    answer = house.client("member").post(
        f"/swarms/{swarm.public_id}/subtasks/new/", GIVEN | {"name": "store", "kind": "change"}
    )
    assert answer.status_code == 400
    assert "is taken by an earlier task" in text_of(answer.content.decode())


@pytest.mark.parametrize("status", ["running", "complete", "cancelled"])
def test_what_is_no_longer_pending_is_not_edited(house: House, store: Subtask, status: str):
    Subtask.objects.filter(pk=store.pk).update(status=status)
    answer = house.client("member").post(f"/subtasks/{store.public_id}/edit/", GIVEN)
    assert answer.status_code == 400
    page = text_of(answer.content.decode())
    assert "Nothing you wrote is lost." in page
    store.refresh_from_db()
    assert store.instruction == "Write the **store**."


def test_the_plan_page_offers_both(house: House, swarm: Swarm, store: Subtask):
    page = house.client("member").get(f"/swarms/{swarm.public_id}/plan/").content.decode()
    assert f'href="/subtasks/{store.public_id}/edit/"' in page
    assert f'href="/swarms/{swarm.public_id}/subtasks/new/"' in page
    page = house.client("viewer").get(f"/swarms/{swarm.public_id}/plan/").content.decode()
    assert "/edit/" not in page
    assert "/subtasks/new/" not in page
