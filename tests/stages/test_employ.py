"""Who works: as the request or the repository says, in the whole chain with a real gateway, sandbox and process."""

from __future__ import annotations

import json
import os
import threading
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from django.core.exceptions import ValidationError
from django.core.management import call_command
from django.core.management.base import CommandError

from orchestration.adapters import storage
from orchestration.demo.service import Answer
from orchestration.domain.errors import InvalidInput
from orchestration.models import Agent, Attempt, Handoff, ModelEndpoint, Step
from orchestration.stages.audition import audition
from orchestration.stages.execute import execute
from orchestration.stages.rows import store_of
from tests.agents.outside import PYTHON, SCRIPT
from tests.agents.rig import until
from tests.stages.world import World, hand_off, write

pytestmark = pytest.mark.any_database
KEY = "sk-the-real-key-of-this-server-0123456789"
ASKS = """
import json, os, sys, urllib.request
body = {"model": sys.argv[2], "messages": [{"role": "user", "content": sys.stdin.read()}]}
request = urllib.request.Request(sys.argv[1] + "/chat/completions", json.dumps(body).encode())
request.add_header("Authorization", "Bearer " + os.environ["KEY"])
request.add_header("Content-Type", "application/json")
answer = json.load(urllib.request.urlopen(request))
open("answer.txt", "w").write(answer["choices"][0]["message"]["content"])
print("I asked.")
"""


def make_agent(world: World, *argv: str, name: str = "coder", **fields: Any) -> Agent:
    plain = {"argv": list(argv) or [PYTHON, SCRIPT, "write"], "kind": "acp"}
    agent = Agent(team=world.team, name=name, **plain | fields)
    agent.full_clean()
    agent.save()
    return agent


def worked(world: World, **config: Any) -> Attempt:
    attempt = world.assigned(world.running(max_retries=0, **config))
    execute(attempt.pk)
    attempt.refresh_from_db()
    return attempt


def test_our_own_agent_works_where_nothing_is_said(world: World):
    attempt = worked(world)
    assert (attempt.status, attempt.agent) == ("complete", "")


def test_an_agent_of_the_protocol_completes_a_subtask(world: World):
    make_agent(world)
    attempt = worked(world, agent="coder")
    assert (attempt.status, attempt.status_reason, attempt.agent) == ("complete", "", "coder")
    handoff = Handoff.objects.get(attempt=attempt)
    assert handoff.summary == "I wrote done.txt."
    assert "done.txt" in handoff.files_changed
    assert Step.objects.filter(attempt=attempt, tool="session").exists()


def test_it_is_told_its_task_with_the_guidance_of_the_base(world: World):
    world.clone.commit({"AGENTS.md": "Indent with three spaces.\n"}, "guidance")
    make_agent(world, "/bin/sh", "-c", "cat > told.txt", kind="command")
    attempt = worked(world, agent="coder")
    text = store_of(attempt.subtask.swarm).read_file(attempt.head_sha, "told.txt", max_bytes=100_000)
    assert text is not None
    lines = text.decode().splitlines()
    assert lines[:2] == [f"swarm: {attempt.subtask.swarm.public_id}", "subtask: one"]
    assert "Indent with three spaces." in lines
    assert "PARTIAL, BLOCKED or FAILED" in text.decode()


def test_it_reaches_a_model_through_the_gateway_and_nothing_of_the_key(
    world: World, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
):
    """No network in its sandbox, no key in any process of its tree while it works."""
    monkeypatch.setenv("SWARM_TESTS_KEY", KEY)
    ModelEndpoint.objects.update(key_env="SWARM_TESTS_KEY")
    script = tmp_path / "asks.py"
    script.write_text(ASKS + "\nimport time\nwhile not os.path.exists('go'): time.sleep(0.01)\n")
    world.model.workers["one"] = [Answer("It is 42.")]
    make_agent(world, PYTHON, str(script), "{openai_url}", "{model}", kind="command", environment={"KEY": "{token}"})
    attempt = world.assigned(world.running(agent="coder", max_retries=0))
    seen: list[str] = []

    def look() -> None:
        until(lambda: any(b"asks.py" in line for line in lines_of("cmdline")))
        until(lambda: world.service.requests != ())
        seen.extend(text.decode("utf-8", "replace") for name in ("environ", "cmdline") for text in lines_of(name))
        until(lambda: any_workspace("answer.txt") is not None)
        place = any_workspace("answer.txt")
        assert place is not None
        (place / "go").touch()

    thread = threading.Thread(target=look)
    thread.start()
    execute(attempt.pk)
    thread.join(30)
    attempt.refresh_from_db()
    assert (attempt.status, attempt.steps) == ("complete", 1), attempt.status_reason
    assert any("asks.py" in text for text in seen), "the control: the agent's process was looked at"
    assert not [text for text in seen if KEY in text]
    assert world.service.requests[-1].authorization.endswith(KEY), "the control: the service was given the key"


def lines_of(name: str) -> list[bytes]:
    """Of every process below this one."""
    parents, found = {}, []
    for entry in Path("/proc").iterdir():
        try:
            if entry.name.isdigit():
                parents[int(entry.name)] = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
        except OSError:
            continue
    below = {os.getpid()}
    while grown := {pid for pid, parent in parents.items() if parent in below} - below:
        below |= grown
    for pid in below - {os.getpid()}:
        try:
            found.append(Path(f"/proc/{pid}/{name}").read_bytes())
        except OSError:
            continue
    return found


def any_workspace(name: str) -> Path | None:
    found = list((storage.data_directory() / "workspaces").rglob(name))
    return found[0].parent if found else None


def test_a_claim_without_a_change_fails_and_is_suspicious(world: World):
    make_agent(world, "/bin/sh", "-c", "echo done", kind="command")
    attempt = worked(world, agent="coder")
    assert attempt.status == "failed"
    assert "Nothing was changed" in attempt.status_reason
    assert Handoff.objects.get(attempt=attempt).suspicious


def test_what_it_did_before_it_failed_is_kept(world: World):
    make_agent(world, PYTHON, SCRIPT, "exits")
    attempt = worked(world, agent="coder")
    assert attempt.status == "failed"
    assert "cannot go on" in attempt.status_reason
    assert attempt.head_sha != attempt.base_sha


def test_an_agent_that_was_switched_off_ends_the_attempt_with_the_reason(world: World):
    agent = make_agent(world)
    attempt = world.assigned(world.running(agent="coder", max_retries=0))
    Agent.objects.filter(pk=agent.pk).update(is_active=False)
    execute(attempt.pk)
    attempt.refresh_from_db()
    assert attempt.status_reason == "The agent coder was removed or switched off after the request came."


def test_the_repositorys_agent_works_unless_the_request_says_otherwise(world: World):
    world.repository.agent = make_agent(world)
    world.repository.save()
    assert world.submit().config["agent"] == "coder"
    assert world.submit(agent="builtin").config["agent"] == "builtin"


def test_an_agent_that_is_not_the_teams_is_refused_with_those_there_are(world: World):
    make_agent(world, name="other")
    with pytest.raises(InvalidInput, match="no agent 'coder' that may be used; there is: builtin, other"):
        world.submit(agent="coder")


def test_a_row_of_the_built_in_agent_is_our_own(world: World):
    Agent.objects.create(team=world.team, name="ours", kind="builtin")
    world.model.workers["one"] = [write("one.txt", "x\n"), hand_off()]
    assert worked(world, agent="ours").status == "complete"


@pytest.mark.parametrize(
    "fields", [{"argv": []}, {"argv": "x"}, {"files": {"/etc/x": "y"}}, {"environment": []}, {"mounts": ["/"]}]
)
def test_a_row_that_cannot_be_used_is_refused(world: World, fields: dict[str, Any]):
    with pytest.raises(ValidationError) as caught:
        make_agent(world, **fields)
    assert [message for message in caught.value.messages if message.endswith(".")]


def test_an_audition_says_who_it_is(world: World):
    found = audition(make_agent(world))
    assert found.works
    assert "coder: Scripted 1.2 opened a session." in str(found)


def test_an_audition_of_a_command_asks_for_its_version(world: World):
    assert "it starts, and says Python 3" in str(audition(make_agent(world, PYTHON, kind="command")))
    found = audition(make_agent(world, "/bin/false", name="other", kind="command"))
    assert not found.works
    assert "exit code 1" in str(found)


@pytest.mark.parametrize(
    ("argv", "said"),
    [
        (["/nowhere/coder"], "is not at that path"),
        ([PYTHON, SCRIPT, "broken-at-once"], "no settings found"),
        ([PYTHON, SCRIPT, "sign-in-never"], "asks for a sign-in"),
        ([PYTHON, SCRIPT, "old"], "version 7"),
    ],
)
def test_an_audition_says_what_is_wrong(world: World, argv: list[str], said: str):
    found = audition(make_agent(world, *argv))
    assert not found.works
    assert said in str(found)


def command(*words: str) -> str:
    out = StringIO()
    call_command("agent", *words, stdout=out)
    return out.getvalue()


def test_the_command_lists_adds_and_tests(world: World):
    assert "opencode: OpenCode; install opencode-ai (npm)" in command("presets")
    assert "was added" in command("add", "mine", "--preset", "opencode", "--program", "/opt/oc/opencode")
    added = Agent.objects.get(name="mine")
    assert added.argv == ["/opt/oc/opencode", "acp"]
    make_agent(world)
    assert json.loads(command("test", "coder", "--json"))["works"] is True
    with pytest.raises(CommandError, match="mine does not work") as caught:
        command("test", "mine")
    assert caught.value.returncode == 1


def test_the_command_refuses_what_is_not_there_or_there_already(world: World):
    with pytest.raises(CommandError, match="There is no agent 'coder'; there is: none") as caught:
        command("test", "coder")
    assert caught.value.returncode == 2
    command("add", "mine", "--preset", "opencode")
    with pytest.raises(CommandError, match="exists"):
        command("add", "mine", "--preset", "opencode")
