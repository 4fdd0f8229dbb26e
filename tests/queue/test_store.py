"""The store client against a server that fails in every known way."""

import asyncio
import time

import httpx
import pytest

from local.rest_server.running import RunningServer
from shared.clock import ManualClock
from shared.errors import StoreRefused, StoreScriptError, StoreUnavailable, StoreUncertain
from shared.providers.base import Unknown
from shared.runtime import Runtime, install
from shared.store import open_store
from shared.store.refusals import StoreInterrupted, classify
from shared.store.rest import RestStore
from tests.logs import all_logs
from tests.receiver import receiver
from tests.world import AUTH, PROCESSOR, World, http_client, settings_for

FAST = {"store_connect_timeout": 0.3, "store_try_timeout": 0.4, "store_total_timeout": 1.0}


@pytest.fixture(params=["streams", "httpx"])
async def store(valkey: RunningServer, request: pytest.FixtureRequest):  # type: ignore[no-untyped-def]
    valkey.clear_faults()
    valkey.flush()
    opened = RestStore(settings_for(valkey, **FAST, store_client=request.param))
    yield opened
    await opened.close()
    valkey.clear_faults()


async def test_values_come_back_as_they_were(store: RestStore) -> None:
    text = 'é "quoted" \u2028 \x00 \U0001f3ac'
    await store.execute("SET", "k", text)
    assert await store.execute("GET", "k") == text
    assert await store.execute("EVAL", "return {1, {'a', false}, 'OK'}", "0") == [1, ["a", None], "OK"]


@pytest.mark.parametrize(
    "fault",
    [
        "drop_before", "apply_then_drop", "html_502", "apply_then_html_502", "hang",
        "json_500", "apply_then_json_500", "json_429",
    ],
)  # fmt: skip
async def test_one_lost_answer_is_survived_by_one_repeat(store: RestStore, valkey: RunningServer, fault: str) -> None:
    valkey.reset_bill()
    valkey.inject(fault)
    await store.execute("SET", "k", "v")
    assert (valkey.ask("GET", "k"), valkey.bill().calls) == (b"v", 2)


@pytest.mark.parametrize(
    "fault",
    ["drop_before", "apply_then_drop", "html_502", "apply_then_hang", "json_500", "apply_then_json_500", "json_429"],
)
async def test_two_lost_answers_are_uncertain(store: RestStore, valkey: RunningServer, fault: str) -> None:
    valkey.reset_bill()
    valkey.inject(fault, times=-1)
    with pytest.raises(StoreUncertain):
        await store.execute("SET", "k", "v")
    assert valkey.bill().calls == 2


async def test_a_script_that_was_refused_a_command_may_be_applied_and_is_not_repeated(
    store: RestStore, valkey: RunningServer
) -> None:
    valkey.reset_bill()
    valkey.inject("interrupted", times=-1)
    with pytest.raises(StoreInterrupted, match="it is full") as raised:
        await store.execute("EVAL", "return 1", "0")
    assert (valkey.bill().calls, raised.value.refusal, raised.value.http_status) == (1, "storage_full", 503)


async def test_a_lost_answer_followed_by_a_refused_connection_is_still_uncertain(
    store: RestStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers = [httpx.ReadError("lost"), httpx.ConnectError("refused")]

    async def execute(command: list[str]) -> None:
        raise answers.pop(0)

    monkeypatch.setattr(store._redis, "execute", execute)
    with pytest.raises(StoreUncertain):
        await store.execute("SET", "k", "v")


@pytest.mark.parametrize(
    ("fault", "reason"),
    [("quota", "quota"), ("capacity", "full"), ("read_only", "read"), ("wrong_token", "token")],
)
async def test_a_refusal_is_surely_not_applied_and_not_repeated(
    store: RestStore, valkey: RunningServer, fault: str, reason: str
) -> None:
    valkey.inject(fault)
    valkey.reset_bill()
    with pytest.raises(StoreRefused, match=reason):
        await store.execute("SET", "k", "v")
    assert (valkey.ask("GET", "k"), valkey.bill().calls) == (None, 1)


async def test_an_unreachable_store_is_surely_not_applied(valkey: RunningServer) -> None:
    settings = settings_for(valkey, **FAST).model_copy(update={"upstash_redis_rest_url": "http://127.0.0.1:1"})
    store = RestStore(settings)
    with pytest.raises(StoreUnavailable):
        await store.execute("GET", "k")
    await store.close()


async def test_an_error_of_a_command_keeps_its_text_for_the_log_only(store: RestStore) -> None:
    with pytest.raises(StoreScriptError) as raised:
        await store.execute("EVAL", "return redis.call('NOSUCH')", "0")
    assert "NOSUCH" not in raised.value.detail and raised.value.text


@pytest.mark.parametrize(
    ("text", "refusal"),
    [
        (
            "ERR max requests limit exceeded. Limit: 500000, Usage: 500000. See https://upstash.com/docs",
            "request_quota",
        ),
        ("ERR max daily request limit exceeded. Limit: 10000, Usage: 10000.", "daily_request_quota"),
        ("ERR max bandwidth limit exceeded", "bandwidth_quota"),
        ("ERR DB capacity quota exceeded. Threshold: 268435456 bytes, Usage: 268979370 bytes.", "storage_full"),
        ("OOM command not allowed when used memory > 'maxmemory'. script: 66ab, on @user_script:1.", "storage_full"),
        ("ERR max single record size exceeded", "record_size"),
        ("ERR max key size exceeded. Limit: 104857600 bytes, Actual: 104857700 bytes", "key_size"),
        ("ERR max concurrent connections exceeded", "connections"),
        ("WRONGPASS invalid username-password pair or user is disabled", "token"),
        ("Unauthorized", "token"),
        ("NOPERM this user has no permissions to run the 'eval' command", "token_rights"),
        ("READONLY You can't write against a read only replica.", "read_only"),
        ("LOADING Redis is loading the dataset in memory", "starting"),
    ],
)
def test_refusals_are_recognised_by_their_text(text: str, refusal: str) -> None:
    for is_trouble in (False, True):
        error = classify(text, is_trouble=is_trouble)
        assert isinstance(error, StoreRefused)
        assert (error.refusal, error.http_status, error.retryable) == (refusal, 503, True)
    inside = classify(f"ERR Error running script: @user_script:12: {text} stack traceback: [G]: in function 'call'")
    assert isinstance(inside, StoreInterrupted)
    assert inside.refusal == refusal


def test_a_request_that_is_too_large_may_have_been_applied() -> None:
    # Upstash says it of answers too, after the command was applied.
    error = classify("ERR max request size exceeded. Limit: 10485760 bytes, Actual: 12009587 bytes")
    assert isinstance(error, StoreInterrupted)
    assert error.refusal == "request_size"


@pytest.mark.parametrize(
    "text",
    [
        "ERR user_script:1: attempt to index nil",
        "ERR Error running script: @user_script:3: attempt to compare nil with number",
        "ERR Error running script: @user_script:3: loading of a job that is readonly",
        "ERR Command is not available: 'NOPE'.",
    ],
)
def test_an_error_of_a_script_is_no_refusal(text: str) -> None:
    assert isinstance(classify(text), StoreScriptError)


def test_an_error_of_a_script_is_one_whatever_its_status() -> None:
    assert isinstance(classify("ERR Error running script: @user_script:3: x", is_trouble=True), StoreScriptError)


async def test_the_operator_finds_the_limit_by_name(store: RestStore, valkey: RunningServer) -> None:
    valkey.inject("quota")
    with all_logs() as logged, pytest.raises(StoreRefused):
        await store.execute("GET", "k")
    assert [(entry["event"], entry["refusal"]) for entry in logged] == [("store_failed", "request_quota")]


async def test_a_silent_store_is_given_up_within_the_deadline(store: RestStore, valkey: RunningServer) -> None:
    valkey.inject("hang", times=-1)
    began = time.monotonic()
    with pytest.raises(StoreUncertain):
        await store.execute("GET", "k")
    assert time.monotonic() - began < FAST["store_total_timeout"] + 20  # with room for a slow machine
    valkey.clear_faults()


@pytest.mark.parametrize(
    "fault",
    [
        "drop_before", "html_502", "json_500", "json_429", "interrupted",
        "quota", "capacity", "read_only", "wrong_token", "hang",
    ],
)  # fmt: skip
@pytest.mark.parametrize(
    ("method", "path"),
    [("POST", "/api/submit"), ("GET", "/api/status/job_1"), ("POST", "/api/process-queue"), ("GET", "/api/health")],
)
async def test_store_trouble_is_a_503_with_retry_after_and_never_a_500(
    valkey: RunningServer, fault: str, method: str, path: str
) -> None:
    valkey.clear_faults()
    settings = settings_for(valkey, **FAST)
    made = Runtime(settings, open_store(settings), ManualClock())
    install(made)
    # Statuses and health only read, which a full or read-only store still serves.
    serves = fault in ("capacity", "read_only") and method == "GET"
    valkey.inject(fault, times=-1)
    try:
        async with http_client() as client:
            headers = PROCESSOR if "process" in path else AUTH
            body = {"model": "acme/video", "input": {}, "user_id": "ada"}
            answer = await client.request(method, path, json=body, headers=headers)
    finally:
        valkey.clear_faults()
        await made.close()
    if serves:
        assert answer.status_code in (200, 404)
    else:
        assert answer.status_code == 503, answer.text
        assert "health" in path or (int(answer.headers["retry-after"]) > 0 and answer.json()["retryable"] is True)


async def lose_next_answer(world: World) -> None:
    """Applies the next script and loses its answer, so that the client repeats it."""
    assert world.server is not None
    world.server.inject("apply_then_drop", match="EVAL")


async def test_a_repeated_enqueue_starts_the_job_once(valkey_world: World) -> None:
    await lose_next_answer(valkey_world)
    assert (await valkey_world.admit("a", start=True)).word == "started"
    assert (await valkey_world.runtime.records.stats()).queues[0].running == 1


async def test_a_repeated_claim_answers_the_same_jobs_and_takes_no_more(valkey_world: World) -> None:
    await valkey_world.enqueue(job_id="a")
    await valkey_world.enqueue("bob", job_id="b")
    await lose_next_answer(valkey_world)
    claim = await valkey_world.runtime.queue.claim(1)
    assert [(job.id, job.attempt) for job in claim.started] == [("a", 1)]
    assert (await valkey_world.runtime.records.stats()).queues[0].running == 1


async def test_a_repeated_cancel_says_canceled(valkey_world: World) -> None:
    await valkey_world.enqueue(job_id="a")
    await lose_next_answer(valkey_world)
    assert (await valkey_world.runtime.queue.cancel("a", "app")).word == "canceled"


async def test_a_repeated_record_says_recorded(valkey_world: World) -> None:
    await valkey_world.enqueue(job_id="a", start=True)
    await lose_next_answer(valkey_world)
    assert (await valkey_world.runtime.queue.record("a", 1, "p1")).word == "recorded"


async def test_a_repeated_snooze_counts_once(valkey_world: World) -> None:
    await valkey_world.enqueue(job_id="a", start=True)
    await lose_next_answer(valkey_world)
    assert (await valkey_world.runtime.queue.snooze("a", 1, delay=5, code="x")).word == "delayed"
    assert (await valkey_world.runtime.records.read("a")).snoozes == 1


async def test_a_repeated_rescue_counts_once(valkey_world: World) -> None:
    settings = valkey_world.runtime.settings
    await valkey_world.enqueue(job_id="a", start=True)
    valkey_world.manual.advance(settings.lease + settings.cancel_after + settings.adoption_margin + 1)
    await lose_next_answer(valkey_world)
    assert (await valkey_world.runtime.queue.rescue("a", 1)).word == "requeued"
    assert (await valkey_world.runtime.records.read("a")).state == "queued"
    assert (await valkey_world.runtime.records.stats()).counters["rescued"] == 1


@pytest.mark.parametrize("verb", ["finish", "fail"])
async def test_a_repeated_end_of_an_attempt_counts_once(valkey_world: World, verb: str) -> None:
    queue = valkey_world.runtime.queue
    await valkey_world.enqueue(job_id="a", start=True)
    await queue.record("a", 1, "p1")
    await lose_next_answer(valkey_world)
    if verb == "finish":
        ended = await queue.finish("a", 1, "p1", "completed", {"output": "1"})
        assert (ended.word, ended.outcome) == ("already", "completed")
    else:
        assert (await queue.fail("a", 1, "p1", code="unknown", detail="", retryable=True)).word == "delayed"
    counters = (await valkey_world.runtime.records.stats()).counters
    assert counters == ({"completed": 1} if verb == "finish" else {"retried": 1})


async def test_a_claim_that_was_never_answered_is_asked_for_again_by_the_next_one(valkey_world: World) -> None:
    world, queue = valkey_world, valkey_world.runtime.queue
    assert world.server is not None
    await world.enqueue(job_id="a")
    await world.enqueue("bob", job_id="b")
    world.server.inject("apply_then_drop", times=2, match="EVAL")
    with pytest.raises(StoreUncertain):
        await queue.claim(1)
    claim = await queue.claim(1)
    assert [(job.id, job.attempt) for job in claim.started] == [("a", 1)]
    assert [job.id for job in (await queue.claim(1)).started] == ["b"]


@pytest.mark.parametrize("fault", ["apply_then_json_500", "json_500"])
async def test_a_claim_that_met_an_error_of_the_server_is_asked_for_again(valkey_world: World, fault: str) -> None:
    world, queue = valkey_world, valkey_world.runtime.queue
    assert world.server is not None
    await world.enqueue(job_id="a")
    world.server.inject(fault, times=2, match="EVAL")
    with pytest.raises(StoreUncertain):
        await queue.claim(1)
    assert [(job.id, job.attempt) for job in (await queue.claim(1)).started] == [("a", 1)]


async def test_claims_at_the_same_time_never_get_the_same_job(valkey_world: World) -> None:
    queue = valkey_world.runtime.queue
    for number in range(5):
        await valkey_world.enqueue(f"user{number}")
    assert valkey_world.server is not None
    for lost in (0, 2):
        valkey_world.server.inject("apply_then_drop", times=lost, match="EVAL") if lost else None
        claims = await asyncio.gather(*(queue.claim(1) for _ in range(3)), return_exceptions=True)
        valkey_world.server.clear_faults()
        got = [job.id for claim in claims if not isinstance(claim, BaseException) for job in claim.started]
        got += [job.id for job in (await queue.claim(5)).started]
        assert len(got) == len(set(got))


async def test_a_submit_that_was_never_answered_does_not_hold_its_slot(valkey_world: World) -> None:
    world = valkey_world
    assert world.server is not None
    world.server.inject("apply_then_drop", times=2, match="EVAL")
    headers = AUTH | {"Idempotency-Key": "k"}
    body = {"model": "acme/video", "input": {}, "user_id": "ada"}
    async with http_client() as client:
        assert (await client.post("/api/submit", json=body, headers=headers)).status_code == 503
        world.manual.advance(1)
        answer = await client.post("/api/submit", json=body, headers=headers)
        assert (answer.status_code, answer.json()["status"]) == (202, "pending")
        await world.runtime.tick.run()
        assert (await client.get(f"/api/status/{answer.json()['id']}", headers=AUTH)).json()["attempts"] == 1
    assert len(world.provider.created) == 1


async def test_a_submit_that_was_never_answered_leaves_anothers_submission_alone(valkey_world: World) -> None:
    world = valkey_world
    assert world.server is not None
    headers = AUTH | {"Idempotency-Key": "k"}
    body = {"model": "acme/video", "input": {}, "user_id": "ada"}
    world.provider.outcomes = [Unknown("still under way")]
    async with http_client() as client:
        job = (await client.post("/api/submit", json=body, headers=headers)).json()["id"]
        world.server.inject("apply_then_drop", times=2, match="EVAL")
        assert (await client.post("/api/submit", json=body, headers=headers)).status_code == 503
    assert (await world.runtime.records.read(job)).state == "submitting"


async def test_each_event_loop_gets_its_own_client(valkey: RunningServer) -> None:
    from shared import runtime

    async def built() -> int:
        return id(runtime.current().store)

    first = runtime.current()
    assert runtime.current() is first
    other = await asyncio.to_thread(lambda: asyncio.run(built()))
    assert other != id(first.store)


async def test_memory_mode_reports_a_failing_command(clock: ManualClock) -> None:
    store = open_store(settings_for(None))
    with pytest.raises(StoreScriptError):
        await store.execute("EVAL", "return redis.call('INCR', KEYS[1], 'x', 'y')", "1", "k")
    await store.close()


@pytest.mark.parametrize("is_httpx", [False, True])
@pytest.mark.parametrize("status", [301, 401, 403, 404])
async def test_another_server_at_the_stores_address_is_named_and_has_run_nothing(status: int, is_httpx: bool) -> None:
    async with receiver() as other:
        other.answers = lambda request: (status, {"Content-Type": "text/html"}, b"<h1>Another server</h1>")
        client = {"store_client": "httpx"} if is_httpx else {}
        given = {"upstash_redis_rest_url": other.url(), "upstash_redis_rest_token": "a-token-of-tests"}
        store = RestStore(settings_for(None, use_redis_for_tasks=True, **given, **client))
        with all_logs() as logs, pytest.raises(StoreUnavailable) as refused:
            await store.execute("PING")
        await store.close()
    assert refused.value.trouble == f"127.0.0.1 answered {status} and is no Upstash REST API"
    assert [line["trouble"] for line in logs if line["event"] == "store_failed"] == [refused.value.trouble]
    assert len(other.received) == 1
