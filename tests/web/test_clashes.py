"""Conflicts that are ahead on the pages, in the JSON and in the figures, and gone when they are not true any more."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from orchestration.domain.clashes import counted
from orchestration.models import Subtask, Swarm
from orchestration.reads.clashes import clashes_ahead
from orchestration.reads.reports import whole
from orchestration.web.activity import activity
from orchestration.web.clashes import ahead
from orchestration.web.queue_sockets import News
from tests import factories as make
from tests.web.conftest import House

HTML = Callable[[str], str]


def text_of(html: str) -> str:
    """As it reads: blocks apart, links and marks within their sentence."""
    return re.sub(r"\s+", " ", re.sub(r"<[^>]*>", "", re.sub(r"</?(p|li|ul|dt|dd|h\d|div)\b[^>]*>", " ", html)))


@pytest.fixture
def swarm(house: House) -> Swarm:
    Swarm.objects.filter(pk=house.swarm.pk).update(status="running")
    house.swarm.refresh_from_db()
    return house.swarm


@pytest.fixture
def mine(swarm: Swarm) -> Subtask:
    return make.make_subtask(swarm, name="mine", status="running")


@pytest.fixture
def see(house: House) -> HTML:
    return lambda path: house.client("viewer").get(path).content.decode()


def pages(see: HTML, swarm: Swarm, subtask: Subtask) -> dict[str, str]:
    paths = {
        "swarm": f"/swarms/{swarm.public_id}/",
        "queue": f"/swarms/{swarm.public_id}/queue/",
        "subtask": f"/subtasks/{subtask.public_id}/",
        "board": "/",
    }
    return {name: text_of(see(path)) for name, path in paths.items()}


def test_every_page_says_who_will_conflict_with_whom_and_where(swarm: Swarm, mine: Subtask, see: HTML):
    theirs = make.make_subtask(swarm, name="theirs", status="complete")
    make.make_clash(swarm, mine, theirs, "shop/urls.py")
    shown = pages(see, swarm, mine)
    for name in ("swarm", "queue"):
        assert "mine will conflict with theirs, which has landed, in: shop/urls.py" in shown[name]
    assert "Will conflict with theirs, which has landed, in shop/urls.py." in shown["subtask"]
    assert "1 conflict ahead" in shown["swarm"]
    assert "1 conflict ahead" in shown["board"]


def test_the_other_one_is_told_on_its_own_page_too(swarm: Swarm, mine: Subtask, see: HTML):
    waits = make.make_subtask(swarm, name="waits", status="handed_off")
    make.make_clash(swarm, mine, waits, place="queued", sure=False)
    assert "mine may conflict with it in shop/urls.py." in text_of(see(f"/subtasks/{waits.public_id}/"))
    assert "May conflict with waits, which waits to land, in" in text_of(see(f"/subtasks/{mine.public_id}/"))


def test_two_that_are_told_of_each_other_are_one_line_and_each_page_has_its_own(swarm: Swarm, mine: Subtask, see: HTML):
    other = make.make_subtask(swarm, name="other", status="running")
    make.make_clash(swarm, other, mine, place="running")
    make.make_clash(swarm, mine, other, place="running")
    assert len(ahead(swarm)) == 1
    assert "1 conflict ahead" in text_of(see("/"))
    for one, rival in ((mine, other), (other, mine)):
        text = text_of(see(f"/subtasks/{one.public_id}/"))
        assert f"Will conflict with {rival.name}, which is worked on too, in" in text
        assert "with it" not in text


def test_what_landed_by_nobody_known_has_no_link(swarm: Swarm, mine: Subtask, see: HTML):
    make.make_clash(swarm, mine, None)
    shown = pages(see, swarm, mine)
    assert "mine will conflict with what landed, in: shop/urls.py" in shown["queue"]
    assert "Will conflict with what landed in shop/urls.py." in shown["subtask"]


@pytest.mark.parametrize("status", ["complete", "conflict", "cancelled", "pending"])
def test_it_is_gone_with_the_work_before_the_next_look(swarm: Swarm, mine: Subtask, see: HTML, status: str):
    make.make_clash(swarm, mine, make.make_subtask(swarm, name="theirs", status="complete"))
    Subtask.objects.filter(pk=mine.pk).update(status=status)
    shown = pages(see, swarm, mine)
    assert not any("onflict with theirs" in text for text in shown.values())
    assert "None is foreseen." in shown["queue"]


def test_nothing_is_ahead_of_a_swarm_that_is_over(swarm: Swarm, mine: Subtask, see: HTML):
    make.make_clash(swarm, mine, None)
    Swarm.objects.filter(pk=swarm.pk).update(status="failed", finished_at=swarm.created_at)
    assert not any("onflict with what landed" in text for text in pages(see, swarm, mine).values())
    assert "conflict ahead" not in text_of(see("/"))
    swarm.refresh_from_db()
    assert whole(swarm)["conflicts_ahead"] == []


def test_names_of_files_are_text(swarm: Swarm, mine: Subtask, see: HTML):
    make.make_clash(swarm, mine, None, "<script>alert(1)</script>.py")
    for path in (f"/swarms/{swarm.public_id}/queue/", f"/subtasks/{mine.public_id}/", f"/swarms/{swarm.public_id}/"):
        assert "&lt;script&gt;alert(1)" in see(path)
        assert "<script>alert(1)" not in see(path)


def test_a_script_is_told_the_same(swarm: Swarm, mine: Subtask):
    theirs = make.make_subtask(swarm, name="theirs", status="complete")
    make.make_clash(swarm, mine, theirs)
    (told,) = whole(swarm)["conflicts_ahead"]
    assert told == {
        "subtask": mine.public_id,
        "name": "mine",
        "other": theirs.public_id,
        "other_name": "theirs",
        "place": "landed",
        "paths": ("shop/urls.py",),
        "sure": True,
    }


def test_a_quiet_page_asks_nothing_for_it_and_any_number_one_question(swarm: Swarm, mine: Subtask):
    def questions() -> int:
        with CaptureQueriesContext(connection) as asked:
            clashes_ahead(swarm)
        return len(asked)

    assert questions() == 0
    for _ in range(5):
        make.make_clash(swarm, mine, make.make_subtask(swarm, status="running"), place="running")
    assert questions() == 1
    with CaptureQueriesContext(connection) as asked:
        assert len(clashes_ahead(swarm, subtasks=[mine, *Subtask.objects.all()])) == 5
    assert len(asked) == 1  # the list's own


def test_the_figures_of_the_queue_tell_what_it_costs(swarm: Swarm, see: HTML):
    path = f"/swarms/{swarm.public_id}/queue/"
    make.make_entry(make.make_attempt(make.make_subtask(swarm), status="complete"))
    assert "Agents warned" not in text_of(see(path))
    figures = counted(counted({}, made=1, merges=9, ms=30.0), made=1, merges=1, ms=10.0, warnings=2)
    Swarm.objects.filter(pk=swarm.pk).update(forecasts=figures)
    shown = text_of(see(path))
    for words in ("Merges beforehand 10", "20 ms", "30 ms", "2"):
        assert words in shown
    swarm.refresh_from_db()
    told = whole(swarm)["merge_queue"]
    assert isinstance(told, dict)
    assert (told["forecasts"], told["forecast_warnings"], told["forecast_ms_mean"]) == (2, 2, 20.0)


def test_the_live_queue_looks_when_it_has_changed_and_the_log_stays_quiet(swarm: Swarm):
    news = News(swarm)
    news.came()
    make.make_event(swarm, "message.sent")
    assert not news.came()
    make.make_event(swarm, "swarm.forecast", conflicts=["mine will conflict with theirs in shop/urls.py."])
    assert news.came()
    assert [event.kind for event in activity(swarm, [])] == ["message.sent"]
