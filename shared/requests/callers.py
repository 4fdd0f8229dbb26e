"""The network address of a caller, from what its platform says and from nothing that a caller can write.

API Gateway   the event's sourceIp, which is the connection's; Mangum makes it the scope's client
Vercel        x-vercel-forwarded-for, which Vercel writes itself in each request (Vercel, "Request headers")
elsewhere     the connection; if that is a proxy's in a private network, what the nearest one has added to
              X-Forwarded-For
"""

import os
from ipaddress import IPv6Address, ip_address, ip_network

from starlette.types import Scope

from shared.addresses import is_public

OF_VERCEL = b"x-vercel-forwarded-for"


def caller_of(scope: Scope) -> str:
    """Returns the address of the caller; '' if it is not known."""
    connected = str((scope.get("client") or ("",))[0] or "")
    if os.environ.get("VERCEL"):
        return _last(scope, OF_VERCEL)  # mutant: header of the platform
    if "aws.event" in scope or is_public(connected):  # mutant: source of the event
        return connected
    return _last(scope, b"x-forwarded-for") or connected


def network_of(address: str) -> str:
    """Returns the address, or the /64 of an IPv6 address: a caller has all addresses of it. '' for no address."""
    try:
        parsed = ip_address(address)
    except ValueError:
        return ""
    if isinstance(parsed, IPv6Address):
        if parsed.ipv4_mapped is None:
            return str(ip_network((int(parsed), 64), strict=False))
        parsed = parsed.ipv4_mapped
    return str(parsed)


def _last(scope: Scope, header: bytes) -> str:
    """Returns the last address of a header's last line, which the nearest proxy has written."""
    lines = [value for name, value in scope["headers"] if name == header]
    return lines[-1].decode("latin-1").rpartition(",")[2].strip() if lines else ""
