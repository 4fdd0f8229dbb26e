"""A REST server for each engine, empty for each test, and its client."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from local.rest_server.running import RunningServer, running_server
from tests.local.rest_server.calls import client_with


@pytest.fixture(scope="module", params=["valkey", pytest.param("redis", marks=pytest.mark.exhaustive)])
def one_server(request: pytest.FixtureRequest) -> Iterator[RunningServer]:
    binary = None
    if request.param == "redis":
        found = shutil.which("redis-server")
        if found is None:
            pytest.skip("no redis-server on PATH; these tests run with Valkey only")
        binary = Path(found)
    with running_server(token="t-secret", read_only_token="t-reader", binary=binary) as running:
        yield running


@pytest.fixture
def server(one_server: RunningServer) -> RunningServer:
    one_server.clear_faults()
    one_server.flush()
    one_server.ask("SCRIPT", "FLUSH")
    one_server.reset_bill()
    return one_server


@pytest.fixture
def http(server: RunningServer) -> Iterator[httpx.Client]:
    with client_with(server.url, server.token) as client:
        yield client
