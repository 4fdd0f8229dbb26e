"""Runs commands on the engine for the REST server, and keeps the bill."""

from collections.abc import Callable
from typing import TypeAlias

from .bill import Bill, Ledger, read_command_stats
from .catalogue import Catalogue, fixed_answer
from .connections import Command, Connection, Connections, Failure, Reply
from .scripts import Scripts

MAX_KEY_BYTES = 32 * 1024  # Upstash's limit, by its pages on troubleshooting

Guard: TypeAlias = Callable[[Command], Failure | None]
"""Returns the error to answer instead of running a command, or None to let it run."""


class Bridge:
    """Takes commands as a request carries them and returns the engine's replies."""

    def __init__(self, engine_socket: str) -> None:
        self._connections = Connections(engine_socket)
        self._scripts = Scripts()
        self._catalogue: Catalogue | None = None
        self.ledger = Ledger()

    async def open(self) -> None:
        """Asks the engine for its commands and starts the bill; must be called first."""
        async with self._connections.lend() as connection:
            self._catalogue = await Catalogue.ask(connection)
        await self.reset_bill()

    async def close(self) -> None:
        """Closes the connections to the engine."""
        await self._connections.close()

    @property
    def catalogue(self) -> Catalogue:
        """The engine's commands and their flags."""
        if self._catalogue is None:
            raise RuntimeError("the bridge is not open; is the app's lifespan running?")
        return self._catalogue

    async def run(self, command: Command, guard: Guard) -> Reply:
        """Runs one command."""
        return (await self.run_in_order([command], guard))[0]

    async def run_in_order(self, commands: list[Command], guard: Guard) -> list[Reply]:
        """Runs the commands one after another; others may run in between, and an error does not stop the rest."""
        replies: list[Reply] = []
        async with self._connections.lend() as connection:
            for command in commands:
                refused = guard(command) or await self._refused_key(connection, command)
                replies.append(refused if refused is not None else await self._run_on(connection, command))
        return replies

    async def run_atomically(self, commands: list[Command], guard: Guard) -> list[Reply] | Failure:
        """Runs the commands as one MULTI/EXEC; returns the first refusal, with nothing applied, if any is refused.

        The engine refuses what it can see is wrong while queueing: unknown commands and wrong numbers of arguments.
        """
        sent = [self._scripts.to_engine(command) for command in commands]
        async with self._connections.lend() as connection:
            for command in commands:
                refused = guard(command) or await self._refused_key(connection, command)
                if refused is not None:
                    return refused
            _, *queued, executed = await connection.ask_all([[b"MULTI"], *sent, [b"EXEC"]])
        if not isinstance(executed, list):
            return self._discarded(commands, queued) or _whole(executed)
        for command in commands:
            self.ledger.add_command(command)
        return [self._scripts.to_caller(command, reply) for command, reply in zip(commands, executed, strict=True)]

    async def ask(self, *command: bytes) -> Reply:
        """Runs a command that is not billed: the server's own, or a test's look into the engine."""
        self.ledger.add_unbilled(list(command))
        async with self._connections.lend() as connection:
            return await connection.ask(*command)

    async def bill(self) -> Bill:
        """Returns what was used since the last reset; exact while no request is under way."""
        return self.ledger.settle(read_command_stats(await self.ask(b"INFO", b"commandstats")))

    async def reset_bill(self) -> None:
        """Starts the bill over."""
        self.ledger.reset(read_command_stats(await self.ask(b"INFO", b"commandstats")))

    async def _run_on(self, connection: Connection, command: Command) -> Reply:
        fixed = fixed_answer(command)
        if fixed is not None:
            return fixed[0]
        self.ledger.add_command(command)
        return self._scripts.to_caller(command, await connection.ask(*self._scripts.to_engine(command)))

    async def _refused_key(self, connection: Connection, command: Command) -> Failure | None:
        """Returns the error for a key that is too long, or None; asks the engine only if any argument is that long."""
        if max(map(len, command)) <= MAX_KEY_BYTES:
            return None
        self.ledger.add_unbilled([b"COMMAND"])
        keys = await connection.ask(b"COMMAND", b"GETKEYS", *command)
        longest = max((len(key) for key in keys if isinstance(key, bytes)), default=0) if isinstance(keys, list) else 0
        if longest <= MAX_KEY_BYTES:
            return None
        return Failure(f"ERR max key size exceeded. Limit: {MAX_KEY_BYTES} bytes, Actual: {longest} bytes")

    def _discarded(self, commands: list[Command], queued: list[Reply]) -> Failure | None:
        """Bills the commands that the engine refused to queue, as its counters do, and returns the first refusal."""
        refused = [
            (command, reply) for command, reply in zip(commands, queued, strict=True) if isinstance(reply, Failure)
        ]
        for command, _ in refused:
            self.ledger.add_command(command)
        return refused[0][1] if refused else None


def _whole(executed: Reply) -> Failure:
    """Returns the error EXEC itself answered."""
    return executed if isinstance(executed, Failure) else Failure(f"ERR EXEC answered {executed!r}")
