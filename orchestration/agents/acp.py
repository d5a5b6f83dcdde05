"""Any agent that speaks the Agent Client Protocol, as a child process in the sandbox, reaching models through our
gateway alone. Our side of the conversation."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any, Protocol, TypeVar

from acp import AGENT_METHODS, CLIENT_METHODS, PROTOCOL_VERSION, schema
from pydantic import BaseModel, ValidationError

from orchestration.adapters.cancellation import Cancellation
from orchestration.adapters.files import ToolError, WorkspaceFiles
from orchestration.adapters.sandbox import Box
from orchestration.adapters.sandbox.child import Child
from orchestration.adapters.serving.access import bridge_argv
from orchestration.agents.assignment import Assignment, Inbox, Report, Workplace
from orchestration.agents.conversation import Clock, Quiet
from orchestration.agents.mcp import NAME
from orchestration.agents.programs import Outside
from orchestration.agents.rpc import CannotDo, Peer, Refused
from orchestration.agents.updates import Updates, paths_in, paths_of, shortened
from orchestration.domain.agents import AgentSpec, refusal
from orchestration.domain.errors import AdapterError, Failure
from orchestration.domain.handoffs import Claim, SubmittedHandoff
from orchestration.domain.texts import storable

MAX_REFUSED_CLAIMS = 2  # then the claim stands and our verdict with it
MAX_SIGN_INS = 3
GOODBYE_S = 2.0
AUTH_REQUIRED = -32000
INVALID_PARAMS, NOT_FOUND = -32602, -32002
MOST_SUMMARY = 20_000
_HONEST = re.compile(r"\W{0,4}(PARTIAL|BLOCKED|FAILED)\W{0,4}:\s*", re.IGNORECASE)
_STOPPED = {
    "max_tokens": (Claim.PARTIAL, "The agent stopped because its model's answer met a limit of tokens."),
    "max_turn_requests": (Claim.PARTIAL, "The agent stopped at its own limit of turns."),
    "refusal": (Claim.FAILED, "The agent refused to go on."),
    "cancelled": (Claim.FAILED, "The agent says that it was cancelled, but nobody asked it to stop."),
}

Shape = TypeVar("Shape", bound=BaseModel)


class AcpAgent:
    def __init__(self, outside: Outside) -> None:
        self._outside = outside

    def run(
        self, assignment: Assignment, workplace: Workplace, report: Report, cancellation: Cancellation
    ) -> SubmittedHandoff:
        """Works until the handoff. Raises AdapterError, OutOfTime among them."""
        clock, access = Clock(assignment.timeout_s), self._outside.access
        with (
            self._outside.box() as box,
            box.start(self._outside.program(box), cancellation=access.stop) as child,
        ):
            session = Session(self._outside, child, clock, report=report, files=workplace.files(), box=box)
            try:
                return session.work(assignment.task)
            finally:
                session.updates.close()
                _keep_errors(child, report)


class Listener(Protocol):
    """Of a report, what a session needs."""

    def ran(self, tool: str, arguments: dict[str, Any], result: str, *, ok: bool, duration_ms: int) -> None: ...

    def alive(self) -> None: ...

    def objections(self, handoff: SubmittedHandoff) -> Sequence[str]: ...

    @property
    def inbox(self) -> Inbox: ...


class _Nobody:
    inbox: Inbox = Quiet()

    def ran(self, tool: str, arguments: dict[str, Any], result: str, *, ok: bool, duration_ms: int) -> None:
        """There is nobody to be told."""

    def alive(self) -> None:
        """Likewise."""

    def objections(self, handoff: SubmittedHandoff) -> Sequence[str]:
        return ()


def introduce(outside: Outside, files: WorkspaceFiles) -> str:
    """Opens a session and ends it again; what the agent calls itself. Raises AdapterError or InvalidInput."""
    clock = Clock(3 * outside.spec.start_timeout_s)
    with outside.box() as box, box.start(outside.program(box), cancellation=outside.access.stop) as child:
        session = Session(outside, child, clock, report=_Nobody(), files=files, box=box)
        session.open()
        return session.name


class Session:
    """One conversation with one agent."""

    def __init__(
        self, outside: Outside, child: Child, clock: Clock, *, report: Listener, files: WorkspaceFiles, box: Box
    ) -> None:
        self._spec: AgentSpec = outside.spec
        self._stop = outside.access.stop
        self._files = files
        self._report = report
        self._workspace = box.workspace
        self._cancelled = False
        self._cut_short = False
        self._tools = outside.tools
        self._servers = [_server(bridge_argv(box.home))] if outside.tools else []
        self._id = ""
        self._offered: list[str] = []
        self.name = self._spec.name
        self.updates = Updates(report)
        self._peer = Peer(child, clock, self._answer, silence_s=self._spec.silence_timeout_s, quiet=outside.access.idle)

    def work(self, task: str) -> SubmittedHandoff:
        """What people say meanwhile is the next prompt, before the agent's word counts."""
        self.open()
        told, refused = [task, *self._report.inbox.news()], 0
        while True:
            handoff = self._turn("\n\n".join(told))
            told = [] if self._cut_short else list(self._report.inbox.news())
            if told:
                continue
            claims = handoff.status is Claim.COMPLETE or handoff.split
            objections = self._report.objections(handoff) if claims else ()
            if not objections or refused == MAX_REFUSED_CLAIMS:
                return handoff
            refused += 1
            self.updates.record("handoff", {"status": handoff.status.value}, "\n".join(objections), ok=False)
            told = ["It is not complete yet. " + "\n".join(objections) + "\nMend it, or say honestly what is missing."]

    def open(self) -> None:
        """Initialises, signs in where that is asked for and possible, and opens a session."""
        within = float(self._spec.start_timeout_s)
        found = _read(schema.InitializeResponse, self._peer.request("initialize", _hello(), within_s=within))
        if found.protocol_version != PROTOCOL_VERSION:
            raise AdapterError(
                Failure.PERMANENT,
                f"The agent speaks version {found.protocol_version} of the protocol; we speak {PROTOCOL_VERSION}.",
            )
        if found.agent_info:
            self.name = f"{found.agent_info.title or found.agent_info.name} {found.agent_info.version}"[:160]
        self._offered = [method.id for method in found.auth_methods or []]
        if self._spec.auth_method:
            self._sign_in(self._spec.auth_method, within)
        self._id = self._new_session(within)
        if self._spec.session_mode:
            mode = {"sessionId": self._id, "modeId": self._spec.session_mode}
            self._peer.request(AGENT_METHODS["session_set_mode"], mode, within_s=within)
        self.updates.record("session", {"agent": self.name}, f"{self.name} opened a session.", ok=True)

    def _new_session(self, within: float) -> str:
        params = {"cwd": self._workspace, "mcpServers": self._servers}
        last: AdapterError | None = None
        for method in ("", *self._offered[:MAX_SIGN_INS]):
            try:
                if method:
                    self._sign_in(method, within)
                made = self._peer.request(AGENT_METHODS["session_new"], params, within_s=within)
            except Refused as error:
                if not method and error.code != AUTH_REQUIRED:
                    raise
                last = error
            else:
                return _read(schema.NewSessionResponse, made).session_id
        ways = ", ".join(self._offered) or "none offered"
        raise AdapterError(
            Failure.PERMANENT, f"The agent asks for a sign-in that cannot be done here ({ways[:300]}). {last}"
        )

    def _sign_in(self, method: str, within: float) -> None:
        self._peer.request(AGENT_METHODS["authenticate"], {"methodId": method}, within_s=within)

    def _turn(self, told: str) -> SubmittedHandoff:
        self.updates.new_turn()
        if self._tools:
            self._tools.begin()
        self._report.inbox.sent()
        prompt = {"sessionId": self._id, "prompt": [{"type": "text", "text": told}]}
        try:
            answer = self._peer.request(AGENT_METHODS["session_prompt"], prompt)
        except Refused as error:
            self._stop.check()  # the truer reason
            raise AdapterError(Failure.TRANSIENT, str(error)) from error
        except AdapterError:
            self._say_goodbye()
            raise
        self._stop.check()
        handoff = self._handoff(_read(schema.PromptResponse, answer))
        self._report.inbox.answered(handoff.summary)
        return handoff

    def _say_goodbye(self) -> None:
        """The agent may put its files in order; whether it does or not, it is killed afterwards."""
        self._cancelled = True
        with suppress(AdapterError):
            self._peer.notify(AGENT_METHODS["session_cancel"], {"sessionId": self._id})
            self._peer.drain(GOODBYE_S)

    def _handoff(self, answer: schema.PromptResponse) -> SubmittedHandoff:
        said = storable(self.updates.message)[:MOST_SUMMARY] or "The agent ended its turn without a word."
        if answer.usage:
            self.updates.record("session", {}, f"The agent counted {answer.usage.total_tokens} tokens.", ok=True)
        self._cut_short = answer.stop_reason in _STOPPED
        if self._tools and self._tools.handoff:
            return self._tools.handoff
        if answer.stop_reason in _STOPPED:
            claim, why = _STOPPED[answer.stop_reason]
            return SubmittedHandoff(status=claim, summary=said, concerns=[why])
        honest = _HONEST.match(said)
        if honest:
            return SubmittedHandoff(status=Claim(honest[1].lower()), summary=said[honest.end() :] or said)
        return SubmittedHandoff(status=Claim.COMPLETE, summary=said)

    # What the agent asks of us, and what it tells.

    def _answer(self, method: str, params: Mapping[str, Any]) -> Any:
        self._report.alive()
        if method == CLIENT_METHODS["session_update"]:
            self.updates.heard(params)
            return None
        if method == CLIENT_METHODS["session_request_permission"]:
            return self._permission(_asked(schema.RequestPermissionRequest, params))
        if method == CLIENT_METHODS["fs_read_text_file"]:
            return self._read_file(_asked(schema.ReadTextFileRequest, params))
        if method == CLIENT_METHODS["fs_write_text_file"]:
            return self._write_file(_asked(schema.WriteTextFileRequest, params))
        raise CannotDo(f"{method[:100]} is not offered here.")

    def _permission(self, asked: schema.RequestPermissionRequest) -> dict[str, Any]:
        """By policy; a session that is being ended is told so, as the protocol wants it."""
        if self._cancelled:
            return {"outcome": {"outcome": "cancelled"}}
        call = asked.tool_call
        self.updates.asked(call)
        paths = paths_of(call.locations) or paths_in(call.raw_input)
        why = refusal(self._spec.permissions, call.kind or "other", paths, self._workspace)
        option = _option(asked.options, "reject" if why else "allow")
        arguments = {"title": (call.title or call.kind or "")[:300], "path": ", ".join(paths)}
        if call.raw_input is not None:
            arguments["input"] = shortened(call.raw_input)
        said = f"Refused: {why}" if why else "Allowed." if option else "Refused: it offered no way to allow it."
        self.updates.record("permission", arguments, said, ok=not why and bool(option))
        if not option:
            return {"outcome": {"outcome": "cancelled"}}
        return {"outcome": {"outcome": "selected", "optionId": option}}

    def _read_file(self, asked: schema.ReadTextFileRequest) -> dict[str, Any]:
        text = self._file(lambda: self._files.read_bytes(self._relative(asked.path))).decode("utf-8", "replace")
        if asked.line is not None or asked.limit is not None:
            first = max(0, (asked.line or 1) - 1)
            last = None if asked.limit is None else first + asked.limit
            text = "".join(text.splitlines(keepends=True)[first:last])
        return {"content": text}

    def _write_file(self, asked: schema.WriteTextFileRequest) -> dict[str, Any]:
        path = self._relative(asked.path)
        said = self._file(lambda: self._files.write_file(path, asked.content))
        self.updates.record("write", {"path": path[:1000]}, said, ok=True)
        return {}

    def _file(self, act: Any) -> Any:
        try:
            return act()
        except ToolError as error:
            code = NOT_FOUND if "does not exist" in str(error) else INVALID_PARAMS
            raise CannotDo(str(error), code) from error

    def _relative(self, path: str) -> str:
        """Full paths are the protocol's way; what is not beneath the workspace is refused by the files themselves."""
        if path == self._workspace or path.startswith(f"{self._workspace}/"):
            return path[len(self._workspace) :].lstrip("/") or "."
        return path


def _hello() -> dict[str, Any]:
    return {
        "protocolVersion": PROTOCOL_VERSION,
        "clientCapabilities": {"fs": {"readTextFile": True, "writeTextFile": True}, "terminal": False},
        "clientInfo": {"name": "swarmsite", "title": "Swarmsite", "version": "0.1.0"},
    }


def _server(argv: Sequence[str]) -> dict[str, Any]:
    return {"name": NAME, "command": argv[0], "args": list(argv[1:]), "env": []}


def _option(options: list[schema.PermissionOption], way: str) -> str:
    """Once rather than always."""
    kinds: dict[str, str] = {option.kind: option.option_id for option in reversed(options)}
    return kinds.get(f"{way}_once") or kinds.get(f"{way}_always") or ""


def _read(shape: type[Shape], value: Mapping[str, Any]) -> Shape:
    """What the agent answered; raises AdapterError where it is no such thing."""
    try:
        return shape.model_validate(value)
    except (ValidationError, RecursionError) as error:
        raise AdapterError(Failure.PERMANENT, f"The agent answered with no proper {shape.__name__}.") from error


def _asked(shape: type[Shape], value: Mapping[str, Any]) -> Shape:
    try:
        return shape.model_validate(value)
    except (ValidationError, RecursionError) as error:
        raise CannotDo(f"The parameters are no proper {shape.__name__}.", INVALID_PARAMS) from error


def _keep_errors(child: Child, report: Report) -> None:
    said = child.errors.text().strip()
    if said:
        report.save_artifact(type_="log", name="agent-errors.txt", mime="text/plain", content=said.encode())
