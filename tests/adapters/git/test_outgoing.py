"""No outgoing connection reaches a private address that no operator listed."""

from __future__ import annotations

import socket
from typing import Any

import pytest

from orchestration.adapters.outgoing import check_host
from orchestration.domain.errors import AdapterError


@pytest.fixture
def resolves(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Make every name resolve to these addresses."""

    def to(*addresses: str) -> None:
        found = [(0, socket.SOCK_STREAM, 6, "", (address, 443)) for address in addresses]
        monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: found)

    return to


PRIVATE = [
    "127.0.0.1", "127.8.8.8", "0.0.0.0", "10.1.2.3", "172.16.0.1", "192.168.1.1", "169.254.169.254",
    "100.64.0.1", "100.100.100.200", "224.0.0.1", "255.255.255.255", "240.0.0.1", "192.0.2.1", "198.18.0.1",
    "::1", "::", "fe80::1", "fe80::1%eth0", "fc00::1", "fd00:ec2::254", "ff02::1", "::ffff:127.0.0.1",
    "::ffff:169.254.169.254", "64:ff9b::7f00:1", "2002:7f00:1::", "2002:c0a8:101::1", "2001:db8::1",
]  # fmt: skip


@pytest.mark.parametrize("address", PRIVATE)
def test_private_and_reserved_addresses_are_refused(resolves: Any, address: str):
    resolves(address)
    with pytest.raises(AdapterError, match="private or reserved address") as caught:
        check_host("name.example", 443)
    assert not caught.value.transient


@pytest.mark.parametrize("address", ["93.184.216.34", "2606:2800:220:1::1", "64:ff9b::808:808"])
def test_public_addresses_are_given_back(resolves: Any, address: str):
    resolves(address, address)
    assert check_host("name.example", 443) == (address,)


def test_one_bad_address_among_good_ones_refuses_the_host(resolves: Any):
    resolves("93.184.216.34", "10.0.0.1")
    with pytest.raises(AdapterError, match=r"10\.0\.0\.1"):
        check_host("rebinding.example", 443)


@pytest.mark.parametrize("entry", ["name.example", "NAME.example.", "10.0.0.1", "10.0.0.0/8", "10.0.0.1/8"])
def test_an_operator_can_list_hosts_and_networks(resolves: Any, entry: str):
    resolves("10.0.0.1")
    assert check_host("Name.example", 443, allowed=("other", entry)) == ("10.0.0.1",)


@pytest.mark.parametrize("entry", ["example", "*", "10.0.0.2", "192.168.0.0/16", "fc00::/7", ""])
def test_other_entries_do_not_help(resolves: Any, entry: str):
    resolves("10.0.0.1")
    with pytest.raises(AdapterError):
        check_host("name.example", 443, allowed=(entry,))


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "2130706433", "0x7f.1", "[::1]", "127.1"])
def test_every_way_to_write_loopback_is_seen_through(host: str):
    with pytest.raises(AdapterError, match="private or reserved address"):
        check_host(host, 443)


@pytest.mark.parametrize("host", ["name.invalid", "", "a..b", "x" * 300])
def test_a_name_that_does_not_resolve_is_an_error(host: str):
    with pytest.raises(AdapterError):
        check_host(host, 443)
