"""Refused calls leave a counted and sampled line; a wrong webhook secret is an alarm."""

import functools
import json
import logging
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from ipaddress import ip_network
from typing import Any

import httpx
import pytest
import structlog
from structlog.testing import capture_logs

from local.rest_server.running import RunningServer
from shared.clock import SystemClock
from shared.config.hosting import HostingSettings
from shared.jobs.webhook_alarm import QUIET, TRUSTED_FOR, WebhookAlarm
from shared.providers.replicate_api import Replicate
from shared.requests import refusals
from shared.requests.callers import address_of, network_of
from shared.requests.refusals import MAX_LINES, WINDOW, Refusals
from shared.signing.webhooks import sign
from tests.http.calls import BODY, webhook_url
from tests.world import AUTH, World, http_client, make_world, settings_for

SECRET, WRONG = "whsec_" + "QUJD" * 8, "whsec_" + "WFla" * 8


@pytest.fixture(autouse=True)
async def fresh_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    from functions.index import app

    monkeypatch.setitem(app.state._state, "refusals", Refusals(lambda: "secret"))


@pytest.fixture
def lines() -> Iterator[list[Any]]:
    """The log's lines from warnings on, though tests log errors alone; events of other kinds too."""
    saved = structlog.get_config()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING))
    with capture_logs() as written:
        yield written
    structlog.configure(**saved)


def refused(lines: list[Any]) -> list[Any]:
    return [line for line in lines if line["event"] == "refused"]


def client_at(address: str) -> httpx.AsyncClient:
    from functions.index import app

    transport = httpx.ASGITransport(app=app, client=(address, 1))
    return httpx.AsyncClient(transport=transport, base_url="http://sluice.test")


KINDS = [
    ("GET", "/api/jobs", {}, "api_key"),
    ("POST", "/api/submit", {"Authorization": "Bearer wrong"}, "api_key"),
    ("GET", "/api/operate/limits", AUTH, "operator_token"),
    ("POST", "/api/process-queue", AUTH, "scheduler_token"),
    ("POST", "/api/webhook/replicate?job=job_1&attempt=1&nonce=x", {}, "webhook"),
    ("GET", "/api/files/results/x?expires=1&signature=x", {}, "file_link"),
    ("GET", "/api/jobs", {"Authorization": "Basic YTpi", "Sec-Fetch-Site": "cross-site"}, "cross_site"),
]


@pytest.mark.parametrize(("method", "path", "headers", "kind"), KINDS)
async def test_each_kind_of_refusal_leaves_a_line_with_the_hash_of_the_address(
    method: str, path: str, headers: dict[str, str], kind: str, lines: list[Any]
) -> None:
    async with make_world(None, SystemClock(), storage_url="memory://refused"), client_at("93.184.215.14") as client:
        answer = await client.request(method, path, headers=headers)
        assert answer.status_code in (401, 403)
    (line,) = refused(lines)
    assert (line["kind"], line["count"], line["total"], line["log_level"]) == (kind, 1, 1, "warning")
    assert len(line["address"]) == 12 and "93.184" not in json.dumps(line)
    assert "wrong" not in json.dumps(line)


async def test_a_flood_costs_a_bounded_log_and_no_command(valkey: RunningServer, lines: list[Any]) -> None:
    async with make_world(valkey, SystemClock()):
        valkey.reset_bill()
        for number in range(300):
            async with client_at(f"93.184.{number % 150}.1") as client:
                assert (await client.get("/api/jobs")).status_code == 401
        assert valkey.bill().calls == 0
    written = refused(lines)
    assert len(written) == MAX_LINES + 1
    assert written[-1]["address"] == "" and written[-1]["total"] == 100


async def test_one_address_is_logged_at_powers_of_ten_and_anew_each_minute(lines: list[Any]) -> None:
    from functions.index import app

    now = [0.0]
    app.state.refusals = Refusals(lambda: "secret", lambda: now[0])
    async with make_world(None, SystemClock()), client_at("93.184.215.14") as client:
        for _ in range(25):
            await client.get("/api/jobs")
        now[0] = WINDOW
        await client.get("/api/jobs")
    assert [line["count"] for line in refused(lines)] == [1, 10, 1]
    assert len({line["address"] for line in refused(lines)}) == 1


async def test_the_hash_depends_on_the_deployments_secret(lines: list[Any]) -> None:
    from functions.index import app

    async with make_world(None, SystemClock()), client_at("93.184.215.14") as client:
        for secret in ("one", "two"):
            app.state.refusals = Refusals(functools.partial(str, secret))
            await client.get("/api/jobs")
    assert len({line["address"] for line in refused(lines)}) == 2


async def test_no_more_addresses_are_distinguished_than_the_bound(
    lines: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    from functions.index import app

    monkeypatch.setattr(refusals, "MAX_ADDRESSES", 3)
    async with make_world(None, SystemClock()):
        for number in range(9):
            async with client_at(f"93.184.215.{number}") as client:
                await client.get("/api/jobs")
        assert len(app.state.refusals._by_address) == 4
    assert [line["address"] for line in refused(lines)][3] == "others"


PROXIES = [ip_network(text) for text in ("10.0.0.0/16", "fd00::/8")]


@pytest.mark.parametrize(
    ("client", "forwarded", "expected"),
    [
        (("93.184.215.14", 1), b"8.8.8.8", "93.184.215.14"),
        (("10.9.0.7", 1), b"8.8.8.8", "10.9.0.7"),
        (("127.0.0.1", 1), b"8.8.8.8", "127.0.0.1"),
        (("10.0.0.7", 1), b"1.2.3.4, 8.8.8.8", "8.8.8.8"),
        (("::ffff:10.0.0.7", 1), b"1.2.3.4, 8.8.8.8", "8.8.8.8"),
        (("10.0.0.7", 1), b"1.2.3.4, 8.8.8.8,10.0.0.9 , fd00::1", "8.8.8.8"),
        (("10.0.0.7", 1), b"1.2.3.4, unknown", "10.0.0.7"),
        (("10.0.0.7", 1), b"1.2.3.4, 8.8.8.8:51234", "8.8.8.8"),
        (("10.0.0.7", 1), b"8.8.8.8:51234, 10.0.0.9:80, [fd00::1]:443", "8.8.8.8"),
        (("10.0.0.7", 1), b"1.2.3.4, [2600:1f14::1]:443", "2600:1f14::1"),
        (("10.0.0.7", 1), b"1.2.3.4, [2600:1f14::1]", "2600:1f14::1"),
        (("10.0.0.7", 1), b"1.2.3.4, 8.8.8.8:x", "10.0.0.7"),
        (("10.0.0.7", 1), b"10.0.0.9", "10.0.0.7"),
        (("10.0.0.7", 1), b" , ", "10.0.0.7"),
        (("10.0.0.7", 1), None, "10.0.0.7"),
        (None, b"8.8.8.8", "8.8.8.8"),
        (None, None, ""),
    ],
)
def test_a_caller_is_whom_the_nearest_trusted_proxy_names(client: Any, forwarded: bytes | None, expected: str) -> None:
    headers = [] if forwarded is None else [(b"x-forwarded-for", forwarded)]
    assert address_of({"client": client, "headers": headers}, PROXIES) == expected
    connected = client[0] if client else ""
    assert address_of({"client": client, "headers": headers}, ()) == connected, "no proxy is trusted unless it is named"


def test_lines_of_a_header_are_one_list() -> None:
    headers = [(b"x-forwarded-for", b"1.2.3.4, 8.8.8.8"), (b"x-forwarded-for", b"10.0.0.9")]
    assert address_of({"client": ("10.0.0.7", 1), "headers": headers}, PROXIES) == "8.8.8.8"


@pytest.mark.parametrize(
    "entry",
    [
        *("10.0.0.7/8", "proxy.acme.dev", "10.0.0.0/33", "*", "0.0.0.0/0", "::/0"),
        *("0.0.0.0/1,128.0.0.0/1", "2000::/3", "10.0.0.0/7", "::ffff:10.0.0.0/104", "::ffff:10.0.0.7"),
    ],
)
def test_what_is_no_network_of_proxies_stops_the_start(entry: str) -> None:
    (line,) = HostingSettings(trusted_proxies=f"10.0.0.0/8, {entry}").faults()
    assert line.startswith("TRUSTED_PROXIES ") and entry not in line
    assert HostingSettings(trusted_proxies="10.0.0.0/8, fd00::/8,192.168.1.1,").faults() == []


@pytest.mark.parametrize("platform", ["vercel", "lambda"])
def test_a_caller_is_whom_its_platform_names(platform: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each platform has a place that no caller can write into; what a caller sends is another header's, or ignored."""
    headers = [(b"x-forwarded-for", b"1.2.3.4"), (b"x-real-ip", b"1.2.3.4")]
    if platform == "vercel":
        monkeypatch.setenv("VERCEL", "1")
        scope = {"client": ("10.0.0.7", 1), "headers": [*headers, (b"x-vercel-forwarded-for", b"93.184.215.14")]}
        assert address_of(scope, PROXIES) == "93.184.215.14"
        assert address_of({"client": ("10.0.0.7", 1), "headers": headers}, PROXIES) == ""
    else:
        # In a private network a function of AWS has callers of private addresses.
        scope = {"client": ("10.0.0.7", 1), "headers": [*headers, (b"x-vercel-forwarded-for", b"1.2.3.4")]}
        assert address_of({**scope, "aws.event": {}}, PROXIES) == "10.0.0.7"


def test_an_ipv6_caller_is_known_by_its_network() -> None:
    assert network_of("2600:1f14::1") == network_of("2600:1f14::2") != network_of("2600:1f14:0:1::1")
    assert (network_of("93.184.215.14"), network_of("no address")) == ("93.184.215.14", "")
    assert network_of("::ffff:93.184.215.14") == "93.184.215.14", "as a server for both versions writes it"


@dataclass
class Sender:
    """Sends webhooks of a provider, with any secret, to a deployment that has SECRET."""

    world: World
    client: httpx.AsyncClient

    async def url(self, job_id: str, incarnation: str | None = None) -> str:
        return await webhook_url(self.world, job_id, incarnation=incarnation)

    async def post(self, url: str, secret: str) -> int:
        body, stamp = json.dumps({"id": "p1", "status": "processing"}).encode(), self.world.clock.now() // 1000
        signed = {"webhook-signature": sign(secret, "m", stamp, body)}
        headers = {"webhook-id": "m", "webhook-timestamp": str(stamp)} | signed
        return (await self.client.post(url, content=body, headers=headers)).status_code


@pytest.fixture
async def sender(valkey: RunningServer) -> AsyncIterator[Sender]:
    changes = {"replicate_webhook_secret": SECRET}
    replicate = Replicate(settings_for(valkey, **changes))
    async with make_world(valkey, SystemClock(), {"replicate": replicate}, **changes) as world, http_client() as client:
        await world.enqueue(start=True, job_id="job_1")
        yield Sender(world, client)


async def test_a_wrong_webhook_secret_is_an_error_and_degrades_health(
    sender: Sender, valkey: RunningServer, lines: list[Any]
) -> None:
    world, url = sender.world, await sender.url("job_1")
    assert await health_of(world) == ("ok", [], None)
    valkey.reset_bill()
    assert await sender.post(url.replace("nonce=", "nonce=0"), WRONG) == 401
    assert valkey.bill().calls == 0 and not errors(lines)
    for _ in range(20):
        assert await sender.post(url, WRONG) == 401
    assert valkey.bill().calls == 1
    ((word, setting),) = errors(lines)
    assert (word, setting) == ("webhook_secret_wrong", "REPLICATE_WEBHOOK_SECRET")
    assert await health_of(world) == ("degraded", ["webhooks_refused"], 0)
    await world.raw("HSET", world.runtime.queue.keys.stats, "webhook_refused_at", str(world.clock.now() - 901_000))
    assert await health_of(world) == ("ok", [], 901)


async def test_the_alarm_for_webhooks_ends_with_one_that_verifies(sender: Sender) -> None:
    url = await sender.url("job_1")
    assert await sender.post(url, WRONG) == 401
    assert (await health_of(sender.world))[0] == "degraded"
    assert await sender.post(url, SECRET) == 200
    assert await health_of(sender.world) == ("ok", [], None)


async def test_an_old_url_with_a_forged_signature_is_no_alarm_while_others_verify(
    sender: Sender, valkey: RunningServer, lines: list[Any]
) -> None:
    old = await sender.url("job_gone", incarnation="long-ago")
    assert await sender.post(await sender.url("job_1"), SECRET) == 200
    valkey.reset_bill()
    assert await sender.post(old, WRONG) == 401
    assert valkey.bill().calls == 0 and not errors(lines)
    assert await health_of(sender.world) == ("ok", [], None)


async def test_webhooks_that_verified_long_ago_hide_no_wrong_secret(valkey_world: World, lines: list[Any]) -> None:
    now = [0.0]
    alarm = WebhookAlarm(valkey_world.runtime.controls, lambda: now[0])
    await alarm.end("replicate")
    now[0] = TRUSTED_FOR - 1
    await alarm.ring("replicate")
    assert not errors(lines)
    await alarm.ring("wavespeed")
    now[0] += QUIET
    await alarm.ring("replicate")
    settings = [setting for _, setting in errors(lines)]
    assert settings == ["WAVESPEED_WEBHOOK_SECRET", "REPLICATE_WEBHOOK_SECRET"]


async def health_of(world: World) -> tuple[str, list[str], int | None]:
    world.runtime.cache.forget_all(":health")
    document = await world.runtime.health.view()
    return document["status"], [*document["degraded_by"]], document["webhook_refused_age_seconds"]


def errors(lines: list[Any]) -> list[tuple[str, str]]:
    return [(line["event"], line.get("setting", "")) for line in lines if line["log_level"] == "error"]


async def test_the_time_of_the_alarm_is_no_counter(valkey_world: World) -> None:
    await valkey_world.runtime.controls.note_refused_webhook()
    async with http_client(Authorization="Bearer operator-token-in-tests") as client:
        await client.post("/api/submit", json=BODY, headers=AUTH)
        assert "webhook_refused_at" not in (await client.get("/api/process-queue")).json()["counters"]
