"""The one check of every address that we connect to: resolved once, refused when private, pinned."""

from __future__ import annotations

import ipaddress
import socket
from ipaddress import IPv4Address, IPv6Address

from orchestration.domain.errors import AdapterError, Failure

_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")


def check_host(host: str, port: int, *, allowed: tuple[str, ...] = ()) -> tuple[str, ...]:
    """The addresses to connect to and no others.

    Private, loopback, link-local, metadata, multicast and unspecified ones are refused unless `allowed`
    lists the host, the address or its network. One bad address among several refuses the host.
    """
    plain = host.strip("[]").rstrip(".").lower()
    addresses = _resolve(plain, port)
    if plain in {entry.strip("[]").rstrip(".").lower() for entry in allowed}:
        return addresses
    for text in addresses:
        if not _is_public(ipaddress.ip_address(text)) and not _is_listed(text, allowed):
            raise AdapterError(
                Failure.PERMANENT,
                f"{host} is at the private or reserved address {text}, which is not allowed:"
                " an operator can list it in SWARM_ALLOWED_HOSTS_OUT.",
            )
    return addresses


def _resolve(host: str, port: int) -> tuple[str, ...]:
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        raise AdapterError(
            Failure.TRANSIENT, f"The host {host!r} could not be found: check the name and this machine's DNS."
        ) from error
    return tuple(dict.fromkeys(str(address[4][0]).split("%")[0] for address in found))


def _is_public(address: IPv4Address | IPv6Address) -> bool:
    """Global and unicast, also where an IPv6 address carries an IPv4 one inside."""
    inner = _carried(address)
    if inner is not None:
        return _is_public(inner)
    return address.is_global and not (address.is_multicast or address.is_reserved or address.is_unspecified)


def _carried(address: IPv4Address | IPv6Address) -> IPv4Address | None:
    if isinstance(address, IPv4Address):
        return None
    if address in _NAT64:
        return IPv4Address(int(address) & 0xFFFFFFFF)
    teredo = address.teredo[1] if address.teredo else None
    return address.ipv4_mapped or address.sixtofour or teredo


def _is_listed(text: str, allowed: tuple[str, ...]) -> bool:
    address = ipaddress.ip_address(text)
    return any(address in network for network in map(_network, allowed) if network is not None)


def _network(entry: str) -> ipaddress.IPv4Network | ipaddress.IPv6Network | None:
    """The network that an entry names; None for a host's name."""
    try:
        return ipaddress.ip_network(entry.strip("[]"), strict=False)
    except ValueError:
        return None
