"""Content is kept under its SHA-256: whole or not at all, once, and nothing else can be asked for."""

from __future__ import annotations

import errno
import hashlib
import os
import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from orchestration.adapters.blobs import BlobStore
from orchestration.domain.errors import AdapterError, Failure


@pytest.fixture
def store(tmp_path: Path) -> BlobStore:
    return BlobStore(tmp_path / "blobs")


def files(store: BlobStore) -> list[Path]:
    return [path for path in store.root.rglob("*") if path.is_file()]


def full_disk(*_: object) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=50)
@given(content=st.binary(max_size=300))
def test_what_was_stored_is_found_by_its_name(store: BlobStore, content: bytes):
    name = store.put(content)
    assert name == hashlib.sha256(content).hexdigest()
    assert store.get(name) == content


def test_the_same_content_is_stored_once_and_left_alone(store: BlobStore):
    name = store.put(b"one")
    (path,) = files(store)
    before = path.stat()
    assert store.put(b"one") == name
    assert files(store) == [path]
    assert path.stat().st_ino == before.st_ino


def test_what_is_old_can_be_told_and_removed(store: BlobStore):
    old, young = store.put(b"old"), store.put(b"young")
    (store.root / "ab").mkdir(exist_ok=True)
    (store.root / "ab" / "growing").touch()
    for path in (store.root / old[:2] / old[2:], store.root / "ab" / "growing"):
        os.utime(path, (1, 1))
    assert list(store.older_than(60)) == [old], "what is being written has no name yet"
    store.remove(old)
    store.remove(old)
    assert list(store.older_than(-60)) == [young]


def test_what_is_stored_again_is_young_again(store: BlobStore):
    """Whoever just stored it is about to name it in a row."""
    name = store.put(b"one")
    os.utime(store.root / name[:2] / name[2:], (1, 1))
    store.put(b"one")
    assert list(store.older_than(60)) == []


def test_it_is_readable_by_us_alone(store: BlobStore):
    store.put(b"secret")
    (path,) = files(store)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_many_may_store_the_same_at_once(store: BlobStore):
    content = b"x" * 100_000
    with ThreadPoolExecutor(8) as threads:
        names = set(threads.map(store.put, [content] * 32))
    assert len(names) == 1
    assert len(files(store)) == 1
    assert store.get(names.pop()) == content


@pytest.mark.parametrize("step", ["fsync", "replace"])
def test_a_full_disk_leaves_nothing_behind_and_may_be_tried_again(
    store: BlobStore, monkeypatch: pytest.MonkeyPatch, step: str
):
    with monkeypatch.context() as broken:
        broken.setattr(os, step, full_disk)
        with pytest.raises(
            AdapterError, match=r"^The content could not be stored: No space left on device\.$"
        ) as caught:
            store.put(b"one")
    assert caught.value.transient
    assert files(store) == []
    assert store.get(store.put(b"one")) == b"one"


def test_a_data_directory_that_is_none_is_told(tmp_path: Path):
    (tmp_path / "blobs").write_text("a file")
    store = BlobStore(tmp_path / "blobs")
    with pytest.raises(AdapterError, match="could not be stored") as caught:
        store.put(b"one")
    assert caught.value.transient


def test_what_was_never_stored_is_told(store: BlobStore):
    with pytest.raises(AdapterError, match=r"^That content is not stored here any more\.$") as caught:
        store.get("0" * 64)
    assert caught.value.kind is Failure.PERMANENT


def test_content_that_cannot_be_read_is_told(store: BlobStore):
    name = store.put(b"one")
    (path,) = files(store)
    path.unlink()
    path.mkdir()
    with pytest.raises(AdapterError, match=r"^The content could not be read: ") as caught:
        store.get(name)
    assert caught.value.transient


@pytest.mark.parametrize(
    "name", ["", "..", "../../secret", "/etc/passwd", "A" * 64, "0" * 63, "0" * 65, "0" * 64 + "\n", "../" + "0" * 61]
)
def test_only_a_name_that_we_could_have_given_is_looked_for(store: BlobStore, name: str):
    (store.root.parent / "secret").write_text("secret")
    with pytest.raises(AdapterError, match=r"^That is no name of stored content\.$"):
        store.get(name)
