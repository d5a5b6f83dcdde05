"""Looks at a repository before anybody relies on it: says what is wrong with what, or what was found there."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path

from django.conf import settings

from orchestration.adapters.git.credentials import Credential
from orchestration.adapters.git.runner import check_branch
from orchestration.adapters.git.store import BareRepository
from orchestration.adapters.git.values import Offer
from orchestration.adapters.secrets import clean, learn
from orchestration.domain.errors import AdapterError, InvalidInput
from orchestration.domain.publishing import RemoteError, Trouble
from orchestration.domain.repository_urls import RepositoryAddress
from orchestration.domain.suggesting import PRESENT, READ, Suggestion, suggest
from orchestration.models import Repository
from orchestration.stages.prepare import address_of
from orchestration.stages.remote import credential_for

TIMEOUT_S = 60.0
MOST_BYTES = 200_000  # of a file that is read for what it sets up
MOST_NAMED = 5


@dataclass(frozen=True, slots=True)
class Survey:
    """`part` is what of the row is at fault, where it does not work: url, branch or token."""

    works: bool
    sentence: str
    part: str = ""
    branches: tuple[str, ...] = ()
    suggestions: tuple[Suggestion, ...] = ()


class _Amiss(Exception):
    def __init__(self, part: str, sentence: str, branches: tuple[str, ...] = ()) -> None:
        super().__init__(sentence)
        self.survey = Survey(works=False, sentence=str(clean(sentence)), part=part, branches=branches)


def survey(row: Repository, token: str) -> Survey:
    """`row` need not be saved; `token` is what was typed, empty for the one that it has. Nothing is kept."""
    try:
        return _survey(row, token)
    except _Amiss as amiss:
        return amiss.survey


def _survey(row: Repository, token: str) -> Survey:
    address, credential = _way(row, token)
    with tempfile.TemporaryDirectory(prefix="swarmsite-survey-") as place:
        store = BareRepository(Path(place) / "look.git")
        allow = settings.SWARM["ALLOWED_HOSTS_OUT"]
        try:
            store.create()
            offer = store.offer(address.url, allow=allow, credential=credential, timeout_s=TIMEOUT_S)
            branch = _branch(row, address, offer)
            fetched = store.fetch(
                address.url, branch, allow=allow, credential=credential, timeout_s=TIMEOUT_S, shallow=True
            )
            return _found(store, fetched.sha, branch, offer)
        except RemoteError as error:
            raise _refused(error, address, credential) from None
        except (AdapterError, InvalidInput) as error:
            raise _Amiss("url", str(error)) from None


def _way(row: Repository, token: str) -> tuple[RepositoryAddress, Credential | None]:
    try:
        address = address_of(row)
    except InvalidInput as error:
        raise _Amiss("url", str(error)) from None
    if token and address.kind == "https":
        learn(token)
        return address, Credential(row.token_user or "x-access-token", token)
    try:
        return address, credential_for(row, address)
    except AdapterError as error:
        raise _Amiss("token", str(error)) from None


def _branch(row: Repository, address: RepositoryAddress, offer: Offer) -> str:
    names = tuple(sorted(offer.branches))
    some = ", ".join(names[:MOST_NAMED]) + (f" and {len(names) - MOST_NAMED} more" if names[MOST_NAMED:] else "")
    if not names:
        raise _Amiss("url", f"{address.url} is empty: make a first commit there, then test again.")
    if row.branch:
        try:
            check_branch(row.branch)
        except InvalidInput as error:
            raise _Amiss("branch", str(error), names) from None
    if row.branch and row.branch not in offer.branches:
        raise _Amiss("branch", f"There is no branch {row.branch!r}: there are {some}.", names)
    if not row.branch and (offer.head is None or offer.head not in offer.branches):
        raise _Amiss("branch", f"The repository has no default branch: name one of {some}.", names)
    return row.branch or str(offer.head)


def _refused(error: RemoteError, address: RepositoryAddress, credential: Credential | None) -> _Amiss:
    if error.trouble is not Trouble.SIGN_IN:
        return _Amiss("url", str(error))
    if credential is not None:
        said = f"{address.host} refused the token, or the token may not read this repository."
        return _Amiss("token", said)
    return _Amiss("token", f"{address.url} needs a sign-in or is not there: check the address, or give a token.")


def _found(store: BareRepository, sha: str, branch: str, offer: Offer) -> Survey:
    files = {name for name in store.list_files(sha) if "/" not in name}
    texts = {name: _text(store, sha, name) for name in READ if name in files}
    suggestions = suggest({**dict.fromkeys((name for name in PRESENT if name in files), ""), **texts})
    sentence = f"It works: the branch {branch} stands at {sha[:8]}."
    return Survey(works=True, sentence=sentence, branches=tuple(sorted(offer.branches)), suggestions=suggestions)


def _text(store: BareRepository, sha: str, name: str) -> str:
    content = store.read_file(sha, name, max_bytes=MOST_BYTES)
    return content.decode("utf-8", "replace") if content else ""
