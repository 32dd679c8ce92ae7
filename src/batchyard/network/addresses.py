"""Which addresses may be reached."""

import asyncio
import socket
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

import httpx

from batchyard.errors import BatchyardError

Address = IPv4Address | IPv6Address

NEVER: tuple[IPv4Network | IPv6Network, ...] = tuple(
    ip_network(text)
    for text in (
        "0.0.0.0/8",  # "this host"
        "169.254.0.0/16",  # link-local; cloud metadata
        "100.100.100.200/32",  # metadata, Alibaba
        "168.63.129.16/32",  # metadata, Azure
        "192.0.0.192/32",  # metadata, Oracle
        "224.0.0.0/4",  # multicast
        "255.255.255.255/32",
        "fe80::/10",  # link-local
        "fd00:ec2::/32",  # metadata, Amazon
        "ff00::/8",  # multicast
    )
)
"""Refused even where private addresses are allowed: nothing anybody books with lives there."""

GLOBAL_IPV6 = IPv6Network("2000::/3")
"""All public IPv6 addresses there are so far."""

DISGUISES: tuple[tuple[IPv6Network, int], ...] = (
    (IPv6Network("::/96"), 0),
    (IPv6Network("::ffff:0:0/96"), 0),
    (IPv6Network("64:ff9b::/96"), 0),
    (IPv6Network("2002::/16"), 80),
)
"""IPv4 addresses written as IPv6: compatible, mapped, NAT64, 6to4; and the bits after them."""


class Unreachable(BatchyardError):
    """No connection came about, so nothing was sent."""


class AddressNotAllowed(Unreachable):
    """The address may not be reached from here."""


def is_allowed(address: Address, *, allow_private: bool) -> bool:
    """Tell whether an address may be reached; without `allow_private` it must be a public one."""
    if isinstance(address, IPv6Address) and (inner := _disguised(address)) is not None:
        return allow_private and is_allowed(inner, allow_private=True)
    if any(address in network for network in NEVER if network.version == address.version):
        return False
    return allow_private or _is_public(address)


async def resolve(host: str, port: int, *, allow_private: bool) -> tuple[str, ...]:
    """Look a host up; raise `AddressNotAllowed` unless every address it has may be reached.

    Raises `Unreachable` where it has none.
    """
    try:
        found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        raise Unreachable(f"{host} cannot be looked up: {error}") from error
    addresses = tuple(dict.fromkeys(str(info[4][0]) for info in found))
    for text in addresses:
        check(text, host=host, allow_private=allow_private)
    return addresses


def check(address: str, *, host: str, allow_private: bool) -> None:
    """Raise `AddressNotAllowed` unless this address of a host may be reached."""
    if not is_allowed(ip_address(address), allow_private=allow_private):
        has = "" if host == address else f" has the address {address}, which"
        raise AddressNotAllowed(f"{host}{has} may not be reached from here.")


def fault_of_url(url: str) -> str | None:
    """Say what is wrong with a URL that somebody gave us, or None when it can be used."""
    try:
        parsed = httpx.URL(url)
    except (httpx.InvalidURL, UnicodeError) as error:
        return f"is not a URL: {error}"
    if parsed.scheme not in {"http", "https"}:
        return "must begin with http:// or https://"
    if not parsed.host:
        return "names no host"
    if parsed.userinfo:
        return "must not carry a user name or password"
    return None


def _disguised(address: IPv6Address) -> IPv4Address | None:
    if address == IPv6Address("::1"):
        return None
    for network, bits_after in DISGUISES:
        if address in network:
            return IPv4Address(int(address) >> bits_after & 0xFFFFFFFF)
    return None


def _is_public(address: Address) -> bool:
    if isinstance(address, IPv6Address) and address not in GLOBAL_IPV6:
        return False
    return address.is_global
