"""Counts the commands that Upstash bills, by a sample of the calls.

Upstash bills each command, and of a script the EVALSHA and every command inside it (its pricing page, and the ratelimit
library's page of costs). A client does not see the commands inside. So one call in PERIOD of each operation counts
itself and is added PERIOD times. A script that counts itself runs as the body of a function for which `redis.call`
counts; its count is one more command of the same script. Another command is followed by a command of its own.

The first call of an operation that a process counts is random among PERIOD. So each call has the same chance, however
soon the process is ended, and the expected sum is exact. It includes the commands that counting costs.
"""

import functools
import random
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Any

from shared.clock import Clock
from shared.config.settings import Settings
from shared.errors import StoreError
from shared.jobqueue.keys import Keys
from shared.jobqueue.script import verb_of
from shared.store import Store

PERIOD = 10  # one call in so many of an operation counts itself
KEPT_FOR = timedelta(days=400)  # from the first count of a day and an operation: a year's months, and the present one
PACKAGED = "script"  # in place of the name of a script that another package brings
# A row of flags would forbid the count's key, which a script with `allow-key-locking` does not name.
FLAGS = "#!"
BEFORE = """\
local store, given_keys, given, calls = redis, KEYS, ARGV, 0
local redis = {
call = function(...) calls = calls + 1 return store.call(...) end,
pcall = function(...) calls = calls + 1 return store.pcall(...) end,
error_reply = store.error_reply, status_reply = store.status_reply, sha1hex = store.sha1hex,
}
local KEYS, ARGV = {}, {}
for i = 1, #given_keys - 1 do KEYS[i] = given_keys[i] end
for i = 1, #given - 3 do ARGV[i] = given[i] end
local function counted()
"""
# Last, and by pcall: a store that takes no writes still answers what was asked.
AFTER = """
end
local answer = counted()
local count, field = given_keys[#given_keys], given[#given - 2]
local billed = tonumber(given[#given - 1]) * (calls + 1) + 1
if store.pcall('HINCRBY', count, field, string.format('%.0f', billed)) == billed then
store.pcall('EXPIRE', count, given[#given])
end
return answer
"""


class CountedStore:
    """A store that counts what its commands cost. Belongs to one event loop."""

    def __init__(
        self, store: Store, settings: Settings, clock: Clock, *, pick: Callable[[int], int] = random.randrange
    ) -> None:
        self._store = store
        self._keys = Keys(settings.prefix)
        self._clock = clock
        self._pick = pick
        self._left: dict[str, int] = {}  # by operation: calls that come before the next one that counts itself

    async def execute(self, *command: str) -> Any:
        """Executes one command, and counts it if it is its turn; raises what the store raises."""
        operation = operation_of(command)
        left = self._left.get(operation)
        if left is None:
            left = self._pick(PERIOD)  # mutant: random first
        self._left[operation] = left - 1 if left else PERIOD - 1  # mutant: each so many
        if left:
            return await self._store.execute(*command)
        key, field = place_of(self._keys, operation, self._clock.now())
        if command[0] == "EVAL":
            return await self._store.execute(*_counting(command, key, field))
        return await self._followed(command, key, field)

    async def _followed(self, command: tuple[str, ...], key: str, field: str) -> Any:
        answer = await self._store.execute(*command)
        billed = PERIOD + 1  # mutant: stands for
        # The caller has its answer, and the store's client logs what is wrong.
        with suppress(StoreError):
            if await self._store.execute("HINCRBY", key, field, str(billed)) == billed:
                await self._store.execute("EXPIRE", key, _seconds(KEPT_FOR))
        return answer

    async def close(self) -> None:
        await self._store.close()


def operation_of(command: tuple[str, ...]) -> str:
    """Returns what a command is counted as: a script's verb, or the command's name."""
    return verb_of(command[1]) or PACKAGED if command[0] == "EVAL" else command[0]


def place_of(keys: Keys, operation: str, now: int) -> tuple[str, str]:
    """Returns the key of the month, and the field of the day and the operation, by UTC; ``now`` in ms."""
    day = datetime.fromtimestamp(now / 1000, UTC)
    return keys.commands(f"{day:%Y-%m}"), f"{day:%d}:{operation}"


@functools.cache
def counting_text(text: str) -> str:
    """Returns the script that does the same and counts itself. It takes a key more, and three arguments more."""
    return f"{BEFORE}{'--' if text.startswith(FLAGS) else ''}{text}{AFTER}"


def _counting(command: tuple[str, ...], key: str, field: str) -> list[str]:
    name, text, count, *rest = command
    keys, arguments = rest[: int(count)], rest[int(count) :]
    more = (field, str(PERIOD), _seconds(KEPT_FOR))
    return [name, counting_text(text), str(len(keys) + 1), *keys, key, *arguments, *more]


def _seconds(duration: timedelta) -> str:
    return str(round(duration.total_seconds()))
