"""`manage.py swarm conflict`: it shows what the page shows, and does what the page does."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command

from orchestration.adapters import storage
from orchestration.management.follow import needs
from orchestration.models import MergeEntry
from tests import factories as make
from tests.web.conftest import House
from tests.web.test_conflicts import EVIL, Place, commit, place, stuck

__all__ = ["place"]
pytestmark = pytest.mark.django_db(transaction=True)


def run(house: House, *arguments: str, subtask: str = "docs") -> str:
    out = io.StringIO()
    call_command("swarm", "conflict", house.swarm.public_id, subtask, *arguments, stdout=out, stderr=io.StringIO())
    return out.getvalue()


def refused(house: House, *arguments: str, **more: Any) -> str:
    with pytest.raises(CommandError) as caught:
        run(house, *arguments, **more)
    assert caught.value.returncode == 2
    return str(caught.value)


def landed(house: House) -> str:
    head = MergeEntry.objects.get(status="queued").head_sha
    store = storage.bare_repository(house.swarm.repository.public_id)
    return (store.read_file(head, "a.txt") or b"").decode()


def test_it_shows_why_who_tried_and_the_merge_with_its_markers(house: House, place: Place):
    shown = run(house)
    for words in ("3 tries. It needs you.", "attempt 2 failed: It gave up.", "== a.txt", "\n<<<<<<<", "\nMINE\n"):
        assert words in shown
    assert f"manage.py swarm conflict {house.swarm.public_id} docs [--ours PATH]" in shown
    assert place.now().status == "conflict"


def test_a_script_gets_all_sides(house: House, place: Place):
    facts = json.loads(run(house, "--json"))
    assert (facts["subtask"], facts["mergeable"], facts["tries"][0]["rung"]) == ("docs", False, "fresh")
    (file,) = facts["files"]
    assert (file["path"], file["lines"], file["theirs"]["text"]) == ("a.txt", 2, "MINE\ntwo\n")
    assert file["base"] == {"exists": True, "text": "one\ntwo\n", "note": ""}
    assert f"LANDED {EVIL}" in file["merged"]


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (["--ours", "a.txt"], f"LANDED {EVIL}\ntwo\n"),
        (["--theirs", "a.txt"], "MINE\ntwo\n"),
        (["--both", "a.txt"], f"LANDED {EVIL}\nMINE\ntwo\n"),
    ],
)
def test_a_side_is_taken_and_it_is_queued_again(house: House, place: Place, options: list[str], expected: str):
    run(house, *options)
    assert landed(house) == expected
    assert (place.now().status, place.now().subtask.status) == ("superseded", "handed_off")


def test_a_file_is_taken_as_it_is_on_the_disk_or_comes_in(
    house: House, place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    (tmp_path / "mine").write_text("from the disk\n")
    run(house, "--file", "a.txt", str(tmp_path / "mine"))
    assert landed(house) == "from the disk\n"
    MergeEntry.objects.filter(status="queued").delete()
    place.entry.subtask.attempts.filter(rung="person").delete()
    place.entry.subtask.__class__.objects.update(status="conflict")
    MergeEntry.objects.update(status="conflict")
    monkeypatch.setattr("sys.stdin", io.StringIO("from a pipe\n"))
    run(house, "--file", "a.txt", "-")
    assert landed(house) == "from a pipe\n"


def test_it_goes_back_to_its_agent_or_is_given_up(house: House, place: Place):
    run(house, "--tell", "Keep both.")
    assert (place.now().guidance, place.now().subtask.status) == ("Keep both.", "pending")
    MergeEntry.objects.update(rung="person")
    place.entry.subtask.__class__.objects.update(status="conflict")
    run(house, "--give-up")
    assert (place.now().status, place.now().subtask.status) == ("rejected", "failed")


def test_what_is_refused_says_what_to_do(house: House, place: Place, tmp_path: Path):
    (tmp_path / "marked").write_text("<<<<<<< a\n")
    assert "Say once what becomes of a.txt." in refused(house, "--ours", "a.txt", "--theirs", "a.txt")
    assert "b.txt does not conflict" in refused(house, "--ours", "a.txt", "--ours", "b.txt")
    assert "one of them at a time" in refused(house, "--ours", "a.txt", "--give-up")
    assert "Conflict markers stand in a.txt." in refused(house, "--file", "a.txt", str(tmp_path / "marked"))
    assert "cannot be read" in refused(house, "--file", "a.txt", str(tmp_path / "none"))
    assert "Say what becomes of a.txt" in refused(house, "--again")
    assert "No conflict of other needs you." in refused(house, "--ours", "a.txt", subtask="other")
    assert place.now().status == "conflict"


def test_where_there_is_one_its_name_is_not_needed_and_of_several_it_is(house: House, place: Place):
    assert "== a.txt" in run(house, subtask="")
    subtask = make.make_subtask(house.swarm, name="more", status="conflict")
    make.make_entry(make.make_attempt(subtask, status="complete"), status="conflict", rung="person")
    assert "2 conflicts need you. Name one of them: docs, more." in refused(house, subtask="")


def test_a_conflict_that_is_gone_is_put_back(house: House, place: Place):
    store = storage.bare_repository(house.swarm.repository.public_id)
    tip = store.tip(house.swarm.branch) or ""
    assert store.swap(house.swarm.branch, commit(store, {"a.txt": "one\ntwo\n", "b.txt": "b\n"}, tip), tip)
    assert "--again" in run(house)
    run(house, "--again")
    assert (place.now().status, place.now().subtask.status) == ("queued", "handed_off")


def test_a_file_without_markers_shows_its_sides(house: House):
    entry = stuck(house.swarm, mine=None)
    shown = run(house)
    assert "-- This subtask: There is no such file." in shown
    assert "-- The branch: what landed\nLANDED" in shown
    assert "no text on both sides" in refused(house, "--both", "a.txt")
    run(house, "--theirs", "a.txt")
    assert landed(house) == ""
    entry.refresh_from_db()
    assert entry.status == "superseded"


def test_who_follows_the_swarm_is_told_of_it(house: House, place: Place):
    command = f"manage.py swarm conflict {house.swarm.public_id} docs"
    assert f"docs conflicts with what landed. Settle it on its page, or: {command}" in needs(house.swarm)
