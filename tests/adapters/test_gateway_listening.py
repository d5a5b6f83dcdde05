"""Whoever listens hears an answer while it grows, and no part of a secret; nobody: no text is put together."""

from __future__ import annotations

import threading
from concurrent.futures import Future
from dataclasses import dataclass, field

import pytest

from orchestration.adapters.cancellation import Cancellation
from orchestration.adapters.llm import waiting
from orchestration.adapters.llm.waiting import Progress, wait
from orchestration.demo.service import Answer
from orchestration.domain.conversation import Reply
from orchestration.domain.redaction import REMOVED
from tests.adapters.gateway_rig import Rig
from tests.adapters.serving.rig import reply

KEY = "sk-planted-0123456789abcdef"
WORDS = "ένα δύο"  # no secret that another test planted begins with one of these letters, so none is held back


@dataclass
class Ear:
    """`comes_after`: somebody begins to listen only when asked so often."""

    comes_after: int = 0
    asked: int = 0
    texts: list[str] = field(default_factory=list)
    threads: set[int] = field(default_factory=set)

    def wanted(self) -> bool:
        self.asked += 1
        return self.asked > self.comes_after

    def heard(self, text: str) -> None:
        self.texts.append(text)
        self.threads.add(threading.get_ident())


@pytest.fixture(autouse=True)
def often(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every piece is worth telling: what is told does not hang on the clock."""
    monkeypatch.setattr(waiting, "TEXT_EVERY_S", 0.0)
    monkeypatch.setattr(waiting, "PROGRESS_EVERY_S", 0.0)


def follow(whole: str, ear: Ear | None) -> list[str]:
    """An answer that comes character by character, with a sign of life after each; which texts were put together."""
    progress = Progress(listening=ear is not None and ear.wanted())
    future: Future[Reply] = Future()
    future.add_done_callback(progress.end)
    put: list[str] = []

    def so_far(end: int) -> str:
        put.append(whole[:end])
        return whole[:end]

    def grow(end: int) -> None:
        """In the caller's thread, so that every sign is read before the next one is given."""
        if end > len(whole):
            future.set_result(reply(whole))
            return
        progress.text(lambda: so_far(end))
        progress(end)

    grow(1)
    wait(future, progress, Cancellation(), on_progress=lambda size: grow(size + 1), on_sent=None, listener=ear)
    return put


def test_the_text_grows_in_the_thread_that_asked():
    ear = Ear()
    assert follow(WORDS, ear) == [WORDS[:end] for end in range(1, len(WORDS) + 1)] == ear.texts
    assert ear.threads == {threading.get_ident()}


def test_who_comes_later_hears_from_then_on():
    ear = Ear(comes_after=3)
    follow(WORDS, ear)
    assert ear.texts == [WORDS[:end] for end in range(4, len(WORDS) + 1)]


def test_where_nobody_listens_no_text_is_put_together():
    assert follow(WORDS, Ear(comes_after=10_000)) == []
    assert follow(WORDS, None) == []


def test_not_every_piece_is_told(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(waiting, "TEXT_EVERY_S", 3600.0)
    assert follow(WORDS, Ear()) == [WORDS[0]]


def test_a_key_split_over_pieces_is_never_heard(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("SWARM_TEST_MODEL_KEY", KEY)
    ear = Ear()
    follow(f"It is {KEY} indeed.", ear)
    assert ear.texts[-1] == f"It is {REMOVED} indeed."
    assert not [text for text in ear.texts if KEY[:1] in text.removeprefix("It is").replace(REMOVED, "")]


def test_without_a_redactor_its_beginning_would_be_heard():
    """The control: nobody knows this key, and its pieces come one by one."""
    ear = Ear()
    follow(f"It is {KEY} indeed.", ear)
    assert any(KEY[:4] in text and KEY not in text for text in ear.texts)


@pytest.mark.parametrize("kind", ["openai", "anthropic"])
def test_from_a_real_service_of_either_kind(kind: str):
    rig, ear = Rig(), Ear()
    rig.script(Answer(f"one two three four five {WORDS}", chunks=9, pace_s=0.01))
    base_url = rig.service.base_url if kind == "openai" else rig.service.base_url.removesuffix("/v1")
    try:
        answer = rig.ask(rig.endpoint(kind=kind, base_url=base_url), listener=ear)
    finally:
        rig.close()
    assert ear.texts[-1] == answer.text == f"one two three four five {WORDS}"
    assert all(answer.text.startswith(text) for text in ear.texts)


def test_a_thread_that_need_not_know_that_its_request_went_out_is_not_woken_for_it():
    progress = Progress(tells_sent=False)
    progress.sent()
    assert progress.signs.empty()
    told = Progress()
    told.sent()
    assert told.signs.get_nowait() == waiting.SENT
