"""Shares: the numbers by which the store counts the jobs of an API key and of a user.

A share is the number of its key times USERS_OF_KEY, plus the number of its user. So one range of numbers holds a key's
shares. It depends on names alone: no list of keys has to stay in its order. Two users of a key get the same number
once in four million pairs; then they are counted as one.
"""

import hashlib

from shared.signing.derived import number_for

KEYS = 2**20
USERS_OF_KEY = 2**22


def key_number(owner: str) -> int:
    """Returns the number of an API key, given its name: below 2^20."""
    return int.from_bytes(hashlib.sha256(owner.encode()).digest()[:8], "big") % KEYS


def shares_of_key(owner: str) -> range:
    """Returns the shares of all users of an API key."""
    first = key_number(owner) * USERS_OF_KEY
    return range(first, first + USERS_OF_KEY)


def share_of(signing_secret: str, owner: str, user: str) -> int:
    """Returns a user's share: below 2^42. The secret keeps a user from choosing the id of another one's share."""
    return shares_of_key(owner)[number_for(signing_secret, "share", owner, user) % USERS_OF_KEY]
