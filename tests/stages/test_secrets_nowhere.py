"""One swarm in which everybody shows our keys wherever words can go. Afterwards everything that there is gets searched:
rows, files, git objects, pages, programs' answers, logs, requests, and what an agent of another make is told."""

from __future__ import annotations

import re
import secrets as random
import subprocess
import zlib
from base64 import b64encode, urlsafe_b64encode
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

import pytest
from django.apps import apps
from django.test import Client

from orchestration.adapters import secrets, storage
from orchestration.adapters.secrets import LogFilter
from orchestration.demo.service import Answer, Request
from orchestration.domain.redaction import REMOVED
from orchestration.models import Artifact, Message, ModelEndpoint, Question, SharedResult, Subtask, Swarm
from orchestration.stages.ask import answer
from orchestration.stages.dispatch import dispatch
from orchestration.stages.rows import store_of
from orchestration.stages.tell import tell_swarm
from orchestration.stages.tokens import issue
from tests.stages.gateway_rig import CHAT, MESSAGES, Lines, opened
from tests.stages.world import Model, Nudges, World, bash, call, hand_off, planned, says, task, write

pytestmark = pytest.mark.sandbox

DESCRIPTION = "SWARM_TEST_{}_KEY"
PAGES = ("", "subtasks/", "plan/", "limits/", "cancel/", "subtasks/new/")


def forms(value: str) -> list[str]:
    """As somebody would search for it, made without our own code."""
    raw = value.encode()
    plain = [value, raw.hex(), quote(value, safe="")]
    encoded = [b64encode(before + raw)[4:-4].decode() for before in (b"", b"x", b"xy", b"user:")]
    return [*plain, *encoded, urlsafe_b64encode(raw).decode().rstrip("=")]


@pytest.fixture
def log(caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    """Filtered as on standard error, where the settings put it."""
    caplog.handler.addFilter(LogFilter())
    return caplog


@pytest.fixture
def keys(monkeypatch: pytest.MonkeyPatch, world: World) -> list[str]:
    """Two endpoints with keys of their own, of a kind that no other test has."""
    monkeypatch.setattr(secrets, "_named", {DESCRIPTION.format(number) for number in range(2)})
    values = [f"sk-ant+{random.token_hex(12)}/key", f"sk-proj-{random.token_urlsafe(24)}"]
    for number, value in enumerate(values):
        monkeypatch.setenv(DESCRIPTION.format(number), value)
    ModelEndpoint.objects.filter(pk=world.endpoint.pk).update(key_env=DESCRIPTION.format(0))
    return values


class Tattler(Model):
    """Says the keys plainly, encoded, and in pieces, in every field that there is. `shown` are the keys' forms."""

    shown: tuple[str, ...] = ()

    def __call__(self, request: Request) -> Answer:
        told = " and ".join(self.shown)
        if request.closing == "submit_plan":
            plan = task("one", instruction=f"Use {told}.", acceptance=told, specialty=self.shown[0][:40])
            return planned(plan, task("two", "one", instruction="Go on."), scratchpad=f"They are {told}.")
        lines = [
            Answer(f"I found {told}.", (call("bash", command=f"echo {told}"),), chunks=40),
            Answer(
                "Once more.", (call("bash", command=_put_together(self.shown)), call(told[:60], key=told)), chunks=2
            ),
            says(call("share_result", key=f"found/{request.subtask}", value={told: [told]}, tags=["found"])),
            says(call("get_results", prefix="found/")),
            says(call("save_artifact", type="report", name=f"{told[:60]}.txt", content=told, mime="text/plain")),
            says(call("ask_human", question=f"May I use {told}?", options=[told, "no"])),
            bash(f"mkdir -p conf; ({_put_together(self.shown)}) > conf/keys"),
            says(call("save_artifact", type="report", name="kept.bin", path="conf/keys", mime="text/plain")),
            hand_off(summary=f"Wrote {told} down."),
            bash("rm -r conf"),
            write(f"{request.subtask}.txt", f"The keys: {told}\n"),
            hand_off(summary=f"Wrote {told} down.", concerns=[told], suggestions=[told]),
        ]
        return lines[min(request.turns, len(lines) - 1)]


def _put_together(words: tuple[str, ...]) -> str:
    """A command that no model ever said the whole of."""
    halves = [(word[: len(word) // 2], word[len(word) // 2 :]) for word in words]
    return "; ".join(f"printf '%s' '{first}'; printf '%s\\n' '{second}'" for first, second in halves)


@pytest.fixture
def model() -> Model:
    return Tattler()


def rows() -> Iterator[tuple[str, str]]:
    for one in apps.get_models():
        for values in one._default_manager.values():
            yield f"table {one._meta.db_table}", str(values)


def files() -> Iterator[tuple[str, bytes]]:
    """Of the data directory, packed or not, but for the workspaces: what is there is the agents' own, until the next
    one has it. What git keeps is asked of git."""
    for path in storage.data_directory().rglob("*"):
        if path.is_file() and not {"workspaces", "objects"} & set(path.parts):
            content = path.read_bytes()
            yield str(path), content
            if path.suffix not in {".sqlite3", ".pack", ".idx"}:
                yield str(path), _inflated(content)


def _inflated(content: bytes) -> bytes:
    try:
        return zlib.decompress(content)
    except zlib.error:
        return b""


def objects() -> Iterator[tuple[str, bytes]]:
    """Every object of every repository that any name leads to: branches, and what is pinned."""
    for store in (storage.data_directory() / "repositories").glob("*.git"):
        git = ("git", "--git-dir", str(store))
        named = subprocess.run([*git, "rev-list", "--objects", "--all"], check=True, capture_output=True, timeout=60)
        ids = b"".join(line.split(b" ")[0] + b"\n" for line in named.stdout.splitlines())
        told = subprocess.run([*git, "cat-file", "--batch"], input=ids, check=True, capture_output=True, timeout=60)
        yield str(store), told.stdout


def pages(world: World, swarm: Swarm) -> Iterator[tuple[str, bytes]]:
    client = Client()
    client.force_login(world.ada)
    paths = ["/", "/repositories/", f"/repositories/{world.repository.public_id}/", "/profile/", "/swarms/new/"]
    paths += [f"/swarms/{swarm.public_id}/{page}" for page in PAGES]
    paths += [f"/subtasks/{one.public_id}/" for one in Subtask.objects.all()]
    paths += [f"/artifacts/{one.public_id}/" for one in Artifact.objects.all()]
    for path in paths:
        yield _got(client, path)
    token = {"HTTP_AUTHORIZATION": f"Bearer {issue(world.ada, 'sweep')}"}
    yield _got(client, f"/api/v1/swarms/{swarm.public_id}/artifacts", **token)
    for one in Artifact.objects.all():
        yield _got(client, f"/api/v1/artifacts/{one.public_id}/content", **token)


def _got(client: Client, path: str, **headers: Any) -> tuple[str, bytes]:
    response = client.get(path, **headers)
    assert response.status_code == 200, f"{path}: {response.status_code}"
    shown = response.getvalue() if response.streaming else response.content
    return path, shown + str(dict(response.headers)).encode()


def found(places: Iterator[tuple[str, Any]], wanted: list[str]) -> set[str]:
    """Where some form of a key is."""
    pattern = re.compile("|".join(map(re.escape, wanted)))
    raw = re.compile(pattern.pattern.encode())
    return {where for where, what in places if (pattern if isinstance(what, str) else raw).search(what)}


def played(world: World, model: Tattler, nudges: Nudges) -> Swarm:
    """From the request to the last landing; the person who speaks and answers shows the keys too."""
    said = " and ".join(model.shown)
    swarm = world.submit()
    tell_swarm(swarm, world.ada, f"The keys are {said}.")
    nudges.run()
    for question in iter(lambda: Question.objects.filter(status="open").first(), None):
        answer(question, world.ada, f"Yes, {said}.")
        dispatch(swarm.pk)
        nudges.run()
    swarm.refresh_from_db()
    return swarm


def through_the_gateway(world: World, kind: str, value: str) -> Iterator[tuple[str, Any]]:
    """What an agent of another make is answered, and what it can send on."""
    world.endpoint.key_env = DESCRIPTION.format(1)
    encoded = b64encode(value.encode()).decode()
    echo = Answer(f"It is {value}, or {encoded}.", (call("write", text=value, other=encoded),), chunks=30)
    with opened(world, Lines(echo), kind=kind) as office:
        for path in (CHAT, MESSAGES):
            for stream in (True, False):
                said = office.post(path, stream=stream, messages=[{"role": "user", "content": f"{value} {encoded}"}])
                assert REMOVED in said.text
                yield f"{kind} {path}", said.text
                yield (
                    f"{kind} {path}, joined",
                    "".join(re.findall(r'"(?:content|text|arguments|partial_json)":"(.*?)"', said.text)),
                )
        yield f"sent on to {kind}", "".join(str(request.body) for request in office.service.requests)


def everywhere(world: World, swarm: Swarm, log: str) -> Iterator[tuple[str, Any]]:
    yield from rows()
    yield from files()
    yield from objects()
    yield from pages(world, swarm)
    yield from ((f"request {one.number}", str(one.body)) for one in world.service.requests)
    yield "log", log


def test_no_form_of_a_key_is_anywhere(
    world: World, model: Tattler, nudges: Nudges, keys: list[str], log: pytest.LogCaptureFixture
):
    model.shown = (*keys, *(b64encode(key.encode()).decode() for key in keys))
    swarm = played(world, model, nudges)

    assert [one.status for one in Subtask.objects.all()] == ["complete"] * 2, "nobody was stopped by it"
    assert SharedResult.objects.count() == 2
    assert Question.objects.exists()
    assert REMOVED in Message.objects.get().text
    landed = store_of(swarm).read_file(store_of(swarm).tip(swarm.branch) or "", "one.txt")
    assert landed is not None
    assert REMOVED.encode() in landed
    wanted = [form for key in keys for form in forms(key)]
    assert found(everywhere(world, swarm, log.text), wanted) == set()
    for kind in ("openai", "anthropic"):
        assert found(through_the_gateway(world, kind, keys[1]), forms(keys[1])) == set()
    assert found(rows(), wanted) == set()


def test_without_the_guard_they_would_be_in_all_of_them(
    world: World, model: Tattler, nudges: Nudges, caplog: pytest.LogCaptureFixture
):
    """The control: the same words where no variable has them, and each kind of place is found."""
    value = f"sk-proj-{random.token_hex(12)}"
    model.shown = (value,)
    swarm = played(world, model, nudges)
    where = found(everywhere(world, swarm, caplog.text), forms(value))
    for name in (
        "subtask",
        "step",
        "handoff",
        "sharedresult",
        "artifact",
        "question",
        "message",
        "planiteration",
    ):
        assert f"table orchestration_{name}" in where
    assert any(one.startswith("request ") for one in where)
    assert any("/blobs/" in one for one in where)
    assert any(one.endswith(".git") for one in where)
    assert {f"/swarms/{swarm.public_id}/", f"/api/v1/swarms/{swarm.public_id}/artifacts"} <= where
    assert {f"/subtasks/{one.public_id}/" for one in Subtask.objects.all()} <= where
