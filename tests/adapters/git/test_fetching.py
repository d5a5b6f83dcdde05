"""Branches come from paths and https addresses; everything else is refused in a sentence."""

from __future__ import annotations

import http.server
import os
import ssl
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from orchestration.adapters.git.store import BareRepository, Fetched
from orchestration.domain.errors import AdapterError, InvalidInput
from tests.adapters.git.http_backend import answer, http_backend


def test_a_branch_is_brought_and_pinned(store: BareRepository, clone: Any):
    sha = clone.git("rev-parse", "main")
    assert store.fetch(str(clone.path), "main") == Fetched(sha, "main")
    assert store.pins("source") == {"main": sha}


def test_the_default_branch_is_what_head_says(store: BareRepository, clone: Any):
    clone.on("develop").commit({"d": "d"})
    assert store.fetch(str(clone.path), None).branch == "develop"
    clone.git("checkout", "-q", "--detach", "main")
    assert store.fetch(str(clone.path), None).branch == "main"


def test_no_default_branch_names_the_ones_that_exist(store: BareRepository, clone: Any):
    clone.git("checkout", "-q", "--orphan", "unborn")
    with pytest.raises(AdapterError, match="has no default branch: name one of main"):
        store.fetch(str(clone.path), None)


def test_a_rewritten_branch_is_brought_again(store: BareRepository, clone: Any):
    store.fetch(str(clone.path), "main")
    clone.git("commit", "-q", "--amend", "-m", "rewritten")
    assert store.fetch(str(clone.path), "main").sha == clone.git("rev-parse", "main")


@pytest.mark.parametrize("kind", ["bare", "worktree", "shallow", "subdirectory .git"])
def test_every_kind_of_local_repository(store: BareRepository, clone: Any, tmp_path: Path, kind: str):
    clone.commit({"second": "s"})
    sha = clone.git("rev-parse", "main")
    there = tmp_path / "there"
    if kind == "bare":
        clone.git("clone", "-q", "--bare", ".", str(there))
    elif kind == "worktree":
        clone.git("worktree", "add", "-q", "-b", "wt", str(there), "main")
    elif kind == "shallow":
        clone.git("clone", "-q", "--depth=1", f"file://{clone.path}", str(there))
    else:
        there = clone.path / ".git"
    assert store.fetch(str(there), None).sha == sha
    assert store.list_files(sha)[0] == "a.txt"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files to others")
def test_a_repository_of_another_user(store: BareRepository, clone: Any):
    subprocess.run(["chown", "-R", "65534:65534", str(clone.path)], check=True)
    env = {"PATH": os.environ["PATH"], "HOME": "/dev/null"}
    control = ["git", "ls-remote", str(clone.path)]
    assert b"dubious ownership" in subprocess.run(control, env=env, capture_output=True, check=False).stderr
    assert store.fetch(str(clone.path), None).branch == "main"


def test_what_is_not_there_is_said_in_a_sentence(store: BareRepository, make_clone: Any, tmp_path: Path):
    empty = make_clone("empty")
    plain = tmp_path / "plain"
    plain.mkdir()
    for source, branch, sentence in (
        (str(tmp_path / "none"), None, "There is no directory"),
        (str(plain), "main", "is not a git repository"),
        (str(empty.path), None, "has no commits yet"),
        (str(empty.path), "main", "has no commits yet"),
    ):
        with pytest.raises(AdapterError, match=sentence) as caught:
            store.fetch(source, branch)
        assert not caught.value.transient


def test_a_missing_branch_names_five_that_exist(store: BareRepository, clone: Any):
    for number in range(7):
        clone.git("branch", f"b{number}")
    with pytest.raises(AdapterError, match=r"no branch 'nope': there are b0, b1, b2, b3, b4 and 3 more\."):
        store.fetch(str(clone.path), "nope")


@pytest.mark.parametrize(
    "source",
    ["", "relative/path", "-x", "--upload-pack=touch x", "ext::sh -c id", "file:///tmp", "http://example.org/x",
     "ssh://git@example.org/x", "git@example.org:x", "https://user:pw@example.org/x", "https://", "https://[bad/x"],
)  # fmt: skip
def test_other_addresses_are_refused(store: BareRepository, source: str):
    with pytest.raises(InvalidInput):
        store.fetch(source, "main")


def test_objects_are_checked_on_arrival(store: BareRepository, clone: Any):
    blob = clone.git("hash-object", "-w", "a.txt")
    made = subprocess.run(
        ["git", "hash-object", "-t", "tree", "-w", "--stdin", "--literally"],
        input=b"100644 .git\0" + bytes.fromhex(blob),
        cwd=clone.path,
        capture_output=True,
        check=True,
    )
    commit = clone.git("commit-tree", made.stdout.decode().strip(), "-m", "evil")
    clone.git("update-ref", "refs/heads/evil", commit)
    with pytest.raises(AdapterError, match="could not be fetched") as caught:
        store.fetch(str(clone.path), "evil")
    assert not caught.value.transient
    assert not store.contains(commit)


def test_a_partial_clones_own_program_does_not_run(store: BareRepository, clone: Any, tmp_path: Path):
    clone.git("config", "uploadpack.allowFilter", "true")
    clone.git("clone", "-q", "--no-checkout", "--filter=blob:none", f"file://{clone.path}", str(tmp_path / "part"))
    mark = tmp_path / "mark"
    part = ["git", "-C", str(tmp_path / "part")]
    subprocess.run([*part, "config", "remote.origin.uploadpack", f"touch {mark}; git-upload-pack"], check=True)
    with pytest.raises(AdapterError):
        store.fetch(str(tmp_path / "part"), "main")
    assert not mark.exists()
    subprocess.run([*part, "cat-file", "-p", "HEAD:a.txt"], check=False, capture_output=True)
    assert mark.exists(), "the control must show that the attack works"


class _Backend(http.server.BaseHTTPRequestHandler):
    root: Path
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        if self.path.startswith("/moved"):
            answer(self, 301, [("Location", "/repo" + self.path.removeprefix("/moved"))], b"")
            return
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        answer(self, *http_backend(self, self.root, body))

    do_POST = do_GET  # noqa: N815

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture
def https(tmp_path: Path, clone: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    """A git server with TLS on a loopback port, which calls itself git.example."""
    clone.git("clone", "-q", "--bare", ".", str(tmp_path / "served/repo"))
    key, certificate = str(tmp_path / "key.pem"), str(tmp_path / "cert.pem")
    subject = ["-subj", "/CN=git.example", "-addext", "subjectAltName=DNS:git.example,IP:127.0.0.1"]
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
         "-keyout", key, "-out", certificate, "-days", "2", *subject],
        check=True, capture_output=True,
    )  # fmt: skip
    monkeypatch.setenv("GIT_SSL_CAINFO", certificate)
    handler = type("Backend", (_Backend,), {"root": tmp_path / "served"})
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        server.socket = context.wrap_socket(server.socket, server_side=True)
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server.server_address[1]
        server.shutdown()
        thread.join()


def test_https_goes_to_the_checked_address_only(
    store: BareRepository, clone: Any, https: int, monkeypatch: pytest.MonkeyPatch
):
    asked: list[tuple[str, int]] = []

    def check(host: str, port: int, *, allowed: tuple[str, ...]) -> tuple[str, ...]:
        asked.append((host, port))
        return ("127.0.0.1",)

    monkeypatch.setattr("orchestration.adapters.git.fetching.check_host", check)
    fetched = store.fetch(f"https://git.example:{https}/repo", None)
    assert fetched == Fetched(clone.git("rev-parse", "main"), "main")
    assert asked == [("git.example", https)]


def test_https_to_a_private_address_needs_an_operator(store: BareRepository, https: int):
    with pytest.raises(AdapterError, match=r"private or reserved address 127\.0\.0\.1"):
        store.fetch(f"https://127.0.0.1:{https}/repo", "main")
    assert store.fetch(f"https://127.0.0.1:{https}/repo", "main", allow=("127.0.0.0/8",)).branch == "main"


def test_https_says_what_is_wrong(store: BareRepository, https: int, monkeypatch: pytest.MonkeyPatch):
    here, allow = f"https://127.0.0.1:{https}", ("127.0.0.1",)
    for path, sentence in (("/moved", "redirects elsewhere"), ("/none", "is not there")):
        with pytest.raises(AdapterError, match=sentence):
            store.fetch(here + path, "main", allow=allow)
    monkeypatch.setenv("GIT_SSL_CAINFO", "/dev/null")
    with pytest.raises(AdapterError, match="certificate"):
        store.fetch(f"{here}/repo", "main", allow=allow)


def test_an_unreachable_host_may_be_reached_later(store: BareRepository, https: int):
    with pytest.raises(AdapterError, match="cannot be reached") as caught:
        store.fetch("https://127.0.0.1:1/repo", "main", allow=("127.0.0.1",))
    assert caught.value.transient
