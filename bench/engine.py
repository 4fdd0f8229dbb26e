"""The embedded store's engine without its REST server, for benches that count or time scripts alone."""

from typing import Any

import redis
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource

from local.rest_server.engine import Engine
from shared.config.settings import Settings

UNLIMITED = 1_000_000
RATE = 60_000  # creates a minute: one a ms, the token bucket's smallest step
METER = ("config", "info")  # commands that the meter itself sends


class EngineStore:
    """A Store whose commands go straight to the engine's socket; the scripts are the same, byte for byte."""

    def __init__(self, engine: Engine) -> None:
        # Protocol 2 and no response callbacks: replies are flat lists, as the REST API's are.
        self.client = redis.Redis(unix_socket_path=engine.socket_path, decode_responses=True, protocol=2)
        self.client.response_callbacks.clear()

    async def execute(self, *command: str) -> Any:
        """Runs one command."""
        return self.client.execute_command(*command)  # type: ignore[no-untyped-call]

    async def close(self) -> None:
        self.client.close()

    @property
    def version(self) -> str:
        """The engine's name and version."""
        info = dict(line.partition(":")[::2] for line in str(self.client.execute_command("INFO", "server")).split())  # type: ignore[no-untyped-call]
        return f"Valkey {info['valkey_version']}" if "valkey_version" in info else f"Redis {info['redis_version']}"


class MeteredStore(EngineStore):
    """Records the cost of each command: ``usec`` of the engine's own time, and ``commands`` that would be billed."""

    def __init__(self, engine: Engine) -> None:
        super().__init__(engine)
        self.usec = 0
        self.commands = 0
        self._digests: dict[str, str] = {}

    def _loaded(self, script: str) -> str:
        """Returns the digest of a script, which the engine knows then: as in a process that is warm."""
        if script not in self._digests:
            self._digests[script] = str(self.client.execute_command("SCRIPT", "LOAD", script))  # type: ignore[no-untyped-call]
        return self._digests[script]

    async def execute(self, *command: str) -> Any:
        if command[0] == "EVAL":
            command = ("EVALSHA", self._loaded(command[1]), *command[2:])
        pipe = self.client.pipeline(transaction=False)
        pipe.execute_command("CONFIG", "RESETSTAT")  # type: ignore[no-untyped-call]
        pipe.execute_command(*command)  # type: ignore[no-untyped-call]
        pipe.execute_command("INFO", "commandstats")  # type: ignore[no-untyped-call]
        _, reply, info = pipe.execute()
        stats = dict(line.removeprefix("cmdstat_").split(":") for line in info.splitlines() if "cmdstat_" in line)
        counted = {name: dict(pair.split("=") for pair in rest.split(",")) for name, rest in stats.items()}
        self.usec = int(counted[command[0].lower()]["usec"])
        self.commands = sum(int(row["calls"]) for name, row in counted.items() if name.partition("|")[0] not in METER)
        return reply


class BareSettings(Settings):
    """Settings that ignore this machine's environment."""

    @classmethod
    def settings_customise_sources(
        cls, settings_cls: type[BaseSettings], init_settings: PydanticBaseSettingsSource, *others: Any, **more: Any
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        return (init_settings,)


def bench_settings(**changes: Any) -> Settings:
    """Returns settings whose provider and queue have no limits that matter, without this machine's variables."""
    values: dict[str, Any] = {"sluice_env": "test", "max_queue_size": 10 * UNLIMITED}
    return BareSettings(**(values | {"provider_rates": f"replicate:{RATE}"} | changes))
