"""GitHub's API as far as we use it, scripted, over loopback."""

from __future__ import annotations

import http.server
import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from typing_extensions import override

from tests.stages.remotes import TOKEN, Bare

MINTED = "ghs_minted-for-one-repository-0123456789"


class Scripted:
    """Pull requests of acme/shop, whose branches lie in a bare repository."""

    def __init__(self, bare: Bare) -> None:
        self.bare = bare
        self.pulls: list[dict[str, Any]] = []
        self.asked: list[tuple[str, str, str, Any]] = []
        self.answers: list[tuple[int, dict[str, str], Any]] = []  # given first, whatever is asked
        self.tokens = {TOKEN}
        self.drafts = True  # private repositories of a free plan have none
        self.no_marks = ""  # the type of the error that marking one answers with

    def answer(self, method: str, path: str, token: str, fields: Any) -> tuple[int, dict[str, str], Any]:
        self.asked.append((method, path, token, fields))
        if self.answers:
            return self.answers.pop(0)
        if path == "/repos/acme/shop/installation":
            return 200, {}, {"id": 7}
        if path == "/app/installations/7/access_tokens":
            self.tokens.add(MINTED)
            return 201, {}, {"token": MINTED, "expires_at": "2099-01-01T00:00:00Z"}
        if token not in self.tokens:
            return 401, {}, {"message": "Bad credentials"}
        if path == "/graphql":
            return self._mark(fields)
        return self._pulls(method, path, fields)

    def _pulls(self, method: str, path: str, fields: Any) -> tuple[int, dict[str, str], Any]:
        if method == "GET":
            return 200, {}, [self._shown(one) for one in self.pulls]
        if method == "POST":
            if fields.get("draft") and not self.drafts:
                return 422, {}, {"message": "Draft pull requests are not supported in this repository."}
            number = len(self.pulls) + 1
            mine = {"number": number, "state": "open", "merged_at": None, "node_id": f"PR_{number}"}
            self.pulls.append({"draft": False} | fields | mine)
            return 201, {}, self._shown(self.pulls[-1])
        found = re.fullmatch(r"/repos/acme/shop/pulls/(\d+)", path)
        assert found, path
        self.pulls[int(found[1]) - 1] |= fields
        return 200, {}, self._shown(self.pulls[int(found[1]) - 1])

    def _mark(self, fields: Any) -> tuple[int, dict[str, str], Any]:
        """The two mutations that we use; what is refused is told with 200."""
        if self.no_marks:
            return 200, {}, {"errors": [{"type": self.no_marks, "message": "Not yours to mark."}]}
        number = int(fields["variables"]["id"].removeprefix("PR_"))
        self.pulls[number - 1]["draft"] = "convertPullRequestToDraft" in fields["query"]
        return 200, {}, {"data": {"done": {"clientMutationId": None}}}

    def merge(self, number: int = 1, how: str = "merge", *, delete: bool = False) -> str:
        """As a person does it on the page: with a merge commit, or squashed to one; the new tip of its base."""
        one = self.pulls[number - 1]
        head, base = self.bare.tip(one["head"]), self.bare.tip(one["base"])
        tree = self.bare.git("merge-tree", "--write-tree", base, head)
        parents = ["-p", base, "-p", head] if how == "merge" else ["-p", base]
        new = self.bare.git("commit-tree", *parents, "-m", f"{how} of {number}", tree)
        self.bare.git("update-ref", f"refs/heads/{one['base']}", new)
        self.pulls[number - 1] |= {"state": "closed", "merged_at": "2026-01-01T00:00:00Z", "sha": head}
        if delete:
            self.bare.git("update-ref", "-d", f"refs/heads/{one['head']}")
        return new

    def delete_branch(self, number: int = 1) -> None:
        """Its pull request is closed by that."""
        self.pulls[number - 1] |= {"state": "closed", "sha": self.bare.tip(self.pulls[number - 1]["head"])}
        self.bare.git("update-ref", "-d", f"refs/heads/{self.pulls[number - 1]['head']}")

    def _shown(self, one: dict[str, Any]) -> dict[str, Any]:
        """What is merged or closed stays at the commit that it had."""
        head = {"ref": one["head"], "sha": one.get("sha") or self.bare.tip(one["head"])}
        return one | {"head": head, "html_url": f"https://github.example/acme/shop/pull/{one['number']}"}


class _Handler(http.server.BaseHTTPRequestHandler):
    scripted: Scripted

    def do_GET(self) -> None:
        raw = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        token = self.headers.get("Authorization", "").removeprefix("Bearer ")
        path = self.path.partition("?")[0]
        status, headers, told = self.scripted.answer(self.command, path, token, json.loads(raw) if raw else None)
        content = json.dumps(told).encode()
        self.send_response(status)
        for name, value in (headers | {"Content-Length": str(len(content))}).items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(content)

    do_POST = do_PATCH = do_GET  # noqa: N815

    @override
    def log_message(self, *_: Any) -> None:
        pass


@contextmanager
def github_at(bare: Bare) -> Iterator[tuple[Scripted, str]]:
    scripted = Scripted(bare)
    handler = type("Handler", (_Handler,), {"scripted": scripted})
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=lambda: server.serve_forever(0.02))
        thread.start()
        yield scripted, f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()
        thread.join()
