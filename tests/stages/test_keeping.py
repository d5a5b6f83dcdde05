"""What would otherwise be cut off is kept whole: transcripts, the logs of checks, long results of tools."""

from __future__ import annotations

import json

import pytest

from orchestration.adapters import secrets, storage
from orchestration.domain.errors import AdapterError, Failure, InvalidInput
from orchestration.domain.handoffs import CheckResult
from orchestration.domain.redaction import REMOVED
from orchestration.models import Artifact, Attempt, CheckRun, Event
from orchestration.reads.artifacts import content_of
from orchestration.stages import keeping
from orchestration.stages.execute import execute
from orchestration.stages.finish import finish
from orchestration.stages.keeping import keep_checks, keep_output, keep_transcript, save
from tests import factories
from tests.stages.world import Model, World, bash, hand_off, says, write

pytestmark = pytest.mark.any_database
LONG = "echo first; yes | head -c 60000; echo last"
KEY = "sk-proj-0123456789abcdef"


def named(prefix: str) -> list[Artifact]:
    return list(Artifact.objects.filter(name__startswith=prefix).order_by("pk"))


def text_of(artifact: Artifact) -> str:
    return content_of(artifact).decode()


@pytest.mark.sandbox
def test_a_long_result_is_cut_for_the_model_and_kept_whole(world: World, model: Model):
    model.workers["one"] = [bash(LONG), bash(LONG), hand_off()]
    attempt = world.assigned(world.running(), kind="verify")
    execute(attempt.pk)
    first, second = named("bash-")
    assert (first.type, first.attempt, first.mime) == ("tool-output", attempt, "text/plain")
    assert text_of(first).startswith("first\ny\n")
    assert text_of(first).endswith("y\nlast\n")
    assert first.size == len("first\n") + 60_000 + len("last\n")
    assert first.sha256 == second.sha256
    told = [each["content"] for each in world.service.requests[-1].messages if each["role"] == "tool"]
    assert f"all of it is kept as the artifact {first.name} ..." in told[0]
    assert f"all of it is kept as the artifact {second.name} ..." in told[1]
    assert first.name != second.name


@pytest.mark.sandbox
def test_the_transcript_is_kept_at_the_end_step_by_step(world: World, model: Model):
    model.workers["one"] = [says(("bash", {"command": "echo hello"}), text="I look."), write("a.md", "x"), hand_off()]
    attempt = world.assigned(world.running())
    execute(attempt.pk)
    (artifact,) = named("transcript")
    assert (artifact.name, artifact.type, artifact.mime) == ("transcript-1.jsonl", "transcript", "application/x-ndjson")
    steps = [json.loads(line) for line in text_of(artifact).splitlines()]
    assert [step.get("tool", "") for step in steps] == ["", "bash", "write_file"]
    assert (steps[0]["text"], steps[1]["text"], steps[1]["ok"]) == ("I look.", "hello\n\n[exit code 0]", True)
    assert steps[2]["arguments"] == {"path": "a.md", "content": "x"}


@pytest.mark.sandbox
def test_the_transcript_of_a_failure_is_kept_as_well(world: World, model: Model):
    model.workers["one"] = [bash("true")] * 9
    attempt = world.assigned(world.running(max_steps_per_subagent=3), kind="research")
    execute(attempt.pk)
    assert Attempt.objects.get(pk=attempt.pk).status == "failed"
    assert text_of(named("transcript")[0]).count('"tool": "bash"') == 3


@pytest.mark.sandbox
def test_a_long_log_of_a_check_is_kept_beside_its_end(world: World, model: Model):
    model.workers["one"] = [hand_off()]
    checks = ["echo short", LONG]
    attempt = world.assigned(world.running(), kind="verify", acceptance_checks=checks)
    execute(attempt.pk)
    (artifact,) = named("check-")
    assert (artifact.name, artifact.type) == ("check-2.log", "check-log")
    assert text_of(artifact).startswith(f"$ {LONG}\nfirst\n")
    row = CheckRun.objects.get(command=LONG)
    assert len(row.output) == 20_000
    assert text_of(artifact).endswith(row.output)


@pytest.mark.sandbox
def test_so_is_that_of_the_repositorys_check_on_the_result(world: World):
    world.repository.checks = [LONG]
    world.repository.save()
    swarm = world.running()
    type(swarm).objects.filter(pk=swarm.pk).update(status="finalizing")
    finish(swarm.pk)
    (artifact,) = named("check-")
    assert (artifact.swarm, artifact.attempt) == (swarm, None)


def test_what_the_system_keeps_takes_no_room_from_the_agent(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(keeping, "MAX_SAVED", 1)
    monkeypatch.setattr(keeping, "MAX_OUTPUTS", 2)
    attempt = factories.make_attempt()
    assert [keep_output(attempt, f"bash-{n}.txt", "x") for n in range(3)] == ["bash-0.txt", "bash-1.txt", ""]
    assert save(attempt, type_="t", name="mine", mime="", content=b"x") == "Saved mine (1 bytes)."
    with pytest.raises(InvalidInput, match="has saved 1 artifacts"):
        save(attempt, type_="t", name="another", mime="", content=b"x")


def test_only_what_an_agent_saves_is_an_event_of_its_own():
    attempt = factories.make_attempt()
    keep_output(attempt, "bash-1.txt", "x")
    save(attempt, type_="report", name="mine", mime="", content=b"x")
    assert [event.facts["name"] for event in Event.objects.filter(kind="artifact.saved")] == ["mine"]


def test_secrets_are_taken_out_of_all_of_it(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(secrets, "_named", {"MAIN_KEY"})
    monkeypatch.setenv("MAIN_KEY", KEY)
    attempt = factories.make_attempt()
    keep_output(attempt, "bash-1.txt", f"the key is {KEY}")
    keep_checks(attempt.subtask.swarm, attempt, [CheckResult("x", 0, "", 1, whole=f"{KEY}!")])
    factories.make_step(attempt, text=KEY)
    keep_transcript(attempt)
    assert len(Artifact.objects.all()) == 3
    for artifact in Artifact.objects.all():
        assert KEY not in text_of(artifact)
        assert REMOVED in text_of(artifact)


def test_what_is_far_too_long_loses_its_middle(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(keeping, "MAX_BYTES", 100)
    attempt = factories.make_attempt()
    keep_output(attempt, "bash-1.txt", "a" * 80 + "b" * 80)
    kept = text_of(Artifact.objects.get())
    assert kept == "a" * 50 + "\n... the middle is not kept ...\n" + "b" * 50


def test_a_full_disk_ends_no_work(monkeypatch: pytest.MonkeyPatch):
    class Full:
        def put(self, content: bytes) -> str:
            raise AdapterError(Failure.TRANSIENT, "The content could not be stored: No space left on device.")

    monkeypatch.setattr(storage, "blobs", Full)
    attempt = factories.make_attempt()
    factories.make_step(attempt)
    keep_transcript(attempt)
    assert keep_output(attempt, "bash-1.txt", "x") == ""
    assert not Artifact.objects.exists()


def test_where_nothing_was_done_there_is_no_transcript():
    keep_transcript(factories.make_attempt())
    assert not Artifact.objects.exists()
