"""An agent of the tests' own that speaks the Agent Client Protocol: one behaviour by name, well or badly.

It runs inside the sandbox, so it stands on Python alone.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

SESSION = "session-1"
OPTIONS = [
    {"optionId": "yes-always", "name": "Always", "kind": "allow_always"},
    {"optionId": "yes", "name": "Yes", "kind": "allow_once"},
    {"optionId": "no", "name": "No", "kind": "reject_once"},
]


class Told(Exception):
    """Our client's error."""


class Tools:
    """A client of the first server of tools that the session was given."""

    def __init__(self, server: dict[str, Any]) -> None:
        self.server = server
        command = [server["command"], *server["args"]]
        self.child = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.number = 0

    def tell(self, **message: Any) -> None:
        assert self.child.stdin
        self.child.stdin.write(json.dumps({"jsonrpc": "2.0", **message}) + "\n")
        self.child.stdin.flush()

    def ask(self, method: str, **params: Any) -> Any:
        assert self.child.stdout
        self.number += 1
        self.tell(id=self.number, method=method, params=params)
        answer = json.loads(self.child.stdout.readline())
        assert answer["id"] == self.number, answer
        return answer.get("result") or answer["error"]

    def call(self, name: str, /, **arguments: Any) -> str:
        result = self.ask("tools/call", name=name, arguments=arguments)
        return ("wrong: " if result["isError"] else "") + str(result["content"][0]["text"])


class Agent:
    """`ask` and `tell` go to the client; `prompt` is one behaviour a method, chosen by the first argument."""

    def __init__(self, behaviour: str) -> None:
        self.behaviour = behaviour
        self.turns = 0
        self.signed_in = ""
        self.cancelled = False
        self.asked = 0
        self.servers: list[dict[str, Any]] = []

    def send(self, **message: Any) -> None:
        sys.stdout.write(json.dumps({"jsonrpc": "2.0", **message}) + "\n")
        sys.stdout.flush()

    def read(self) -> dict[str, Any]:
        line = sys.stdin.readline()
        if not line:
            sys.exit(0)
        return dict(json.loads(line))

    def ask(self, method: str, **params: Any) -> Any:
        self.asked += 1
        self.send(id=f"ask-{self.asked}", method=method, params={"sessionId": SESSION, **params})
        while True:
            message = self.read()
            if message.get("id") == f"ask-{self.asked}":
                if "error" in message:
                    raise Told(message["error"]["message"])
                return message["result"]
            self.cancelled = self.cancelled or message.get("method") == "session/cancel"

    def update(self, kind: str, /, **fields: Any) -> None:
        self.send(method="session/update", params={"sessionId": SESSION, "update": {"sessionUpdate": kind, **fields}})

    def say(self, text: str, kind: str = "agent_message_chunk") -> None:
        self.update(kind, content={"type": "text", "text": text})

    def permission(self, path: str, **call: Any) -> str:
        told = {"toolCallId": "p1", "title": f"Change {path}", "kind": "edit", "locations": [{"path": path}], **call}
        outcome = self.ask("session/request_permission", toolCall=told, options=OPTIONS)["outcome"]
        return str(outcome.get("optionId", outcome["outcome"]))

    def serve(self) -> None:
        while True:
            message = self.read()
            if message.get("method") == "session/cancel":
                self.cancelled = True
            if "id" not in message:
                continue
            try:
                answer = {"result": self.answer(message["method"], message.get("params") or {})}
            except Told as error:
                answer = {"error": {"code": getattr(error, "code", -32603), "message": str(error)}}
            self.send(id=message["id"], **answer)

    def answer(self, method: str, params: dict[str, Any]) -> dict[str, Any]:
        if method == "initialize":
            return self.initialize(params)
        if method == "authenticate":
            self.signed_in = params["methodId"]
            if self.signed_in == "browser":
                raise Told("There is no browser.")
            return {}
        if method == "session/new":
            return self.new_session(params)
        if method == "session/set_mode":
            Path("mode.txt").write_text(params["modeId"])
            return {}
        self.turns += 1
        Path(f"prompt-{self.turns}.txt").write_text(params["prompt"][0]["text"])
        return {"stopReason": "end_turn", **(getattr(self, self.behaviour.replace("-", "_"), self.write)() or {})}

    def initialize(self, params: dict[str, Any]) -> dict[str, Any]:
        Path("hello.json").write_text(json.dumps(params))
        if self.behaviour == "old":
            return {"protocolVersion": 7}
        if self.behaviour == "mute":
            time.sleep(600)
        if self.behaviour == "broken-at-once":
            sys.stderr.write("no settings found\n")
            sys.exit(4)
        ways = [{"id": "browser", "name": "Browser"}, {"id": "key", "name": "Key"}]
        return {
            "protocolVersion": 1,
            "agentCapabilities": {},
            "agentInfo": {"name": "scripted", "title": "Scripted", "version": "1.2"},
            "authMethods": ways if self.behaviour.startswith("sign-in") else [],
        }

    def new_session(self, params: dict[str, Any]) -> dict[str, Any]:
        wants = {"sign-in": "key", "sign-in-never": "nothing"}.get(self.behaviour, "")
        if self.signed_in != wants:
            error = Told("Sign in first.")
            error.code = -32000  # type: ignore[attr-defined]
            raise error
        assert params["cwd"] == str(Path.cwd()), params
        self.servers = params["mcpServers"]
        return {"sessionId": SESSION}

    # Behaviours, good ones first.

    def write(self) -> None:
        Path("done.txt").write_text("done\n")
        self.say("I wrote ")
        self.say("done.txt.")

    def everything(self) -> None:
        self.say("Let me see.")
        self.say("Hm, ", "agent_thought_chunk")
        self.say("a file.", "agent_thought_chunk")
        plan = [{"content": "write it", "priority": "high", "status": "pending"}]
        self.update("plan", entries=plan)
        self.update("plan", entries=plan)
        self.update("tool_call", toolCallId="c1", title="Write done.txt", kind="edit", rawInput={"path": "done.txt"})
        self.update("tool_call_update", toolCallId="c1", status="in_progress")
        done = [{"type": "content", "content": {"type": "text", "text": "It is there."}}]
        self.update("tool_call_update", toolCallId="c1", status="completed", content=done)
        self.update("tool_call", toolCallId="c2", title="Run tests", kind="execute", status="failed")
        self.update("tool_call", toolCallId="c3", title="Never ends", kind="search")
        self.update("something_new", what={"nobody": "knows"})
        self.update("available_commands_update", availableCommands=[])
        self.write()

    def permissions(self) -> None:
        paths = [f"{Path.cwd()}/a.txt", "/etc/passwd", f"{Path.cwd()}/../x", "b.txt"]
        found = {path: self.permission(path) for path in paths}
        found["fetch"] = self.permission("", kind="fetch", locations=[])
        found["raw"] = self.permission("", locations=[], rawInput={"file_path": "/etc/passwd"})
        found["read"] = self.permission("/etc/passwd", kind="read")
        Path("permissions.json").write_text(json.dumps(list(found.values())))

    def files(self) -> None:
        here = str(Path.cwd())
        self.ask("fs/write_text_file", path=f"{here}/deep/made.txt", content="one\ntwo\nthree\n")
        whole = self.ask("fs/read_text_file", path=f"{here}/deep/made.txt")["content"]
        part = self.ask("fs/read_text_file", path=f"{here}/deep/made.txt", line=2, limit=1)["content"]
        Path("leak").symlink_to("/etc/passwd")
        refused = []
        for path in ("/etc/passwd", f"{here}/../outside", f"{here}/leak", f"{here}/none.txt", f"{here}/.git/config"):
            refused.append(self.refusal("fs/read_text_file", path=path))
            refused.append(self.refusal("fs/write_text_file", path=path, content="x") if "none" not in path else "-")
        refused.append(self.refusal("fs/read_text_file", path=5))
        refused.append(self.refusal("terminal/create", command="sh"))
        Path("files.json").write_text(json.dumps({"whole": whole, "part": part, "refused": refused}))

    def refusal(self, method: str, **params: Any) -> str:
        try:
            return f"allowed: {self.ask(method, **params)}"
        except Told as error:
            return str(error)

    def mends(self) -> None:
        self.say(f"Turn {self.turns} is over.")

    def looks_around(self) -> None:
        seen = {
            "environment": dict(os.environ),
            "arguments": sys.argv[2:],
            "settings": Path.home().joinpath(".config/scripted.json").read_text(),
            "network": Path("/proc/net/dev").read_text(),
        }
        Path("seen.json").write_text(json.dumps(seen))

    def honest(self) -> None:
        self.say("**BLOCKED**: The parser is missing.")

    def says_nothing(self) -> None:
        pass

    def out_of_tokens(self) -> dict[str, Any]:
        self.say("I was about to")
        return {"stopReason": "max_tokens"}

    def out_of_turns(self) -> dict[str, Any]:
        return {"stopReason": "max_turn_requests"}

    def refuses(self) -> dict[str, Any]:
        return {"stopReason": "refusal"}

    def cancels_itself(self) -> dict[str, Any]:
        return {"stopReason": "cancelled"}

    def counts(self) -> dict[str, Any]:
        return {"usage": {"totalTokens": 321, "inputTokens": 300, "outputTokens": 21}}

    def uses_tools(self) -> None:
        tools = Tools(self.servers[0])
        hello = tools.ask("initialize", protocolVersion="2025-03-26", capabilities={}, clientInfo={"name": "x"})
        tools.tell(method="notifications/initialized")
        listed = [tool["name"] for tool in tools.ask("tools/list")["tools"]]
        said = [
            tools.call("share_result", key="port", value=8080, tags=["net"]),
            tools.call("get_results", tags=["net"]),
            tools.call("save_artifact", type="note", name="note.md", mime="text/markdown", path="hello.json"),
            tools.call("handoff", status="splendid"),
            tools.call("handoff", status="complete", summary="By the tool.", concerns=["It creaks."]),
        ]
        Path("tools.json").write_text(json.dumps({"hello": hello, "listed": listed, "said": said}))
        self.write()

    def asks_person(self) -> None:
        if " answered: " not in Path("prompt-1.txt").read_text():
            Path("half.txt").write_text("half\n")
            Path("told.txt").write_text(Tools(self.servers[0]).call("ask_human", question="Tabs or spaces?"))
            time.sleep(600)
        self.write()

    def asks_once(self) -> None:
        Path("told.txt").write_text(Tools(self.servers[0]).call("ask_human", question="tabs or spaces"))

    # Bad ones.

    def new_reason(self) -> dict[str, Any]:
        return {"stopReason": "lunch"}

    def fails(self) -> None:
        raise Told("The model said 500.")

    def exits(self) -> None:
        sys.stderr.write("cannot go on\n")
        sys.exit(3)

    def dies(self) -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    def closes_its_output(self) -> None:
        os.close(1)
        time.sleep(600)

    def never_ends(self) -> None:
        while True:
            self.say("still at it ")
            time.sleep(0.05)

    def is_silent(self) -> None:
        time.sleep(600)

    def waits_for_goodbye(self) -> dict[str, Any]:
        Path("started.txt").touch()
        while not self.cancelled:
            message = self.read()
            self.cancelled = message.get("method") == "session/cancel"
        Path("goodbye.txt").write_text(self.permission("a.txt"))
        return {"stopReason": "cancelled"}

    def greets_first(self) -> None:
        sys.stdout.write("Welcome!\n\n[1, 2]\n")
        self.write()

    def prints_garbage(self) -> None:
        while True:
            sys.stdout.write("no protocol at all\n")

    def prints_no_line(self) -> None:
        while True:
            sys.stdout.write("x" * 1_000_000)

    def floods_errors(self) -> None:
        for _ in range(100):
            sys.stderr.write("y" * 1_000_000)
        self.write()

    def floods_updates(self) -> None:
        for number in range(5000):
            self.update("tool_call", toolCallId=f"c{number}", title="again", kind="read", status="completed")
        self.say("z" * 200_000)

    def nests_deeply(self) -> None:
        deep = "[" * 900 + "]" * 900
        call = '{"sessionUpdate":"tool_call","toolCallId":"c1","title":"deep","status":"completed","rawInput":' + deep
        sys.stdout.write('{"method":"session/update","params":{"sessionId":"s","update":' + call + "}}}\n")
        sys.stdout.write('{"method":"session/update","params":' + "[" * 100_000 + "}\n")
        self.write()

    def answers_strangely(self) -> None:
        for line in (
            '{"id":999,"result":{}}',
            '{"id":null}',
            '{"method":5,"id":1}',
            '{"method":"x","id":{},"params":3}',
        ):
            sys.stdout.write(line + "\n")
        self.write()

    def asks_without_end(self) -> None:
        while True:
            self.permission("a.txt")

    def leaves_children(self) -> None:
        if os.fork() == 0:
            os.setsid()
            time.sleep(600)
        self.write()


if __name__ == "__main__":
    Agent(sys.argv[1]).serve()
