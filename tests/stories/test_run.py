"""From a request on the command line to landed commits in the requester's own clone."""

from __future__ import annotations

import json

import pytest

from orchestration.demo.service import Answer
from tests.stories import twelve
from tests.stories.rig import git, handoff, make_repository, plan, task, team

pytestmark = pytest.mark.sandbox

KEYS = {
    "id", "status", "base_sha", "head_sha", "landed", "failed", "branch", "cost_usd", "tokens", "wall_s",
    "speedup", "critical_path_steps", "status_reason", "url",
}  # fmt: skip


def test_twelve_changes_in_three_levels_land_in_the_requesters_clone(install, tmp_path):
    files = {f"src/package_{n // 50}/module_{n}.py": f"VALUE = {n}\n" for n in range(1050)}
    repository = make_repository(tmp_path / "repository", {"README.md": "# Large\n", **files})
    before = git(repository, "rev-parse", "HEAD")
    installation = install(twelve.script())

    done = installation.run(repository, "--wait")

    assert done.code == 0, done.err
    assert set(done.lines[0]) == {"id"}
    result = done.last
    assert result.keys() >= KEYS
    assert (result["status"], result["landed"], result["failed"]) == ("succeeded", 12, 0)
    assert result["branch"] == f"swarm/{result['id']}"
    twelve.assert_landed(repository, result["base_sha"], result["branch"])
    # The requester's own branch, index and files were not touched.
    assert git(repository, "rev-parse", "HEAD") == before
    assert git(repository, "status", "--porcelain") == ""
    # Without checks nothing is claimed that nobody checked.
    assert result["verified"] is False
    assert "unverified" in result["status_reason"]


def test_the_swarm_can_be_looked_at_afterwards(install, repository):
    work = {"one": [("write_file", {"path": "one.txt", "content": "1\n"}), handoff(summary="Wrote one.")]}
    installation = install(team([plan(task("one"))], work.__getitem__))
    swarm_id = installation.run(repository, "--wait", "--check", "test -f one.txt").last["id"]

    shown = installation.swarm("show", swarm_id, "--json").last
    listed = installation.swarm("list", "--json").last

    assert shown["verified"] is True
    assert shown["status_reason"] == ""
    assert shown["text"] == "Wrote one."
    assert [check["passed"] for check in shown["checks"]] == [True]
    attempt = shown["subtasks"][0]["attempts"][0]
    assert attempt["handoff"]["files_changed"] == ["one.txt"]
    assert [one["id"] for one in listed] == [swarm_id]


def test_two_attempts_that_conflict_and_cannot_settle_it_need_a_person(install, repository):
    edited = set()

    def script(request):
        """Neither hands off before the other one has begun from the same commit."""
        if request.closing == "submit_plan":
            return Answer(calls=(plan(task("left"), task("right")),))
        name = request.subtask
        if not request.turns:
            return Answer(calls=(("edit_file", {"path": "src/a.py", "old": "B = 2", "new": f"B = '{name}'"}),))
        edited.add(name)
        if edited == {"left", "right"}:
            installation.service.release("both")
        return Answer(calls=(handoff(),), held="both")

    installation = install(script)

    done = installation.run(repository, "--wait")

    shown = installation.swarm("show", done.last["id"], "--json").last
    assert done.code == 3
    assert done.last["status"] == "running"
    assert done.last["landed"] == 1
    conflicts = [entry for entry in shown["merge_entries"] if entry["status"] == "conflict"]
    assert [entry["conflict_paths"] for entry in conflicts] == [["src/a.py"]]
    assert "src/a.py" in conflicts[0]["status_reason"]
    assert sorted(row["status"] for row in shown["subtasks"]) == ["complete", "conflict"]
    assert "needs you" in next(row["status_reason"] for row in shown["subtasks"] if row["status"] == "conflict")


def test_a_red_check_on_the_result_is_no_success(install, repository):
    work = {"one": [("write_file", {"path": "one.txt", "content": "1\n"}), handoff()]}
    installation = install(team([plan(task("one"))], work.__getitem__))

    done = installation.run(repository, "--wait", "--check", "true", "--check", "echo broken >&2; exit 7")

    assert done.code == 1
    assert done.last["status"] == "partly_succeeded"
    assert "exit 7` is red" in done.last["status_reason"]
    assert "exit code 7" in done.last["status_reason"]
    assert done.last["verified"] is False


def test_a_plan_waits_for_a_person_who_approves_it(install, repository):
    work = {"one": [("write_file", {"path": "one.txt", "content": "1\n"}), handoff()]}
    installation = install(team([plan(task("one"))], work.__getitem__))

    waiting = installation.run(repository, "--wait", config={"plan_approval": True})
    approved = installation.swarm("approve", waiting.last["id"], "--json")
    done = installation.swarm("wait", waiting.last["id"], "--json")

    assert (waiting.code, waiting.last["status"], waiting.last["landed"]) == (3, "awaiting_approval", 0)
    assert f"then manage.py swarm approve {waiting.last['id']}" in waiting.err
    assert approved.code == 0
    assert (done.code, done.last["status"], done.last["landed"]) == (0, "succeeded", 1)


def test_a_cancelled_swarm_stays_cancelled(install, repository):
    installation = install(team([plan(task("one"))], lambda _: [handoff()]))
    swarm_id = installation.run(repository, "--wait", config={"plan_approval": True}).last["id"]

    cancelled = installation.swarm("cancel", swarm_id, "--json")
    again = installation.swarm("cancel", swarm_id, "--json")
    waited = installation.swarm("wait", swarm_id, "--json")

    assert cancelled.last["status"] == "cancelled"
    assert again.code == 2
    assert "over already" in again.err
    assert (waited.code, waited.last["status"]) == (1, "cancelled")


def test_without_an_engine_and_without_waiting_nothing_is_begun(install, repository):
    installation = install(team([plan(task("one"))], lambda _: [handoff()]))

    done = installation.run(repository)

    assert done.code == 2
    assert "No engine runs" in done.err
    assert installation.swarm("list", "--json").last == []


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("--task", "", "--repository", "{repository}"), "The request is empty"),
        (("--task", "x", "--repository", "ext::sh -c evil"), "name a program to run"),
        (("--task", "x", "--repository", "http://example.org/a.git"), "https"),
        (("--task", "x", "--repository", "{repository}", "--config", '{"max_subagents": 0}'), "max_subagents"),
        (("--task", "x", "--repository", "{repository}", "--config", '{"max_agents": 3}'), "max_agents is not known"),
        (("--task", "x", "--repository", "{repository}", "--config", "nonsense"), "not JSON"),
    ],
    ids=["empty", "ext", "http", "range", "unknown", "json"],
)
def test_what_cannot_be_used_is_refused_with_a_sentence(install, repository, arguments, sentence):
    installation = install(team([plan(task("one"))], lambda _: [handoff()]))
    arguments = [part.format(repository=repository) if "{repository}" in part else part for part in arguments]

    done = installation.swarm("run", "--wait", "--json", *arguments)

    assert done.code == 2
    assert sentence in done.err
    assert sentence in done.last["status_reason"]
    assert "Traceback" not in done.err
    assert done.last["id"] is None


def test_a_wrong_setting_stops_the_start_with_a_sentence(install, repository):
    installation = install(team([plan(task("one"))], lambda _: [handoff()]))
    installation.more = {"SWARM_MAX_AGENTS": "many"}

    done = installation.run(repository, "--wait")

    assert done.code == 2
    assert "SWARM_MAX_AGENTS is 'many'" in done.err
    assert "Traceback" not in done.err


def test_json_says_it_at_once_and_at_the_end(install, repository):
    """A script reads the id before the swarm is over."""
    installation = install(team([plan(task("one"))], lambda _: [handoff()]))
    process = installation.start("swarm", "run", "--repository", str(repository), "--task", "x", "--wait", "--json")
    first = json.loads(process.stdout.readline())
    installation.service.wait_for(lambda: installation.service.total > 0, timeout=60)
    assert set(first) == {"id"}
    process.communicate(timeout=60)
