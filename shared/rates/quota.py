"""What is left of a rate, as callers read it in the header: draft-ietf-httpapi-ratelimit-headers-10."""

from collections.abc import Sequence

from shared.config.rates import Rate
from shared.frozen import dataclass


@dataclass(frozen=True)
class Quota:
    """What a key, a user or a client address has left of its rate. ``wait``: s until the rate is whole again."""

    name: str  # key, user or client
    rate: Rate
    remaining: int
    wait: int
    is_refused: bool = False


def fields_of(quotas: Sequence[Quota]) -> dict[str, str]:
    """Returns the header fields of an answer; none without a quota.

    ``RateLimit-Policy: "user";q=10;w=60`` says that 10 are allowed in 60 s. ``RateLimit: "user";r=3;t=42`` says that 3
    are left for the next 42 s.
    """
    if not quotas:
        return {}
    return {
        "RateLimit-Policy": ", ".join(f'"{one.name}";q={one.rate.count};w={one.rate.seconds}' for one in quotas),
        "RateLimit": ", ".join(f'"{one.name}";r={one.remaining};t={one.wait}' for one in quotas),
    }
