"""Which addresses and names belong to the public internet. Asks no resolver."""

import re
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network

LOOPBACK = ("127.0.0.1", "::1", "localhost")
PRIVATE_DOMAINS = ("localhost", "local", "internal")  # RFC 6761, RFC 6762, ICANN's resolution of 2024-07-29
NAME = re.compile(r"(?=.{1,253}\Z)[a-z0-9_-]{1,63}(\.[a-z0-9_-]{1,63})+")
# getaddrinfo takes 2130706433, 0x7f.1 and 127.1 for addresses; no top-level domain is a number (URL Standard).
NUMBER = re.compile(r"(.*\.)?([0-9]+|0x[0-9a-f]*)\.?")

# IANA's special-purpose registries, and what they leave out. ipaddress.is_global allows several of these.
REFUSED = tuple(
    ip_network(network)
    for network in (
        "0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12",
        "168.63.129.16/32",  # Azure's host, from inside any of its machines
        "192.0.0.0/24", "192.0.2.0/24", "192.31.196.0/24", "192.52.193.0/24", "192.88.99.0/24", "192.168.0.0/16",
        "192.175.48.0/24", "198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24", "224.0.0.0/4", "240.0.0.0/4",
        "2001::/23",  # protocol assignments; Teredo, benchmarking and ORCHID among them
        "2001:db8::/32", "2002::/16", "2620:4f:8000::/48", "3ffe::/16", "3fff::/20",
    )
)  # fmt: skip
UNICAST = ip_network("2000::/3")  # the only part of IPv6 that public addresses are assigned from
NAT64 = ip_network("64:ff9b::/96")  # an IPv4 address as seen from a network without IPv4 (RFC 6052)


def is_public(address: str) -> bool:
    """Whether the literal address belongs to the public internet; False if it is not an address."""
    try:
        parsed = ip_address(address)
    except ValueError:
        return False
    if isinstance(parsed, IPv6Address):
        if parsed.scope_id is not None:
            return False
        if parsed in NAT64 or parsed.ipv4_mapped is not None:
            parsed = IPv4Address(int(parsed) & 0xFFFF_FFFF)
        elif parsed not in UNICAST:
            return False
    return not any(parsed in network for network in REFUSED)


def is_public_name(host: str) -> bool:
    """Whether the text is a full name that may be public: with a dot, no address, and no name of private networks."""
    is_name = NAME.fullmatch(host) is not None and NUMBER.fullmatch(host) is None
    return is_name and host.rpartition(".")[2] not in PRIVATE_DOMAINS


def is_loopback(address: str) -> bool:
    """Whether the literal address is this machine's own."""
    try:
        return ip_address(address).is_loopback
    except ValueError:
        return False
