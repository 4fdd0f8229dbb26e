"""Where the state of all jobs is kept."""

from typing import Literal

from pydantic import AliasChoices, Field, SecretStr

from shared.config.environment import EnvironmentSettings, is_on_a_platform


class StoreSettings(EnvironmentSettings):
    """The store's address, and how long it keeps a job."""

    upstash_redis_rest_url: str | None = Field(
        None, validation_alias=AliasChoices("upstash_redis_rest_url", "kv_rest_api_url")
    )
    upstash_redis_rest_token: SecretStr | None = Field(
        None, validation_alias=AliasChoices("upstash_redis_rest_token", "kv_rest_api_token")
    )
    use_redis_for_tasks: bool = True
    queue_prefix: str = Field("", pattern=r"^[A-Za-z0-9:_.-]{0,64}$")
    task_ttl: int = Field(604_800, ge=86_400)  # s; a terminal job is its own idempotency record, so never below a day

    @property
    def storage_mode(self) -> Literal["redis", "memory"]:
        return "redis" if self.use_redis_for_tasks else "memory"

    @property
    def prefix(self) -> str:
        """What every key begins with; differs per environment, so that a preview never claims production's jobs."""
        return self.queue_prefix or f"sluice:{self.environment}"

    def faults(self) -> list[str]:
        problems = []
        if self.use_redis_for_tasks:
            problems += self._absent("upstash_redis_rest_url", "upstash_redis_rest_token")
        if (self.upstash_redis_rest_url or "").startswith(("redis://", "rediss://")):
            problems.append("UPSTASH_REDIS_REST_URL is a TCP address; use the REST URL, which begins with https://")
        if not self.use_redis_for_tasks and is_on_a_platform():
            problems.append("USE_REDIS_FOR_TASKS=false keeps jobs in one process and cannot run on Vercel or Lambda")
        return problems + super().faults()
