"""Sends scripts by their digest: twenty kilobytes a call less, and the request fits into the first packets."""

import functools
import hashlib
import re
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Any

from upstash_redis.errors import UpstashError

# "NOSCRIPT No matching script. Please use EVAL.", in Upstash's own tests; other servers put ERR in front.
UNKNOWN = re.compile(r"(ERR\s+)?NOSCRIPT\b", re.IGNORECASE)
MAX_FORGOTTEN = 3  # more often than a cache is flushed in HOUR
HOUR = 3600.0  # s

Execute = Callable[[list[str]], Awaitable[Any]]


class Scripts:
    """Sends EVALSHA for EVAL, and EVAL where the store does not know the script; nothing was applied then.

    EVAL leaves the script in the store's cache, for all processes. A script that the store knew may be unknown again:
    its cache was flushed, or a replica that has not got the script has answered (github.com/upstash/ratelimit-js, pull
    request 137). After three times, this process sends that script whole, until it forgets the count after an hour.
    """

    def __init__(self) -> None:
        self._known: set[str] = set()
        self._forgotten: Counter[str] = Counter()
        self._counted_since = time.monotonic()

    async def send(self, execute: Execute, command: list[str]) -> Any:
        """Executes the command. Raises what ``execute`` raises."""
        if command[0] != "EVAL":
            return await execute(command)
        digest = digest_of(command[1])
        if time.monotonic() - self._counted_since > HOUR:  # mutant: an hour
            self._forgotten.clear()
            self._counted_since = time.monotonic()
        if self._forgotten[digest] < MAX_FORGOTTEN:  # mutant: replica
            was_known = digest in self._known  # not by a call that is under way at the same time
            try:
                return await execute(["EVALSHA", digest, *command[2:]])
            except UpstashError as error:
                if not UNKNOWN.match(str(error)):
                    raise
            self._forgotten[digest] += was_known
        answer = await execute(command)
        self._known.add(digest)
        return answer


@functools.lru_cache(256)
def digest_of(script: str) -> str:
    """Returns the name that the store gives a script: its SHA-1 in hexadecimal digits."""
    return hashlib.sha1(script.encode(), usedforsecurity=False).hexdigest()
