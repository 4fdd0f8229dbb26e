"""The network address of a caller, from what its platform says and from nothing that a caller can write.

API Gateway   the event's sourceIp, which is the connection's; Mangum makes it the scope's client
Vercel        x-vercel-forwarded-for, which Vercel writes itself in each request (Vercel, "Request headers")
elsewhere     the connection; if that is a proxy's in TRUSTED_PROXIES, the last entry of X-Forwarded-For that is none

Some proxies write an entry with its port, and an IPv6 address in brackets (Azure Application Gateway, RFC 7239).
"""

import os
import re
from collections.abc import Sequence
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network

from starlette.types import Scope

from shared.config.hosting import Network

OF_VERCEL = b"x-vercel-forwarded-for"
WITH_PORT = re.compile(r"\[([0-9A-Fa-f:.]+)\](?::[0-9]+)?|([0-9.]+):[0-9]+")


def address_of(scope: Scope, trusted: Sequence[Network]) -> str:
    """Returns the address of the caller; '' if it is not known. ``trusted``: the networks of the proxies in front."""
    connected = str((scope.get("client") or ("",))[0] or "")
    if os.environ.get("VERCEL"):
        return _last(scope, OF_VERCEL)  # mutant: header of the platform
    is_direct = not trusted or (connected != "" and not _is_within(connected, trusted))  # '': of a Unix socket
    if "aws.event" in scope or is_direct:  # mutant: source of the event
        return connected
    # From the nearest proxy outwards: each has added whom it was called by. What a stranger has added is not read.
    for hop in reversed(_entries(scope, b"x-forwarded-for")):
        if not _is_within(hop, trusted):  # mutant: trusted proxy
            return connected if _read(hop) is None else hop  # mutant: no address
    return connected


def network_of(address: str) -> str:
    """Returns the address, or the /64 of an IPv6 address: a caller has all addresses of it. '' for no address."""
    parsed = _read(address)
    if isinstance(parsed, IPv6Address):
        return str(ip_network((int(parsed), 64), strict=False))
    return "" if parsed is None else str(parsed)


def _read(address: str) -> IPv4Address | IPv6Address | None:
    """Returns the address, and an IPv4 address that is written as one of IPv6 as what it is; None for no address."""
    try:
        parsed = ip_address(address)
    except ValueError:
        return None
    return (isinstance(parsed, IPv6Address) and parsed.ipv4_mapped) or parsed


def _is_within(address: str, networks: Sequence[Network]) -> bool:
    parsed = _read(address)
    return parsed is not None and any(parsed in network for network in networks)


def _last(scope: Scope, header: bytes) -> str:
    """Returns the last address of a header, which the platform has written."""
    return next(reversed(_entries(scope, header)), "")


def _entries(scope: Scope, header: bytes) -> list[str]:
    """Returns the entries of all lines of a header in their order."""
    lines = [value.decode("latin-1") for name, value in scope["headers"] if name == header]
    return [_without_port(entry.strip()) for line in lines for entry in line.split(",") if entry.strip()]


def _without_port(entry: str) -> str:
    found = WITH_PORT.fullmatch(entry)
    return (found[1] or found[2]) if found else entry
