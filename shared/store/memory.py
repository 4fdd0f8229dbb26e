"""Memory mode: the same scripts on an engine inside this process; nothing outlives it and no other process sees it."""

from typing import Any

from shared.errors import StoreScriptError


class MemoryStore:
    """A store for trying things out; Settings refuses it on Vercel and Lambda."""

    def __init__(self) -> None:
        try:
            import fakeredis
        except ImportError:
            raise RuntimeError("USE_REDIS_FOR_TASKS=false needs the package fakeredis[lua]") from None
        # Protocol 2 and no response callbacks: replies come as flat lists, as they do from the REST API.
        self._redis = fakeredis.FakeStrictRedis(server=fakeredis.FakeServer(), decode_responses=True, protocol=2)
        self._redis.response_callbacks.clear()

    async def execute(self, *command: str) -> Any:
        """One command; it runs at once and completely, so it cannot be maybe applied."""
        import redis.exceptions

        try:
            return self._redis.execute_command(*command)  # type: ignore[no-untyped-call]
        except redis.exceptions.ResponseError as error:
            raise StoreScriptError(str(error)) from None

    async def close(self) -> None:
        self._redis.close()
