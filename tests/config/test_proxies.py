"""Variables that name proxies: what is used, what stops the start, and what is left out."""

import asyncio
import json
import os
import ssl
import subprocess
import sys
from pathlib import Path
from typing import Any

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.connection import trouble_of
from shared.errors import StoreUnavailable
from shared.proxies import faults_of_proxies, proxies, readable
from shared.store.rest import RestStore
from tests.config.production import BUCKET, GOOD, faults
from tests.deployment import free_port
from tests.logs import all_logs
from tests.project import ROOT
from tests.world import settings_for

ENTRIES = (
    "localhost", "127.0.0.1", "10.0.0.0/8", ".acme.dev", "*.acme.dev", "acme.dev:8080", "http://acme.dev", "::1",
    "[::1]", "fd00::/8", "[fd00::]/8", "[::1]:80", "ü.dev", "a:b", "[::1", "fe80::1", "fe80::1%eth0", "::1%eth0#", "*",
    "all://999.1.1.1", "http://1.2.3.999", "999.1.1.1", "1.2.3.4/99", "http://a:99999",
)  # fmt: skip
TLS = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
PARTS = (
    "http://", "all://", "socks5://", "[", "]", "::1", "%eth0", ":80", ":", "/8", "a", ".dev", "*", "@", "u:p@", "#",
    "?", "\n", " ", "ü", "10.0.0.1", "1.2.3.999",  "%41", "\x7f",
)  # fmt: skip
NO_ADDRESS = "must be the address of a proxy: http://, https:// or socks5://, a host and a port"


@pytest.mark.parametrize("entry", ENTRIES)
def test_with_the_entries_that_are_kept_a_client_is_built(environment: pytest.MonkeyPatch, entry: str) -> None:
    environment.setenv("HTTPS_PROXY", "http://127.0.0.1:1")
    environment.setenv("NO_PROXY", entry)
    try:
        httpx.Client().close()
        is_readable = True
    except httpx.InvalidURL:
        is_readable = False
    kept, dropped = readable(entry)
    assert len(kept) + len(dropped) == 1
    assert bool(kept) >= is_readable
    environment.setenv("NO_PROXY", ",".join(kept))
    httpx.Client().close()


@given(st.lists(st.sampled_from(PARTS), min_size=1, max_size=5).map("".join))
@settings(max_examples=100, deadline=None)
def test_a_client_is_built_from_all_that_passes(text: str) -> None:
    kept, _ = readable(text)
    proxied = {"HTTPS_PROXY": text} if not faults_of_proxies({"HTTPS_PROXY": text}) else {}
    with pytest.MonkeyPatch.context() as environment:
        for name, value in {"ALL_PROXY": "http://127.0.0.1:1", "NO_PROXY": ",".join(kept), **proxied}.items():
            environment.setenv(name, value)
        httpx.Client(verify=TLS).close()


def test_an_address_in_brackets_is_kept_without_them() -> None:
    assert readable("[::1], fd00::/8,.acme.dev,") == (["::1", ".acme.dev"], ["fd00::/8"])


def test_a_function_starts_with_an_entry_that_its_client_cannot_read(tmp_path: Path) -> None:
    code = (
        "import os, asyncio, shared.runtime as r, shared.store.rest as s\n"
        "async def main(): await s.RestStore(r.settings()).close()\n"
        "asyncio.run(main()); print(os.environ['no_proxy'])"
    )
    environ = {**GOOD, "PYTHONPATH": str(ROOT), "HTTPS_PROXY": "http://127.0.0.1:1"}
    environ["no_proxy"] = "[::1],fd00::/8,acme.dev"
    ran = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, env=environ, capture_output=True, text=True, check=True
    )
    warned, _, left = ran.stdout.splitlines()
    assert json.loads(warned)["event"] == "no_proxy_shortened" and json.loads(warned)["dropped"] == ["fd00::/8"]
    assert left == "::1,acme.dev"


@pytest.mark.parametrize("name", ["ALL_PROXY", "all_proxy", "HTTPS_PROXY", "http_proxy"])
@pytest.mark.parametrize(
    ("value", "fault"),
    [
        ("socks5://user:CANARY@127.0.0.1:1080", "is a SOCKS proxy, which needs a package: pip install 'httpx[socks]'"),
        ("socks5h://127.0.0.1:1080", "is a SOCKS proxy, which needs a package: pip install 'httpx[socks]'"),
        ("socks4://127.0.0.1:1080", NO_ADDRESS),
        *(
            (value, NO_ADDRESS)
            for value in ("ftp://a.dev", "http://[acme", "acme:port", "http://", "http://a b:80", "http://1.2.3.999:80")
        ),
    ],
)
def test_a_proxy_that_no_client_can_use_stops_the_start(
    environment: pytest.MonkeyPatch, name: str, value: str, fault: str
) -> None:
    assert faults(environment, **{name: value}) == [f"{name.upper()} {fault}"]


def test_a_socks_proxy_in_front_of_a_bucket_stops_the_start(environment: pytest.MonkeyPatch) -> None:
    said = faults(environment, ALL_PROXY="socks5://127.0.0.1:1080", **BUCKET)
    remedy = "set an HTTP proxy, or name its host in NO_PROXY"
    assert f"ALL_PROXY is a SOCKS proxy, which the bucket's client cannot use; {remedy}" in said
    environ = {"ALL_PROXY": "socks5://p", "HTTPS_PROXY": "http://p"}
    assert len(faults_of_proxies(environ, bucket_host="s3.acme.dev")) == 1


@pytest.mark.parametrize(
    ("spared", "host", "starts"),
    [
        ("*", "s3.acme.dev", True),
        ("a.dev, *", "s3.acme.dev", True),
        ("*", "10.0.0.7", False),  # obstore reads it as all names
        ("s3.acme.dev", "s3.acme.dev", True),
        (".acme.dev", "s3.acme.dev", True),
        ("acme.dev", "s3.acme.dev", True),
        ("10.0.0.7", "10.0.0.7", True),
        ("acme.de", "s3.acme.dev", False),
        ("me.dev", "s3.acme.dev", False),
        ("", "s3.acme.dev", False),
    ],
)
def test_a_bucket_that_no_proxy_spares_may_have_a_socks_proxy(spared: str, host: str, starts: bool) -> None:
    environ = {"ALL_PROXY": "socks5://127.0.0.1:1080", "NO_PROXY": spared}
    said = faults_of_proxies(environ, bucket_host=host)
    assert starts == (not any("the bucket's client" in line for line in said))


@pytest.mark.parametrize(("spared", "starts"), [("*", True), ("eu1-x.upstash.io", False)])
def test_a_socks_proxy_without_its_package_stops_the_start_where_its_client_would_be_made(
    environment: pytest.MonkeyPatch, spared: str, starts: bool
) -> None:
    environment.setenv("ALL_PROXY", "socks5://127.0.0.1:1080")
    environment.setenv("NO_PROXY", spared)
    try:
        httpx.Client(verify=TLS).close()
        is_made = True
    except ImportError:
        is_made = False
    assert is_made == starts == (faults_of_proxies(os.environ) == [])


def test_a_variable_in_lower_case_counts_first_and_an_empty_one_does_not() -> None:
    assert proxies({"ALL_PROXY": "a", "all_proxy": "b", "HTTP_PROXY": ""}) == {"ALL_PROXY": "b"}


async def test_the_store_is_called_through_the_proxy(environment: pytest.MonkeyPatch) -> None:
    seen: list[bytes] = []

    async def refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        seen.append(await reader.readline())
        writer.write(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n")
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(refuse, "127.0.0.1", 0)
    environment.setenv("ALL_PROXY", "http://{}:{}".format(*server.sockets[0].getsockname()))
    values: dict[str, Any] = {"upstash_redis_rest_token": "token-of-the-test"}
    store = RestStore(settings_for(None, upstash_redis_rest_url="https://eu1-x.upstash.io", **values))
    with all_logs() as logs, pytest.raises(StoreUnavailable):
        await store.execute("PING")
    await store.close()
    server.close()
    assert seen == [b"CONNECT eu1-x.upstash.io:443 HTTP/1.1\r\n"]
    assert logs[-1]["trouble"].startswith("the proxy of ALL_PROXY: 127.0.0.1:")


async def test_a_proxy_that_does_not_run_is_named_and_not_the_host_behind_it(environment: pytest.MonkeyPatch) -> None:
    port = free_port()
    environment.setenv("https_proxy", f"127.0.0.1:{port}")
    environment.setenv("no_proxy", "acme.dev")
    refused = ConnectionRefusedError()
    assert trouble_of(refused, "https://x.dev") == f"the proxy of HTTPS_PROXY: nothing listens at 127.0.0.1:{port}"
    assert trouble_of(refused, "https://acme.dev") == "nothing listens at acme.dev:443"
    assert trouble_of(refused, "http://x.dev") == "nothing listens at x.dev:80"
