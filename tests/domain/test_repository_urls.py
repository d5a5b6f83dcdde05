"""Which addresses are accepted, and the sentence for each that is not."""

from __future__ import annotations

import pytest

from orchestration.domain.errors import InvalidInput
from orchestration.domain.repository_urls import RepositoryAddress, parse_repository

OK = {"local_allowed": ("/srv/git", "/home/ann/"), "ssh_hosts": ("git.example.org",)}


@pytest.mark.parametrize(
    ("text", "kind", "url", "host", "name"),
    [
        (" https://example.org/team/repo.git ", "https", "https://example.org/team/repo.git", "example.org", "repo"),
        ("HTTPS://Example.ORG:443/repo/", "https", "https://example.org/repo", "example.org", "repo"),
        ("https://example.org:8443/a/b/c", "https", "https://example.org:8443/a/b/c", "example.org", "c"),
        ("https://[2001:db8::1]:8443/x", "https", "https://[2001:db8::1]:8443/x", "2001:db8::1", "x"),
        ("/srv/git/project", "local", "/srv/git/project", "", "project"),
        ("//srv/git/./a/../project.git/", "local", "/srv/git/project.git", "", "project"),
        ("file:///srv/git/project", "local", "/srv/git/project", "", "project"),
        ("/home/ann/code/.git", "local", "/home/ann/code/.git", "", "code"),
        ("git@git.example.org:t/r.git", "ssh", "ssh://git@git.example.org/t/r.git", "git.example.org", "r"),
        ("ssh://ann@git.example.org:2222/r", "ssh", "ssh://ann@git.example.org:2222/r", "git.example.org", "r"),
    ],
)  # fmt: skip
def test_accepted(text: str, kind: str, url: str, host: str, name: str):
    found = parse_repository(text, **OK)
    assert found == RepositoryAddress(kind, url, host, name)
    assert parse_repository(found.url, **OK) == found


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("", "A repository is needed"),
        ("   ", "A repository is needed"),
        ("https://example.org/" + "x" * 2000, "longer than 2,000"),
        ("https://example.org/a\nb", "control or invisible"),
        ("https://example.org/a\x00b", "control or invisible"),
        ("https://exa\u202emple.org/a", "control or invisible"),
        ("https://example.org/\ud800", "control or invisible"),
        ("-oProxyCommand=x", "begins with a dash"),
        ("--upload-pack=x", "begins with a dash"),
        ("ext::sh -c id", "name a program"),
        ("fd::17/x", "name a program"),
        ("::x", "name a program"),
        ("http://example.org/x", "not encrypted"),
        ("file://srv/git/x", "without file://"),
        ("file:///srv/git/a%20b", "without file://"),
        ("file:///etc", "not one that an operator allowed"),
        ("git://example.org/x", "git:// is not supported"),
        ("javascript://x/y", "is not supported"),
        ("https://user@example.org/x", "must not hold a name"),
        ("https://user:secret@example.org/x", "must not hold a name"),
        ("https://@example.org/x", "must not hold a name"),
        ("ssh://git:secret@git.example.org/x", "must not hold a name"),
        ("https://example.org/x?y=1", r"must not have a \?"),
        ("https://example.org/x#y", r"must not have a \?"),
        ("https://example.org", "has no path"),
        ("https://example.org/", "has no path"),
        ("https:///x", "not the name of a host"),
        ("https://-x/y", "not the name of a host"),
        ("https://exa mple.org/y", "not the name of a host"),
        ("https://example.org:99999/x", "cannot be read"),
        ("https://[bad/x", "cannot be read"),
        ("https://example.org/a/../b", "dotted or dashed"),
        ("https://example.org/a//b", "empty, dotted"),
        ("https://example.org/-x", "dotted or dashed"),
        ("https://example.org/a b", "characters that are not accepted"),
        ("/etc", "not one that an operator allowed"),
        ("/srv/gitother/x", "not one that an operator allowed"),
        ("/srv/git/../../etc", "not one that an operator allowed"),
        ("relative/path", "not an https:// address or a path"),
        ("~/code", "not an https:// address or a path"),
        ("C:\\code", "is not allowed here|not accepted"),
        ("git@other.example:x", "ssh to other.example is not allowed"),
        ("ssh://git@other.example/x", "ssh to other.example is not allowed"),
        ("ssh://-oProxyCommand=x/y", "not the name of a host"),
        ("ssh://-x@git.example.org/y", "not a user name"),
        ("-x@git.example.org:y", "begins with a dash"),
    ],
)
def test_refused_with_a_sentence(text: str, sentence: str):
    with pytest.raises(InvalidInput, match=sentence):
        parse_repository(text, **OK)


def test_a_password_is_never_repeated():
    with pytest.raises(InvalidInput) as caught:
        parse_repository("https://user:secret@example.org/x")
    assert "secret" not in str(caught.value)


def test_nothing_local_and_no_ssh_unless_listed():
    for text in ("/srv/git/x", "git@git.example.org:x"):
        with pytest.raises(InvalidInput):
            parse_repository(text)


def test_a_function_may_decide_on_local_paths():
    asked: list[str] = []

    def allowed(path: str) -> bool:
        asked.append(path)
        return path == "/a/b"

    assert parse_repository("/a/./b/", local_allowed=allowed).url == "/a/b"
    with pytest.raises(InvalidInput):
        parse_repository("/a/c", local_allowed=allowed)
    assert asked == ["/a/b", "/a/c"]
