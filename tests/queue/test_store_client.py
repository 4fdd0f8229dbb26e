"""Which HTTP client the store has, and what upstash-redis is given."""

import httpx
import pytest
from upstash_redis.asyncio import Redis

from local.rest_server.running import RunningServer
from shared.store.client import Client, http_client
from shared.store.wire import Wire
from tests.world import settings_for

FAST = {"store_connect_timeout": 0.3, "store_try_timeout": 0.4, "store_total_timeout": 1.0}


def test_the_client_has_what_upstash_redis_makes_itself() -> None:
    made = Redis("https://store.example", "token", rest_retries=0, rest_retry_interval=0, allow_telemetry=False)
    client = Client("https://store.example", "token", Wire("https://store.example", None, 1.0))
    unused = {"_json", "_search", "_http"}
    assert {**vars(made), **dict.fromkeys(unused)} == {**vars(client), **dict.fromkeys(unused)}
    http = {**vars(made._http), "_client": None, "_sync_token_cb": None}
    assert http == {**vars(client._http), "_client": None, "_sync_token_cb": None}


async def test_httpx_is_built_with_deadlines_and_keeps_connections(valkey: RunningServer) -> None:
    built = http_client(settings_for(valkey, **FAST, store_client="httpx"))
    assert isinstance(built, httpx.AsyncClient)
    assert built.timeout == httpx.Timeout(FAST["store_try_timeout"], connect=FAST["store_connect_timeout"])
    assert built._transport._pool._keepalive_expiry > 30  # type: ignore[attr-defined]
    await built.aclose()


async def test_a_proxy_is_left_to_httpx(valkey: RunningServer, monkeypatch: pytest.MonkeyPatch) -> None:
    assert isinstance(http_client(settings_for(valkey)), Wire)
    monkeypatch.setenv("ALL_PROXY", "http://proxy.example:3128")
    built = http_client(settings_for(valkey, upstash_redis_rest_url="https://store.example"))
    assert isinstance(built, httpx.AsyncClient)
    await built.aclose()
