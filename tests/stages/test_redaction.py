"""A secret that an agent or a model shows ends in no row, no file of ours, no request and no commit."""

from __future__ import annotations

import base64

import pytest
from django.apps import apps

from orchestration.adapters import secrets
from orchestration.domain.redaction import REMOVED
from orchestration.models import Artifact, Attempt, CheckRun, Event, Handoff, ModelEndpoint, PlanIteration, Step
from orchestration.reads.artifacts import content_of
from orchestration.stages.execute import execute
from orchestration.stages.plan import plan
from orchestration.stages.rows import store_of
from tests.stages.world import Model, Nudges, World, bash, call, hand_off, planned, says, task, write

pytestmark = [pytest.mark.sandbox, pytest.mark.any_database]

KEY = "sk-proj-0123456789abcdef"
ENCODED = base64.b64encode(KEY.encode()).decode()
# Puts the key together inside the sandbox, so that no model ever said it.
BUILD = "printf 'sk-proj-0123'; printf '456789abcdef'"


@pytest.fixture
def known(monkeypatch: pytest.MonkeyPatch, world: World) -> None:
    monkeypatch.setattr(secrets, "_named", set())
    monkeypatch.setenv("MAIN_KEY", KEY)
    ModelEndpoint.objects.filter(pk=world.endpoint.pk).update(key_env="MAIN_KEY")


def rows() -> str:
    """Everything that the database holds."""
    models = apps.get_app_config("orchestration").get_models()
    return "\n".join(str(values) for model in models for values in model._default_manager.values())


def run(world: World, model: Model, *lines: object, **subtask: object) -> Attempt:
    model.workers["one"] = list(lines)  # type: ignore[arg-type]
    attempt = world.assigned(world.running(), **subtask)
    execute(attempt.pk)
    attempt.refresh_from_db()
    return attempt


def talkative() -> list[object]:
    artifact = call("save_artifact", type="report", name=f"{KEY}.txt", content=f"It is {ENCODED}.")
    return [
        says(call("bash", command=f"echo {KEY}"), text=f"I found {KEY}.", chunks=9),
        says(call(KEY, argument=ENCODED)),
        bash(BUILD),
        says(artifact),
        write("notes.txt", f"The key: {KEY}\n"),
        hand_off(summary=f"Wrote {KEY} down.", concerns=[ENCODED], suggestions=[KEY.encode().hex()]),
    ]


@pytest.mark.usefixtures("known")
def test_what_agents_say_and_print_is_stored_and_sent_without_it(
    world: World, model: Model, caplog: pytest.LogCaptureFixture
):
    attempt = run(world, model, *talkative(), acceptance_checks=[BUILD])
    assert (attempt.status, Handoff.objects.get().summary) == ("complete", f"Wrote {REMOVED} down.")
    assert CheckRun.objects.get().output == REMOVED
    stored = [step.text for step in Step.objects.all()]
    assert REMOVED in "".join(stored)
    assert Artifact.objects.exclude(type="transcript").get().name == f"{REMOVED}.txt"
    sent = "".join(str(request.body) for request in world.service.requests)
    kept = content_of(Artifact.objects.exclude(type="transcript").get())
    for form in (KEY, ENCODED.strip("="), KEY.encode().hex()):
        assert form not in rows() + sent + caplog.text
        assert form.encode() not in kept
    landed = store_of(attempt.subtask.swarm).read_file(attempt.head_sha, "notes.txt")
    assert landed == f"The key: {REMOVED}\n".encode()


def test_without_the_guard_it_would_be_everywhere(world: World, model: Model):
    attempt = run(world, model, *talkative(), acceptance_checks=[BUILD])
    assert Handoff.objects.get().summary == f"Wrote {KEY} down."
    assert CheckRun.objects.get().output == KEY
    assert KEY in "".join(Step.objects.values_list("text", flat=True))
    assert KEY in "".join(str(request.body) for request in world.service.requests)
    landed = store_of(attempt.subtask.swarm).read_file(attempt.head_sha, "notes.txt")
    assert landed == f"The key: {KEY}\n".encode()


@pytest.mark.usefixtures("known")
@pytest.mark.parametrize("encoder", ["cat", "base64 -w0", "xxd -p"])
def test_a_file_with_it_is_refused_by_name_and_can_be_mended(world: World, model: Model, encoder: str):
    lines = [bash(f"mkdir -p conf; ({BUILD}) | {encoder} > conf/key"), hand_off(), bash("rm conf/key; echo > done.txt")]
    attempt = run(world, model, *lines, hand_off())
    objection = Step.objects.get(tool="handoff", ok=False).text
    assert "conf/key holds a secret of this server, plain or encoded: take it out." in objection
    assert attempt.status == "complete"
    store = store_of(attempt.subtask.swarm)
    assert store.read_file(attempt.head_sha, "conf/key") is None
    assert store.read_file(attempt.head_sha, "done.txt") == b"\n"


@pytest.mark.usefixtures("known")
def test_who_does_not_mend_it_lands_nothing(world: World, model: Model):
    attempt = run(world, model, bash(f"({BUILD}) > key.txt"), hand_off())
    assert attempt.status == "failed"
    assert "key.txt holds a secret" in attempt.status_reason
    assert attempt.head_sha in {"", attempt.base_sha}
    assert not store_of(attempt.subtask.swarm).pins("attempts")


@pytest.mark.usefixtures("known")
def test_a_name_of_a_file_is_no_hiding_place(world: World, model: Model):
    attempt = run(world, model, bash(f'echo x > "$({BUILD})"'), hand_off())
    assert "The name of a file holds a secret of this server: rename it." in attempt.status_reason
    assert KEY not in rows()


def test_without_a_known_secret_the_file_lands(world: World, model: Model):
    attempt = run(world, model, bash(f"({BUILD}) > key.txt"), hand_off())
    assert store_of(attempt.subtask.swarm).read_file(attempt.head_sha, "key.txt") == KEY.encode()


@pytest.mark.usefixtures("known")
def test_what_stood_there_before_is_no_fault_of_the_agent(world: World, model: Model):
    world.clone.commit({"old.txt": f"{KEY}\n"})
    attempt = run(world, model, bash("echo more >> old.txt"), hand_off())
    assert attempt.status == "complete"


@pytest.mark.usefixtures("known")
def test_plans_and_their_scratchpads_are_stored_without_it(world: World, model: Model, nudges: Nudges):
    said = task("one", instruction=f"Use {ENCODED}.", acceptance=KEY)
    model.plans = [planned(said, scratchpad=f"It is {KEY}.")]
    plan(world.submit().pk)
    assert PlanIteration.objects.get().scratchpad == f"It is {REMOVED}."
    assert Event.objects.exists()
    assert KEY not in rows()
    assert ENCODED.strip("=") not in rows()
