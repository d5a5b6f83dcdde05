"""Refs of the bare repository: branches that move by compare-and-swap, and pins that keep commits alive."""

from __future__ import annotations

import re
import time

from orchestration.adapters.git.objects import Objects
from orchestration.adapters.git.runner import GitResult, check_branch, check_ref, check_sha, is_sha
from orchestration.domain.errors import AdapterError, Failure, InvalidInput

_NOWHERE = "0" * 40
_MOVED = re.compile(r"but expected [0-9a-f]{40}|reference already exists|unable to resolve reference")
_NAMESPACE = re.compile(r"[a-z][a-z0-9-]{0,39}")


class References(Objects):
    """Who points where. Nothing here moves a branch without knowing where it was."""

    def tip(self, branch: str) -> str | None:
        loose = self.read_ref(check_branch(branch))
        if loose is not None and is_sha(loose):
            return loose
        result = self.run("rev-parse", "--verify", "--quiet", f"{check_branch(branch)}^{{commit}}", ok=(0, 1))
        return result.text.strip() or None

    def contains(self, sha: str) -> bool:
        """Whether the commit is in the repository."""
        answer = self.run("cat-file", "--batch-check=%(objecttype)", stdin=f"{check_sha(sha)}\n".encode())
        return answer.text.strip() == "commit"

    def create_branch(self, name: str, sha: str) -> None:
        """Make the branch at `sha`. One that is there already is fine at `sha` and an error anywhere else."""
        result = self._update(check_branch(name), sha, _NOWHERE)
        if result.code == 0:
            return
        there = self.tip(name)
        if there is None:
            raise _refused(result)
        if there != sha:
            raise AdapterError(
                Failure.PERMANENT, f"The branch {name} exists already, at {there[:12]} and not at {sha[:12]}."
            )

    def swap(self, branch: str, new: str, old: str) -> bool:
        """Move the branch from `old` to `new`; False when it was not at `old`."""
        ref = check_branch(branch)
        if self.has_loose(check_sha(new)):  # git looks whether it is there at all
            swapped = self.swap_ref(ref, new, check_sha(old))
            if swapped is not None:
                return swapped
        result = self._update(ref, new, check_sha(old))
        if result.code and not _MOVED.search(result.stderr):
            raise _refused(result)
        return result.code == 0

    def break_stale_lock(self, branch: str, older_than_s: float) -> bool:
        """Remove the lock that a killed child left on the branch. Only the branch's one writer may call it."""
        lock = self.path / f"{check_branch(branch)}.lock"
        try:
            if time.time() - lock.stat().st_mtime <= older_than_s:
                return False
            lock.unlink()
        except FileNotFoundError:
            return False
        return True

    def pin(self, namespace: str, name: str, sha: str) -> None:
        """Keep the commit under refs/swarmsite/<namespace>/<name>, wherever the pin was before."""
        pin = _pin(namespace, name)
        if self.has_loose(check_sha(sha)):
            self.write_ref(pin, sha)
        else:  # git looks whether it is there at all
            self.run("update-ref", "--end-of-options", pin, sha)

    def pins(self, namespace: str) -> dict[str, str]:
        prefix = _pin(namespace, "")
        lines = self.run("for-each-ref", "--format=%(objectname) %(refname)", prefix).text.splitlines()
        return {ref.removeprefix(prefix): sha for sha, ref in (line.split(" ", 1) for line in lines)}

    def unpin(self, namespace: str, *names: str) -> None:
        """Let go of pins, in one step; those that are gone already are fine."""
        pins = [_pin(namespace, name) for name in names]
        if pins and self.has_packed_refs:
            self.run("update-ref", "--stdin", stdin="".join(f"delete {pin}\n" for pin in pins).encode())
        for pin in pins:
            self.remove_ref(pin)

    def _update(self, ref: str, new: str, old: str) -> GitResult:
        return self.run("update-ref", "--end-of-options", ref, check_sha(new), old, ok=(0, 128))


def _pin(namespace: str, name: str) -> str:
    if not _NAMESPACE.fullmatch(namespace):
        raise InvalidInput(f"{namespace[:60]!r} is not a namespace of pins.")
    prefix = f"refs/swarmsite/{namespace}/"
    return check_ref(prefix + name) if name else prefix


def _refused(result: GitResult) -> AdapterError:
    line = result.stderr.strip().splitlines()[0].removeprefix("fatal: ")
    kind = Failure.TRANSIENT if ".lock'" in line or "No space left" in line else Failure.PERMANENT
    return AdapterError(kind, f"The ref could not be moved: {line.rstrip('.')}.")
