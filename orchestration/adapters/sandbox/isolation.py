"""One cheap command per box that looks for what must not be there, and the judge of what it saw."""

from __future__ import annotations

import secrets
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

from orchestration.adapters.sandbox.mounts import WORKSPACE, WRITABLE

_SHELLS_OWN = frozenset({"PWD", "OLDPWD", "SHLVL", "_"})
# The kernel puts these into every new network namespace where their module is loaded; they lead nowhere.
_FALLBACK_TUNNELS = frozenset(
    {"sit0", "tunl0", "ip6tnl0", "gre0", "gretap0", "erspan0", "ip_vti0", "ip6_vti0", "ip6gre0"}
)
SEPARATOR = "\ufffd"  # what a captured output has in place of the NUL after each variable
_SCRIPT = """
next() { printf '\\n%s\\n' "$mark"; }
mark=$1; shift
pwd -P
next; cat /proc/net/dev - /proc/self/mountinfo <<END

$mark
END
next; cat /proc/[0-9]*/environ
next; for path in "$@"; do if [ -e "$path" ]; then printf '%s\\n' "$path"; fi; done
next; readlink /proc/self/ns/pid /proc/self/ns/net
next
"""


@dataclass(frozen=True, slots=True)
class Probe:
    """The command, and the mark between the parts of what it prints."""

    mark: str
    command: list[str]


def probe(hidden: Sequence[Path]) -> Probe:
    mark = secrets.token_hex(16)
    return Probe(mark, ["/bin/sh", "-c", _SCRIPT, "sh", mark, *map(str, hidden)])


def breaches(
    output: str, mark: str, *, allowed: Collection[str], network: bool, read_only: bool, outside: Collection[str]
) -> list[str]:
    """What the probe's output shows that must not be so, as parts of a sentence; empty when all is well.

    `allowed` are the names of variables that a box has, `outside` the namespaces of the server.
    """
    parts = [part.strip("\n").splitlines() for part in output.split(f"\n{mark}\n")]
    if len(parts) != 7:
        return ["its check did not run to the end"]
    directory, devices, mounts, variables, visible, namespaces, _ = parts
    found = [] if directory == [WORKSPACE] else ["it does not start in the workspace"]
    found += _network(devices, namespaces, outside, network=network)
    names = {one.partition("=")[0] for line in variables for one in line.split(SEPARATOR)}
    foreign = names - set(allowed) - _SHELLS_OWN - {""}
    found += [f"the environment has {name}" for name in sorted(foreign)]
    found += [f"{path} can be written" for path in _writable(mounts, read_only=read_only)]
    return found + [f"{path} is visible" for path in visible]


def _network(devices: list[str], namespaces: list[str], outside: Collection[str], *, network: bool) -> list[str]:
    shared = {line.partition(":")[0] for line in namespaces if line in outside}
    found = [f"the {kind} namespace is the server's" for kind in sorted(shared) if kind != "net" or not network]
    if len(namespaces) != 2:
        found.append("its namespaces cannot be read")
    if network:
        return found
    names = {line.partition(":")[0].strip() for line in devices if ":" in line}
    return found + [f"there is a network device {name}" for name in sorted(names - _FALLBACK_TUNNELS - {"lo"})]


def _writable(mounts: list[str], *, read_only: bool) -> list[str]:
    may = {*WRITABLE, *(() if read_only else (WORKSPACE,))}
    fields = [line.split() for line in mounts]
    targets = [field[4] for field in fields if "rw" in field[5].split(",")]
    return [at for at in targets if at not in may and not at.startswith("/dev/")]
