"""The merge queue's live pages: what moves in the queue is there at once, and agents at work ask nothing of it."""

from __future__ import annotations

import asyncio
import re

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from orchestration.domain.events import BOARD_GROUP, group_of
from orchestration.models import MergeEntry, Repository, Swarm
from orchestration.web import consumers, fragments, queue_sockets
from orchestration.web.queue_sockets import News
from tests import factories as make
from tests.web.conftest import House
from tests.web.test_live import (
    QUIET,
    SOON,
    closed_with,
    hint,
    impatient,
    in_thread,
    names,
    open_socket,
    quick,
    rows_made_here,
)

__all__ = ["impatient", "quick", "rows_made_here"]  # fixtures
pytestmark = pytest.mark.django_db(transaction=True)
SWARM, REPOSITORY = "swarm", "repository"


def entry(swarm: Swarm, name: str, **fields: object) -> MergeEntry:
    row = make.make_entry(make.make_attempt(make.make_subtask(swarm, name=name), status="complete"), **fields)
    make.make_event(swarm, f"merge_entry.{row.status}", id=row.public_id)
    return row


@pytest.fixture
def rendered(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Whose panels were rendered, each time."""
    found = list[str]()
    render = queue_sockets.rendered

    def told(row: Swarm | Repository) -> dict[str, str]:
        found.append(row.public_id)
        return render(row)

    monkeypatch.setattr(queue_sockets, "rendered", told)
    return found


@pytest.fixture
def looks(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """One for each time that a page asked whether anything came."""
    found = list[int]()
    came = News.came

    def told(self: News) -> bool:
        answer = came(self)
        found.append(1)
        return answer

    monkeypatch.setattr(News, "came", told)
    return found


async def looked(looks: list[int], times: int) -> None:
    async with asyncio.timeout(SOON):
        while len(looks) < times:  # noqa: ASYNC110 - another thread counts
            await asyncio.sleep(0.005)


def page_of(house: House, kind: str) -> str:
    row = house.swarm if kind == SWARM else house.repository
    return f"/{'swarms' if kind == SWARM else 'repositories'}/{row.public_id}/queue/"


def group(house: House, kind: str) -> str:
    return group_of(house.swarm.public_id) if kind == SWARM else BOARD_GROUP


async def address(house: House, kind: str, who: str = "viewer") -> str:
    """The socket that the page itself names."""
    html = (await in_thread(house.client(who).get)(page_of(house, kind))).content.decode()
    found = re.search(r'hx-ws:connect="([^"]+)"', html)
    assert found
    return found[1].replace("&amp;", "&")


@pytest.mark.parametrize("kind", [SWARM, REPOSITORY])
async def test_what_is_handed_off_and_lands_moves_by_itself(quick: None, live_house: House, kind: str):
    async with open_socket(await address(live_house, kind), live_house.client("viewer")) as socket:
        row = await in_thread(entry)(live_house.swarm, "fresh-one")
        await hint(group(live_house, kind))
        frame = await socket.receive_from(timeout=SOON)
        assert "fresh-one" in frame
        row.status, row.landed_sha = "landed", "c" * 40
        await in_thread(row.save)()
        await in_thread(make.make_event)(live_house.swarm, "merge_entry.landed", id=row.public_id)
        await hint(group(live_house, kind))
        assert "Nothing waits" in await socket.receive_from(timeout=SOON)


@pytest.mark.parametrize("kind", [SWARM, REPOSITORY])
async def test_a_page_that_is_up_to_date_is_left_alone_and_one_that_is_behind_is_not(
    quick: None, live_house: House, kind: str
):
    path = await address(live_house, kind)
    async with open_socket(path, live_house.client("viewer")) as socket:
        assert await socket.receive_nothing(timeout=QUIET)
    await in_thread(entry)(live_house.swarm, "meanwhile")
    async with open_socket(path, live_house.client("viewer")) as socket:
        frame = await socket.receive_from(timeout=SOON)
    wanted = fragments.QUEUE if kind == SWARM else fragments.REPOSITORY_QUEUE
    assert names(frame) == list(wanted)
    assert "meanwhile" in frame


@pytest.mark.parametrize("kind", [SWARM, REPOSITORY])
async def test_what_is_pushed_is_what_the_page_would_show(quick: None, live_house: House, kind: str):
    client = live_house.client("viewer")
    path = await address(live_house, kind)
    for status in ("queued", "conflict", "landed"):
        await in_thread(entry)(live_house.swarm, f"is-{status}", status=status)
    async with open_socket(path, client) as socket:  # and a look in the middle of them cannot be
        frame = await socket.receive_from(timeout=SOON)
    page = steady((await in_thread(client.get)(page_of(live_house, kind))).content.decode())
    pushed = dict(re.findall(r'<hx-partial hx-target="#([a-z-]+)"[^>]*>(.*?)</hx-partial>', frame, re.DOTALL))
    assert pushed.pop("queue-figures"), "which are of this moment"
    assert len(pushed) > 2
    assert [name for name, html in pushed.items() if steady(html) not in page] == []


def steady(html: str) -> str:
    """Without what tells the time."""
    return re.sub(r"<time.*?</time>", "", html)


@pytest.mark.parametrize("kind", [SWARM, REPOSITORY])
async def test_agents_at_work_make_no_page_of_the_queue_look(
    quick: None, live_house: House, kind: str, rendered: list[str], looks: list[int]
):
    async with open_socket(await address(live_house, kind), live_house.client("viewer")) as socket:
        await looked(looks, 1)
        for number in range(5):
            await in_thread(make.make_event)(live_house.swarm, "attempt.progressed")
            await hint(group(live_house, kind))
            await looked(looks, number + 2)
        assert rendered == []
        await in_thread(entry)(live_house.swarm, "at-last")
        await hint(group(live_house, kind))
        assert "at-last" in await socket.receive_from(timeout=SOON)
    assert len(rendered) == 1


async def test_a_burst_of_landings_is_a_few_frames_and_viewers_share_them(
    live_house: House, rendered: list[str], looks: list[int], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(consumers, "COALESCE_S", 0.5)
    path = await address(live_house, SWARM)
    async with (
        open_socket(path, live_house.client("viewer")) as first,
        open_socket(path, live_house.client("owner")) as second,
    ):
        await looked(looks, 2)
        for number in range(40):
            await in_thread(entry)(live_house.swarm, f"n-{number}", status="landed")
        for _ in range(40):
            await hint(group_of(live_house.swarm.public_id))
        for socket in (first, second):
            async with socket_until(socket, "n-39"):
                pass
    assert len(rendered) <= 4, "of eighty hints"


async def test_what_nobody_was_told_of_is_healed_by_the_heartbeat(impatient: None, live_house: House):
    row = await in_thread(entry)(live_house.swarm, "one")
    async with open_socket(await address(live_house, SWARM), live_house.client("viewer")) as socket:
        row.status_reason = "No space."
        await in_thread(row.save)()
        async with socket_until(socket, "No space."):
            pass


class socket_until:  # noqa: N801 - reads as what it does
    """Frames of other heartbeats may come before."""

    def __init__(self, socket: object, text: str) -> None:
        self._socket, self._text = socket, text

    async def __aenter__(self) -> None:
        while self._text not in await self._socket.receive_from(timeout=SOON):  # type: ignore[attr-defined]
            pass

    async def __aexit__(self, *_: object) -> None: ...


@pytest.mark.parametrize("kind", [SWARM, REPOSITORY])
async def test_strangers_and_anonymous_visitors_hear_nothing(live_house: House, kind: str):
    path = await address(live_house, kind)
    async with open_socket(path, live_house.client("stranger")) as socket:
        assert await closed_with(socket) == consumers.NOT_VISIBLE
    async with open_socket(path, None) as socket:
        assert await closed_with(socket) == consumers.SIGNED_OUT


@pytest.mark.parametrize("times", [1, 30])
def test_a_look_asks_the_same_however_long_the_queue_is(house: House, times: int):
    for number in range(times):
        for status in ("queued", "gating", "landed", "conflict", "rejected"):
            row = entry(house.swarm, f"{status}-{number}", status=status)
            make.make_gate(house.swarm, row, status="red", log_sha256="0" * 64)
    for scope, most in ((house.swarm, 10), (house.repository, 5)):
        fresh = type(scope).objects.get(pk=scope.pk)
        with CaptureQueriesContext(connection) as asked:
            queue_sockets.rendered(fresh)
        assert len(asked) <= most, [query["sql"][:120] for query in asked]


@pytest.mark.parametrize("whose", [SWARM, REPOSITORY])
def test_to_see_whether_anything_came_is_two_questions(house: House, whose: str):
    scope: Swarm | Repository = house.swarm if whose == SWARM else house.repository
    others = [make.make_swarm(house.repository) for _ in range(3)]
    news = News(scope)
    assert news.came()
    for _ in range(100):
        make.make_event(house.swarm, "attempt.progressed")
    with CaptureQueriesContext(connection) as asked:
        assert not news.came()
    assert len(asked) == 2
    with CaptureQueriesContext(connection) as asked:
        assert not news.came()
    assert len(asked) == 1
    make.make_event(others[0], "gate.green")
    assert news.came() is (whose == REPOSITORY)
    make.make_event(house.swarm, "merge_entry.landed")
    make.make_event(house.swarm, "attempt.progressed")
    assert news.came()
    assert not news.came()


def test_where_very_many_swarms_moved_it_looks_without_asking_of_each(house: House, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(queue_sockets, "MOST_ASKED", 1)
    swarms = [make.make_swarm(house.repository) for _ in range(2)]
    news = News(house.repository)
    news.came()
    for swarm in swarms:
        make.make_event(swarm, "attempt.progressed")
    assert news.came()
