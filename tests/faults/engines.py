"""The stores that the real scripts run on, and a cheap look at all they hold."""

import json
from typing import Any, Protocol

from local.rest_server.running import RunningServer
from shared.jobqueue.keys import Keys
from shared.store import Store
from shared.store.memory import MemoryStore
from shared.store.rest import RestStore
from tests.invariants import State
from tests.world import settings_for

DUMP = """
local all = {}
for _, key in ipairs(redis.call('KEYS', '*')) do
  local kind = redis.call('TYPE', key).ok
  local held = kind == 'hash' and redis.call('HGETALL', key) or kind == 'zset'
    and redis.call('ZRANGE', key, 0, -1, 'WITHSCORES') or redis.call('GET', key)
  all[#all + 1] = {key, kind, redis.call('PTTL', key) > 0, held}
end
return cjson.encode(all)
"""

LIFETIME = "86400"  # s; longer than any run, as are the real ones


class Engine(Protocol):
    """A store without a network in front of it, so that a lost answer is one that a test lost."""

    async def execute(self, *command: str) -> Any:
        """One command, surely applied."""

    def state(self) -> State:
        """All that the store holds of the queue, at no cost to the run."""

    async def clear(self) -> None:
        """Empties the store."""

    async def load(self, state: State) -> None:
        """Makes the store hold what it once held."""


class _Loading:
    """Writes a state back, key by key."""

    _keys: Keys
    _store: Store

    async def execute(self, *command: str) -> Any:
        return await self._store.execute(*command)

    async def close(self) -> None:
        await self._store.close()

    async def clear(self) -> None:
        await self.execute("FLUSHALL")

    async def load(self, state: State) -> None:
        keys = self._keys
        await self.clear()
        sets = {keys.index: state.index, keys.dead: state.dead}
        for key, scores in (sets | {keys.users + user: held for user, held in state.users.items()}).items():
            if scores:
                flat = [part for member, score in scores.items() for part in (f"{score:.0f}", member)]
                await self.execute("ZADD", key, *flat)
        hashes = {keys.job(job_id): fields for job_id, fields in state.jobs.items()}
        for key, fields in (hashes | {keys.stats: state.stats}).items():
            if fields:
                await self.execute("HSET", key, *(part for pair in fields.items() for part in pair))
        for prediction, owner in state.owners.items():
            await self.execute("SET", keys.owner(prediction), owner, "EX", LIFETIME)
        for job_id in state.expiring:
            await self.execute("EXPIRE", keys.job(job_id), LIFETIME)


class MemoryEngine(_Loading):
    """Fakeredis, read past its command interface: a look costs as much as a tenth of a script."""

    def __init__(self, prefix: str) -> None:
        self._keys = Keys(prefix)
        self._store = store = MemoryStore()
        self._held = store._redis.connection_pool.connection_kwargs["server"].dbs

    def state(self) -> State:
        state = State()
        for name, item in self._held[0].items():
            lasts = item.expireat is not None
            value = item.value
            if isinstance(value, bytes):
                _sort_in(state, self._keys, name.decode(), value.decode(), lasts)
            elif hasattr(value, "getall"):
                fields = {field.decode(): content.decode() for field, content in value.getall().items()}
                _sort_in(state, self._keys, name.decode(), fields, lasts)
            else:
                scores = {member.decode(): score for member, score in value.items()}
                _sort_in(state, self._keys, name.decode(), scores, lasts)
        return state


class ServerEngine(_Loading):
    """Valkey behind the REST server, spoken to by the real client; looked at past both."""

    def __init__(self, server: RunningServer, prefix: str) -> None:
        self._keys = Keys(prefix)
        self._server = server
        self._store = RestStore(settings_for(server))

    def state(self) -> State:
        state = State()
        reply = self._server.ask("EVAL", DUMP, "0")
        assert isinstance(reply, bytes)
        for name, kind, lasts, held in json.loads(reply):
            pairs = dict(zip(held[::2], held[1::2], strict=True)) if kind != "string" else {}
            if kind == "zset":
                pairs = {member: float(score) for member, score in pairs.items()}
            _sort_in(state, self._keys, name, held if kind == "string" else pairs, lasts)
        return state


def _sort_in(state: State, keys: Keys, name: str, held: Any, lasts: bool) -> None:
    """Puts one key of the store where it belongs; ``lasts`` says that it will expire."""
    if name == keys.index:
        state.index = held
    elif name.startswith(keys.jobs):
        state.jobs[name.removeprefix(keys.jobs)] = held
        if lasts:
            state.expiring.add(name.removeprefix(keys.jobs))
    elif name.startswith(keys.users):
        state.users[name.removeprefix(keys.users)] = held
    elif name.startswith(keys.owners):
        state.owners[name.removeprefix(keys.owners)] = held
    elif name == keys.stats:
        state.stats = held
    elif name == keys.dead:
        state.dead = held
    else:
        state.strangers.append(name)
