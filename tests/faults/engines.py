"""The stores that run the real scripts, and a cheap snapshot of all their data."""

import json
from typing import Any, Protocol, cast

from fakeredis._helpers import SimpleError
from fakeredis.model import Hash, is_write_command

from local.rest_server.running import RunningServer
from shared.config.settings import Settings
from shared.errors import StoreScriptError
from shared.jobqueue.keys import ARCHIVES, PAUSES, RUNS, Keys
from shared.store import Store
from shared.store.memory import MemoryStore
from shared.store.rest import RestStore
from shared.store.scripts import Scripts
from tests.faults.cutter import Cut, Cutter
from tests.faults.plan import Fault
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

REFUSED = "ERR DB capacity quota exceeded. Threshold: 268435456 bytes, Usage: 268979370 bytes."
NEVER = 3600.0  # s of real time; only the plan decides what times out here
HURRY = 0.05  # s of real time; the cutter applies what is late before its repeat
LIFETIME = "86400"  # s; longer than any run, like the real ones


class Engine(Protocol):
    """A store without a network in front of it, so that only a test can lose an answer."""

    async def execute(self, *command: str) -> Any:
        """Runs one command, which is surely applied."""

    def state(self) -> State:
        """Returns all the queue's data, at no cost to the run."""

    async def clear(self) -> None:
        """Empties the store."""

    async def load(self, state: State) -> None:
        """Restores an earlier state."""


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
        sets |= {keys.outbox: state.outbox, keys.undelivered: state.undelivered, keys.lost: state.lost}
        sets |= {keys.lane_rows(lane): held for lane, held in state.rows.items()}
        sets |= {keys.users + user: held for user, held in state.users.items()}
        sets |= {keys.batch_queue(batch): held for batch, held in state.batch_queues.items()}
        sets |= {keys.held(owner): held for owner, held in state.held.items()}
        sets |= {f"{keys.root}{ARCHIVES}{user}": held for user, held in state.archives.items()}
        for key, scores in sets.items():
            if scores:
                flat = [part for member, score in scores.items() for part in (repr(score), member)]
                await self.execute("ZADD", key, *flat)
        hashes = {keys.stats: state.stats}
        hashes |= {keys.job(job_id): fields for job_id, fields in state.jobs.items()}
        hashes |= {keys.spending(month): fields for month, fields in state.spending.items()}
        hashes |= {keys.batch(batch): fields for batch, fields in state.batches.items()}
        hashes |= {keys.lane_state(lane): fields for lane, fields in state.hosts.items()}
        hashes |= {f"{keys.root}{RUNS}{model}": fields for model, fields in state.models.items()}
        hashes |= {f"{keys.root}{PAUSES}{provider}": fields for provider, fields in state.refusals.items()}
        for key, fields in hashes.items():
            if fields:
                await self.execute("HSET", key, *(part for pair in fields.items() for part in pair))
        texts = {keys.job_of_prediction(prediction): owner for prediction, owner in state.owners.items()}
        texts |= {keys.erasure(folder): until for folder, until in state.erasures.items()}
        for key, text in texts.items():
            await self.execute("SET", key, text, "EX", LIFETIME)
        for name in state.expiring:
            key = keys.batch(name) if name in state.batches else keys.job(name)
            await self.execute("EXPIRE", key, LIFETIME)


class Compiled:
    """Fakeredis's Lua, which compiles each script once and collects no garbage after each call."""

    def __init__(self, runtime: Any) -> None:
        self._runtime = runtime
        self._functions: dict[bytes | str, Any] = {"collectgarbage()": lambda: None}

    def execute(self, script: bytes | str) -> Any:
        function = self._functions.get(script)
        if function is None:
            function = self._functions[script] = self._runtime.compile(script)
        return function()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._runtime, name)


class Replies:
    """The replies of a connection that one thread uses. A queue.Queue has a lock, at which a run was seen to hang."""

    def __init__(self) -> None:
        self._waiting: list[Any] = []

    def put(self, reply: Any) -> None:
        self._waiting.append(reply)

    def get(self) -> Any:
        return self._waiting.pop()


class MemoryEngine(_Loading):
    """Fakeredis, read past its command interface: a snapshot costs a tenth of a script."""

    def __init__(self, prefix: str) -> None:
        self._keys = Keys(prefix)
        self._store = store = MemoryStore()
        server = store._redis.connection_pool.connection_kwargs["server"]
        store._redis.execute_command("EVAL", "return 1", "0")  # type: ignore[no-untyped-call]
        server._lua_runtime = Compiled(server._lua_runtime)
        self._held = server.dbs
        self._seen: dict[bytes, tuple[Any, Any]] = {}
        self._socket = cast(Any, store._redis.connection_pool.get_connection()._sock)
        self._socket.responses = Replies()
        self.commands: list[str] = []  # of the last script, in order
        self._stop_at = 0
        self._call = self._socket._lua_redis_call
        self._socket._lua_redis_call = self._counted

    async def stop_half_way(self, number: int, *command: str) -> None:
        """Runs a script and refuses its command of this number; those before it are kept.

        A script that survives this goes on.
        """
        self._stop_at = number
        try:
            await self.execute(*command)
        except StoreScriptError:
            return
        finally:
            self._stop_at = 0
        assert len(self.commands) >= number, f"the script has only {len(self.commands)} commands, not {number}"

    def writes(self) -> list[int]:
        """Returns the numbers of the last script's commands that write."""
        return [number for number, name in enumerate(self.commands, 1) if is_write_command(name.lower().encode())]

    def _counted(self, runtime: Any, expected_globals: Any, name: bytes, *args: Any) -> Any:
        self.commands.append(name.decode())
        if len(self.commands) == self._stop_at:
            raise SimpleError(REFUSED)
        return self._call(runtime, expected_globals, name, *args)

    async def execute(self, *command: str) -> Any:
        """Runs one command without the client's encoding and decoding."""
        self.commands.clear()
        self._socket._process_command([part.encode() for part in command])
        reply = self._socket.responses.get()
        if isinstance(reply, Exception):
            raise StoreScriptError(str(reply))
        return _decoded(reply)

    def state(self) -> State:
        state = State()
        for name, item in self._held[0].items():
            _sort_in(state, self._keys, name.decode(), self._read(name, item.value), item.expireat is not None)
        return state

    def _read(self, name: bytes, value: Any) -> Any:
        """Returns a key's value as text; the same object as before if it has not changed."""
        if isinstance(value, bytes):
            return value.decode()
        is_hash = isinstance(value, Hash)
        now = value._values if is_hash else value._bylex
        known, text = self._seen.get(name, (None, None))
        if known != now:
            if is_hash:
                text = {field.decode(): content.decode() for field, content in now.items()}
            else:
                text = {member.decode(): score for member, score in now.items()}
            self._seen[name] = (dict(now), text)
        return text


class ServerEngine(_Loading):
    """Valkey behind the REST server, used through the real client; snapshots bypass both."""

    def __init__(self, server: RunningServer, prefix: str) -> None:
        self._keys = Keys(prefix)
        self._server = server
        self._store = RestStore(settings_for(server))

    def state(self) -> State:
        state = State()
        reply = self._server.ask("EVAL", DUMP, "0")
        assert isinstance(reply, bytes)
        for name, kind, expires, held in json.loads(reply):
            pairs = dict(zip(held[::2], held[1::2], strict=True)) if kind != "string" else {}
            if kind == "zset":
                pairs = {member: float(score) for member, score in pairs.items()}
            _sort_in(state, self._keys, name, held if kind == "string" else pairs, expires)
        return state


class WireEngine(ServerEngine):
    """The same, with a cutter between the client and the server."""

    def __init__(self, server: RunningServer, prefix: str, cutter: Cutter) -> None:
        super().__init__(server, prefix)
        self._cutter = cutter
        self._wire = Impatient(settings_for(server, upstash_redis_rest_url=cutter.url))

    async def send(self, loss: Fault | None, *command: str) -> Any:
        """Runs one command as RestStore does, while the exchange breaks as the fault says."""
        if loss is None:
            return await self._wire.execute(*command)
        order = Cut(
            loss.kind, json.dumps(command[2:], ensure_ascii=False, separators=(",", ":"))[1:].encode(), loss.tries
        )
        if loss.kind.startswith("noscript"):
            self._server.ask("SCRIPT", "FLUSH")
            self._wire._scripts = Scripts()  # else it would soon send this script whole
        requests = self._cutter.requests
        await self._cutter.order(order)
        self._wire.is_in_a_hurry = loss.kind == "slow"
        try:
            return await self._wire.execute(*command)
        finally:
            is_unknown = loss.kind.startswith("noscript") and command[0] == "EVAL"
            has_struck = order.struck or (is_unknown and self._cutter.requests >= requests + 2)
            assert has_struck or command[0] != "EVAL", f"{loss.kind} broke no exchange"
            await self._cutter.order(None)
            self._wire.is_in_a_hurry = False

    async def close(self) -> None:
        await self._wire.close()
        await super().close()


class Impatient(RestStore):
    """RestStore on a busy machine: a try has a deadline only if the plan lets it pass."""

    is_in_a_hurry = False

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings)
        self._total_timeout = NEVER

    async def _once(self, command: list[str]) -> Any:
        self._try_timeout = HURRY if self.is_in_a_hurry else NEVER
        return await super()._once(command)


def _decoded(reply: Any) -> Any:
    if isinstance(reply, list):
        return [_decoded(part) for part in reply]
    return reply.decode() if isinstance(reply, bytes) else reply


def _sort_in(state: State, keys: Keys, name: str, held: Any, expires: bool) -> None:
    """Adds one key to the state; ``expires`` says that it will expire."""
    single = {
        keys.index: "index", keys.stats: "stats", keys.dead: "dead", keys.outbox: "outbox",
        keys.undelivered: "undelivered", keys.lost: "lost",
    }.get(name)  # fmt: skip
    if single is not None:
        setattr(state, single, held)
        return
    for beginning, kind in (
        (keys.jobs, "jobs"), (keys.users, "users"), (keys.predictions, "owners"), (keys.root + RUNS, "models"),
        (keys.root + PAUSES, "refusals"),
        (keys.batch(""), "batches"), (keys.batch_queue(""), "batch_queues"), (keys.lane_rows(""), "rows"),
        (keys.lane_state(""), "hosts"), (keys.held(""), "held"),
        (keys.root + ARCHIVES, "archives"), (keys.erasure(""), "erasures"), (keys.spending(""), "spending"),
    ):  # fmt: skip
        if name.startswith(beginning):
            rest = name.removeprefix(beginning)
            getattr(state, kind)[rest] = held
            if expires and kind in ("jobs", "batches"):
                state.expiring.add(rest)
            return
    state.unknown_keys.append(name)
