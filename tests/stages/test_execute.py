"""One attempt from its claim to its handoff: claimed once, from the right base, judged by evidence, written down."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from django.utils import timezone

from orchestration.adapters import storage
from orchestration.demo.service import Answer
from orchestration.domain.conversation import Usage
from orchestration.domain.events import Stage
from orchestration.models import (
    Artifact,
    Attempt,
    CheckRun,
    Event,
    Handoff,
    MergeEntry,
    ModelCall,
    ModelEndpoint,
    Step,
    Subtask,
    Swarm,
)
from orchestration.stages.execute import execute
from orchestration.stages.merge import merge
from orchestration.stages.rows import store_of
from tests import factories
from tests.stages.world import Model, Nudges, World, at_once, bash, call, hand_off, says, statuses, write

pytestmark = pytest.mark.sandbox


def run(world: World, model: Model, *answers: Answer, subtask: dict[str, Any] | None = None, **config: Any) -> Attempt:
    """One attempt whose worker answers so."""
    swarm = world.running(**config)
    if answers:
        model.workers["one"] = list(answers)
    attempt = world.assigned(swarm, **(subtask or {}))
    execute(attempt.pk)
    attempt.refresh_from_db()
    attempt.subtask.refresh_from_db()
    return attempt


def file_of(attempt: Attempt, path: str) -> str | None:
    """A file as the attempt left it, read from its pinned commit."""
    store = store_of(attempt.subtask.swarm)
    assert store.pins("attempts").get(attempt.public_id) == attempt.head_sha, "the commit is pinned"
    found = store.read_file(attempt.head_sha, path)
    return found.decode() if found is not None else None


def test_what_a_worker_wrote_is_handed_off_to_the_queue(world: World, model: Model, nudges: Nudges):
    attempt = run(
        world,
        model,
        write("new.txt", "new\n"),
        hand_off(summary="Wrote it.", concerns=["Thin."], suggestions=["More."]),
    )
    swarm = attempt.subtask.swarm
    assert (attempt.status, attempt.subtask.status, attempt.doing) == ("complete", "handed_off", "")
    assert file_of(attempt, "new.txt") == "new\n"
    assert store_of(swarm).merge_base(attempt.base_sha, attempt.head_sha) == attempt.base_sha == swarm.base_sha
    handoff = attempt.handoff
    assert (handoff.status, handoff.summary, handoff.suspicious) == ("complete", "Wrote it.", "")
    assert (handoff.concerns, handoff.suggestions) == (["Thin."], ["More."])
    assert (handoff.files_changed, handoff.insertions, handoff.deletions) == (["new.txt"], 1, 0)
    entry = MergeEntry.objects.get()
    assert (entry.status, entry.attempt, entry.head_sha) == ("queued", attempt, attempt.head_sha)
    assert (Stage.MERGE, swarm.pk) in nudges.all
    commit = store_of(swarm).log(attempt.head_sha, limit=1)[0]
    assert (commit.author, commit.subject) == ("one (agent)", "one: Wrote it.")


def test_the_worker_hears_its_instruction_and_what_its_dependencies_left(world: World, model: Model):
    world.clone.commit({"AGENTS.md": "Use tabs.\n"})
    swarm = world.running()
    done = factories.make_subtask(swarm, name="base", status="complete")
    factories.make_handoff(factories.make_attempt(done, status="complete"), summary="The base lies.")
    attempt = world.assigned(swarm, instruction="Put a roof on it.", acceptance="It is dry.")
    attempt.subtask.dependencies.set([done])
    execute(attempt.pk)
    first = world.service.requests[0]
    assert first.first_text.startswith(f"swarm: {swarm.public_id}\nsubtask: one\n")
    for text in ("Put a roof on it.", "It is dry.", "The base lies.", "Make it better."):
        assert text in first.first_text
    assert "Use tabs." in str(first.messages[0]["content"])
    assert first.closing == "handoff"


def test_it_starts_from_a_tree_that_holds_what_landed_before(world: World, model: Model):
    swarm = world.running()
    world.queued(swarm, "base", {"base.txt": "base\n"})
    merge(swarm.pk)
    model.workers["one"] = [bash("cat base.txt > seen.txt"), hand_off()]
    attempt = world.assigned(swarm)
    execute(attempt.pk)
    attempt.refresh_from_db()
    assert attempt.base_sha == store_of(swarm).tip(swarm.branch) != swarm.base_sha
    assert file_of(attempt, "seen.txt") == "base\n"


# Claimed once.


def test_an_attempt_is_run_once_however_many_are_told(world: World):
    swarm = world.running()
    attempt = world.assigned(swarm)
    assert at_once(*[lambda: execute(attempt.pk)] * 4) == [None] * 4
    execute(attempt.pk)
    assert world.service.total == 2
    assert Handoff.objects.count() == 1
    kinds = list(Event.objects.filter(kind__startswith="attempt.").values_list("kind", flat=True))
    assert kinds == ["attempt.running", "attempt.complete"]


@pytest.mark.parametrize("status", ["paused", "cancelled", "failed", "awaiting_approval"])
def test_nothing_runs_in_a_swarm_that_does_not(world: World, status: str):
    attempt = world.assigned(world.running())
    Swarm.objects.update(status=status, finished_at=timezone.now())
    execute(attempt.pk)
    assert Attempt.objects.get().status == "assigned"
    assert world.service.total == 0


@pytest.mark.parametrize("status", ["cancelled", "lost", "complete", "running"])
def test_nothing_runs_that_is_not_there_to_be_taken(world: World, status: str):
    attempt = world.assigned(world.running())
    Attempt.objects.update(status=status, finished_at=timezone.now(), lease_token="x")
    execute(attempt.pk)
    assert Attempt.objects.get().status == status
    assert world.service.total == 0


# Done is our verdict.


def test_a_green_acceptance_check_is_believed(world: World, model: Model):
    attempt = run(world, model, subtask={"acceptance_checks": ["test -f one.txt", "grep -q one one.txt"]})
    assert attempt.status == "complete"
    checks = list(CheckRun.objects.filter(attempt=attempt).values_list("command", "passed", "exit_code", "sha"))
    sha = attempt.head_sha
    assert checks == [("test -f one.txt", True, 0, sha), ("grep -q one one.txt", True, 0, sha)]


def test_a_red_check_sends_the_worker_back_until_it_is_green(world: World, model: Model):
    attempt = run(
        world,
        model,
        write("one.txt", "wrong\n"),
        hand_off(),
        write("one.txt", "right\n"),
        hand_off(summary="Now it is."),
        subtask={"acceptance_checks": ["cat one.txt; grep -q right one.txt"]},
    )
    assert attempt.status == "complete"
    assert file_of(attempt, "one.txt") == "right\n"
    told = world.service.requests[2].last_text
    assert told.startswith("Not complete yet. The acceptance check `cat one.txt; grep -q right one.txt` did not pass")
    assert "printed:\nwrong" in told
    assert attempt.handoff.summary == "Now it is."


def test_a_red_check_is_stronger_than_the_agents_word(world: World, model: Model):
    attempt = run(world, model, write("one.txt", "x\n"), hand_off(), subtask={"acceptance_checks": ["exit 3", "true"]})
    assert (attempt.status, attempt.subtask.status) == ("failed", "failed")
    assert attempt.status_reason == "The acceptance check `exit 3` did not pass (exit code 3)."
    assert attempt.subtask.status_reason == attempt.status_reason
    assert attempt.handoff.suspicious.startswith("It was handed off as complete. The acceptance check")
    assert not MergeEntry.objects.exists()
    assert file_of(attempt, "one.txt") == "x\n", "its work is kept"
    assert list(CheckRun.objects.values_list("passed", flat=True)) == [False, True]


def test_what_a_check_leaves_behind_is_no_part_of_the_work(world: World, model: Model):
    attempt = run(world, model, subtask={"acceptance_checks": ["echo junk > junk.txt"]})
    assert attempt.status == "complete"
    assert file_of(attempt, "junk.txt") is None
    assert attempt.handoff.files_changed == ["one.txt"]


def test_complete_without_a_change_is_no_success(world: World, model: Model):
    attempt = run(world, model, hand_off(summary="All done!"))
    assert (attempt.status, attempt.subtask.status) == ("failed", "failed")
    assert attempt.status_reason == "Nothing was changed although the subtask asks for a change."
    assert attempt.handoff.suspicious == f"It was handed off as complete. {attempt.status_reason}"
    assert attempt.head_sha == attempt.base_sha
    assert not MergeEntry.objects.exists()
    assert world.service.total == 3, "it was told twice"


MARKERS = "<<<<<<< ours\na\n=======\nb\n>>>>>>> theirs\n"


def test_conflict_markers_are_no_success(world: World, model: Model):
    attempt = run(world, model, write("one.txt", MARKERS), hand_off())
    assert attempt.status == "failed"
    assert attempt.status_reason == "Conflict markers stand in one.txt."
    assert not MergeEntry.objects.exists()


def test_a_change_outside_the_bound_directory_is_no_success(world: World, model: Model):
    attempt = run(world, model, write("src/x.py", "x\n"), write("outside.txt", "x\n"), hand_off(), working_dir="src")
    assert attempt.status == "failed"
    assert attempt.status_reason == "Files outside the allowed directory were changed: outside.txt."


def test_a_file_moved_out_of_the_bound_directory_is_seen_on_both_sides(world: World, model: Model):
    attempt = run(world, model, bash("mv a.txt src/a.txt"), hand_off(), working_dir="src")
    assert attempt.status == "failed"
    assert attempt.status_reason == "Files outside the allowed directory were changed: a.txt."


def test_a_change_inside_the_bound_directory_is_fine(world: World, model: Model):
    attempt = run(world, model, write("src/x.py", "x\n"), hand_off(), working_dir="src")
    assert attempt.status == "complete"


@pytest.mark.parametrize("kind", ["verify", "research"])
def test_looking_needs_no_change_and_no_landing(world: World, model: Model, kind: str, nudges: Nudges):
    attempt = run(world, model, hand_off(summary="All is well."), subtask={"kind": kind})
    assert (attempt.status, attempt.subtask.status) == ("complete", "complete")
    assert not MergeEntry.objects.exists()
    assert (Stage.DISPATCH, attempt.subtask.swarm.pk) in nudges.all


def test_what_a_check_changes_is_thrown_away_and_says_so(world: World, model: Model):
    attempt = run(world, model, bash("echo 1 > report.txt"), hand_off(), subtask={"kind": "verify"})
    assert attempt.status == "complete"
    assert attempt.status_reason == "What it changed was thrown away: a verify task lands nothing."
    assert not MergeEntry.objects.exists()
    system = world.service.requests[0].messages[0]["content"]
    assert "what commands change in your copy is thrown away" in system


def test_who_only_looks_has_nothing_to_change_with(world: World, model: Model):
    tries = [write("a.txt", "mine\n"), bash("echo mine > a.txt"), hand_off()]
    attempt = run(world, model, *tries, subtask={"kind": "research"})
    assert (attempt.status, attempt.status_reason) == ("complete", "")
    assert attempt.head_sha in {"", attempt.base_sha}
    assert {"write_file", "edit_file", "bash"}.isdisjoint(world.service.requests[0].tools)
    assert [step.ok for step in Step.objects.filter(tool__in=("write_file", "bash"))] == [False, False]


@pytest.mark.parametrize(
    ("claim", "attempt_is", "subtask_is"),
    [("partial", "partial", "failed"), ("blocked", "blocked", "blocked"), ("failed", "failed", "failed")],
)
def test_an_honest_lesser_claim_is_taken_and_its_work_kept(
    world: World, model: Model, claim: str, attempt_is: str, subtask_is: str
):
    attempt = run(world, model, write("half.txt", "half\n"), hand_off(claim, summary="Only half."))
    assert (attempt.status, attempt.subtask.status) == (attempt_is, subtask_is)
    assert attempt.subtask.status_reason == f"The agent handed off as {claim}."
    assert file_of(attempt, "half.txt") == "half\n"
    assert (attempt.handoff.status, attempt.handoff.summary) == (claim, "Only half.")
    assert attempt.handoff.files_changed == ["half.txt"]
    assert not MergeEntry.objects.exists()
    assert Attempt.objects.count() == 1, "the same work is not tried again"


# Written down.


def test_the_transcript_tells_every_turn(world: World, model: Model):
    attempt = run(
        world,
        model,
        Answer(text="First I look.", calls=(call("read_file", path="a.txt"), call("bash", command="echo hello"))),
        Answer(text="Hmm."),
        says(call("read_file", path="../../etc/passwd"), ("write_file", '{"path": "x'), call("fly")),
        write("one.txt", "x\n"),
        hand_off(),
    )
    lines = list(Step.objects.filter(attempt=attempt).values_list("number", "turn", "tool", "ok"))
    assert lines[:8] == [
        (1, 1, "", True),
        (2, 1, "read_file", True),
        (3, 1, "bash", True),
        (4, 2, "", True),
        (5, 3, "read_file", False),
        (6, 3, "write_file", False),
        (7, 3, "fly", False),
        (8, 4, "write_file", True),
    ]
    texts = dict(Step.objects.filter(attempt=attempt).values_list("number", "text"))
    assert texts[1] == "First I look."
    assert all(word in texts[2] for word in ("one", "two", "three"))
    assert texts[3] == "hello\n\n[exit code 0]"
    assert "outside" in texts[5]
    assert "not valid JSON" in texts[6]
    assert "there is no tool 'fly'" in texts[7]


def test_tokens_cost_steps_and_calls_are_booked(world: World, model: Model):
    ModelEndpoint.objects.update(input_price=Decimal(3), output_price=Decimal(15))
    used = Usage(1_000_000, 200_000)
    attempt = run(
        world,
        model,
        Answer(calls=(call("read_file", path="a.txt"), call("write_file", path="x", content="x")), usage=used),
        Answer(calls=(call("handoff", status="complete", summary="x"),), usage=used),
    )
    swarm = Swarm.objects.get()
    for row in (attempt, swarm):
        assert (row.tokens, row.cost_usd, row.tool_calls) == (2_400_000, Decimal(12), 3)
    assert attempt.steps == 2
    calls = ModelCall.objects.filter(attempt=attempt, purpose="worker", endpoint=world.endpoint)
    assert [(c.input_tokens, c.output_tokens, c.cost_usd) for c in calls] == [(1_000_000, 200_000, Decimal(6))] * 2


@pytest.mark.parametrize("how", ["content", "path"])
def test_an_artifact_is_kept_with_its_bytes(world: World, model: Model, how: str):
    given = {"content": "found\n"} if how == "content" else {"path": "a.txt"}
    attempt = run(
        world,
        model,
        says(call("save_artifact", type="report", name="findings.md", mime="text/markdown", **given)),
        hand_off(),
        subtask={"kind": "research"},
    )
    artifact = Artifact.objects.exclude(type="transcript").get()
    assert (artifact.attempt, artifact.name, artifact.type) == (attempt, "findings.md", "report")
    content = storage.blobs().get(artifact.sha256)
    assert content == (b"found\n" if how == "content" else b"one\ntwo\nthree\n")
    assert artifact.size == len(content)
    facts = Event.objects.get(kind="artifact.saved").facts
    assert facts == {"id": artifact.public_id, "name": "findings.md", "size": artifact.size}


def test_text_that_no_database_stores_is_mended_wherever_a_model_can_put_it(world: World, model: Model):
    attempt = run(
        world,
        model,
        Answer(text="I say \x00.", calls=(call("bash", command="printf 'a\\000b\\377'"),)),
        says(call("write_file", path="x.txt", content="y\x00")),
        says(call("save_artifact", type="t\x00", name="n\x00", mime="m\x00", content="c\x00")),
        says(call("fly\x00", why="\x00")),
        says(("bash", '{"command": "echo \\ud83d"}')),
        hand_off("blocked", summary="s\x00", concerns=["c\x00"]),
    )
    assert attempt.status == "blocked"
    assert attempt.handoff.summary == "s\ufffd"
    assert attempt.handoff.concerns == ["c\ufffd"]
    assert Artifact.objects.exclude(type="transcript").get().name == "n\ufffd"
    texts = " ".join(Step.objects.values_list("text", flat=True))
    assert "I say \ufffd." in texts
    assert "\x00" not in texts


def test_a_reason_that_no_database_stores_is_mended(world: World, model: Model):
    """The model's own word ends up in it."""
    attempt = run(world, model, says(call("fly\x00")))
    assert attempt.status == "failed"
    assert "fly\ufffd" in attempt.status_reason
    assert attempt.handoff.summary == attempt.status_reason


def test_a_command_that_prints_without_end_or_never_ends_is_told_and_survived(world: World, model: Model):
    attempt = run(
        world,
        model,
        says(call("bash", command="yes | head -c 100000000")),
        says(call("bash", command="sleep 1000", timeout_s=1)),
        write("one.txt", "x\n"),
        hand_off(),
    )
    assert attempt.status == "complete"
    first, second = Step.objects.filter(tool="bash").values_list("text", flat=True)
    assert len(first) < 40_000
    assert second.endswith("[killed after 1 s]")
    assert Subtask.objects.get().status == "handed_off"
    assert statuses(attempt.subtask.swarm) == {"one": "handed_off"}


def test_what_was_done_after_a_refused_handoff_is_kept_with_a_lesser_claim(world: World, model: Model):
    first = [write("one.txt", "x\n"), hand_off(), write("more.txt", "more\n"), hand_off("partial")]
    attempt = run(world, model, *first, subtask={"acceptance_checks": ["false"]})
    assert attempt.status == "partial"
    assert file_of(attempt, "more.txt") == "more\n"
    assert attempt.handoff.files_changed == ["more.txt", "one.txt"]
