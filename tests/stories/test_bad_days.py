"""Models and agents that misbehave: each ends in a state whose reason is a sentence, and never in success."""

from __future__ import annotations

import pytest

from orchestration.demo.service import Answer
from tests.stories.rig import Call, handoff, make_repository, plan, task, team

pytestmark = pytest.mark.sandbox

AT_ONCE = {"max_retries": 1, "base_delay_ms": 0, "max_delay_ms": 0}
GOOD_PLAN = plan(task("one"))


def planner_says(answer):
    """A worker that would succeed, behind a planner that answers so."""
    return lambda request: answer if request.closing == "submit_plan" else Answer(calls=(handoff(),))


def worker_says(answer):
    return lambda request: Answer(calls=(GOOD_PLAN,)) if request.closing == "submit_plan" else answer


def told_by_worker(*calls: Call):
    return team([GOOD_PLAN], lambda _: calls)


BAD_PLANNERS = {
    "drops the line": (Answer(fault="drop"), "closed the connection"),
    "half a stream": (Answer(calls=(GOOD_PLAN,), fault="half_stream"), "before its answer was complete"),
    "refuses the key": (Answer(status=401), "refused"),
    "is overloaded": (Answer(status=503), "503"),
    "speaks HTML": (Answer(fault="html"), ""),
}


@pytest.mark.parametrize(("answer", "words"), BAD_PLANNERS.values(), ids=BAD_PLANNERS)
def test_a_planner_that_fails_is_never_taken_for_done(install, repository, answer, words):
    installation = install(planner_says(answer))

    done = installation.run(repository, "--wait", config=AT_ONCE)

    assert done.code == 1
    assert (done.last["status"], done.last["landed"]) == ("failed", 0)
    assert words in done.last["status_reason"]
    assert len(done.last["status_reason"]) > 15
    assert "Traceback" not in done.err


def test_a_service_without_credit_waits_for_a_person(install, repository):
    done = install(planner_says(Answer(status=402))).run(repository, "--wait", config=AT_ONCE)
    assert (done.code, done.last["status"], done.last["landed"]) == (3, "paused", 0)
    assert "402" in done.last["status_reason"]
    assert f"manage.py swarm resume {done.last['id']}" in done.err


BAD_PLANS = {
    "cycle": plan(task("a", "b"), task("b", "a")),
    "unknown dependency": plan(task("a", "nobody")),
    "duplicate": plan(task("a"), task("a")),
    "leaves the repository": plan(task("a", scope=["../../etc/*"])),
    "ten thousand": plan(*(task(f"t-{number}") for number in range(10_000))),
}


@pytest.mark.parametrize("bad", BAD_PLANS.values(), ids=BAD_PLANS)
def test_a_plan_that_cannot_be_used_twice_becomes_one_subtask(install, repository, bad):
    installation = install(team([bad], lambda _: [("write_file", {"path": "x.txt", "content": "x"}), handoff()]))

    done = installation.run(repository, "--wait", config=AT_ONCE)

    asked_again = [one for one in installation.service.requests if "cannot be used" in one.last_text]
    assert len(asked_again) == 1
    shown = installation.swarm("show", done.last["id"], "--json").last
    assert [row["name"] for row in shown["subtasks"]] == ["main"]
    assert done.last["status"] == "succeeded"


def test_a_planner_that_only_talks_gets_its_request_done_as_one_subtask(install, repository):
    def script(request):
        if request.closing == "submit_plan":
            return Answer(text="I would start by looking at the code.")
        return Answer(calls=((("write_file", {"path": "x.txt", "content": "x"})), handoff())[request.turns :][:1])

    done = install(script).run(repository, "--wait", config=AT_ONCE)
    assert (done.last["status"], done.last["landed"]) == ("succeeded", 1)


BAD_WORKERS = {
    "changes nothing": (told_by_worker(handoff()), "Nothing was changed"),
    "commits markers": (
        told_by_worker(
            ("write_file", {"path": "a.txt", "content": "<<<<<<< ours\na\n=======\nb\n>>>>>>> theirs\n"}), handoff()
        ),
        "Conflict markers stand in a.txt",
    ),
    "only talks": (worker_says(Answer(text="Done!")), "without using a tool"),
    "never ends": (told_by_worker(("list_files", {})), "8 times in a row"),
    "admits failure": (told_by_worker(handoff("failed", "I could not.")), "handed off as failed"),
    "is half done": (
        told_by_worker(("write_file", {"path": "a.txt", "content": "a"}), handoff("partial", "Half.")),
        "handed off as partial",
    ),
    "loses its key": (worker_says(Answer(status=401)), "refused"),
    "is down": (worker_says(Answer(fault="drop")), "2 times"),
    "breaks the rules": (
        told_by_worker(("bash", {"command": "mkdir sub && git init -q sub && echo x > sub/file"}), handoff()),
        "sub",
    ),
}


@pytest.mark.parametrize(("script", "words"), BAD_WORKERS.values(), ids=BAD_WORKERS)
def test_a_worker_that_misbehaves_lands_nothing_and_says_why(install, repository, script, words):
    done = install(script).run(repository, "--wait", config=AT_ONCE)

    assert done.code == 1
    assert (done.last["status"], done.last["landed"], done.last["failed"]) == ("failed", 0, 1)
    assert "one (" in done.last["status_reason"]
    assert "Traceback" not in done.err
    assert words in done.err


def test_calls_that_go_wrong_are_told_to_the_model_which_goes_on(install, repository):
    calls = [
        ("read_file", {"path": "../../etc/passwd"}),
        ("write_file", {"path": "/etc/evil", "content": "x"}),
        ("bash", {"command": "sleep 1000", "timeout_s": 1}),
        ("bash", {"command": "yes | head -c 100000000"}),
        ("no_such_tool", {}),
        ("write_file", {"path": "good.txt", "content": "good\n"}),
        handoff(),
    ]

    def script(request):
        if request.closing == "submit_plan":
            return Answer(calls=(GOOD_PLAN,))
        broken = ("read_file", '{"path": ')
        return Answer(calls=([broken, *calls][min(request.turns, len(calls))],))

    installation = install(script)
    done = installation.run(repository, "--wait", config=AT_ONCE)

    assert (done.code, done.last["landed"]) == (0, 1)
    told = [one.last_text for one in installation.service.requests if one.subtask == "one"][1:]
    assert "not valid JSON" in told[0] or "JSON" in told[0]
    assert "outside" in told[1]
    assert "killed after 1 s" in told[3]
    assert len(told[4]) < 40_000
    assert "there is no tool" in told[5]


EMPTY_REPOSITORIES = {
    "missing": (lambda path: path, "no directory"),
    "not a repository": (lambda path: path.mkdir() or path, "not a git repository"),
    "without commits": (lambda path: make_repository(path, {"a": "a"}) and _forget(path), "no commits"),
}


def _forget(path):
    (path / ".git" / "refs" / "heads" / "main").unlink()
    return path


@pytest.mark.parametrize(("make", "words"), EMPTY_REPOSITORIES.values(), ids=EMPTY_REPOSITORIES)
def test_a_repository_that_cannot_be_read_fails_with_the_sentence(install, tmp_path, make, words):
    done = install(planner_says(Answer(calls=(GOOD_PLAN,)))).run(make(tmp_path / "other"), "--wait", config=AT_ONCE)

    assert done.code == 1
    assert done.last["status"] == "failed"
    assert words in done.last["status_reason"]
    assert "Traceback" not in done.err


def test_a_branch_that_is_not_there_is_named(install, repository):
    installation = install(planner_says(Answer(calls=(GOOD_PLAN,))))
    done = installation.run(repository, "--wait", "--branch", "nowhere", config=AT_ONCE)
    assert "nowhere" in done.last["status_reason"]
    assert "main" in done.last["status_reason"]


def test_a_model_that_is_down_and_comes_back_is_waited_for(install, repository):
    answers = iter([Answer(status=503), Answer(fault="drop")])

    def script(request):
        if request.closing == "submit_plan":
            return next(answers, Answer(calls=(GOOD_PLAN,)))
        return Answer(calls=([("write_file", {"path": "x.txt", "content": "x"}), handoff()][min(request.turns, 1)],))

    done = install(script).run(repository, "--wait", config=AT_ONCE)

    assert (done.code, done.last["status"]) == (0, "succeeded")
    assert done.err.count("plan.failed") == 2


def test_an_attempt_that_takes_too_long_is_ended(install, repository):
    script = told_by_worker(("bash", {"command": "sleep 600", "timeout_s": 600}))
    done = install(script).run(repository, "--wait", config=AT_ONCE | {"subagent_timeout_secs": 5})
    assert done.code == 1
    assert "one (timed out)" in done.last["status_reason"]
    assert "time limit of 5 s" in done.err


def test_the_limit_of_tool_calls_of_the_whole_swarm_holds(install, repository):
    def work(_):
        return [("bash", {"command": f"echo {number}"}) for number in range(50)]

    installation = install(team([plan(task("one"), task("two"))], work))
    done = installation.run(repository, "--wait", config=AT_ONCE | {"max_total_steps": 10})
    assert done.code == 1
    assert "limit of 10 tool calls" in done.err


def test_an_agent_is_told_why_its_work_is_not_complete_and_may_mend_it(install, repository):
    calls = [
        ("write_file", {"path": "value.txt", "content": "wrong\n"}),
        handoff(),
        ("write_file", {"path": "value.txt", "content": "right\n"}),
        handoff(),
    ]
    checked = plan(task("one", acceptance_checks=["grep -q right value.txt"]))
    installation = install(team([checked], lambda _: calls))

    done = installation.run(repository, "--wait")

    assert (done.code, done.last["landed"]) == (0, 1)
    refused = [one.last_text for one in installation.service.requests if "Not complete yet" in one.last_text]
    assert len(refused) == 1
    assert "grep -q right value.txt" in refused[0]


def test_work_that_cannot_be_committed_can_be_mended_too(install, repository):
    calls = [
        ("bash", {"command": "mkdir sub && git init -q sub && echo x > sub/file"}),
        handoff(),
        ("bash", {"command": "rm -rf sub/.git"}),
        handoff(),
    ]
    done = install(team([GOOD_PLAN], lambda _: calls)).run(repository, "--wait")
    assert (done.code, done.last["landed"]) == (0, 1)
