"""What a bubblewrap box sees: its namespaces, its file system and its environment, as bwrap's own options."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

WORKSPACE = "/workspace"
HOME = "/home/agent"
SCRIPT = "/run/command"
WRITABLE = {"/tmp": 512, HOME: 256, "/dev/shm": 64}  # noqa: S108 - megabytes of memory each; inside the box
USER = 1000

STUBS = {
    "/etc/passwd": b"agent:x:%d:%d:agent:%b:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/false\n"
    % (USER, USER, HOME.encode()),
    "/etc/group": b"agent:x:%d:\nnogroup:x:65534:\n" % USER,
    "/etc/hosts": b"127.0.0.1 localhost sandbox\n::1 localhost\n",
    "/etc/nsswitch.conf": b"passwd: files\ngroup: files\nhosts: files dns\n",
}
# Never a directory that may hold private keys, as /etc/ssl and /etc/pki do.
_ETC = (
    "ld.so.cache",
    "alternatives",
    "localtime",
    "services",
    "ssl/certs",
    "ssl/cert.pem",
    "ssl/openssl.cnf",
    "pki/tls/certs",
    "pki/ca-trust/extracted",
)
_TOP = ("bin", "sbin", "lib", "lib32", "lib64", "libx32")


@dataclass(frozen=True, slots=True)
class View:
    """What one box is given of the machine."""

    workspace: Path
    read_only: bool = False
    network: bool = False
    tools: tuple[Path, ...] = ()
    shown: tuple[Path, ...] = ()


def options(view: View) -> tuple[list[str], list[str]]:
    """bwrap's options: those before the files that a command brings along, and those after them."""
    after = [
        *("--bind" if not view.read_only else "--ro-bind", str(view.workspace), WORKSPACE),
        *_sealed(),
        *("--chdir", WORKSPACE),
        "--clearenv",
        *variables(environment((*view.tools, *view.shown))),
    ]
    return [*_namespaces(network=view.network), *_system(view)], after


# Copies, no mounts: bwrap reads the whole table of mounts again after each of those.
def files(descriptors: Mapping[str, int]) -> Iterator[str]:
    """Each path of STUBS, SCRIPT and the home's with the descriptor that has its text."""
    for path, descriptor in descriptors.items():
        mode = "0600" if path.startswith(f"{HOME}/") else "0444"
        yield from ("--perms", mode, "--file", str(descriptor), path)


def variables(values: Mapping[str, str]) -> Iterator[str]:
    """The last value of each counts."""
    for name, value in values.items():
        yield from ("--setenv", name, value)


def interpreter() -> tuple[Path, ...]:
    """The server's own Python where it lives outside /usr and may be read; never its virtual environment."""
    base = Path(sys.base_prefix)
    if base.is_relative_to("/usr") or not os.access(base / "bin", os.R_OK | os.X_OK):
        return ()
    return (base,)


def environment(tools: tuple[Path, ...]) -> dict[str, str]:
    own = [str(place) for tool in tools for place in (tool / "bin", tool / ".bin") if place.is_dir()]
    system = ["/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin"]
    return {
        "PATH": ":".join([*own, *system]),
        "HOME": HOME,
        "USER": "agent",
        "LANG": "C.UTF-8",
        "TERM": "dumb",
        "TMPDIR": "/tmp",  # noqa: S108 - the box's own
        "PYTHONDONTWRITEBYTECODE": "1",
    }


def _namespaces(*, network: bool) -> Iterator[str]:
    yield from ("--unshare-user", "--uid", str(USER), "--gid", str(USER), "--disable-userns")
    yield from ("--unshare-pid", "--unshare-ipc", "--unshare-uts", "--unshare-cgroup-try")
    if not network:
        yield "--unshare-net"
    yield from ("--hostname", "sandbox", "--die-with-parent", "--as-pid-1", "--new-session", "--cap-drop", "ALL")


def _system(view: View) -> Iterator[str]:
    yield from ("--ro-bind", "/usr", "/usr")
    for name in _TOP:
        top = Path("/", name)
        if top.is_symlink():
            yield from ("--symlink", str(top.readlink()), str(top))
        elif top.is_dir():
            yield from ("--ro-bind", str(top), str(top))
    for name in (*_ETC, *(("resolv.conf",) if view.network else ())):
        yield from ("--ro-bind-try", f"/etc/{name}", f"/etc/{name}")
    yield from ("--proc", "/proc", "--dev", "/dev")
    for path, megabytes in WRITABLE.items():
        yield from ("--perms", "1777", "--size", str(megabytes * 1024 * 1024), "--tmpfs", path)
    for one in (*view.tools, *view.shown):
        yield from ("--ro-bind", str(one), str(one))


def _sealed() -> Iterator[str]:
    """What bwrap leaves writable. /proc matters most: where the server is root, so is the box's user to the
    files of /proc/sys, whatever it may do else, and one of them names a program that the kernel runs.
    """
    for path in ("/proc", "/dev", "/"):
        yield from ("--remount-ro", path)
