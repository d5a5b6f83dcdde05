"""Our tools over the Model Context Protocol: what a client asks, hostile ones too, and what becomes of it."""

from __future__ import annotations

import json
import subprocess
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from orchestration.adapters.cancellation import Cancellation
from orchestration.adapters.files import WorkspaceFiles
from orchestration.adapters.serving.access import GatewayAccess, bridge_argv, bridge_files
from orchestration.agents.assignment import Workplace
from orchestration.agents.conversation import Clock
from orchestration.agents.mcp import TAKEN, VERSIONS, ToolServer
from orchestration.agents.toolbox import Toolbox
from orchestration.domain.errors import AdapterError, Failure, InvalidInput
from orchestration.domain.handoffs import Claim, SubmittedHandoff
from orchestration.domain.steering import WAITS
from orchestration.domain.tools import OUTSIDE_TOOLS
from tests.adapters.serving.rig import Caller, served
from tests.agents.rig import Desk, Remembered


class Client:
    """Of one server: `ask` gives the result, `call` what a tool said."""

    def __init__(self, desk: Desk, *, told_elsewhere: bool = False) -> None:
        self.report: Remembered = desk.report
        clock = Clock(60, 20)
        workplace = Workplace(lambda: WorkspaceFiles(desk.root), desk.box)
        offered = [tool.name for tool in OUTSIDE_TOOLS]
        toolbox = Toolbox(workplace, desk.report, clock, desk.cancellation, offered)
        self.server = ToolServer(toolbox, desk.report, clock, told_elsewhere=told_elsewhere)

    def ask(self, method: Any, params: Any = None, id_: Any = 7) -> Any:
        answer = self.server.answer({"jsonrpc": "2.0", "id": id_, "method": method, "params": params})
        assert answer
        assert (answer["jsonrpc"], answer["id"]) == ("2.0", id_)
        return answer.get("result") or answer.get("error", {})

    def call(self, name: str, /, **arguments: Any) -> tuple[str, bool]:
        result = self.ask("tools/call", {"name": name, "arguments": arguments})
        (content,) = result["content"]
        assert content["type"] == "text"
        return content["text"], not result["isError"]


@pytest.fixture
def client(desk: Desk) -> Client:
    return Client(desk)


# --- the protocol -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("wanted", "given"), [(VERSIONS[1], VERSIONS[1]), ("1999-01-01", VERSIONS[0]), (5, VERSIONS[0])]
)
def test_it_greets_in_the_clients_version_or_its_own(client: Client, wanted: Any, given: str):
    hello = client.ask("initialize", {"protocolVersion": wanted, "capabilities": {}})
    assert (hello["protocolVersion"], hello["capabilities"]) == (given, {"tools": {}})
    assert hello["serverInfo"]["name"] == "swarmsite"


def test_it_lists_its_tools_with_their_schemas(client: Client):
    tools = {tool["name"]: tool for tool in client.ask("tools/list")["tools"]}
    assert list(tools) == ["save_artifact", "share_result", "get_results", "ask_human", "handoff"]
    assert tools["share_result"]["inputSchema"]["required"] == ["key", "value"]
    assert [name for name, tool in tools.items() if tool["annotations"]["readOnlyHint"]] == ["get_results"]
    json.dumps(tools)


def test_a_notification_has_no_answer_and_a_ping_an_empty_one(client: Client):
    assert client.server.answer({"jsonrpc": "2.0", "method": "notifications/initialized"}) is None
    assert client.server.answer({"jsonrpc": "2.0", "id": "a", "method": "ping"}) == {
        "jsonrpc": "2.0", "id": "a", "result": {}
    }  # fmt: skip


@pytest.mark.parametrize(
    ("method", "params", "code"),
    [
        ("resources/list", {}, -32601),
        (None, {}, -32600),
        (5, {}, -32600),
        ("tools/call", None, -32602),
        ("tools/call", {"name": 5}, -32602),
        ("tools/call", {"name": "handoff", "arguments": ["x"]}, -32602),
    ],
)
def test_what_is_no_proper_request_is_refused(client: Client, method: Any, params: Any, code: int):
    error = client.ask(method, params)
    assert error["code"] == code
    assert error["message"].endswith(".")


# --- the tools --------------------------------------------------------------------------------------------------


def test_results_and_artifacts_go_where_our_own_agents_go(client: Client, desk: Desk):
    (desk.root / "note.md").write_text("# Note\n")
    assert client.call("share_result", key="port", value=8080, tags=["net"]) == ("Shared port.", True)
    assert client.call("get_results", prefix="p") == ("['port'] by '', [], 'p', ''", True)
    assert client.call("save_artifact", type="note", name="n.md", mime="text/markdown", path="note.md")[1]
    assert client.report.shared == {"port": (8080, ["net"])}
    assert client.report.artifacts == [("note", "n.md", "text/markdown", b"# Note\n")]


def test_what_is_wrong_is_told_as_a_result(client: Client):
    assert client.call("save_artifact", type="x", name="x", path="../../etc/passwd")[1] is False
    text, ok = client.call("bash", command="id")
    assert not ok
    assert text.startswith("Error: there is no tool 'bash'")
    assert client.call("share_result", value=1)[0].startswith("Error: ")


def test_a_handoff_is_taken_down_until_the_next_turn(client: Client):
    text, ok = client.call("handoff", status="splendid", summary="x")
    assert not ok
    assert text.startswith("Error: ")
    assert client.call("handoff", status="partial", summary="Half of it.") == (TAKEN, True)
    given = client.server.handoff
    assert given == SubmittedHandoff(status=Claim.PARTIAL, summary="Half of it.")


def test_of_a_handoff_in_an_earlier_turn_nothing_is_left(client: Client):
    client.call("handoff", status="partial", summary="Half of it.")
    client.server.begin()
    assert client.server.handoff is None


def test_a_question_whose_answer_is_known_is_answered(client: Client):
    client.report.answers = ["Ada answered: Tabs."]
    assert client.call("ask_human", question="Tabs?", options=["yes"]) == ("Ada answered: Tabs.", True)
    assert client.server.suspended is None


def test_a_question_for_a_person_suspends_it(client: Client):
    client.report.answers = [None]
    assert client.call("ask_human", question="Tabs?", options=["yes", "no"]) == (WAITS, True)
    asked = client.server.suspended
    assert asked
    assert (asked.question, list(asked.options), list(asked.messages)) == ("Tabs?", ["yes", "no"], [])
    assert 20 <= asked.used_s < 60


def test_a_question_that_may_not_be_asked_is_refused(client: Client):
    client.report.answers = [InvalidInput("Too many were asked.")]
    assert client.call("ask_human", question="Tabs?") == ("Error: Too many were asked.", False)
    assert client.server.suspended is None
    assert client.call("ask_human")[1] is False


def test_calls_are_written_down_where_nobody_else_tells_of_them(desk: Desk):
    client = Client(desk)
    client.call("get_results")
    client.call("nothing")
    assert [(name, ok) for name, _, _, ok in desk.report.calls] == [("get_results", True), ("nothing", False)]


def test_an_agent_that_tells_of_its_calls_is_not_written_down_twice_but_for_its_question(desk: Desk):
    client = Client(desk, told_elsewhere=True)
    client.call("get_results")
    desk.report.answers = [None]
    client.call("ask_human", question="Tabs?")
    assert [name for name, *_ in desk.report.calls] == ["ask_human"]


def test_a_cancel_ends_a_call(client: Client, desk: Desk):
    desk.cancellation.cancel("Ada cancelled it.")
    with pytest.raises(AdapterError, match="Ada cancelled it") as caught:
        client.call("get_results")
    assert caught.value.kind is Failure.CANCELLED


# --- by HTTP, and by the bridge ---------------------------------------------------------------------------------


class Serving(Caller):
    """The gateway's caller whose tools are these."""

    server: ToolServer

    def serve(self, message: Mapping[str, Any]) -> Mapping[str, Any] | None:
        return self.server.answer(message)


@pytest.fixture
def caller(client: Client) -> Serving:
    made = Serving()
    made.server = client.server
    return made


def test_by_http_each_message_is_a_request(caller: Serving):
    with served(caller) as web:
        done = web.post("/mcp", json={"jsonrpc": "2.0", "id": 1, "method": "tools/list"})
        assert (done.status_code, len(done.json()["result"]["tools"])) == (200, 5)
        told = web.post("/gateway/mcp", json={"jsonrpc": "2.0", "method": "notifications/initialized"})
        assert (told.status_code, told.content) == (202, b"")
        assert web.get("/mcp").status_code == 405
        assert web.delete("/mcp").status_code == 405
        assert web.post("/mcp", content=b"[]").status_code == 400
        assert web.post("/mcp", json={}, headers={"Authorization": "Bearer another"}).status_code == 401


@contextmanager
def bridged(home: Path, port: int, token: str) -> Iterator[subprocess.Popen[str]]:
    """The program as an agent starts it, in a home made of its files."""
    access = GatewayAccess(token, "m-1", port, None, Cancellation())
    for path, text in bridge_files(access).items():
        target = home / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text)
    argv = bridge_argv(str(home))
    assert token not in " ".join(argv)
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env={}) as child:
        watchdog = threading.Timer(60, child.kill)
        watchdog.start()
        try:
            yield child
        finally:
            watchdog.cancel()
            child.kill()


def lines(child: subprocess.Popen[str], *messages: str) -> list[Any]:
    """All answers to these lines; the program ends with its input."""
    said, _ = child.communicate("".join(f"{one}\n" for one in messages))
    assert child.returncode == 0
    return [json.loads(line) for line in said.splitlines()]


def test_the_bridge_carries_lines_to_the_gateway(caller: Serving, tmp_path: Path):
    with served(caller) as web, bridged(tmp_path, web.base_url.port or 0, "the-token") as child:
        note = '{"jsonrpc":"2.0","method":"notifications/initialized"}'
        share = {"name": "share_result", "arguments": {"key": "größe", "value": "é"}}
        call = json.dumps({"jsonrpc": "2.0", "id": "c", "method": "tools/call", "params": share})
        ping = '{"jsonrpc":"2.0","id":1,"method":"ping"}'
        first, second = lines(child, ping, note, "", call, "[]", "no JSON")
        assert first == {"jsonrpc": "2.0", "id": 1, "result": {}}
        assert second["result"]["content"][0]["text"] == "Shared größe."


def test_the_bridge_answers_where_the_gateway_does_not(caller: Serving, tmp_path: Path):
    ping = '{"jsonrpc":"2.0","id":1,"method":"ping"}'
    with served(caller) as web, bridged(tmp_path, web.base_url.port or 0, "a-wrong-token") as child:
        [answer] = lines(child, ping)
        assert answer["error"]["message"] == "The gateway refused it (401)."
    with bridged(tmp_path, 9, "the-token") as child:
        [answer] = lines(child, ping, '{"jsonrpc":"2.0","method":"notifications/initialized"}')
        assert answer["id"] == 1
        assert answer["error"]["message"].startswith("The gateway cannot be reached: ")
