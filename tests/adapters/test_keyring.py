"""Keys that were given on a page lie encrypted, for our own user alone, and are shown by nothing."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from django.conf import settings

from orchestration.adapters import keyring, secrets
from orchestration.adapters.git.credentials import from_keyring
from orchestration.adapters.llm.keys import read_key
from orchestration.domain.conversation import Endpoint
from orchestration.domain.errors import AdapterError
from orchestration.domain.redaction import REMOVED

KEY = "sk-kept-0123456789abcdef"
NAME = "endpoint-abcdefgh2345"


@pytest.fixture(autouse=True)
def _own_directory(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    monkeypatch.setattr(settings, "DATA_DIR", tmp_path)
    yield
    keyring._seen = None


def endpoint(name: str = NAME) -> Endpoint:
    return Endpoint("main", "openai", "https://models.example/v1", "m-1", key_env="OTHER", key_name=name)


def test_what_is_kept_is_read_again_and_what_is_forgotten_is_not():
    keyring.keep(NAME, KEY)
    assert keyring.read(NAME) == KEY
    keyring.keep(NAME, "another-key")
    assert keyring.read(NAME) == "another-key"
    keyring.forget(NAME)
    keyring.forget(NAME)  # may be repeated
    with pytest.raises(AdapterError, match="is not on this machine: give it again"):
        keyring.read(NAME)


def test_it_lies_encrypted_and_for_us_alone(tmp_path: Path):
    keyring.keep(NAME, KEY)
    (path,) = (tmp_path / "keys").iterdir()
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.parent.stat().st_mode & 0o777 == 0o700
    assert KEY.encode() not in path.read_bytes()
    first = path.read_bytes()
    keyring.keep(NAME, KEY)
    assert path.read_bytes() != first  # nobody sees that two are equal


def test_another_secret_key_opens_nothing(monkeypatch: pytest.MonkeyPatch):
    keyring.keep(NAME, KEY)
    monkeypatch.setattr(settings, "SECRET_KEY", "x" * 50)
    with pytest.raises(AdapterError, match="was encrypted with another SECRET_KEY"):
        keyring.read(NAME)
    assert keyring.values() == frozenset()


def test_one_key_cannot_be_put_in_anothers_place(tmp_path: Path):
    keyring.keep(NAME, KEY)
    (tmp_path / "keys" / NAME).rename(tmp_path / "keys" / "endpoint-mine")
    with pytest.raises(AdapterError, match="give it again"):
        keyring.read("endpoint-mine")


def test_a_damaged_one_is_told(tmp_path: Path):
    keyring.keep(NAME, KEY)
    (tmp_path / "keys" / NAME).write_bytes(b"x")
    with pytest.raises(AdapterError, match="give it again"):
        keyring.read(NAME)


@pytest.mark.parametrize("name", ["../secret-key", "endpoint-../x", "", "endpoint-", "endpoint-a/b", ".x"])
def test_a_name_never_leaves_the_directory(name: str):
    with pytest.raises(ValueError, match="not the name of a key"):
        keyring.keep(name, KEY)


def test_it_is_taken_out_of_everything_at_once_in_every_process():
    assert secrets.clean(KEY) == KEY
    keyring.keep(NAME, KEY)
    assert secrets.clean(f"said {KEY}") == f"said {REMOVED}"
    keyring._seen = None  # as another process, which has read nothing yet
    assert secrets.clean(KEY) == REMOVED
    keyring.keep(NAME, "changed-to-another")
    assert secrets.clean("changed-to-another") == REMOVED
    keyring.forget(NAME)
    assert secrets.clean(KEY) == KEY


def test_one_that_is_only_tried_is_known_for_as_long_and_written_nowhere(tmp_path: Path):
    with keyring.lend(KEY) as name:
        assert keyring.read(name) == KEY
        assert secrets.clean(KEY) == REMOVED
        assert not (tmp_path / "keys").exists()
    with pytest.raises(AdapterError):
        keyring.read(name)
    assert secrets.clean(KEY) == KEY


def test_a_model_and_a_repository_are_told_theirs():
    keyring.keep(NAME, KEY)
    key = read_key(endpoint(), {"OTHER": "of-the-environment"})
    assert key.headers() == {"Authorization": f"Bearer {KEY}"}
    assert KEY not in repr(key)
    credential = from_keyring(NAME, "")
    assert (credential.user, credential.secret) == ("x-access-token", KEY)
    assert KEY not in repr(credential)
