"""Where a program that an operator names is installed, so that a sandbox can be shown that and nothing more."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from orchestration.domain.errors import InvalidInput

SYSTEM = (Path("/usr"), Path("/bin"), Path("/lib"), Path("/lib64"), Path("/sbin"))  # in every box
INSIDE_ONLY = ("/workspace", "/home/agent")


@dataclass(frozen=True, slots=True)
class Installation:
    """A command line that works inside, where `roots` are shown at their own paths."""

    argv: tuple[str, ...]
    roots: tuple[Path, ...]


def find(argv: Sequence[str]) -> Installation:
    """Raises InvalidInput with the sentence why the program cannot be started."""
    program = _program(argv[0])
    roots = list(dict.fromkeys([*_roots(program), *(root for word in argv[1:] for root in _roots_of_word(word))]))
    kept = [root for root in roots if not any(root != other and root.is_relative_to(other) for other in roots)]
    seen = program if _visible(program, kept) else program.resolve()
    return Installation((str(seen), *argv[1:]), tuple(kept))


def _program(word: str) -> Path:
    found = shutil.which(word)
    if found is None:
        there = "" if "/" not in word or not Path(word).exists() else " It is there, but it cannot be run."
        place = "at that path" if "/" in word else "on the server's PATH; give its full path"
        raise InvalidInput(f"The program {word[:200]} is not {place}.{there}")
    return Path(os.path.abspath(found))  # noqa: PTH100 - links stay: a virtual environment's python is one


def _roots_of_word(word: str) -> Iterator[Path]:
    """A script that an interpreter is given has its own place."""
    if word.startswith("/") and not word.startswith(INSIDE_ONLY) and Path(word).is_file():
        yield from _roots(Path(word))


def _roots(program: Path) -> Iterator[Path]:
    for path in dict.fromkeys((program, program.resolve())):
        if not _in_system(path):
            yield from _root(path)
    yield from _of_interpreter(program.resolve())


def _root(path: Path) -> Iterator[Path]:
    """The outermost node_modules, the virtual environment with its Python, its own directory in /opt, or itself."""
    modules = next((one for one in reversed(path.parents) if one.name == "node_modules"), None)
    environment = next((one for one in path.parents if (one / "pyvenv.cfg").is_file()), None)
    if modules:
        yield modules
    elif environment:
        yield environment
        yield from _base_python(environment / "pyvenv.cfg")
    elif path.is_relative_to("/opt") and len(path.parents) > 2:
        yield path.parents[-3]
    elif not path.is_symlink():
        yield path


def _base_python(configuration: Path) -> Iterator[Path]:
    lines = configuration.read_text(encoding="utf-8", errors="replace").splitlines()
    home = next((line.partition("=")[2].strip() for line in lines if line.partition("=")[0].strip() == "home"), "")
    if home and not _in_system(Path(home).resolve()):
        yield Path(home).resolve().parent
    if home and not _in_system(Path(home)) and Path(home).resolve() != Path(home):
        yield Path(home).parent  # by the name that the environment's links use


def _of_interpreter(script: Path) -> Iterator[Path]:
    """What the first line of a script names: env looks along the PATH, as it will inside."""
    words = _first_line(script)
    if not words:
        return
    name = next((word for word in words[1:] if not word.startswith("-")), "") if words[0].endswith("/env") else words[0]
    found = shutil.which(name)
    if found is None:
        raise InvalidInput(f"{script} needs {name or 'an interpreter'}, which is not on the server's PATH.")
    real = Path(found).resolve()
    if _in_system(real) or _in_system(Path(found)) or any((one / "pyvenv.cfg").is_file() for one in script.parents):
        return
    yield real.parent.parent if real.parent.name == "bin" else real


def _first_line(script: Path) -> list[str]:
    with script.open("rb") as file:
        head = file.read(512)
    return head.split(b"\n")[0][2:].decode("utf-8", "replace").split() if head.startswith(b"#!") else []


def _in_system(path: Path) -> bool:
    return any(path.is_relative_to(one) for one in SYSTEM)


def _visible(path: Path, roots: Sequence[Path]) -> bool:
    return _in_system(path) or any(path.is_relative_to(root) for root in roots)
