"""The page on which a person settles a conflict: what it shows, what it does, and who may."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
from django.utils import timezone
from playwright.sync_api import BrowserContext, expect

from orchestration.adapters import storage
from orchestration.adapters.git.settling import with_entries
from orchestration.adapters.git.store import BareRepository, Person
from orchestration.domain.merging import TRAILER
from orchestration.models import MergeEntry, Swarm
from tests import factories as make
from tests.web.conftest import House, sign_in
from tests.web.server import LiveServer
from tests.web.test_accessibility import findings

EVIL = "<script>alert(1)</script>"
WHO = Person("Ada", "ada@example.org")


def commit(store: BareRepository, files: dict[str, str], *parents: str) -> str:
    entries = {path.encode(): f"100644 {store.write_object('blob', text.encode())}" for path, text in files.items()}
    tree = with_entries(store, store.write_object("tree", b""), entries)
    return store.commit(tree, parents, "x", author=WHO, committer=WHO, when=timezone.now())


def stuck(swarm: Swarm, mine: str | None = "MINE\ntwo\n") -> MergeEntry:
    """A real conflict in one file, for a person; with None the subtask has deleted it."""
    store = storage.bare_repository(swarm.repository.public_id)
    store.create()
    base = commit(store, {"a.txt": "one\ntwo\n", "b.txt": "b\n"})
    landed = commit(store, {"a.txt": f"LANDED {EVIL}\ntwo\n", "b.txt": "b\n"}, base)
    wanted = commit(store, {"b.txt": "b2\n"} | ({} if mine is None else {"a.txt": mine}), base)
    store.create_branch(swarm.branch, landed)
    Swarm.objects.filter(pk=swarm.pk).update(base_sha=base, head_sha=landed)
    subtask = make.make_subtask(swarm, name="docs", status="conflict", status_reason="3 tries. It needs you.")
    attempt = make.make_attempt(subtask, status="complete", base_sha=base, head_sha=wanted)
    entry = make.make_entry(attempt, status="conflict", head_sha=wanted, conflict_paths=["a.txt"], rung="person")
    make.make_attempt(subtask, status="failed", rung="fresh", resolves=entry, status_reason="It gave up.")
    return entry


@dataclass
class Place:
    entry: MergeEntry
    page: str

    def now(self) -> MergeEntry:
        return MergeEntry.objects.select_related("subtask").get(pk=self.entry.pk)


@pytest.fixture
def place(house: House) -> Place:
    entry = stuck(house.swarm)
    return Place(entry, f"/subtasks/{entry.subtask.public_id}/conflict/")


pytestmark = pytest.mark.django_db(transaction=True)


def test_it_shows_the_three_sides_and_who_tried(house: House, place: Place):
    page = house.client("member").get(place.page).content.decode()
    for words in ("one\ntwo", "LANDED &lt;script&gt;", "MINE\ntwo", "&lt;&lt;&lt;&lt;&lt;&lt;&lt;", "It gave up."):
        assert words in page
    assert EVIL not in page
    assert "b.txt" not in page


def test_it_shows_the_place_and_what_both_meant(house: House, place: Place):
    rival = make.make_subtask(house.swarm, name="rival", instruction="Say LANDED.", status="complete")
    attempt = make.make_attempt(rival, status="complete")
    make.make_handoff(attempt, summary="I said it.")
    entry = make.make_entry(attempt, status="landed", landed_sha="f" * 40)
    land_again(house.swarm, f"x\n\n{TRAILER}: {entry.public_id}\n")
    page = house.client("member").get(place.page).content.decode()
    assert "<mark>MINE\n</mark>two\n" in page
    assert "Place 1 of 1: the branch" in page
    assert "Both changed it." in page
    assert "&lt;&lt;&lt;&lt;&lt;&lt;&lt; what landed\n" in page
    for words in (f'href="/subtasks/{rival.public_id}/"', "Say LANDED.", "I said it."):
        assert words in page


def land_again(swarm: Swarm, message: str) -> None:
    """What is on the branch, by a commit with this message."""
    store = storage.bare_repository(swarm.repository.public_id)
    swarm.refresh_from_db()
    tip = store.commit(
        store.tree(swarm.head_sha), [swarm.base_sha], message, author=WHO, committer=WHO, when=timezone.now()
    )
    assert store.swap(swarm.branch, tip, swarm.head_sha)


def test_a_deletion_is_told_in_words(house: House):
    entry = stuck(house.swarm, mine=None)
    page = house.client("member").get(f"/subtasks/{entry.subtask.public_id}/conflict/").content.decode()
    assert "The branch changed it, this subtask deleted or moved it." in page
    assert "0 lines" not in page
    assert "Both: where they conflict" not in page
    assert "Nobody of this swarm changed these files." in page


def test_it_is_found_from_the_board_the_queue_and_the_subtask(house: House, place: Place):
    client = house.client("member")
    board = client.get("/").content.decode()
    assert "1 conflict for you to settle." in board
    assert "1 broken" not in board, "it waits for a person"
    for path in (f"/swarms/{house.swarm.public_id}/queue/", f"/subtasks/{place.entry.subtask.public_id}/"):
        assert place.page in client.get(path).content.decode(), path


@pytest.mark.parametrize(
    ("form", "landed"),
    [
        ({"take-0": "ours"}, f"LANDED {EVIL}\ntwo\n"),
        ({"take-0": "theirs"}, "MINE\ntwo\n"),
        ({"take-0": "both"}, f"LANDED {EVIL}\nMINE\ntwo\n"),
        ({"take-0": "edited", "text-0": "BOTH\r\ntwo\r\n"}, "BOTH\ntwo\n"),
    ],
)
def test_a_choice_puts_it_back_into_the_queue(house: House, place: Place, form: dict[str, str], landed: str):
    page = house.client("member").post(place.page, {"path": "a.txt"} | form, follow=True).content.decode()
    assert "Settled: it is in its place in the merge queue again." in page
    assert (place.now().status, place.now().subtask.status) == ("superseded", "handed_off")
    entry = MergeEntry.objects.get(status="queued")
    store = storage.bare_repository(house.swarm.repository.public_id)
    assert (store.read_file(entry.head_sha, "a.txt") or b"").decode() == landed
    assert store.read_file(entry.head_sha, "b.txt") == b"b2\n"


def test_what_is_refused_keeps_what_was_written(house: House, place: Place):
    text = "<<<<<<< a\nkept words\n>>>>>>> b\n"
    answer = house.client("member").post(place.page, {"path": "a.txt", "take-0": "edited", "text-0": text})
    page = answer.content.decode()
    assert answer.status_code == 400
    assert "Conflict markers stand in a.txt. Nothing you wrote is lost." in page
    assert "kept words" in page
    assert place.now().status == "conflict"
    assert "Say what becomes of a.txt" in house.client("member").post(place.page).content.decode()


def test_the_agent_is_guided(house: House, place: Place):
    page = house.client("member").post(f"{place.page}guide/", {"text": "Keep both."}, follow=True).content.decode()
    assert "Told: the agent tries again" in page
    assert (place.now().guidance, place.now().subtask.status) == ("Keep both.", "pending")
    empty = house.client("member").post(f"{place.page}guide/", {"text": " "}, follow=True)
    assert empty.status_code == 200


def test_it_is_given_up(house: House, place: Place):
    page = house.client("member").post(f"{place.page}give-up/", follow=True).content.decode()
    assert "Given up." in page
    assert (place.now().status, place.now().subtask.status) == ("rejected", "failed")
    again = house.client("member").get(place.page, follow=True).content.decode()
    assert "There is no conflict that needs you." in again


def test_a_viewer_looks_and_a_stranger_learns_nothing(house: House, place: Place):
    page = house.client("viewer").get(place.page).content.decode()
    assert "MINE" in page
    assert "Settle it so" not in page
    for act in ("", "guide/", "give-up/"):
        assert house.client("viewer").post(place.page + act).status_code == 403
        assert house.client("stranger").post(place.page + act).status_code == 404
    assert house.client("stranger").get(place.page).status_code == 404
    assert place.now().status == "conflict"


def test_a_conflict_that_is_gone_is_put_back(house: House, place: Place):
    store = storage.bare_repository(house.swarm.repository.public_id)
    tip = store.tip(house.swarm.branch) or ""
    undone = commit(store, {"a.txt": "one\ntwo\n", "b.txt": "b\n"}, tip)
    assert store.swap(house.swarm.branch, undone, tip)
    assert "By now it can be merged as it is" in house.client("member").get(place.page).content.decode()
    house.client("member").post(place.page)
    assert (place.now().status, place.now().subtask.status) == ("queued", "handed_off")


def test_a_repository_that_cannot_be_read_says_why(house: House, place: Place):
    MergeEntry.objects.update(head_sha="f" * 40)
    assert "The conflict cannot be shown:" in house.client("member").get(place.page).content.decode()


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_it_can_be_used_by_everybody(context: BrowserContext, live_house: House, server: LiveServer, theme: str):
    entry = stuck(live_house.swarm)
    sign_in(context, live_house.client("owner"), server.url)
    context.add_cookies([{"name": "theme", "value": theme, "url": server.url}])
    page = context.new_page()
    path = f"/subtasks/{entry.subtask.public_id}/conflict/"
    assert not findings(page, path)
    page.set_viewport_size({"width": 390, "height": 800})
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    page.get_by_label("As this subtask has it").check()
    page.get_by_role("button", name="Settle it so").click()
    expect(page.get_by_text("Settled: it is in its place")).to_be_visible()
