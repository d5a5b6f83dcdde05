"""What an agent is just saying comes to the pages of its subtask as it is said, and to nobody else."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest
from channels.layers import get_channel_layer

from orchestration.adapters import live, onlookers
from orchestration.domain.events import draft_group, group_of
from orchestration.models import Attempt, Membership
from orchestration.stages.aloud import MOST, Aloud
from orchestration.web import consumers, fragments
from tests import factories as make
from tests.web.conftest import House
from tests.web.test_live import QUIET, SOON, closed_with, hint, in_thread, names, open_socket, quick, rows_made_here

__all__ = ["quick", "rows_made_here"]
pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def attempt(live_house: House) -> Attempt:
    subtask = make.make_subtask(live_house.swarm, name="docs", status="running")
    return make.make_attempt(subtask, status="running")


@pytest.fixture
def path(live_house: House, attempt: Attempt) -> str:
    seq = live_house.swarm.last_seq + 1_000_000
    return f"/ws/swarms/{live_house.swarm.public_id}/?after={seq}&subtask={attempt.subtask.public_id}"


@pytest.fixture
def from_threads() -> Iterator[None]:
    """Hints come from other threads, as in the server, which may serve other tests of this process."""
    before = live._loop
    yield
    live.serve_from(before)


def name_of(attempt: Attempt) -> str:
    return draft_group(attempt.subtask.public_id)


async def say(attempt: Attempt, text: str, number: int | None = None) -> None:
    layer = get_channel_layer()
    assert layer is not None
    message = {"type": "attempt.said", "attempt": number or attempt.number, "text": text}
    await layer.group_send(name_of(attempt), message)


async def test_it_grows_on_the_page_and_is_no_markup(quick: None, live_house: House, attempt: Attempt, path: str):
    async with open_socket(path, live_house.client("viewer")) as socket:
        await say(attempt, "I look <b>")
        frame = await socket.receive_from(timeout=SOON)
        assert names(frame) == ["attempt-draft"]
        assert "I look &lt;b&gt;" in frame
        await say(attempt, "I look <b> and see")
        assert "and see" in await socket.receive_from(timeout=SOON)


async def test_a_look_meanwhile_keeps_it_and_its_end_takes_it_away(
    quick: None, live_house: House, attempt: Attempt, path: str
):
    async with open_socket(path, live_house.client("viewer")) as socket:
        await say(attempt, "I look around")
        await socket.receive_from(timeout=SOON)
        await hint(group_of(live_house.swarm.public_id))
        frame = await socket.receive_from(timeout=SOON)
        assert "subtask-attempt" in names(frame)
        assert "I look around" in frame
        await in_thread(make.make_step)(attempt, text="I look around, whole.")
        await say(attempt, "")
        frame = await socket.receive_from(timeout=SOON)
        assert "I look around, whole." in frame
        assert "It is answering" not in frame


async def test_an_end_without_a_step_takes_it_away_too(quick: None, live_house: House, attempt: Attempt, path: str):
    """The call failed: the panel is what it was before, and is sent all the same."""
    async with open_socket(path, live_house.client("viewer")) as socket:
        await hint(group_of(live_house.swarm.public_id))
        await socket.receive_from(timeout=SOON)
        await say(attempt, "Half of")
        await socket.receive_from(timeout=SOON)
        await say(attempt, "")
        frame = await socket.receive_from(timeout=SOON)
        assert names(frame) == ["subtask-attempt"]
        assert "Half of" not in frame


async def test_a_page_of_another_attempt_is_left_alone(quick: None, live_house: House, attempt: Attempt, path: str):
    async with open_socket(f"{path}&attempt=2", live_house.client("viewer")) as socket:
        await say(attempt, "I look")
        assert await socket.receive_nothing(timeout=QUIET)
        await say(attempt, "I am the second.", number=2)
        assert "I am the second." in await socket.receive_from(timeout=SOON)


async def test_whoever_lost_the_right_hears_no_more(quick: None, live_house: House, attempt: Attempt, path: str):
    async with open_socket(path, live_house.client("viewer")) as socket:
        await in_thread(Membership.objects.filter(user=live_house.viewer).delete)()
        await say(attempt, "A secret plan.")
        assert await closed_with(socket) == consumers.NOT_VISIBLE


async def test_only_an_open_page_of_the_subtask_makes_it_wanted(
    quick: None, live_house: House, attempt: Attempt, path: str
):
    aloud = Aloud(attempt)
    assert not aloud.wanted()
    async with open_socket(f"/ws/swarms/{live_house.swarm.public_id}/?after=0", live_house.client("viewer")):
        assert not aloud.wanted(), "the swarm's page shows no transcript"
    async with open_socket(path, live_house.client("viewer")), open_socket(path, live_house.client("owner")):
        assert aloud.wanted()
    assert not aloud.wanted()
    assert name_of(attempt) not in onlookers._here


async def test_a_stranger_makes_nothing_wanted(live_house: House, attempt: Attempt, path: str):
    async with open_socket(path, live_house.client("stranger")) as socket:
        assert await closed_with(socket) == consumers.NOT_VISIBLE
        assert not Aloud(attempt).wanted()


async def test_from_the_workers_thread_to_the_page(
    quick: None, from_threads: None, live_house: House, attempt: Attempt, path: str
):
    live.serve_from(asyncio.get_running_loop())
    aloud = Aloud(attempt)
    async with open_socket(path, live_house.client("viewer")) as socket:
        await asyncio.to_thread(aloud.heard, "x" * MOST + "the end")
        frame = await socket.receive_from(timeout=SOON)
        assert "xthe end</p>" in frame
        assert len(frame) < MOST + 1000
        await asyncio.to_thread(aloud.over)
        assert names(await socket.receive_from(timeout=SOON)) == list(fragments.SUBTASK)
        await asyncio.to_thread(aloud.over)
        assert await socket.receive_nothing(timeout=QUIET), "its end is told once"
