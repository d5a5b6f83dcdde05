"""What a file about submodules may not say: git's own fsck refuses it, and with it everybody whom it is pushed to."""

from __future__ import annotations

import re
from urllib.parse import unquote

from orchestration.adapters.git.directory import GitDirectory
from orchestration.adapters.git.files import as_others_read
from orchestration.adapters.git.runner import shown

_NAMES = re.compile(r"\.gitmodules|gitmod~[1-4]|gi7eba~[1-9]")  # the last ones are how Windows may call it
_UPWARDS_TO_A_HOST = re.compile(r"(\./)*(\.\./)(\.{1,2}/)*[:/]")


def is_modules_file(path: bytes) -> bool:
    return _NAMES.fullmatch(as_others_read(shown(path.rpartition(b"/")[2]))) is not None


def objection(repository: GitDirectory, blob: str) -> str:
    """Why the file with this content cannot be taken; empty where it can."""
    found = repository.run("config", "--blob", blob, "--list", "-z", "--no-includes", ok=(0, 1, 3, 128))
    if found.code:
        return "cannot be read by git"
    for line in found.text.split("\0"):
        key, _, value = line.partition("\n")
        section, _, rest = key.partition(".")
        name, _, variable = rest.rpartition(".")
        if section == "submodule" and name and _is_bad(name, variable, value):
            return f"says {variable} = {value[:100]} of the submodule {name[:100]}, which git refuses"
    return ""


def _is_bad(name: str, variable: str, value: str) -> bool:
    if ".." in re.split(r"[/\\]", name):
        return True
    if variable == "update":
        return value.startswith("!")
    if variable == "path":
        return value.startswith("-")
    return variable == "url" and (
        value.startswith("-") or "\n" in unquote(value) or _UPWARDS_TO_A_HOST.match(value) is not None
    )
