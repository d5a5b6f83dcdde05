"""The live pages' sockets. A hint says "something changed"; each socket then looks for itself and sends whole
panels, so that order, loss and repeats cannot hurt. Nothing is ever taken from a page over the socket.
"""

from __future__ import annotations

import asyncio
import logging
import time
from contextlib import suppress
from functools import partial
from typing import Any
from urllib.parse import parse_qs, urlsplit

from channels.auth import get_user
from channels.db import database_sync_to_async
from channels.generic.websocket import AsyncWebsocketConsumer
from django.conf import settings
from django.http import Http404, QueryDict
from typing_extensions import override

from orchestration.domain.events import BOARD_GROUP, draft_group, group_of
from orchestration.domain.rights import Action
from orchestration.models import Swarm, User
from orchestration.stages import aloud
from orchestration.web import fragments
from orchestration.web.access import subtask_of, swarm_of, swarms_of
from orchestration.web.boards import Board
from orchestration.web.pages import filter_of
from orchestration.web.panels import SwarmPanels
from orchestration.web.subtasks import SubtaskPanels

COALESCE_S = 0.25
HEARTBEAT_S = 20.0
RECHECK_S = 300.0
# After a slow look the socket rests this many times as long, so that a large swarm cannot take the whole server.
REST = 3.0
SIGNED_OUT = 4401
NOT_VISIBLE = 4404
WRONG_ORIGIN = 4403
COME_AGAIN = 4000  # among the codes after which the page's script connects again

logger = logging.getLogger(__name__)


class LivePage(AsyncWebsocketConsumer):
    """One open page. Its subclass says which group it listens to and what it shows."""

    user: User
    group: str

    @override
    async def connect(self) -> None:
        # Closing before accepting would reach the page as "connection lost", and it would try for ever.
        await self.accept()
        self._changed = asyncio.Event()
        self._sent: dict[str, int] = {}
        self._pump: asyncio.Task[None] | None = None
        if code := await self._refusal():
            await self.close(code)
            return
        self.group = self.group_name()
        await self.channel_layer.group_add(self.group, self.channel_name)
        await self.arrive()
        self._pump = asyncio.create_task(self._run())

    @override
    async def disconnect(self, code: int) -> None:
        if self._pump is not None:
            self._pump.cancel()
            with suppress(asyncio.CancelledError):
                await self._pump
            await self.channel_layer.group_discard(self.group, self.channel_name)
            await self.depart()

    @override
    async def receive(self, text_data: str | None = None, bytes_data: bytes | None = None) -> None:
        """Pages act through forms, which carry their rights with them; what comes in here is dropped."""

    async def arrive(self) -> None:
        """Once it is known that this person may look."""

    async def depart(self) -> None:
        """Of a page that has arrived."""

    async def swarm_changed(self, _message: dict[str, Any]) -> None:
        self._changed.set()

    async def _refusal(self) -> int | None:
        """The code to close with; None where this person may look."""
        if not same_origin(self.scope):
            return WRONG_ORIGIN
        person = await current_user(self.scope)
        if person is None:
            return SIGNED_OUT
        self.user = person
        try:
            await _in_thread(self.look)
        except Http404:
            return NOT_VISIBLE
        return None

    async def _run(self) -> None:
        """One task a socket. Where it fails it closes, so that the page comes again instead of going stale."""
        try:
            code = await self._watch()
        except Http404:
            code = NOT_VISIBLE
        except Exception:
            logger.exception("A live page failed and is asked to connect again.")
            code = COME_AGAIN
        await self.close(code)

    async def _watch(self) -> int:
        """Looks at once, then after every hint and at its own heartbeat; the code to close with."""
        seq, hinted, checked = self.after, False, time.monotonic()
        while True:
            if await _in_thread(partial(self.is_due, seq, hinted=hinted)):
                began = time.monotonic()
                seq = await self._show()
                await asyncio.sleep((time.monotonic() - began) * REST)
            hinted = await self._hint()
            if time.monotonic() - checked > RECHECK_S:
                if code := await self._refusal():
                    return code
                checked = time.monotonic()

    async def _hint(self) -> bool:
        """Whether a hint came before the heartbeat; a burst of them counts once."""
        try:
            await asyncio.wait_for(self._changed.wait(), HEARTBEAT_S)
        except TimeoutError:
            return False
        await asyncio.sleep(COALESCE_S)
        self._changed.clear()
        return True

    async def _show(self) -> int:
        seq, panels = await _in_thread(self.panels)
        new = {name: html for name, html in panels.items() if self._sent.get(name) != hash(html)}
        self._sent |= {name: hash(html) for name, html in new.items()}
        if new:
            await self.send(fragments.partials(new))
        return int(seq)

    @property
    def query(self) -> dict[str, str]:
        given = parse_qs(self.scope["query_string"].decode("latin-1"))
        return {name: values[-1] for name, values in given.items()}

    @property
    def after(self) -> int:
        """What the page was rendered at; a number that nobody reaches where it is none."""
        told = self.query.get("after", "")
        return int(told) if told.isascii() and told.isdigit() and len(told) < 19 else -1

    # What a page says about itself; all but its group run in a thread and may ask the database.

    def group_name(self) -> str:
        raise NotImplementedError

    def look(self) -> None:
        """Raises Http404 where this person may not see it."""
        raise NotImplementedError

    def newest(self) -> int:
        raise NotImplementedError

    def is_due(self, seq: int, *, hinted: bool) -> bool:
        """Whether a look is worth while, of a page that shows `seq`."""
        return hinted or self.newest() > seq

    def panels(self) -> tuple[int, dict[str, str]]:
        raise NotImplementedError


class SwarmPage(LivePage):
    """The swarm's page, or that of one of its subtasks where the address names one; there, what its agent is just
    saying comes as it is said."""

    _draft = ""

    @override
    async def arrive(self) -> None:
        if subtask_id := self.query.get("subtask"):
            await self.channel_layer.group_add(draft_group(subtask_id), self.channel_name)
            aloud.attend(subtask_id)

    @override
    async def depart(self) -> None:
        if subtask_id := self.query.get("subtask"):
            aloud.depart(subtask_id)
            await self.channel_layer.group_discard(draft_group(subtask_id), self.channel_name)

    @override
    def is_due(self, seq: int, *, hinted: bool) -> bool:
        if subtask_id := self.query.get("subtask"):
            aloud.stay(subtask_id)
        return super().is_due(seq, hinted=hinted)

    async def attempt_said(self, message: dict[str, Any]) -> None:
        """Shown at once, if this person still may look; at its end the transcript's panel takes its place."""
        if self.query.get("attempt", "") not in {"", str(message["attempt"])}:
            return
        try:
            await _in_thread(self.look)
        except Http404:
            await self.close(NOT_VISIBLE)
            return
        self._draft = message["text"]
        self._sent.pop("subtask-attempt", None)
        if self._draft:
            await self.send(fragments.partials(fragments.render(fragments.DRAFT, {"draft": self._draft})))
        else:
            self._changed.set()

    @property
    def swarm_id(self) -> str:
        return str(self.scope["url_route"]["kwargs"]["public_id"])

    @override
    def group_name(self) -> str:
        return group_of(self.swarm_id)

    @override
    def look(self) -> None:
        swarm_of(self.user, self.swarm_id)
        if (subtask_id := self.query.get("subtask")) and subtask_of(
            self.user, subtask_id
        ).swarm.public_id != self.swarm_id:
            raise Http404

    @override
    def newest(self) -> int:
        return Swarm.objects.filter(public_id=self.swarm_id).values_list("last_seq", flat=True).first() or 0

    @override
    def panels(self) -> tuple[int, dict[str, str]]:
        swarm = swarm_of(self.user, self.swarm_id)
        may_steer = self.user.may(Action.STEER, swarm.repository.team)
        if subtask_id := self.query.get("subtask"):
            return swarm.last_seq, self._subtask(subtask_id, may_steer=may_steer)
        return fragments.shared(
            (self.swarm_id, may_steer),
            lambda: (
                swarm.last_seq,
                fragments.render(fragments.SWARM, {"panels": SwarmPanels(swarm, may_steer=may_steer)}),
            ),
        )

    def _subtask(self, subtask_id: str, *, may_steer: bool) -> dict[str, str]:
        number = self.query.get("attempt", "")
        panels = SubtaskPanels(
            subtask_of(self.user, subtask_id),
            may_steer=may_steer,
            number=int(number) if number.isascii() and number.isdigit() and len(number) < 6 else None,
            draft=self._draft,
        )
        return fragments.render(fragments.SUBTASK, {"panels": panels})


class BoardPage(LivePage):
    @override
    def group_name(self) -> str:
        return BOARD_GROUP

    @override
    def look(self) -> None:
        """Everybody who is signed in has a board; it holds only what they may see."""

    @override
    def newest(self) -> int:
        """Grows whenever anything on this person's board does."""
        return sum(swarms_of(self.user).order_by().values_list("last_seq", flat=True))

    @override
    def panels(self) -> tuple[int, dict[str, str]]:
        newest = self.newest()
        board = Board(self.user, filter_of(QueryDict(self.scope["query_string"])))
        return newest, fragments.render(fragments.BOARD, {"board": board})


def same_origin(scope: Any) -> bool:
    """A missing Origin counts as wrong: every browser sends one."""
    headers = dict(scope["headers"])
    origin = headers.get(b"origin", b"").decode("latin-1")
    host = headers.get(b"host", b"").decode("latin-1")
    return bool(host) and (urlsplit(origin).netloc == host or origin in settings.CSRF_TRUSTED_ORIGINS)


async def current_user(scope: Any) -> User | None:
    """Read anew from the session's row: a sign-out or a new password ends it while the socket is open."""
    session = scope["session"]
    fresh = type(session._wrapped if hasattr(session, "_wrapped") else session)(session.session_key)  # noqa: SLF001
    again: Any = {**scope, "session": fresh}
    user = await get_user(again)
    return user if isinstance(user, User) and user.is_active else None


async def _in_thread(ask: Any) -> Any:
    """In a thread of its own, so that a slow look keeps no request waiting."""
    return await database_sync_to_async(ask, thread_sensitive=False)()
