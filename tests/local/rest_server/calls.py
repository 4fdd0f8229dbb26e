"""Clients of the REST server: a plain HTTP one and Upstash's SDK."""

import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
from upstash_redis.asyncio import Redis

from local.rest_server.running import RunningServer


def client_with(url: str, token: str) -> httpx.Client:
    # An empty TLS context, since loading the certificate store takes longer than most tests here.
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    return httpx.Client(base_url=url, headers={"Authorization": f"Bearer {token}"}, timeout=10, verify=tls)


@asynccontextmanager
async def sdk(server: RunningServer) -> AsyncIterator[Redis]:
    async with Redis(server.url, server.token, rest_retries=0, allow_telemetry=False) as client:
        yield client


def run(http: httpx.Client, *command: object, **headers: str) -> Any:
    return http.post("/", json=command, headers=headers).json()
