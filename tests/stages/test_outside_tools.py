"""Agents that are not ours use our tools: in the whole chain, with a real gateway, sandbox, bridge and process."""

from __future__ import annotations

import json

import pytest
from django.utils import timezone

from orchestration.demo.service import Answer
from orchestration.domain.steering import question_key
from orchestration.models import Artifact, Attempt, Delivery, Handoff, Question, SharedResult
from orchestration.stages.ask import answer
from orchestration.stages.dispatch import dispatch
from orchestration.stages.execute import execute
from orchestration.stages.rows import store_of
from orchestration.stages.tell import tell_subtask
from tests.agents.outside import PYTHON, SCRIPT
from tests.stages.test_employ import make_agent, worked
from tests.stages.world import Nudges, World

pytestmark = [pytest.mark.any_database, pytest.mark.sandbox]

# A command agent that speaks to its tools by HTTP, as one with a client of its own would.
BY_HTTP = """
import json, sys, urllib.request
def call(name, **arguments):
    message = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": name, "arguments": arguments}}
    request = urllib.request.Request(sys.argv[1], json.dumps(message).encode())
    request.add_header("Authorization", "Bearer " + sys.argv[2])
    request.add_header("Content-Type", "application/json")
    return json.load(urllib.request.urlopen(request))["result"]["content"][0]["text"]
told = sys.stdin.read()
print(call("share_result", key="port", value=8080))
if "answered: " not in told:
    open("half.txt", "w").write("half")
    print(call("ask_human", question="Tabs or spaces?", options=["tabs", "spaces"]))
    import time; time.sleep(600)
open("done.txt", "w").write(told)
print(call("handoff", status="complete", summary="By the tool.", suggestions=["More."]))
"""


def by_http(world: World) -> None:
    make_agent(world, PYTHON, "-c", BY_HTTP, "{tools_url}", "{token}", kind="command")


def kept(attempt: Attempt, path: str) -> str:
    attempt.refresh_from_db()
    found = store_of(attempt.subtask.swarm).read_file(attempt.head_sha, path, max_bytes=100_000)
    assert found is not None
    return found.decode()


def reach(world: World, nudges: Nudges, attempt: Attempt) -> None:
    """Its place comes again: the same attempt goes on."""
    dispatch(attempt.subtask.swarm_id)
    execute(attempt.pk)
    attempt.refresh_from_db()


def test_an_agent_of_the_protocol_has_our_tools_in_its_session(world: World):
    make_agent(world, PYTHON, SCRIPT, "uses-tools")
    attempt = worked(world, agent="coder")
    assert (attempt.status, attempt.status_reason) == ("complete", "")
    seen = json.loads(kept(attempt, "tools.json"))
    assert seen["hello"]["protocolVersion"] == "2025-03-26"
    assert seen["listed"] == ["save_artifact", "share_result", "get_results", "ask_human", "handoff"]
    shared, results, saved, wrong, taken = seen["said"]
    assert shared == "Shared port (4 bytes). Everybody in this swarm can read it."
    assert results.startswith("port (from one; integer, 4 bytes; tags net)\n8080")
    assert saved.startswith("Saved note.md")
    assert wrong.startswith("wrong: Error: ")
    assert taken.startswith("Taken down.")
    assert SharedResult.objects.get().attempt == attempt
    assert Artifact.objects.get(name="note.md").attempt == attempt
    handoff = Handoff.objects.get(attempt=attempt)
    assert (handoff.summary, handoff.concerns) == ("By the tool.", ["It creaks."])


def test_a_question_ends_the_run_without_a_place_and_the_answer_begins_another(world: World, nudges: Nudges):
    make_agent(world, PYTHON, SCRIPT, "asks-person")
    attempt = world.assigned(world.running(max_retries=0, agent="coder"))
    tell_subtask(attempt.subtask, world.ada, "Be quick, please.")
    execute(attempt.pk)
    attempt = Attempt.objects.get()
    assert (attempt.status, attempt.subtask.status) == ("waiting", "waiting")
    assert attempt.gateway_hash == ""
    question = Question.objects.get()
    assert (question.text, question.status) == ("Tabs or spaces?", "open")
    assert kept(attempt, "half.txt") == "half\n"
    answer(question, world.ada, "Tabs.")
    reach(world, nudges, attempt)
    assert (attempt.status, attempt.status_reason, attempt.number) == ("complete", "", 1)
    told = kept(attempt, "prompt-1.txt")
    assert "You asked:\n\nTabs or spaces?\n\nada answered: Tabs.\n\nGo on from there." in told
    assert told.count("Be quick, please.") == 1, "its conversation is gone, and what was said in it is not"
    assert kept(attempt, "half.txt") == "half\n", "what it had done is still there"
    steps = attempt.transcript.filter(tool="ask_human").values_list("text", flat=True)
    assert [text.split()[0] for text in steps] == ["Asked.", "ada"]


def test_a_command_agent_shares_asks_and_hands_off_by_http(world: World, nudges: Nudges):
    by_http(world)
    attempt = worked(world, agent="coder")
    assert attempt.status == "waiting"
    assert SharedResult.objects.get().value == 8080
    question = Question.objects.get()
    assert question.options == ["tabs", "spaces"]
    answer(question, world.ada, "spaces")
    reach(world, nudges, attempt)
    assert (attempt.status, attempt.status_reason) == ("complete", "")
    assert "ada answered: spaces" in kept(attempt, "done.txt")
    handoff = Handoff.objects.get(attempt=attempt)
    assert (handoff.summary, handoff.suggestions) == ("By the tool.", ["More."])
    tools = list(attempt.transcript.exclude(tool="").values_list("tool", flat=True))
    assert [tools.count(name) for name in ("share_result", "handoff", "command")] == [2, 1, 1]


def test_an_answer_that_is_known_needs_no_second_run(world: World):
    """Somebody asked the same before."""
    make_agent(world, PYTHON, SCRIPT, "asks-once")
    attempt = world.assigned(world.running(max_retries=0, agent="coder"))
    Question.objects.create(
        swarm=attempt.subtask.swarm,
        key=question_key("Tabs or spaces?", []),
        text="Tabs or spaces?",
        asked_by=attempt,
        status="answered",
        answer="Tabs.",
        answered_by=world.ada,
        expires_at=timezone.now(),
        finished_at=timezone.now(),
    )
    execute(attempt.pk)
    assert kept(attempt, "told.txt") == "ada answered: Tabs."
    assert attempt.status == "complete"


def test_the_first_prompt_has_what_was_said_before(world: World):
    make_agent(world, PYTHON, SCRIPT, "write")
    attempt = world.assigned(world.running(max_retries=0, agent="coder"))
    tell_subtask(attempt.subtask, world.ada, "Use tabs, please.")
    execute(attempt.pk)
    assert kept(attempt, "prompt-1.txt").endswith("Follow it from here on:\n\nUse tabs, please.")
    delivery = Delivery.objects.get()
    assert (delivery.status, delivery.attempt, delivery.reply) == ("answered", attempt, "I wrote done.txt.")


def test_a_command_agent_is_told_by_its_prompt_and_by_its_model_only_once(world: World):
    asks = """
import json, sys, urllib.request
told = sys.stdin.read()
open("told.txt", "w").write(told)
body = {"model": "m", "messages": [{"role": "user", "content": told}]}
request = urllib.request.Request(sys.argv[1] + "/chat/completions", json.dumps(body).encode())
request.add_header("Authorization", "Bearer " + sys.argv[2])
request.add_header("Content-Type", "application/json")
urllib.request.urlopen(request).read()
"""
    make_agent(world, PYTHON, "-c", asks, "{openai_url}", "{token}", kind="command")
    world.model.workers["one"] = [Answer("Well.")]
    attempt = world.assigned(world.running(max_retries=0, agent="coder"))
    tell_subtask(attempt.subtask, world.ada, "Use tabs, please.")
    execute(attempt.pk)
    assert kept(attempt, "told.txt").count("Use tabs, please.") == 1
    assert str(world.service.requests[-1].messages).count("Use tabs, please.") == 1
