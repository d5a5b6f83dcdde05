"""The subtask page: one attempt at a time, what it said and did and changed, and what we make of it."""

from __future__ import annotations

from pathlib import Path

import pytest
from django.conf import settings

from orchestration.adapters.git.runner import run_git
from orchestration.adapters.storage import bare_repository
from orchestration.models import Attempt, Handoff, Subtask
from orchestration.web.subtasks import MOST_STEPS
from tests import factories as make
from tests.web.conftest import House

EVIL = "<script>alert(1)</script>"
WHO = {"GIT_AUTHOR_NAME": "a", "GIT_AUTHOR_EMAIL": "a@example.org"}
WHO |= {"GIT_COMMITTER_NAME": "a", "GIT_COMMITTER_EMAIL": "a@example.org"}


@pytest.fixture
def subtask(house: House) -> Subtask:
    return make.make_subtask(house.swarm, name="store-write", status="running", scope=["shop/sessions/**"])


def page_of(house: House, subtask: Subtask, query: str = "", who: str = "member") -> str:
    return house.client(who).get(f"/subtasks/{subtask.public_id}/{query}").content.decode()


def commit(repository: str, files: dict[str, bytes], parent: str = "") -> str:
    """A commit in our bare repository, made of objects alone."""
    store = bare_repository(repository)
    store.create()
    index = Path(settings.DATA_DIR) / f"index-{repository}-{len(files)}-{parent[:7]}"
    for name, content in files.items():
        blob = store.run("hash-object", "-w", "--stdin", stdin=content).text.strip()
        store.run("update-index", "--add", "--cacheinfo", f"100644,{blob},{name}", index=index)
    tree = store.run("write-tree", index=index).text.strip()
    index.unlink()
    parents = ["-p", parent] if parent else []
    done = run_git("commit-tree", *parents, "-m", "x", tree, git_dir=store.path, env=WHO)
    return done.text.strip()


@pytest.fixture
def changed(house: House, subtask: Subtask) -> Attempt:
    repository = house.repository.public_id
    before = commit(repository, {"keep.py": b"a = 1\n", "store.py": b"one\ntwo\nthree\n"})
    after = commit(
        repository, {"keep.py": b"a = 1\n", "store.py": b"one\n2\nthree\n", "new.html": EVIL.encode()}, before
    )
    return make.make_attempt(subtask, status="complete", base_sha=before, head_sha=after)


def test_it_shows_what_was_asked(house: House, subtask: Subtask):
    page = page_of(house, subtask)
    for said in ("Write the <strong>store</strong>.", "Sessions survive a restart.", "shop/sessions/**", "store-write"):
        assert said in page


def test_it_links_what_it_needs_and_who_needs_it(house: House, subtask: Subtask):
    first = make.make_subtask(house.swarm, name="survey", status="complete")
    later = make.make_subtask(house.swarm, name="docs", needs=[subtask])
    subtask.dependencies.add(first)
    page = page_of(house, subtask)
    for other in (first, later):
        assert f'href="/subtasks/{other.public_id}/"' in page


def test_it_leads_to_its_neighbours(house: House, subtask: Subtask):
    after = make.make_subtask(house.swarm)
    page = page_of(house, subtask)
    assert f'rel="next" href="/subtasks/{after.public_id}/"' in page
    assert 'rel="prev"' not in page
    assert 'rel="prev"' in page_of(house, after)


@pytest.mark.parametrize(("reason", "wait"), [("All 3 attempts failed.", ""), ("", "Waits for survey.")])
def test_it_says_why_it_stands(house: House, reason: str, wait: str):
    row = make.make_subtask(house.swarm, status="pending", status_reason=reason, wait_reason=wait)
    assert (reason or wait) in page_of(house, row)


def test_a_subtask_without_an_attempt_says_so(house: House):
    row = make.make_subtask(house.swarm, wait_reason="Waits for survey.")
    assert "No agent has worked on this yet. Waits for survey." in page_of(house, row)


def test_attempts_are_tabs_and_the_newest_is_shown(house: House, subtask: Subtask):
    first = make.make_attempt(subtask, status="failed", status_reason="The first broke.")
    make.make_step(first, text="first words")
    second = make.make_attempt(subtask)
    make.make_step(second, text="second words")
    page = page_of(house, subtask)
    assert 'href="?attempt=1"' in page
    assert "second words" in page
    assert "first words" not in page
    older = page_of(house, subtask, "?attempt=1")
    assert "The first broke." in older
    assert "second words" not in older


@pytest.mark.parametrize("query", ["?attempt=99", "?attempt=x", "?attempt=-1", "?attempt=²", "?attempt=" + "9" * 50])
def test_an_unknown_attempt_is_the_newest(house: House, subtask: Subtask, query: str):
    make.make_step(make.make_attempt(subtask), text="newest words")
    assert "newest words" in page_of(house, subtask, query)


def test_a_tool_call_folds_with_its_arguments_and_result(house: House, subtask: Subtask):
    attempt = make.make_attempt(subtask)
    arguments = {"command": "make test\n# more", "timeout_s": 120, "options": ["a"]}
    make.make_step(attempt, tool="bash", arguments=arguments, text="12 passed", duration_ms=1840)
    make.make_step(attempt, tool="read_file", arguments={"path": "x"}, text="no such file", ok=False)
    page = page_of(house, subtask)
    assert '<details class="call" id="call-1">' in page
    assert '<span class="mono clip">make test</span>' in page
    assert "12 passed" in page
    assert "1.8 s" in page
    assert "pill state-failed" in page


def test_a_long_transcript_shows_its_end_and_the_whole_on_demand(house: House, subtask: Subtask):
    attempt = make.make_attempt(subtask)
    for at in range(1, MOST_STEPS + 11):
        make.make_step(attempt, text=f"said-{at}.")
    page = page_of(house, subtask)
    assert "said-10." not in page
    assert f"said-{MOST_STEPS + 10}." in page
    assert "10 earlier" in page
    assert "said-10." in page_of(house, subtask, "?attempt=1&transcript=whole")


def test_a_long_result_keeps_its_end(house: House, subtask: Subtask):
    make.make_step(make.make_attempt(subtask), tool="bash", text="beginning\n" + "x\n" * 50_000 + "the end")
    page = page_of(house, subtask)
    assert "the end" in page
    assert "beginning\n" not in page
    assert len(page) < 60_000


def test_the_handoff_has_the_agents_words_and_our_figures(house: House, subtask: Subtask):
    attempt = make.make_attempt(subtask, status="complete")
    make.make_handoff(attempt, suspicious="It was handed off as complete. Nothing was changed.")
    make.make_check(house.swarm, attempt=attempt, command="make accept", passed=False, exit_code=2)
    artifact = make.make_artifact(house.swarm, attempt=attempt)
    page = page_of(house, subtask)
    for said in (
        "the agent says: complete",
        "The store writes to <strong>Redis</strong>.",
        "Keys have no prefix yet.",
        "Add an expiry.",
        "1 file changed",
        "It was handed off as complete. Nothing was changed.",
        "make accept",
        f"/artifacts/{artifact.public_id}/",
    ):
        assert said in page


def test_the_changes_come_from_git_objects(house: House, changed: Attempt):
    page = page_of(house, changed.subtask)
    assert "store.py" in page
    assert "keep.py" not in page
    assert '<td class="n">2</td><td class="n"></td><td>\N{MINUS SIGN}two</td>' in page
    assert '<td class="n"></td><td class="n">2</td><td>+2</td>' in page
    assert "2 files" in page


def test_a_changed_file_cannot_bring_markup(house: House, changed: Attempt):
    page = page_of(house, changed.subtask)
    assert EVIL not in page
    assert "+&lt;script&gt;" in page


def test_an_attempt_that_changed_nothing_says_so(house: House, changed: Attempt):
    Attempt.objects.update(head_sha=changed.base_sha)
    assert "This attempt changed nothing." in page_of(house, changed.subtask)


def test_a_commit_that_is_gone_is_told(house: House, changed: Attempt):
    Attempt.objects.update(head_sha="f" * 40)
    assert "The changes cannot be shown" in page_of(house, changed.subtask)


def test_nothing_that_a_model_wrote_becomes_markup(house: House):
    row = make.make_subtask(
        house.swarm, instruction=EVIL, acceptance=EVIL, scope=[EVIL], specialty=EVIL, status_reason=EVIL,
        acceptance_checks=[EVIL], status="failed",
    )  # fmt: skip
    attempt = make.make_attempt(row, status="failed", status_reason=EVIL)
    make.make_handoff(attempt, summary=EVIL, concerns=[EVIL], suggestions=[EVIL], suspicious=EVIL)
    make.make_step(attempt, text=EVIL)
    make.make_step(attempt, tool=EVIL[:20], arguments={EVIL: EVIL, "path": {"deep": EVIL}}, text=EVIL)
    make.make_artifact(house.swarm, attempt=attempt, name=EVIL, type=EVIL)
    make.make_event(house.swarm, "attempt.failed", name=row.name, number=1, reason=EVIL)
    page = page_of(house, row)
    assert EVIL not in page
    assert "<script>" not in page


def test_events_are_only_its_own(house: House, subtask: Subtask):
    make.make_event(house.swarm, "subtask.running", name="store-write")
    make.make_event(house.swarm, "subtask.running", name="another")
    page = page_of(house, subtask)
    assert "store-write is being worked on." in page
    assert "another is being worked on." not in page


def test_a_subtask_that_was_split_shows_the_sum_of_its_parts(house: House, subtask: Subtask):
    Handoff.objects.create(parent=subtask, status="partial", summary="Split into 2 parts.", concerns=["a: It creaks."])
    page = page_of(house, subtask)
    assert "the sum of its parts: partial" in page
    assert "Split into 2 parts." in page
    assert "a: It creaks." in page
