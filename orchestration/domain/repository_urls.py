"""Which repository addresses are accepted, and what they mean."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal
from urllib.parse import SplitResult, urlsplit

from orchestration.domain.errors import InvalidInput

MAX_LENGTH = 2_000

# Controls, and the characters that reorder or hide what a reader sees.
_HIDDEN = re.compile(r"[\x00-\x1f\x7f-\x9f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff\ud800-\udfff]")
_HELPER = re.compile(r"[A-Za-z0-9+.-]*::")
_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://")
_SCP = re.compile(r"(?:(?P<user>[^@/:]+)@)?(?P<host>[^/:@]+):(?!/)(?P<path>.+)")
_HOST = re.compile(r"(?!-)[a-z0-9-]{1,63}(?:\.(?!-)[a-z0-9-]{1,63})*\.?|[0-9a-f:]{2,45}")
_USER = re.compile(r"[a-z_][a-z0-9_-]{0,31}")
_PATH = re.compile(r"/[A-Za-z0-9._~/%+@-]*")

LocalAllowed = Callable[[str], bool] | tuple[str, ...]


@dataclass(frozen=True, slots=True)
class RepositoryAddress:
    """Where a repository is. `name` is short, for people; `host` is empty for a local one."""

    kind: Literal["local", "https", "ssh"]
    url: str
    host: str
    name: str


def parse_repository(
    text: str, *, local_allowed: LocalAllowed = (), ssh_hosts: tuple[str, ...] = ()
) -> RepositoryAddress:
    """The address in its plain form, or InvalidInput with a sentence that says what to give instead."""
    text = text.strip()
    _check_text(text)
    if text.startswith("/"):
        return _local(text, local_allowed)
    scheme = _SCHEME.match(text)
    if scheme is None:
        return _scp(text, ssh_hosts)
    match scheme[1].lower():
        case "https":
            return _https(_split(text))
        case "ssh":
            parts = _split(text)
            return _ssh(parts.username or "git", parts.hostname or "", parts.port, parts.path, ssh_hosts)
        case "http":
            raise InvalidInput("http:// is not encrypted: give the https:// address of the repository.")
        case "file":
            return _file(text, local_allowed)
        case other:
            raise InvalidInput(f"{other}:// is not supported: give an https:// address or a full path.")


def _check_text(text: str) -> None:
    if not text:
        raise InvalidInput("A repository is needed: an https:// address or a full path.")
    if len(text) > MAX_LENGTH:
        raise InvalidInput(f"The repository's address is longer than {MAX_LENGTH:,} characters.")
    if _HIDDEN.search(text):
        raise InvalidInput("The repository's address holds control or invisible characters.")
    if text.startswith("-"):
        raise InvalidInput("The repository's address begins with a dash, which would be read as an option.")
    if _HELPER.match(text):
        raise InvalidInput("Addresses with :: name a program to run and are not accepted.")


def _local(text: str, allowed: LocalAllowed) -> RepositoryAddress:
    path = "/" + posixpath.normpath(text).lstrip("/")
    if not (_beneath(path, allowed) if isinstance(allowed, tuple) else allowed(path)):
        raise InvalidInput(f"The path {path} is not one that an operator allowed for repositories.")
    return RepositoryAddress("local", path, "", _name(path.removesuffix("/.git")))


def _file(text: str, allowed: LocalAllowed) -> RepositoryAddress:
    path = text.partition("://")[2]
    if not path.startswith("/") or "%" in path:
        raise InvalidInput("Give the full path itself, without file:// before it.")
    return _local(path, allowed)


def _beneath(path: str, prefixes: tuple[str, ...]) -> bool:
    plain = (posixpath.normpath(prefix) for prefix in prefixes if prefix.startswith("/"))
    return any(prefix in ("/", path) or path.startswith(f"{prefix}/") for prefix in plain)


def _split(text: str) -> SplitResult:
    try:
        parts = urlsplit(text)
        _ = parts.port
    except ValueError as error:
        raise InvalidInput(f"The repository's address cannot be read: {error}.") from error
    if parts.password is not None or (parts.scheme != "ssh" and "@" in parts.netloc):
        raise InvalidInput("The address must not hold a name, password or token: keep it out of the URL.")
    if "?" in text or "#" in text:
        raise InvalidInput("The repository's address must not have a ? or # part.")
    return parts


def _https(parts: SplitResult) -> RepositoryAddress:
    host, path = _checked_host(parts.hostname or ""), _checked_path(parts.path)
    port = "" if parts.port in {None, 443} else f":{parts.port}"
    shown = f"[{host}]" if ":" in host else host
    return RepositoryAddress("https", f"https://{shown}{port}{path}", host, _name(path))


def _scp(text: str, ssh_hosts: tuple[str, ...]) -> RepositoryAddress:
    found = _SCP.fullmatch(text)
    if found is None:
        raise InvalidInput(f"{text[:80]!r} is not an https:// address or a path that begins with /.")
    return _ssh(found["user"] or "git", found["host"], None, f"/{found['path']}", ssh_hosts)


def _ssh(user: str, host: str, port: int | None, path: str, ssh_hosts: tuple[str, ...]) -> RepositoryAddress:
    host, path = _checked_host(host.lower()), _checked_path(path)
    if host not in {listed.lower() for listed in ssh_hosts}:
        raise InvalidInput(f"ssh to {host} is not allowed here: use https://, or ask an operator to list it.")
    if not _USER.fullmatch(user):
        raise InvalidInput(f"{user[:40]!r} is not a user name for ssh.")
    place = host if port in {None, 22} else f"{host}:{port}"
    return RepositoryAddress("ssh", f"ssh://{user}@{place}{path}", host, _name(path))


def _checked_host(host: str) -> str:
    if not host or not _HOST.fullmatch(host):
        raise InvalidInput(f"{host[:80]!r} is not the name of a host.")
    return host


def _checked_path(path: str) -> str:
    plain = path.rstrip("/")
    if not plain.strip("/") or not _PATH.fullmatch(plain):
        raise InvalidInput("The repository's address has no path, or one with characters that are not accepted.")
    if any(part in {"", ".", ".."} or part.startswith("-") for part in plain[1:].split("/")):
        raise InvalidInput("The path in the repository's address has an empty, dotted or dashed part.")
    return plain


def _name(path: str) -> str:
    return posixpath.basename(path.rstrip("/")).removesuffix(".git") or "repository"
