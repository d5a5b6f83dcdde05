"""The planner's read-only look at a repository: at a commit's objects. What goes wrong is told to the model."""

from __future__ import annotations

from pydantic import ValidationError

from orchestration.adapters.git.store import BareRepository
from orchestration.adapters.tree import components, matches
from orchestration.agents.arguments import GitLog, Grep, ListFiles, ReadFile
from orchestration.domain import paths
from orchestration.domain.conversation import ToolCall, parse_arguments
from orchestration.domain.errors import InvalidInput, SwarmsiteError
from orchestration.domain.validation import sentences

MAX_CHARACTERS = 30_000
MAX_PATHS = 20_000  # that are looked through for one listing
MAX_ENTRIES = 1000
MAX_HITS = 200
MAX_HITS_BEFORE_GLOB = 10_000
MAX_HIT_CHARACTERS = 300


def look(call: ToolCall, store: BareRepository, sha: str) -> str:
    """The answer to one call, never longer than a model can use."""
    try:
        result = _run(call, store, sha)
    except ValidationError as error:
        return "Error: " + " ".join(sentences(error))
    except SwarmsiteError as error:
        return f"Error: {error}"
    if len(result) > MAX_CHARACTERS:
        return result[:MAX_CHARACTERS] + "\n(the rest is cut off; ask for less at once)"
    return result or "(nothing)"


def _run(call: ToolCall, store: BareRepository, sha: str) -> str:
    given = parse_arguments(call)
    match call.name:
        case "list_files":
            return _list(store, sha, ListFiles.model_validate(given))
        case "read_file":
            return _read(store, sha, ReadFile.model_validate(given))
        case "grep":
            return _grep(store, sha, Grep.model_validate(given))
        case "git_log":
            entries = store.log(sha, limit=GitLog.model_validate(given).limit)
            return "\n".join(f"{entry.sha[:10]} {entry.author}: {entry.subject}" for entry in entries)
    raise InvalidInput(
        f"There is no tool {call.name[:60]!r}; there are list_files, read_file, grep and git_log. End with submit_plan."
    )


def _list(store: BareRepository, sha: str, given: ListFiles) -> str:
    above = _inside(given.path)
    found = store.list_files(sha, under="/".join(above), limit=MAX_PATHS + 1)
    if not found:
        raise InvalidInput(f"There is no directory {given.path[:200]!r} with files in it.")
    depth = len(above) + given.depth
    entries = list(dict.fromkeys(_folded(path, depth) for path in found[:MAX_PATHS]))
    more = len(entries) > MAX_ENTRIES or len(found) > MAX_PATHS
    return _noted(entries[:MAX_ENTRIES], "(there is more; list a directory below or take a smaller depth)", more)


def _inside(path: str) -> tuple[str, ...]:
    names = paths.parts(path)
    if names is None:
        raise InvalidInput(f"{path[:200]!r} is outside the repository; give a path relative to its root.")
    return names


def _folded(path: str, depth: int) -> str:
    names = path.split("/")
    return path if len(names) <= depth else "/".join(names[:depth]) + "/"


def _read(store: BareRepository, sha: str, given: ReadFile) -> str:
    content = store.read_file(sha, "/".join(_inside(given.path)))
    if content is None:
        raise InvalidInput(f"There is no file {given.path[:200]!r}.")
    if b"\0" in content[:8192]:
        return f"({given.path} is a binary file; its content is not shown.)"
    lines = content.decode("utf-8", "replace").removesuffix("\n").split("\n")
    shown = lines[given.offset : given.offset + given.limit]
    last = given.offset + len(shown)
    if not shown:
        return f"(There are only {len(lines)} lines.)"
    return _noted(shown, f"(lines {given.offset + 1} to {last} of {len(lines)})", len(shown) < len(lines))


def _grep(store: BareRepository, sha: str, given: Grep) -> str:
    segments = components(given.glob)
    wanted = ["**", *segments] if len(segments) == 1 else segments
    most = MAX_HITS_BEFORE_GLOB if wanted else MAX_HITS + 1
    hits = store.grep(sha, given.pattern, under="/".join(_inside(given.path)), limit=most)
    found = [hit for hit in hits if not wanted or matches(hit.path.split("/"), wanted)]
    lines = [f"{hit.path}:{hit.line}: {hit.text[:MAX_HIT_CHARACTERS]}" for hit in found[:MAX_HITS]]
    more = len(found) > MAX_HITS or len(hits) == MAX_HITS_BEFORE_GLOB
    return _noted(lines or ["No line matches."], "(there are more; narrow the pattern, the path or the glob)", more)


def _noted(lines: list[str], note: str, worth_noting: bool) -> str:  # noqa: FBT001 - the condition belongs to the note
    return "\n".join([*lines, *([note] if worth_noting else [])])
