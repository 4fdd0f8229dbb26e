"""One trace over a job's whole life, from the caller's to its endpoint; and what a collector's trouble costs."""

import asyncio
import secrets
import time
from collections.abc import Awaitable, Iterator
from contextlib import contextmanager
from typing import Any

import httpx
import pytest
import structlog
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from structlog.testing import capture_logs

from local.rest_server.running import RunningServer
from local.simulator.running import RunningSimulator
from shared import tracing
from shared.clock import SystemClock
from shared.log import configure_logs, log
from shared.storage import layout
from shared.telemetry import flushing
from shared.telemetry.spans import MAX_KEPT, Spans
from tests.deployment import Deployment, poll_until_terminal, running_deployment
from tests.http.calls import BODY
from tests.receiver import Received, receiver
from tests.telemetry.collector import Collector, collecting
from tests.world import AUTH, World, http_client, make_world, settings_for

MARK = secrets.token_hex(6)
TRACE, PARENT = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
SAMPLED, UNSAMPLED = f"00-{TRACE}-{PARENT}-01", f"00-{TRACE}-{PARENT}-00"
STEPS = {"submit", "claim", "create", "finish", "copy", "deliver"}


def spans_at(collector: Collector) -> list[Any]:
    """The spans that have come, with the name of their service."""
    found = []
    for path, body in collector.taken:
        assert path == "/v1/traces"
        for resource in ExportTraceServiceRequest.FromString(body).resource_spans:
            named = {item.key: item.value.string_value for item in resource.resource.attributes}
            assert named["service.name"] == "sluice" and named["deployment.environment.name"] == "test"
            found += [span for scope in resource.scope_spans for span in scope.spans]
    return found


def attributes(span: Any) -> dict[str, Any]:
    return {item.key: item.value.string_value or item.value.int_value for item in span.attributes}


@contextmanager
def tracing_to(collector: Collector, **changes: Any) -> Iterator[Spans]:
    """Traces what this process does, until the block ends."""
    spans = Spans(settings_for(None, otel_exporter_otlp_endpoint=collector.url, **changes))
    flushing.add(spans.kept)
    tracing.use(spans)
    try:
        yield spans
    finally:
        tracing.use(None)
        flushing.remove(spans.kept)


async def live(deployment: Deployment) -> tuple[str, Received]:
    """Lets a job live: one process takes it, the other one starts and ends it. Returns its id and its event."""
    processor = {"Authorization": "Bearer processor-token-in-tests"}
    async with receiver() as endpoint, httpx.AsyncClient(timeout=60, headers=AUTH) as client:
        simulate = {"seconds": 0.1, "start_delay": 0}
        body = {"model": "acme/video", "input": {"prompt": MARK, "simulate": simulate}, "user_id": "ada"}
        body["hook_url"] = endpoint.url()
        answer = await client.post(deployment.url(1, "/api/submit"), json=body, headers={"traceparent": SAMPLED})
        await client.post(deployment.url(0, "/api/process-queue"), headers=processor)
        await poll_until_terminal(client, deployment.urls[0], answer.json()["id"])
        until = time.monotonic() + 15
        while not endpoint.received and time.monotonic() < until:
            await client.post(deployment.url(0, "/api/process-queue"), headers=processor)
        return answer.json()["id"], endpoint.received[-1]


async def test_one_trace_spans_a_jobs_whole_life_over_two_processes(
    valkey: RunningServer, simulator: RunningSimulator, tmp_path: Any
) -> None:
    with collecting() as collector:
        given = {
            "OTEL_EXPORTER_OTLP_ENDPOINT": collector.url,
            "OTEL_EXPORTER_OTLP_HEADERS": f"x-key={MARK}-header",
            "STORAGE_URL": f"file://{tmp_path}",
            "ALLOW_LOOPBACK": "true",
            "DISPATCH_ON_SUBMIT": "false",
            "OPERATOR_TOKEN": f"{MARK}-operator-token",
        }
        with running_deployment(valkey, simulator, given, instances=2) as deployment:
            job, sent = await live(deployment)
            until = time.monotonic() + 20
            while len({span.name for span in spans_at(collector)}) < len(STEPS) and time.monotonic() < until:
                async with httpx.AsyncClient(timeout=60) as client:  # its answer has them exported, if they were late
                    await client.get(deployment.url(0, "/api/health"))
        spans = spans_at(collector)
    by_name = {span.name.split(" ")[0]: span for span in spans}
    assert set(by_name) == STEPS
    assert {span.trace_id.hex() for span in spans} == {TRACE}
    submit = by_name.pop("submit")
    assert submit.parent_span_id.hex() == PARENT
    assert {span.parent_span_id for span in by_name.values()} == {submit.span_id}
    assert {attributes(span)["messaging.message.id"] for span in spans} == {job}
    assert attributes(by_name["create"])["gen_ai.provider.name"] == "replicate"
    assert attributes(by_name["deliver"])["http.response.status_code"] == 204
    assert sent.headers["traceparent"] == f"00-{TRACE}-{by_name['deliver'].span_id.hex()}-01"
    assert MARK not in collector.text
    files = [str(path) for path in tmp_path.rglob("*.mp4")]
    assert files and not any(TRACE in path for path in files)


async def test_a_caller_without_a_trace_gets_one_and_a_retry_stays_in_it(valkey_world: World) -> None:
    with collecting() as collector, tracing_to(collector):
        async with http_client(**AUTH) as client:
            job = (await client.post("/api/submit", json=BODY)).json()["id"]
        await flushing.flush()
        spans = spans_at(collector)
    carried = tracing.trace_of(await valkey_world.incarnation_of(job))
    (submit,) = [span for span in spans if span.name.startswith("submit")]
    assert carried[:-2] == f"00-{submit.trace_id.hex()}-{submit.span_id.hex()}-" and int(carried[-2:]) & 1
    assert {span.trace_id for span in spans} == {submit.trace_id} and not submit.parent_span_id


async def test_what_a_caller_does_not_sample_is_not_exported_and_still_handed_on(valkey_world: World) -> None:
    with collecting() as collector, tracing_to(collector):
        async with http_client(**AUTH, traceparent=UNSAMPLED) as client:
            job = (await client.post("/api/submit", json=BODY)).json()["id"]
        await flushing.flush()
        assert collector.taken == []
    carried = tracing.trace_of(await valkey_world.incarnation_of(job))
    assert carried.startswith(f"00-{TRACE}-") and carried.endswith("-00")


async def test_a_users_token_cannot_bring_a_trace_that_the_operator_pays_for(valkey_world: World) -> None:
    wanted = {"user_id": "ada", "scopes": ["submit"]}
    with collecting() as collector, tracing_to(collector, otel_traces_sampler_arg=0.0):
        async with http_client(**AUTH) as client:
            token = (await client.post("/api/tokens", json=wanted)).json()["token"]
        body = {"model": "acme/video", "input": {}}
        async with http_client(Authorization=f"Bearer {token}", traceparent=SAMPLED) as client:
            job = (await client.post("/api/submit", json=body)).json()["id"]
        await flushing.flush()
        assert collector.taken == []
    carried = tracing.trace_of(await valkey_world.incarnation_of(job))
    assert TRACE not in carried and not int(carried[-2:], 16) & 1


def test_no_key_of_a_file_has_the_trace() -> None:
    folders = {layout.incarnation_folder(0, "web", "ada", "job_1", one) for one in ("0123", f"0123-{SAMPLED}", "")}
    assert len(folders) == 2 and not any(TRACE in folder for folder in folders)


@pytest.mark.parametrize(
    "sent", ["", "00-0", f"00-{'0' * 32}-{PARENT}-01", f"00-{TRACE}-{'0' * 16}-01", f"{SAMPLED}-x"]
)
async def test_a_traceparent_that_is_none_begins_a_trace_of_its_own(valkey_world: World, sent: str) -> None:
    with collecting() as collector, tracing_to(collector):
        async with http_client(**AUTH, traceparent=sent) as client:
            job = (await client.post("/api/submit", json=BODY)).json()["id"]
    carried = tracing.trace_of(await valkey_world.incarnation_of(job))
    assert tracing.FORM.fullmatch(carried) and TRACE not in carried


async def test_the_jobs_of_a_batch_share_a_trace(valkey_world: World) -> None:
    batch = {"user_id": "ada", "model": "acme/video", "jobs": [{"input": {}}, {"input": {}}]}
    with collecting() as collector, tracing_to(collector):
        async with http_client(**AUTH, traceparent=SAMPLED) as client:
            assert (await client.post("/api/batches", json=batch)).status_code == 202
        await flushing.flush()
        spans = spans_at(collector)
    assert {span.trace_id.hex() for span in spans} == {TRACE}
    assert sorted(span.name for span in spans) == ["claim", "claim", "create", "create", "submit batch storyboard"]


async def test_a_submit_without_a_collector_carries_no_trace_and_costs_the_same_commands(valkey: RunningServer) -> None:
    bills = []
    for is_on in (False, True):
        with collecting() as collector:
            async with make_world(valkey, SystemClock()) as world, http_client(**AUTH, traceparent=SAMPLED) as client:
                await client.post("/api/submit", json=BODY)  # loads the scripts
                valkey.reset_bill()
                if is_on:
                    with tracing_to(collector):
                        job = (await client.post("/api/submit", json=BODY)).json()["id"]
                else:
                    job = (await client.post("/api/submit", json=BODY)).json()["id"]
                bills.append((valkey.bill().calls, valkey.bill().billed))
                assert bool(tracing.trace_of(await world.incarnation_of(job))) is is_on
    assert bills[0] == bills[1]


@pytest.mark.parametrize("is_there", [True, False], ids=["hangs", "is gone"])
async def test_a_collector_in_trouble_delays_no_job_and_keeps_a_bounded_number_of_spans(is_there: bool) -> None:
    with collecting(hangs=True) as collector:
        where = {} if is_there else {"otel_exporter_otlp_endpoint": "http://127.0.0.1:1"}
        async with make_world(None, SystemClock()), http_client(**AUTH) as client:
            spans = Spans(settings_for(None, **{"otel_exporter_otlp_endpoint": collector.url, **where}))
            flushing.add(spans.kept)
            tracing.use(spans)
            try:
                began = time.monotonic()
                for n in range(20):
                    assert (await client.post("/api/submit", json=BODY | {"user_id": f"user-{n}"})).status_code == 202
                taken = time.monotonic() - began
                await flushing.flush()
                await flushing.flush()
                waited = time.monotonic() - began - taken
                for _ in range(2 * MAX_KEPT):
                    with tracing.submitting("submit", "video", "job_1", {}):
                        pass
            finally:
                tracing.use(None)
                flushing.remove(spans.kept)
    assert taken < 3 and waited < flushing.PATIENCE + 0.5
    assert len(spans.kept._spans) <= MAX_KEPT


def make_span() -> None:
    with tracing.submitting("submit", "video", "job_1", {}):
        pass


async def timed(work: Awaitable[object]) -> float:
    began = time.monotonic()
    await work
    return time.monotonic() - began


async def test_sixty_answers_wait_together_for_a_dead_collector_and_leave_the_loops_threads_alone() -> None:
    async def answer() -> None:
        make_span()
        await flushing.flush()

    async def look_up() -> None:
        await asyncio.get_running_loop().run_in_executor(None, time.monotonic)

    with collecting(hangs=True) as collector, tracing_to(collector):
        *answers, looked_up = await asyncio.gather(*(timed(answer()) for _ in range(60)), timed(look_up()))
    assert max(answers) < flushing.PATIENCE + 0.5 and looked_up < flushing.PATIENCE / 2


async def test_each_answer_begins_no_flush_while_one_waits_for_its_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    with collecting() as collector, tracing_to(collector) as spans:
        tries, flush = [], spans.kept.flush

        def counted(seconds: float) -> bool:
            tries.append(seconds)
            return flush(seconds)

        monkeypatch.setattr(spans.kept, "flush", counted)
        for _ in range(60):
            make_span()
        await asyncio.gather(*(flushing.flush() for _ in range(60)))
        assert len(spans_at(collector)) == 60 and 1 <= len(tries) < 10


async def test_after_a_minute_one_answer_tries_a_collector_that_hangs_and_the_others_go_on() -> None:
    with collecting(hangs=True) as collector, tracing_to(collector):
        make_span()
        await flushing.flush()
        flushing._lines[-1]._rests_until = time.monotonic()
        *others, one = sorted(await asyncio.gather(*(timed(flushing.flush()) for _ in range(6))))
    assert max(others) < flushing.PATIENCE / 2 < one < flushing.PATIENCE + 0.5


async def test_a_collector_that_answers_while_others_add_spans_is_none_that_hangs() -> None:
    with collecting() as collector, tracing_to(collector) as spans:
        is_busy, export = True, spans.kept._exporter.export

        def export_while_others_add(batch: Any) -> Any:
            if is_busy:
                make_span()
            return export(batch)

        spans.kept._exporter.export = export_while_others_add  # type: ignore[method-assign, assignment]
        make_span()
        assert await timed(flushing.flush()) < flushing.TRY
        taken = len(spans_at(collector))
        assert not spans.kept.is_empty and taken
        await flushing.flush()
        assert len(spans_at(collector)) > taken
        is_busy = False


def test_lost_spans_are_one_line_of_the_log_and_no_library_writes_the_url(
    caplog: pytest.LogCaptureFixture,
) -> None:
    saved = structlog.get_config()
    configure_logs("WARNING")
    with collecting() as collector, capture_logs() as lines:
        collector.status = 400
        collector.url += f"/{MARK}"
        with tracing_to(collector) as spans:
            for _ in range(3):
                make_span()
                spans.kept.flush(5)
    vars(log).pop("bind", None)
    structlog.configure(**saved)
    (line,) = lines
    assert (line["event"], line["log_level"], line["spans"], line["count"]) == ("spans_not_sent", "warning", 1, 1)
    assert not [each for each in caplog.records if each.name.startswith(("opentelemetry", "urllib3"))]
    assert MARK not in caplog.text and MARK not in str(line) and len(collector.taken) == 3


def test_a_span_has_no_text_of_an_error() -> None:
    with collecting() as collector, tracing_to(collector) as spans:
        with pytest.raises(ValueError, match=MARK), tracing.submitting("submit", "video", "job_1", {}):
            raise ValueError(MARK)
        spans.kept.flush(2)
        (span,) = spans_at(collector)
    assert attributes(span)["error.type"] == "ValueError" and span.status.code == 2
    assert MARK not in collector.text and not span.events


COLLECTOR, HEADERS = "otel_exporter_otlp_endpoint", "otel_exporter_otlp_headers"


def test_headers_of_the_collector_are_read() -> None:
    made = settings_for(None, otel_exporter_otlp_headers="X-Key=a%20b, y=1, z=")
    assert made.otlp_headers == {"x-key": "a b", "y": "1", "z": ""}


@pytest.mark.parametrize(
    "given",
    [
        {COLLECTOR: f"collector:4318/{MARK}"}, {COLLECTOR: f"http://collector:4318?key={MARK}"},
        {COLLECTOR: f"http://collector:4318/#{MARK}"}, {COLLECTOR: f"http://collector/{MARK}/v1/traces/"},
        {COLLECTOR: f"http://collector:99999/{MARK}"}, {COLLECTOR: f"http://collector:port/{MARK}"},
        {COLLECTOR: f"http://[::1/{MARK}"}, {COLLECTOR: f"http://{MARK}@collector:4318"},
        {COLLECTOR: f"http://collector.acme.dev/{MARK}", HEADERS: "authorization=x"},
        {COLLECTOR: f"http://93.184.215.14/{MARK}", HEADERS: "x-api-key=x"},
        {HEADERS: f"{MARK} {MARK}"}, {HEADERS: MARK}, {HEADERS: f"a=1,{MARK}"},
    ],
)  # fmt: skip
def test_a_wrong_setting_of_the_collector_is_named_with_all_other_faults(given: dict[str, str]) -> None:
    name = next(iter(given)).upper()
    with pytest.raises(ValueError, match=f"(?s){name} must|{name} is not") as fault:
        settings_for(None, trusted_proxies="no network", **given)
    assert MARK not in str(fault.value) and "TRUSTED_PROXIES" in str(fault.value)


@pytest.mark.parametrize(
    ("url", "header"),
    [
        ("http://collector.acme.internal:4318", "authorization=x"), ("http://10.0.0.7:4318", "x-api-key=x"),
        ("http://collector:4318/", "authorization=x"), ("http://collector.acme.dev:4318", "x-scope=x"),
        ("https://collector.acme.dev/otlp", "authorization=x"), ("http://[::1]:4318", "authorization=x"),
    ],
)  # fmt: skip
def test_a_collector_in_the_own_network_may_have_http(url: str, header: str) -> None:
    assert settings_for(None, **{COLLECTOR: url, HEADERS: header}).otel_exporter_otlp_endpoint == url
