"""The sockets: who may listen, and that loss, order and repeats of hints cannot hurt."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from importlib import import_module

import pytest
from asgiref.sync import sync_to_async
from channels.layers import get_channel_layer
from channels.testing import WebsocketCommunicator
from django.conf import settings
from django.contrib.auth import SESSION_KEY
from django.test import Client

from orchestration.domain.events import BOARD_GROUP, group_of
from orchestration.models import Membership, Swarm, User
from orchestration.web import consumers, fragments
from swarmsite.asgi import application
from tests import factories as make
from tests.web.conftest import House

pytestmark = pytest.mark.django_db(transaction=True)
HOST = b"localhost"
ORIGIN = b"http://localhost"
SOON = 60.0  # bounds a broken machine; a busy one is only slow
QUIET = 0.3
in_thread = sync_to_async(thread_sensitive=True)


def headers(client: Client | None, origin: bytes | None = ORIGIN) -> list[tuple[bytes, bytes]]:
    found = [(b"host", HOST)]
    if origin is not None:
        found.append((b"origin", origin))
    if client is not None:
        found.append((b"cookie", f"sessionid={client.cookies['sessionid'].value}".encode()))
    return found


@asynccontextmanager
async def open_socket(
    path: str, client: Client | None, origin: bytes | None = ORIGIN
) -> AsyncIterator[WebsocketCommunicator]:
    socket = WebsocketCommunicator(application, path, headers=headers(client, origin))
    before = listeners()
    connected, _ = await socket.connect(timeout=SOON)
    assert connected
    async with asyncio.timeout(SOON):
        while listeners() == before and socket.output_queue.empty():  # noqa: ASYNC110 - the layer tells nobody
            await asyncio.sleep(0.005)
    try:
        yield socket
    finally:
        await socket.disconnect()


def listeners() -> int:
    """How many sockets are in a group; one that was refused never is."""
    layer = get_channel_layer()
    assert layer is not None
    return sum(len(members) for members in layer.groups.values())


async def closed_with(socket: WebsocketCommunicator) -> int:
    message = await socket.receive_output(timeout=SOON)
    assert message["type"] == "websocket.close"
    return int(message["code"])


async def hint(group: str, seq: int = 0) -> None:
    layer = get_channel_layer()
    assert layer is not None
    await layer.group_send(group, {"type": "swarm.changed", "seq": seq})


def names(frame: str) -> list[str]:
    return re.findall(r'<hx-partial hx-target="#([a-z-]+)" hx-swap="outerMorph">', frame)


@pytest.fixture(autouse=True)
def rows_made_here(monkeypatch: pytest.MonkeyPatch) -> None:
    """Sessions and rows are made in this thread while its loop runs; nothing else runs in it meanwhile."""
    monkeypatch.setenv("DJANGO_ALLOW_ASYNC_UNSAFE", "true")


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Short waits; what they wait for is the same."""
    monkeypatch.setattr(consumers, "COALESCE_S", 0.05)
    monkeypatch.setattr(fragments, "AGE_S", 0.05)


@pytest.fixture
def impatient(quick: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(consumers, "HEARTBEAT_S", 0.1)
    monkeypatch.setattr(consumers, "RECHECK_S", 0.0)


@pytest.fixture
def path(live_house: House) -> str:
    return f"/ws/swarms/{live_house.swarm.public_id}/?after=0"


async def test_a_page_that_is_behind_is_sent_every_panel_at_once(quick: None, live_house: House, path: str):
    await in_thread(make.make_event)(live_house.swarm, "swarm.paused", reason="x")
    async with open_socket(path, live_house.client("viewer")) as socket:
        frame = await socket.receive_from(timeout=SOON)
    assert names(frame) == list(fragments.SWARM)
    assert 'data-seq="1"' in frame


async def test_a_page_that_is_up_to_date_is_left_alone(quick: None, live_house: House, path: str):
    async with open_socket(path, live_house.client("viewer")) as socket:
        assert await socket.receive_nothing(timeout=QUIET)


async def test_after_a_hint_it_looks_for_itself(quick: None, live_house: House, path: str):
    async with open_socket(path, live_house.client("viewer")) as socket:
        await in_thread(make.make_subtask)(live_house.swarm, name="fresh-one")
        await hint(group_of(live_house.swarm.public_id))
        assert "fresh-one" in await socket.receive_from(timeout=SOON)


async def test_only_panels_that_changed_are_sent_again(quick: None, live_house: House, path: str):
    async with open_socket(path, live_house.client("viewer")) as socket:
        await hint(group_of(live_house.swarm.public_id))
        await socket.receive_from(timeout=SOON)
        await in_thread(make.make_check)(live_house.swarm, command="make extra")
        await hint(group_of(live_house.swarm.public_id))
        frame = await socket.receive_from(timeout=SOON)
    assert "swarm-checks" in names(frame)
    assert "swarm-queue" not in names(frame)
    assert "swarm-plan" not in names(frame)


async def test_a_burst_of_hints_is_one_message(live_house: House, path: str):
    async with open_socket(path, live_house.client("viewer")) as socket:
        for at in range(50):
            await in_thread(make.make_subtask)(live_house.swarm, name=f"n-{at}")
        began = time.monotonic()
        for _ in range(50):
            await hint(group_of(live_house.swarm.public_id))
        took = time.monotonic() - began
        frames = [await socket.receive_from(timeout=SOON)]
        while not await socket.receive_nothing(timeout=0.6):
            frames.append(await socket.receive_from())
    assert len(frames) <= took / consumers.COALESCE_S + 2
    assert "n-49" in frames[-1]


async def test_a_lost_hint_is_healed_by_the_heartbeat(
    quick: None, live_house: House, path: str, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(consumers, "HEARTBEAT_S", 0.1)
    async with open_socket(path, live_house.client("viewer")) as socket:
        assert await socket.receive_nothing(timeout=QUIET)
        await in_thread(make.make_event)(live_house.swarm, "swarm.paused", reason="nobody was told")
        assert "nobody was told" in await socket.receive_from(timeout=SOON)


async def test_without_the_heartbeat_it_would_stay_lost(quick: None, live_house: House, path: str):
    async with open_socket(path, live_house.client("viewer")) as socket:
        assert await socket.receive_nothing(timeout=QUIET)
        await in_thread(make.make_event)(live_house.swarm, "swarm.paused", reason="nobody was told")
        assert await socket.receive_nothing(timeout=QUIET)


@pytest.mark.parametrize("after", ["", "?after=", "?after=x", "?after=-1", "?after=" + "9" * 40, "?after=²"])
async def test_a_page_that_does_not_know_where_it_is_gets_everything(quick: None, live_house: House, after: str):
    async with open_socket(f"/ws/swarms/{live_house.swarm.public_id}/{after}", live_house.client("viewer")) as socket:
        assert names(await socket.receive_from(timeout=SOON)) == list(fragments.SWARM)


async def test_what_a_page_sends_is_dropped(quick: None, live_house: House, path: str):
    async with open_socket(path, live_house.client("owner")) as socket:
        await socket.send_to(text_data='{"type": "swarm.changed", "action": "cancel"}')
        await socket.send_to(bytes_data=b"\x00" * 1000)
        assert await socket.receive_nothing(timeout=QUIET)
    await in_thread(live_house.swarm.refresh_from_db)()
    assert live_house.swarm.status == "running"


async def test_anonymous_visitors_are_told_not_to_come_again(live_house: House, path: str):
    async with open_socket(path, None) as socket:
        assert await closed_with(socket) == consumers.SIGNED_OUT


@pytest.mark.parametrize("kind", ["swarms/{}/", "swarms/zzzzzzzzzzzz/"])
async def test_a_stranger_cannot_listen_nor_learn_that_it_exists(live_house: House, kind: str):
    path = f"/ws/{kind.format(live_house.swarm.public_id)}?after=0"
    async with open_socket(path, live_house.client("stranger")) as socket:
        assert await closed_with(socket) == consumers.NOT_VISIBLE


@pytest.mark.parametrize("who", ["viewer", "member", "maintainer", "owner", "operator"])
async def test_everybody_of_the_team_may_listen(quick: None, live_house: House, path: str, who: str):
    async with open_socket(path, live_house.client(who)) as socket:
        await hint(group_of(live_house.swarm.public_id))
        assert names(await socket.receive_from(timeout=SOON))


@pytest.mark.parametrize("origin", [None, b"", b"null", b"http://evil.example", b"http://localhost.evil.example"])
async def test_another_sites_page_is_refused(live_house: House, path: str, origin: bytes | None):
    socket = WebsocketCommunicator(application, path, headers=headers(live_house.client("owner"), origin))
    connected, _ = await socket.connect(timeout=SOON)
    assert not connected


@pytest.mark.parametrize(
    ("origin", "host", "same"),
    [
        (b"http://a.example", b"a.example", True),
        (b"https://a.example:8443", b"a.example:8443", True),
        (b"http://b.example", b"a.example", False),
        (b"http://a.example:81", b"a.example", False),
        (b"", b"a.example", False),
        (b"", b"", False),
        (b"null", b"a.example", False),
        (b"https://public.example", b"inner:8000", True),
    ],
)
async def test_the_origin_must_be_our_own(origin: bytes, host: bytes, same: bool, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(settings, "CSRF_TRUSTED_ORIGINS", ["https://public.example"])
    given = [(b"host", host)] + ([(b"origin", origin)] if origin else [])
    assert consumers.same_origin({"headers": given}) is same


def sign_out(client: Client) -> None:
    store = import_module(settings.SESSION_ENGINE).SessionStore(client.cookies["sessionid"].value)
    assert SESSION_KEY in store
    store.delete()


@pytest.mark.parametrize(
    ("undo", "code"),
    [
        (lambda house, client: sign_out(client), consumers.SIGNED_OUT),
        (lambda house, client: User.objects.filter(username="viewer").update(is_active=False), consumers.SIGNED_OUT),
        (lambda house, client: change_password(house.viewer), consumers.SIGNED_OUT),
        (lambda house, client: Membership.objects.filter(user=house.viewer).delete(), consumers.NOT_VISIBLE),
    ],
    ids=["signed out", "switched off", "new password", "left the team"],
)
async def test_a_right_that_ends_ends_the_socket(
    impatient: None,
    live_house: House,
    path: str,
    undo: Callable[[House, Client], object],
    code: int,
):
    client = live_house.client("viewer")
    async with open_socket(path, client) as socket:
        assert await socket.receive_nothing(timeout=QUIET)
        await in_thread(undo)(live_house, client)
        assert await closed_with(socket) == code


def change_password(user: User) -> None:
    user.set_password("another one entirely")
    user.save()


async def test_whoever_lost_the_right_sees_no_more_even_before_the_recheck(quick: None, live_house: House, path: str):
    async with open_socket(path, live_house.client("viewer")) as socket:
        await in_thread(Membership.objects.filter(user=live_house.viewer).delete)()
        await hint(group_of(live_house.swarm.public_id))
        assert await closed_with(socket) == consumers.NOT_VISIBLE


async def test_a_failure_asks_the_page_to_come_again(
    quick: None, live_house: House, path: str, monkeypatch: pytest.MonkeyPatch
):
    def broken(*_: object) -> None:
        raise RuntimeError("no database")

    async with open_socket(path, live_house.client("viewer")) as socket:
        monkeypatch.setattr(consumers.SwarmPage, "panels", broken)
        await hint(group_of(live_house.swarm.public_id))
        assert await closed_with(socket) == consumers.COME_AGAIN


async def test_a_viewers_panels_hold_no_buttons_and_a_members_do(quick: None, live_house: House, path: str):
    pause = f"/swarms/{live_house.swarm.public_id}/pause/"
    seen = {}
    for who in ("viewer", "member", "viewer"):
        async with open_socket(path, live_house.client(who)) as socket:
            await hint(group_of(live_house.swarm.public_id))
            seen[who] = await socket.receive_from(timeout=SOON)
    assert pause in seen["member"]
    assert pause not in seen["viewer"]


async def test_viewers_with_the_same_rights_share_one_rendering(
    live_house: House, path: str, monkeypatch: pytest.MonkeyPatch
):
    rendered = []
    render = fragments.render
    monkeypatch.setattr(fragments, "render", lambda *given: rendered.append(1) or render(*given))
    async with (
        open_socket(path, live_house.client("member")) as first,
        open_socket(path, live_house.client("owner")) as second,
    ):
        await hint(group_of(live_house.swarm.public_id))
        one, two = await asyncio.gather(first.receive_from(timeout=SOON), second.receive_from(timeout=SOON))
    assert one == two
    assert len(rendered) == 1


async def test_no_token_of_a_form_goes_over_the_socket(quick: None, live_house: House, path: str):
    async with open_socket(path, live_house.client("owner")) as socket:
        await hint(group_of(live_house.swarm.public_id))
        frame = await socket.receive_from(timeout=SOON)
    assert "csrf" not in frame
    assert 'form="steer"' in frame


async def test_a_subtask_page_gets_its_own_panels(quick: None, live_house: House):
    subtask = await in_thread(make.make_subtask)(live_house.swarm, name="docs")
    attempt = await in_thread(make.make_attempt)(subtask)
    path = f"/ws/swarms/{live_house.swarm.public_id}/?after=0&subtask={subtask.public_id}&attempt=1"
    async with open_socket(path, live_house.client("viewer")) as socket:
        await in_thread(make.make_step)(attempt, text="I am thinking aloud.")
        await hint(group_of(live_house.swarm.public_id))
        frame = await socket.receive_from(timeout=SOON)
    assert names(frame) == list(fragments.SUBTASK)
    assert "I am thinking aloud." in frame


async def test_a_subtask_of_another_swarm_is_not_found_there(live_house: House):
    other = await in_thread(make.make_subtask)()
    mine = await in_thread(make.make_subtask)(await in_thread(make.make_swarm)(live_house.repository))
    for subtask in (other, mine):
        path = f"/ws/swarms/{live_house.swarm.public_id}/?after=0&subtask={subtask.public_id}"
        async with open_socket(path, live_house.client("viewer")) as socket:
            assert await closed_with(socket) == consumers.NOT_VISIBLE


async def test_the_board_holds_only_what_one_may_see(quick: None, live_house: House):
    frames = {}
    await in_thread(make.make_event)(live_house.swarm, "swarm.running")
    elsewhere = await in_thread(make.make_repository)(live_house.stranger.memberships.get().team)  # type: ignore[misc]
    swarm = await in_thread(make.make_swarm)(elsewhere, title="Their own request")
    await in_thread(make.make_event)(swarm, "swarm.running")
    for who in ("viewer", "stranger"):
        async with open_socket("/ws/board/?after=0", live_house.client(who)) as socket:
            frames[who] = await socket.receive_from(timeout=SOON)
    assert names(frames["viewer"]) == ["board"]
    assert "Replace the session store" in frames["viewer"]
    assert "Their own request" not in frames["viewer"]
    assert "Their own request" in frames["stranger"]
    assert "Replace the session store" not in frames["stranger"]


async def test_the_board_keeps_its_filter(quick: None, live_house: House):
    await in_thread(make.make_swarm)(live_house.repository, title="Print receipts")
    async with open_socket("/ws/board/?after=0&q=receipts", live_house.client("viewer")) as socket:
        await hint(BOARD_GROUP)
        frame = await socket.receive_from(timeout=SOON)
    assert "Print receipts" in frame
    assert "Replace the session store" not in frame


async def test_a_closed_page_leaves_nothing_behind(quick: None, live_house: House, path: str):
    before = asyncio.all_tasks()
    async with open_socket(path, live_house.client("viewer")):
        pass
    layer = get_channel_layer()
    assert layer is not None
    assert not layer.groups.get(group_of(live_house.swarm.public_id))
    assert not [task for task in asyncio.all_tasks() - before if "_run" in repr(task)]


async def test_the_page_and_its_pushed_panels_are_the_same(quick: None, live_house: House, path: str):
    """State and pushed panels equal a fresh page: what is pushed is nothing but the page's own parts."""
    client = live_house.client("member")
    async with open_socket(path, client) as socket:
        swarm = await in_thread(Swarm.objects.get)(pk=live_house.swarm.pk)
        await in_thread(make.make_subtask)(swarm, name="fresh-one", status="failed", status_reason="No luck.")
        await in_thread(make.make_event)(swarm, "subtask.failed", name="fresh-one", reason="No luck.")
        await hint(group_of(swarm.public_id))
        frame = await socket.receive_from(timeout=SOON)
    page = (await in_thread(client.get)(f"/swarms/{live_house.swarm.public_id}/")).content.decode()
    pushed = dict(re.findall(r'<hx-partial hx-target="#([a-z-]+)"[^>]*>(.*?)</hx-partial>', frame, re.DOTALL))
    assert set(pushed) == set(fragments.SWARM)
    for name, html in pushed.items():
        assert steady(html) in steady(page), name


def steady(html: str) -> str:
    """Without what tells the time."""
    return re.sub(r"<time.*?</time>|\d+ s\b|\d+\.\d+x?", "", html)
