"""Where the state of all jobs is kept."""

import importlib.util
import os
import re
import sys
from collections.abc import Mapping, Sequence
from typing import Literal
from urllib.parse import urlsplit

from pydantic import AliasChoices, Field, SecretStr

from shared.config.environment import EnvironmentSettings, is_on_a_platform

TCP_NAMES = ("UPSTASH_REDIS_URL", "KV_URL", "REDIS_URL")  # what Upstash, Vercel and others call a TCP address
TCP_PORT = 6379
WORKERS = re.compile(r"(?:--workers(?:=|$)|-w=?)(\d*)")


class StoreSettings(EnvironmentSettings):
    """The store's address, and how long it keeps a job."""

    upstash_redis_rest_url: str | None = Field(
        None, validation_alias=AliasChoices("upstash_redis_rest_url", "kv_rest_api_url")
    )
    upstash_redis_rest_token: SecretStr | None = Field(
        None, validation_alias=AliasChoices("upstash_redis_rest_token", "kv_rest_api_token")
    )
    store_client: Literal["streams", "httpx"] = "streams"  # httpx's is slower, and stays for one release
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
            if not self.upstash_redis_rest_url:
                problems += faults_of_tcp(os.environ)
        if (self.upstash_redis_rest_url or "").startswith(("redis://", "rediss://")):
            problems.append("UPSTASH_REDIS_REST_URL is a TCP address; use the REST URL, which begins with https://")
        elif _port_of(self.upstash_redis_rest_url or "") == TCP_PORT:
            problems.append(f"UPSTASH_REDIS_REST_URL has the port {TCP_PORT} of TCP clients; the REST URL has no port")
        else:
            problems += self._unreachable("upstash_redis_rest_url")
        if not self.use_redis_for_tasks and is_on_a_platform():
            problems.append("USE_REDIS_FOR_TASKS=false keeps jobs in one process and cannot run on Vercel or Lambda")
        elif not self.use_redis_for_tasks:
            problems += faults_of_memory(sys.argv, os.environ)
        return problems + super().faults()


def faults_of_tcp(environ: Mapping[str, str]) -> list[str]:
    """Returns a hint where only an address for TCP clients is set."""
    found = [name for name in TCP_NAMES if environ.get(name)]
    hint = "is for TCP clients; set UPSTASH_REDIS_REST_URL to the REST URL, https://..."
    return [f"{name} {hint}" for name in found[:1]]


def _port_of(url: str) -> int | None:
    try:
        return urlsplit(url).port
    except ValueError:
        return None  # named as no address


def faults_of_memory(arguments: Sequence[str], environ: Mapping[str, str]) -> list[str]:
    """Why this process, started with these arguments, cannot keep the jobs in its memory."""
    problems = []
    if not all(importlib.util.find_spec(name) for name in ("fakeredis", "lupa")):
        problems.append("USE_REDIS_FOR_TASKS=false needs a package: pip install 'fakeredis[lua]'")
    if workers_of(arguments, environ) > 1:
        problems.append(
            "USE_REDIS_FOR_TASKS=false keeps jobs in one process, and this server has several workers; start one:"
            " leave out --workers, and unset UVICORN_WORKERS and WEB_CONCURRENCY"
        )
    return problems


def workers_of(arguments: Sequence[str], environ: Mapping[str, str]) -> int:
    """How many workers uvicorn or gunicorn were asked for; the first source that names a number counts."""
    more = environ.get("GUNICORN_CMD_ARGS", "").split()
    numbers = (_asked(arguments), environ.get("UVICORN_WORKERS", ""), _asked(more), environ.get("WEB_CONCURRENCY", ""))
    return next((int(number) for number in numbers if number.isdecimal()), 1)


def _asked(arguments: Sequence[str]) -> str:
    """Returns the number of workers that a command line names; '' if it names none."""
    for at, argument in enumerate(arguments):
        if found := WORKERS.fullmatch(argument):
            return found.group(1) or "".join(arguments[at + 1 : at + 2])
    return ""
