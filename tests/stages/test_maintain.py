"""Maintenance beside the queue: it lets go of what is decided, keeps all work, and no landing waits for it."""

from __future__ import annotations

import logging
import os
import threading
from datetime import timedelta
from pathlib import Path

import pytest
from django.db import connection
from django.utils import timezone

from orchestration.adapters import storage
from orchestration.adapters.git.store import BareRepository
from orchestration.domain.errors import AdapterError, Failure
from orchestration.models import Attempt, CacheEntry, GateRun, MergeEntry, Repository, Swarm
from orchestration.stages import maintain as stage
from orchestration.stages.branch import pin_of
from orchestration.stages.leases import hold
from orchestration.stages.leftovers import forget_content
from orchestration.stages.maintain import UNUSED_S, maintain
from orchestration.stages.merge import merge
from orchestration.stages.rows import store_of
from orchestration.stages.steer import cancel
from tests import factories
from tests.stages.test_merge import entries
from tests.stages.world import World


def again(repository: Repository) -> Repository:
    repository.refresh_from_db()
    return repository


def queue_of(world: World, count: int) -> Swarm:
    swarm = world.running()
    for number in range(count):
        world.queued(swarm, f"t{number}", {f"t{number}.txt": "x\n"})
    return swarm


def test_candidates_of_swarms_that_are_over_are_let_go_and_those_under_way_are_kept(world: World):
    going_on, landing, over = world.running(), world.running(), world.running()
    for swarm in (landing, over):
        cancel(swarm, world.ada)
    factories.make_entry(factories.make_attempt(factories.make_subtask(landing), status="complete"), status="merging")
    pins = {pin_of(swarm, "candidate") for swarm in (going_on, landing)}
    for name in (*pins, pin_of(over, "candidate"), "nobodys-candidate"):
        store_of(over).pin("candidates", name, over.base_sha)
    maintain(over.repository.pk)
    assert set(store_of(over).pins("candidates")) == pins


def test_the_work_of_attempts_stays_whatever_became_of_it_and_what_no_row_knows_goes(world: World):
    swarm, other = world.running(), world.running()
    store = store_of(swarm)
    for one in (swarm, other):
        for status in ("complete", "failed", "lost"):
            attempt = factories.make_attempt(factories.make_subtask(one), status=status)
            store.pin("attempts", attempt.public_id, swarm.base_sha)
    cancel(swarm, world.ada)
    kept = set(Attempt.objects.filter(subtask__swarm=swarm).values_list("public_id", flat=True))
    other.subtasks.all().delete()
    maintain(swarm.repository.pk)
    assert set(store.pins("attempts")) == kept


def test_it_packs_after_many_landings_and_then_again_after_as_many(world: World, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(stage, "PACK_AFTER_LANDINGS", 2)
    swarm = queue_of(world, 2)
    maintain(swarm.repository.pk)
    assert again(swarm.repository).packed_at is None
    merge(swarm.pk)
    maintain(swarm.repository.pk)
    packed = again(swarm.repository).packed_at
    assert packed
    assert store_of(swarm).loose_objects() == 0
    world.queued(swarm, "one-more", {"more.txt": "x\n"})
    merge(swarm.pk)
    maintain(swarm.repository.pk)
    assert again(swarm.repository).packed_at == packed


def test_it_packs_where_many_objects_lie_loose(world: World, monkeypatch: pytest.MonkeyPatch):
    swarm = queue_of(world, 1)
    monkeypatch.setattr(stage, "PACK_AFTER_LOOSE", store_of(swarm).loose_objects())
    maintain(swarm.repository.pk)
    assert again(swarm.repository).packed_at


def test_landings_go_on_while_it_packs(world: World, monkeypatch: pytest.MonkeyPatch):
    """The packing does not end before everything has landed: were a landing to wait for it, neither would end."""
    swarm = queue_of(world, 5)
    monkeypatch.setattr(stage, "PACK_AFTER_LANDINGS", 0)
    real, packing, landed = BareRepository.pack, threading.Event(), threading.Event()

    def pack(self: BareRepository) -> None:
        packing.set()
        assert landed.wait(60)
        real(self)

    monkeypatch.setattr(BareRepository, "pack", pack)

    def run() -> None:
        maintain(swarm.repository.pk)
        connection.close()

    thread = threading.Thread(target=run)
    thread.start()
    assert packing.wait(60)
    merge(swarm.pk)
    assert set(entries().values()) == {"landed"}
    landed.set()
    thread.join(60)
    assert again(swarm.repository).packed_at
    world.queued(swarm, "after", {"after.txt": "x\n"})
    merge(swarm.pk)
    assert entries()["after"] == "landed"


def test_where_another_one_is_at_it_nothing_is_done(world: World):
    swarm = world.running()
    store_of(swarm).pin("candidates", "nobodys", swarm.base_sha)
    with hold(f"maintain:{swarm.repository.pk}"):
        maintain(swarm.repository.pk)
    assert store_of(swarm).pins("candidates")
    maintain(swarm.repository.pk)
    assert not store_of(swarm).pins("candidates")


def test_it_says_what_killed_children_have_left(world: World, caplog: pytest.LogCaptureFixture):
    swarm = world.running()
    left = store_of(swarm).path / "packed-refs.lock"
    left.touch()
    os.utime(left, (1, 1))
    with caplog.at_level(logging.WARNING):
        maintain(swarm.repository.pk)
    assert not left.exists()
    assert "packed-refs.lock" in caplog.text


def test_a_repository_that_was_never_fetched_is_looked_after_too():
    repository = factories.make_repository()
    Repository.objects.update(looked_after_at=timezone.now() - timedelta(hours=1))
    maintain(repository.pk)
    assert again(repository).looked_after_at > timezone.now() - timedelta(minutes=1)


def test_a_candidate_that_cannot_be_let_go_keeps_nobody_from_landing(world: World, monkeypatch: pytest.MonkeyPatch):
    swarm = queue_of(world, 2)

    def locked(*_: object) -> None:
        raise AdapterError(Failure.TRANSIENT, "packed-refs is locked.")

    with monkeypatch.context() as patch:
        patch.setattr(BareRepository, "unpin", locked)
        merge(swarm.pk)
    assert set(entries().values()) == {"landed"}
    assert store_of(swarm).pins("candidates")
    cancel(swarm, world.ada)
    maintain(swarm.repository.pk)
    assert not store_of(swarm).pins("candidates")
    assert MergeEntry.objects.filter(infra_failures__gt=0).count() == 0


def blob(content: bytes, *, age_s: float = 2 * UNUSED_S) -> tuple[str, Path]:
    name = storage.blobs().put(content)
    path = storage.blobs().root / name[:2] / name[2:]
    then = timezone.now().timestamp() - age_s
    os.utime(path, (then, then))
    return name, path


def test_content_that_no_row_names_is_forgotten_when_it_is_old():
    named, path = blob(b"named by an artifact")
    factories.make_artifact(factories.make_swarm(), sha256=named)
    log, log_path = blob(b"the log of a gate")
    GateRun.objects.create(swarm=factories.make_swarm(), status="green", log_sha256=log, finished_at=timezone.now())
    cached, cached_path = blob(b"an artifact that may be given again")
    kept = {"artifacts": [{"sha256": cached}]}
    attempt = factories.make_attempt()
    CacheEntry.objects.create(
        repository=attempt.subtask.swarm.repository, attempt=attempt, key="k", content=kept, size=9,
        created_at=timezone.now(), expires_at=timezone.now(),
    )  # fmt: skip
    _, forgotten = blob(b"named by nobody")
    _, young = blob(b"about to be named", age_s=60)
    forget_content()
    assert [one.exists() for one in (path, log_path, cached_path, young)] == [True] * 4
    assert not forgotten.exists()
