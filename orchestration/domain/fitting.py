"""A conversation made to fit into what a model can read: old results are cut first, then whole turns go, a summary
stays. The instruction and the latest turns are kept, and no call is ever parted from its answer.

What is cut depends only on what came before, so that a conversation that grows is cut in the same places again:
its beginning stays as the service has cached it.
"""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from itertools import takewhile

from orchestration.domain.conversation import Message, Role, ToolCall, ToolSpec, parse_arguments
from orchestration.domain.errors import InvalidInput
from orchestration.domain.texts import bytes_of, first_line

BYTES_PER_TOKEN = 3  # fewer than English prose has: code and other scripts take more tokens
MESSAGE_TOKENS = 8
LATEST = 3  # turns that stay as they are for as long as there is anything else to cut
TARGET = 0.5  # of what fits: a cut makes room for many turns, because it costs what the service has cached
SHORT = 400  # characters that stay of an old result
SAID = 2000  # of what a person said in a turn that goes
SUMMARY = 0.1  # of what fits: for what the turns that went did, and as much again for what was said in them
SUMMARY_TOKENS = 100  # for the words around them
CALL_LEFT_OUT = '{"left_out": true}'
_ALL: tuple[Role, ...] = ("tool", "user", "assistant", "system")
_TELLS = ("path", "command", "pattern", "key", "name", "summary")


def tokens(messages: Iterable[Message]) -> int:
    """More than a service counts, nearly always."""
    return sum(map(_tokens, messages))


def tool_tokens(tools: Iterable[ToolSpec]) -> int:
    return sum(map(_of_tool, tools))


def fit(messages: Sequence[Message], most: int) -> list[Message]:
    """At most so many tokens of it, wherever what cannot be cut leaves room."""
    if tokens(messages) <= most:
        return list(messages)
    head = list(takewhile(lambda one: one.role != "assistant", messages))
    history = _History(head, most)
    for turn in _turns(messages[len(head) :]):
        history.add(turn)
    return history.messages()


@lru_cache(maxsize=1024)  # the same ones are offered with every call
def _of_tool(tool: ToolSpec) -> int:
    return _of(f"{tool.name}{tool.description}{tool.parameters}")


def _of(text: str) -> int:
    return -(-bytes_of(text) // BYTES_PER_TOKEN)


def _tokens(one: Message) -> int:
    return (
        MESSAGE_TOKENS
        + _of(one.text)
        + sum(MESSAGE_TOKENS + _of(call.name + call.arguments) for call in one.tool_calls)
    )


def _turns(messages: Sequence[Message]) -> list[list[Message]]:
    """An answer with all that follows it: the results of its calls, and what was said then."""
    turns: list[list[Message]] = []
    for one in messages:
        if one.role == "assistant":
            turns.append([])
        turns[-1].append(one)
    return turns


@dataclass(slots=True)
class _Turn:
    messages: list[Message]
    size: int = 0
    cut: bool = False

    def __post_init__(self) -> None:
        self.size = tokens(self.messages)

    def shorten(self) -> None:
        if not self.cut:
            self.messages, self.cut = [_shortened(one) for one in self.messages], True
            self.size = tokens(self.messages)


@dataclass(slots=True)
class _Lines:
    """The oldest go where there is no more room."""

    most: int
    lines: deque[str] = field(default_factory=deque)
    size: int = 0

    def add(self, line: str) -> None:
        self.lines.append(line)
        self.size += _of(line) + 1
        while self.size > self.most and len(self.lines) > 1:
            self.size -= _of(self.lines.popleft()) + 1


class _Summary:
    """What the turns did that went, and what people said in them."""

    def __init__(self, most: int) -> None:
        self._gone = 0
        self._did = _Lines(most)
        self._said = _Lines(most)

    @property
    def size(self) -> int:
        return self._did.size + self._said.size + SUMMARY_TOKENS if self._gone else 0

    def take(self, turn: _Turn) -> None:
        self._gone += 1
        for one in turn.messages:
            if one.role == "assistant":
                for line in [_told(call) for call in one.tool_calls] or [f"said: {first_line(one.text, 200)}"]:
                    self._did.add(f"- {line}")
            elif one.role == "user" and (words := _middle_out(one.text, SAID)) not in self._said.lines:
                self._said.add(words)

    def messages(self) -> list[Message]:
        if not self._gone:
            return []
        did, turns = "\n".join(self._did.lines), "turn was" if self._gone == 1 else "turns were"
        text = f"({self._gone} earlier {turns} left out, for want of room. The last of what was done in them:\n{did}\n"
        text += "Look again at what you need.)"
        if self._said.lines:
            text += "\n\nYou were also told:\n\n" + "\n\n".join(self._said.lines)
        return [Message("user", text)]


class _History:
    """Grows turn by turn, as the conversation did, and is cut whenever it has grown too long."""

    def __init__(self, head: list[Message], most: int) -> None:
        self._head = head
        self._most = most
        self._fixed = tokens(head)
        self._summary = _Summary(int(most * SUMMARY))
        self._turns: list[_Turn] = []
        self._in_turns = 0

    def add(self, messages: list[Message]) -> None:
        turn = _Turn(messages)
        self._turns.append(turn)
        self._in_turns += turn.size
        if self._size() > self._most:
            self._cut(int(self._most * TARGET), LATEST)
        if self._size() > self._most:
            self._cut(self._most, 1)

    def messages(self) -> list[Message]:
        """The latest turn, and where that is not enough the instruction, give up the middle of their longest texts."""
        found = [*self._head, *self._summary.messages(), *(one for turn in self._turns for one in turn.messages)]
        for count in range(1, len(_ALL) + 1):
            found = _squeezed(found, self._most, _ALL[:count])
        return found

    def _size(self) -> int:
        return self._fixed + self._summary.size + self._in_turns

    def _cut(self, target: int, latest: int) -> None:
        for turn in self._turns[:-latest]:
            if self._size() <= target:
                return
            before = turn.size
            turn.shorten()
            self._in_turns -= before - turn.size
        while self._size() > target and len(self._turns) > latest:
            self._drop(self._turns.pop(0))

    def _drop(self, turn: _Turn) -> None:
        self._in_turns -= turn.size
        self._summary.take(turn)
        instructions = [one for one in turn.messages if one.role == "system"]
        self._head += instructions
        self._fixed += tokens(instructions)


def _shortened(one: Message) -> Message:
    if one.role == "tool":
        return Message("tool", _cut_end(one.text, SHORT), tool_call_id=one.tool_call_id)
    if not one.tool_calls:
        return one
    return Message(one.role, one.text, tuple(_shorter_call(call, SHORT) for call in one.tool_calls))


def _shorter_call(call: ToolCall, most: int) -> ToolCall:
    """The arguments stay a JSON object; a long one's long texts are cut, so that it still says what was done."""
    if len(call.arguments) <= most:
        return call
    try:
        given = parse_arguments(call)
    except InvalidInput:
        return replace(call, arguments=CALL_LEFT_OUT)
    each = max(40, most // 4)
    cut = {name: _cut_end(value, each) if isinstance(value, str) else value for name, value in given.items()}
    arguments = json.dumps(cut)
    return replace(call, arguments=arguments if len(arguments) <= 2 * most else CALL_LEFT_OUT)


def _told(call: ToolCall) -> str:
    try:
        given = parse_arguments(call)
    except InvalidInput:
        given = {}
    return first_line(f"{call.name[:60]} {next((str(given[name]) for name in _TELLS if given.get(name)), '')}", 120)


def _cut_end(text: str, most: int) -> str:
    left_out = f"… ({len(text) - most:,} more characters were left out later, for want of room)"
    return text if len(text) <= most + len(left_out) else text[:most] + left_out


def _middle_out(text: str, most: int) -> str:
    if len(text) <= most:
        return text
    end = most // 3
    left_out = f"\n… {len(text) - most:,} characters are left out here, for want of room …\n"
    return text[: most - end] + left_out + text[len(text) - end :]


def _squeezed(messages: list[Message], most: int, roles: Sequence[Role]) -> list[Message]:
    """The longest texts of these roles are made equally long, as long as they may be."""
    if tokens(messages) <= most:
        return messages

    def cut(characters: int) -> list[Message]:
        return [_limited(one, characters) if one.role in roles else one for one in messages]

    return cut(_largest(lambda characters: tokens(cut(characters)) <= most, most * BYTES_PER_TOKEN))


def _limited(one: Message, characters: int) -> Message:
    calls = tuple(_shorter_call(call, max(characters, SHORT)) for call in one.tool_calls)
    return replace(one, text=_middle_out(one.text, characters), tool_calls=calls)


def _largest(fits: Callable[[int], bool], most: int) -> int:
    """The largest number for which it holds, at least SHORT."""
    low, high = SHORT, max(SHORT, most)
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if fits(middle) else (low, middle - 1)
    return low
