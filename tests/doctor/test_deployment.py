"""The checks of the deployment: each says nothing about one in order, and names what is wrong with another."""

import asyncio
import functools
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from pydantic import SecretStr

from local.rest_server.running import RunningServer
from shared import runtime
from shared.budget import Budget
from shared.clock import ManualClock, SystemClock
from shared.doctor.check import Said
from shared.doctor.deployment import ScheduleCheck, SettingsCheck, StorageCheck, WebhookCheck
from shared.doctor.doctor import Doctor
from shared.doctor.examiner import Examiner
from shared.doctor.order import DoctorQuery
from shared.doctor.queue_check import QueueCheck
from shared.doctor.trials import EXPECTED, ScriptCheck, StoreCheck
from shared.runtime import Runtime
from shared.storage.bucket import Bucket
from tests.buckets import S3, memory_settings, s3_settings
from tests.deployment import free_port
from tests.http.serving import served
from tests.receiver import Answer, Received, receiver
from tests.world import OPERATOR, World, http_client, make_world, settings_for

DAY = 86_400


def codes(said: Any) -> list[str]:
    return [found["code"] for found in said.findings]


def script_check(world: World) -> ScriptCheck:
    return ScriptCheck(world.runtime.store, world.runtime.settings, world.clock)


async def test_a_deployment_in_order_has_no_finding_in_any_check(valkey: RunningServer) -> None:
    async with make_world(valkey, SystemClock(), storage_url="memory://doctor") as world:
        await world.runtime.tick.run()
        async with http_client(**OPERATOR) as operator:
            report = (await operator.get("/api/operate/doctor")).json()
    assert report["status"] == "well" and report["next_cursor"] is None
    outcomes = {check["name"]: check["outcome"] for check in report["checks"]}
    names = ("settings", "store", "scripts", "schedule", "webhook", "storage", "queue")
    assert outcomes == dict.fromkeys(names, "well") | {"webhook": "undetermined"}


async def test_one_check_is_run_alone(valkey: RunningServer) -> None:
    async with make_world(valkey, SystemClock()) as world, http_client(**OPERATOR) as operator:
        report = (await operator.get("/api/operate/doctor?only=store")).json()
        assert [check["name"] for check in report["checks"]] == ["store"]
        figures = report["checks"][0]["figures"]
        assert figures["mode"] == "redis" and 0 < figures["round_trip_ms"] < 1000
        assert await world.raw("DBSIZE") <= 1


async def test_the_trial_sees_on_this_store_what_the_scripts_rely_on_and_leaves_nothing(world: World) -> None:
    seen = await Examiner(world.runtime.store, world.runtime.settings, world.clock).trial()
    assert {name: seen[name] for name in EXPECTED} == EXPECTED
    assert "WRONGTYPE" in seen["error"] and seen["time"].count(".") == 1
    assert await world.raw("KEYS", f"{world.runtime.queue.keys.root}tr:*") == []


@pytest.mark.parametrize("trial", [*EXPECTED, "error"])
async def test_a_store_that_differs_is_found(trial: str, world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    honest = Examiner.trial

    async def other(self: Examiner) -> dict[str, str]:
        return await honest(self) | {trial: "6.5e+15"}

    monkeypatch.setattr(Examiner, "trial", other)
    check = script_check(world)
    (found,) = [found for found in (await check.run()).findings if found["code"] == "script_differs"]
    assert (found["kind"], found["subject"], found["evidence"]["seen"]) == ("trial", trial, "6.5e+15")


async def test_a_token_that_may_only_read_is_found(valkey: RunningServer, clock: ManualClock) -> None:
    async with make_world(valkey, clock, upstash_redis_rest_token=valkey.read_only_token) as world:
        said = await script_check(world).run()
    assert codes(said) == ["scripts_refused"] and said.findings[0]["evidence"]["refusal"] != ""


async def test_what_a_store_says_of_eviction_is_found_and_what_it_does_not_say_is_not_guessed(
    valkey_world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    check = script_check(valkey_world)
    said = await check.run()
    assert codes(said) == [] and said.undetermined == [] and said.figures["eviction"] == "noeviction"
    for info, found, is_known in (
        ("maxmemory_policy:allkeys-lru\r\nevicted_keys:3\r\n", ["store_evicts", "keys_evicted"], True),
        ("upstash_version:1.2\r\n", [], False),
    ):

        async def trial(_: Examiner, info: str = info) -> dict[str, str]:
            return EXPECTED | {"error": "WRONGTYPE", "info": info}

        monkeypatch.setattr(Examiner, "trial", trial)
        said = await check.run()
        assert codes(said) == found and (said.undetermined == []) == is_known


async def test_clocks_that_differ_are_found(clock: ManualClock) -> None:
    async with make_world(None, clock) as world:
        check = StoreCheck(world.runtime.store, world.runtime.records, world.runtime.settings, clock)
        for skew, severity in ((10_000, "warning"), (-60_000, "error")):
            clock.skew = skew
            (found,) = (await check.run()).findings
            assert (found["code"], found["severity"]) == ("clocks_differ", severity)
            assert found["evidence"] == {"milliseconds": -skew}


async def test_a_schedule_that_is_silent_or_missing_is_found(clock: ManualClock) -> None:
    async with make_world(None, clock) as world:
        check = ScheduleCheck(world.runtime.records, world.runtime.settings, clock)
        assert codes(await check.run()) == ["no_tick"]
        await world.runtime.tick.run()
        assert codes(await check.run()) == []
        clock.advance(DAY)
        assert codes(await check.run()) == ["schedule_silent"]


async def test_what_a_start_warns_of_is_found() -> None:
    said = await SettingsCheck(settings_for(None, upstash_redis_rest_url="https://acme.upstash.io")).run()
    assert [(found["code"], found["severity"]) for found in said.findings] == [("store_unused", "warning")]


SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"


@asynccontextmanager
async def deployed(server: RunningServer, secret: str = SECRET) -> AsyncIterator[WebhookCheck]:
    """A deployment at a public address, and the check of a process that has this secret."""
    from functions.index import app

    listening: dict[str, Any] = {
        "sluice_env": "development", "replicate_base_url": "http://127.0.0.1:1", "allow_loopback": True,
        "replicate_webhook_secret": SECRET,
    }  # fmt: skip
    async with make_world(server, SystemClock()) as world, served(app) as port:
        settings = settings_for(server, **listening, public_base_url=f"http://127.0.0.1:{port}")
        sluice = Runtime(settings, world.runtime.store, world.clock)
        runtime.install(sluice)
        own = settings.model_copy(update={"replicate_webhook_secret": SecretStr(secret)})
        yield WebhookCheck(own, world.clock)
        await sluice.providers.close()


async def test_a_signed_webhook_about_no_job_comes_back_and_changes_nothing(valkey: RunningServer) -> None:
    async with deployed(valkey) as check:
        valkey.reset_bill()
        said = await check.run()
        assert (codes(said), said.undetermined) == ([], [])
        assert valkey.bill().billed == 0


async def test_another_secret_behind_the_public_address_is_found(valkey: RunningServer) -> None:
    async with deployed(valkey, "whsec_" + "QUFB" * 11) as check:
        (found,) = (await check.run()).findings
    assert (found["code"], found["evidence"]) == ("webhook_refused", {"status": 401})


async def test_a_public_address_that_does_not_answer_is_found() -> None:
    for base, evidence in (
        (f"https://127.0.0.1:{free_port()}", {"error": "ConnectError"}),
        ("https://10.0.0.1", {"reason": "address"}),
    ):
        settings = settings_for(None, allow_loopback=True, public_base_url=base, replicate_webhook_secret=SECRET)
        said = await WebhookCheck(settings, SystemClock()).run()
        (found,) = said.findings
        assert (found["code"], found["evidence"]) == ("webhook_unreachable", evidence)


async def test_a_bucket_in_order_has_no_finding_and_keeps_no_file(s3: S3) -> None:
    name = s3.bucket()
    for settings in (memory_settings(), s3_settings(s3, name)):
        bucket = Bucket(settings)
        said = await StorageCheck(bucket, settings, SystemClock()).run()
        await bucket.close()
        assert (codes(said), said.undetermined) == ([], [])
    assert s3.client.list_objects_v2(Bucket=name).get("Contents", []) == []


async def test_a_bucket_that_is_missing_is_found(s3: S3) -> None:
    settings = s3_settings(s3, "missing")
    (found,) = (await StorageCheck(Bucket(settings), settings, SystemClock()).run()).findings
    assert found["code"] == "storage_refuses" and found["text"] == "The storage refuses a write."


async def test_a_bucket_that_lets_no_page_of_a_listed_origin_upload_is_found(s3: S3) -> None:
    origin = "https://app.acme.dev"
    async with receiver() as server:
        endpoint = server.url("").rstrip("/")
        settings = s3_settings(
            s3, "acme", storage_endpoint=endpoint, cors_origins=origin, allow_loopback=True, storage_url="s3://acme/a"
        )
        check = StorageCheck(Bucket(settings), settings, SystemClock())
        for allowed, found in (("", ["bucket_cors"]), ("https://other.dev", ["bucket_cors"]), (origin, []), ("*", [])):
            headers = {"access-control-allow-origin": allowed} if allowed else {}
            server.answers = functools.partial(answer, headers)
            said = Said()
            await check._ask_for_cors(said)
            assert codes(said) == found, allowed
        assert server.received[0].headers["access-control-request-method"] == "PUT"


def answer(headers: dict[str, str], _: Received) -> Answer:
    """The answer to any request."""
    return 200, headers, b""


class Broken:
    """A check that raises what it was made with, or hangs."""

    name, timeout = "store", 0.05

    def __init__(self, error: Exception | None) -> None:
        self._error = error

    async def run(self) -> Any:
        if self._error is not None:
            raise self._error
        await asyncio.Event().wait()


@pytest.mark.parametrize(
    ("error", "code"), [(None, "check_timed_out"), (ValueError("secret"), "check_failed")], ids=["hangs", "raises"]
)
async def test_a_check_that_fails_is_a_finding_and_ends_no_other(
    error: Exception | None, code: str, valkey_world: World
) -> None:
    sluice = valkey_world.runtime
    queue: QueueCheck = sluice.doctor._queue
    doctor = Doctor((Broken(error), SettingsCheck(sluice.settings)), queue)
    report = await doctor.run(DoctorQuery(), Budget(50))
    assert [check["name"] for check in report["checks"]] == ["store", "settings", "queue"]
    assert [found["code"] for found in report["checks"][0]["findings"]] == [code]
    assert "secret" not in str(report)


async def test_a_check_ends_with_the_time_of_its_function(valkey_world: World) -> None:
    sluice = valkey_world.runtime
    hanging = Broken(None)
    hanging.timeout = 25.0
    report = await Doctor((hanging,), sluice.doctor._queue).run(DoctorQuery(only="store"), Budget(3.05))
    assert [found["code"] for found in report["checks"][0]["findings"]] == ["check_timed_out"]
    assert report["checks"][0]["milliseconds"] < 2000


@pytest.mark.parametrize("step", ["read", "range", "list"])
async def test_a_storage_check_whose_time_is_over_leaves_no_file(
    step: str, s3: S3, monkeypatch: pytest.MonkeyPatch
) -> None:
    name, honest = s3.bucket(), StorageCheck._step
    settings = s3_settings(s3, name)
    bucket = Bucket(settings)
    written = asyncio.Event()

    async def hang(self: StorageCheck, at: str, key: str) -> str:
        if at == step:
            written.set()
            await asyncio.Event().wait()
        return await honest(self, at, key)

    monkeypatch.setattr(StorageCheck, "_step", hang)
    running = asyncio.create_task(StorageCheck(bucket, settings, SystemClock()).run())
    await written.wait()
    assert len(s3.client.list_objects_v2(Bucket=name)["Contents"]) == 1
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert s3.client.list_objects_v2(Bucket=name).get("Contents", []) == []
    await bucket.close()
