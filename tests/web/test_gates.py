"""The merge queue's panel says what gates said, about whom, who was innocent, and why nothing lands."""

from __future__ import annotations

from typing import Any

import pytest

from orchestration.adapters import storage
from orchestration.models import Artifact, MergeEntry, Repository, Swarm
from orchestration.web.gates import FLAKE, INNOCENT, MOST_RUNS, Gates
from tests import factories as make
from tests.web import scenes
from tests.web.conftest import House
from tests.web.scenes import text_of

EVIL = "<script>alert(1)</script>"


def entry(swarm: Swarm, name: str, **fields: Any) -> MergeEntry:
    return make.make_entry(make.make_attempt(make.make_subtask(swarm, name=name), status="complete"), **fields)


run = make.make_gate


def page_of(house: House, swarm: Swarm) -> str:
    return house.client("member").get(f"/swarms/{swarm.public_id}/").content.decode()


@pytest.fixture
def swarm(house: House) -> Swarm:
    return scenes.gated(house.swarm)


def test_the_mode_is_in_words(house: House, swarm: Swarm):
    assert "Lands only what the checks have passed." in page_of(house, swarm)
    for mode, words in (("off", "Lands at once; the checks run at the end."), ("optimistic", "afterwards.")):
        Swarm.objects.update(config=swarm.config | {"gate": mode})
        assert words in page_of(house, swarm)


def test_every_entry_says_what_its_gates_said(swarm: Swarm):
    one, two, three = (entry(swarm, name) for name in ("one", "two", "three"))
    run(swarm, one, two, status="red")
    run(swarm, one)
    run(swarm, two, status="running", lease_token="t")
    told = Gates(swarm, [one, two, three])
    assert told.told(one) == "Gates: 1 green and 1 red."
    assert told.told(two) == "Gates: 1 red so far, 1 under way."
    assert told.told(three) == ""


def test_a_gate_without_a_verdict_says_nothing_of_anybody(swarm: Swarm):
    one = entry(swarm, "one")
    run(swarm, one, status="infra")
    assert Gates(swarm, [one]).told(one) == "Gates: none came to a verdict."


def test_who_was_innocent_is_said(swarm: Swarm):
    landed, rejected = entry(swarm, "landed", status="landed"), entry(swarm, "rejected", status="rejected")
    run(swarm, landed, rejected, status="red")
    run(swarm, landed)
    told = Gates(swarm, [landed, rejected])
    assert told.told(landed).endswith(INNOCENT)
    assert INNOCENT not in told.told(rejected)


def test_a_flake_is_said_to_be_one(house: House, swarm: Swarm):
    one = entry(swarm, "one", status="landed")
    run(swarm, one, status="red", flake=True)
    run(swarm, one)
    assert Gates(swarm, [one]).told(one).endswith(FLAKE)
    assert INNOCENT not in Gates(swarm, [one]).told(one)
    assert '<span class="tag">flake</span>' in page_of(house, swarm)


def test_a_red_gate_shows_its_commands_and_its_log(house: House, swarm: Swarm):
    one = entry(swarm, "one")
    results = [{"command": "make test", "passed": False, "ending": "exit code 2", "duration_ms": 900}]
    log = storage.blobs().put(b"everything\n")
    run(swarm, one, status="red", status_reason="`make test` is red (exit code 2).", results=results, log_tail=EVIL,
        log_sha256=log, log_size=11)  # fmt: skip
    artifact = Artifact.objects.create(
        swarm=swarm, type="gate_log", name="gate.log", mime="text/plain", sha256=log, size=11
    )
    page = page_of(house, swarm)
    assert "make test: exit code 2, 900 ms" in text_of(page).replace(" :", ":")
    assert EVIL not in page
    assert "&lt;script&gt;" in page
    assert f'href="/artifacts/{artifact.public_id}/"' in page
    assert house.client("member").get(f"/artifacts/{artifact.public_id}/").content == b"everything\n"


def test_the_latest_gates_are_listed_with_whom_they_tried(house: House, swarm: Swarm):
    tried = [entry(swarm, f"e{number}") for number in range(5)]
    run(swarm)
    run(swarm, *tried)
    page = text_of(page_of(house, swarm))
    assert "e0, e1, e2 and 2 more" in page
    assert "the branch itself" in page
    for _ in range(MOST_RUNS):
        run(swarm, tried[0])
    assert len(Gates(swarm, tried).latest) == MOST_RUNS
    assert "and 2 earlier gates" in text_of(page_of(house, swarm))


def test_a_queue_that_stands_still_says_why(house: House, swarm: Swarm):
    Swarm.objects.update(queue_reason="The gate is red on the branch itself.")
    assert "Nothing lands at the moment. The gate is red on the branch itself." in text_of(page_of(house, swarm))


def form(house: House, **changed: Any) -> str:
    row = house.repository
    given = {"name": row.name, "url": row.url, "checks": "make test", "check_timeout_s": 60, "gates_at_once": 3}
    address = f"/repositories/{row.public_id}/edit/"
    answer = house.client("owner").post(address, given | {"gate": "gated", "strict_commits": "on"} | changed)
    return answer.content.decode()


def test_a_repository_is_told_when_its_checks_decide(house: House):
    assert form(house) == ""
    row = Repository.objects.get(pk=house.repository.pk)
    assert (row.gate, row.strict_commits, row.gates_at_once) == ("gated", True, 3)


@pytest.mark.parametrize(
    ("field", "value", "said"),
    [
        ("checks", "", "Without checks nothing could ever land"),
        ("gate", "sometimes", "sometimes is not one of the available choices"),
        ("gates_at_once", 0, "greater than or equal to 1"),
    ],
)
def test_what_cannot_be_is_refused(house: House, field: str, value: object, said: str):
    assert said in form(house, **{field: value})
    assert Repository.objects.get(pk=house.repository.pk).gate == "optimistic"
