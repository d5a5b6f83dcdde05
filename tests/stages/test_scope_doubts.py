"""What an attempt changed outside its subtask's scope is said wherever its handoff is read, and lands all the same."""

from __future__ import annotations

from typing import Any

from orchestration.models import Handoff
from orchestration.stages.execute import execute
from tests.stages.world import Model, World, hand_off, write


def handed_off(world: World, model: Model, *paths: str, **subtask: Any) -> Handoff:
    model.workers["one"] = [*(write(path, "x\n") for path in paths), hand_off()]
    attempt = world.assigned(world.running(), **subtask)
    execute(attempt.pk)
    return Handoff.objects.get(attempt=attempt)


def test_what_it_changed_outside_its_scope_is_said(world: World, model: Model):
    found = handed_off(world, model, "src/one.txt", "docs/one.md", scope=["src/**"])
    assert (found.status, found.files_changed) == ("complete", ["docs/one.md", "src/one.txt"])
    assert found.suspicious == "It changed files outside its scope: docs/one.md."


def test_what_lies_inside_raises_no_doubt(world: World, model: Model):
    assert handed_off(world, model, "src/one.txt", scope=["src/**"]).suspicious == ""


def test_where_no_scope_is_known_nothing_lies_outside(world: World, model: Model):
    assert handed_off(world, model, "docs/one.md", scope=[]).suspicious == ""
