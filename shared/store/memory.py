"""Memory mode: the same scripts on an engine in this process. Its state ends with the process, which alone sees it."""

from typing import Any

from shared.errors import StoreScriptError


class MemoryStore:
    """A store to try Sluice with; Settings refuses it on Vercel and Lambda."""

    def __init__(self) -> None:
        try:
            import fakeredis
        except ImportError:
            raise RuntimeError("USE_REDIS_FOR_TASKS=false needs the package fakeredis[lua]") from None
        # With protocol 2 and without response callbacks, replies are flat lists, as they are from the REST API.
        self._redis = fakeredis.FakeStrictRedis(server=fakeredis.FakeServer(), decode_responses=True, protocol=2)
        self._redis.response_callbacks.clear()

    async def execute(self, *command: str) -> Any:
        """Runs one command at once and completely, so it never raises StoreUncertain."""
        import redis.exceptions

        if command[0] == "EVAL" and command[1].startswith("#!"):
            # Its engine does not know the line of flags that a published script may begin with.
            command = ("EVAL", f"-- {command[1]}", *command[2:])
        try:
            return self._redis.execute_command(*command)  # type: ignore[no-untyped-call]
        except redis.exceptions.ResponseError as error:
            raise StoreScriptError(str(error)) from None

    async def close(self) -> None:
        self._redis.close()
