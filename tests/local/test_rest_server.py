"""The local REST server answers as Upstash documents, breaks on order, and counts what Upstash would bill."""

import asyncio
import os
import re
import select
import shutil
import signal
import socket
import ssl
import subprocess
import sys
from base64 import b64encode
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from hashlib import sha1
from pathlib import Path
from typing import Any

import httpx
import pytest
from upstash_redis.asyncio import Redis
from upstash_redis.errors import UpstashError

from local.rest_server.engine import Engine, EngineError
from local.rest_server.faults import Fault
from local.rest_server.running import RunningServer, running_server
from tests.project import ROOT

FLAGGED = "#!lua flags=allow-key-locking\nreturn redis.call('INCR', KEYS[1])"


@pytest.fixture(scope="module", params=["valkey", "redis"])
def one_server(request: pytest.FixtureRequest) -> Iterator[RunningServer]:
    binary = None
    if request.param == "redis":
        found = shutil.which("redis-server")
        if found is None:
            pytest.skip("no redis-server on PATH; the Valkey run of the same tests stands alone")
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


def client_with(url: str, token: str) -> httpx.Client:
    # An empty TLS context: loading the certificate store for a plain http address takes longer than most tests here.
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    return httpx.Client(base_url=url, headers={"Authorization": f"Bearer {token}"}, timeout=10, verify=tls)


@asynccontextmanager
async def sdk(server: RunningServer) -> AsyncIterator[Redis]:
    async with Redis(server.url, server.token, rest_retries=0, allow_telemetry=False) as client:
        yield client


def run(http: httpx.Client, *command: object, **headers: str) -> Any:
    return http.post("/", json=command, headers=headers).json()


# Request forms


def test_get_takes_the_command_from_the_path(http: httpx.Client) -> None:
    assert http.get("/set/foo/a%20b%2Fc").json() == {"result": "OK"}
    assert http.get("/get/foo").json() == {"result": "a b/c"}


def test_the_body_of_a_path_form_is_the_last_argument_and_query_parameters_follow_it(
    http: httpx.Client, server: RunningServer
) -> None:
    assert http.post("/set/foo?EX=100", content="v").json() == {"result": "OK"}
    assert http.put("/set/foo?NX&_token=ignored", content="other").json() == {"result": None}
    assert (server.ask("GET", "foo"), server.ask("TTL", "foo")) == (b"v", 100)


def test_head_runs_the_command_and_answers_without_a_body(http: httpx.Client, server: RunningServer) -> None:
    answer = http.head("/incr/n")
    assert (answer.status_code, answer.content, server.ask("GET", "n")) == (200, b"", b"1")


def test_bytes_in_path_and_body_reach_the_engine_unchanged(http: httpx.Client, server: RunningServer) -> None:
    http.post("/set/%FF%00", content=b"\xfe\x00")
    assert server.ask("GET", b"\xff\x00") == b"\xfe\x00"


def test_a_json_body_carries_strings_numbers_and_booleans(http: httpx.Client, server: RunningServer) -> None:
    assert http.post("/", content=b'["RPUSH","l","a",1,1.50,true,12345678901234567890]').json() == {"result": 5}
    assert server.ask("LRANGE", "l", 0, -1) == [b"a", b"1", b"1.50", b"true", b"12345678901234567890"]


@pytest.mark.parametrize("body", ["", "{", '"GET"', "[]", '[""]', '["GET",null]', '["GET",["a"]]', '["SET","a",NaN]'])
def test_a_body_that_is_no_command_is_answered_400(http: httpx.Client, body: str) -> None:
    answer = http.post("/", content=body)
    assert answer.status_code == 400
    assert answer.json()["error"].startswith("ERR ")


def test_other_methods_are_answered_405(http: httpx.Client) -> None:
    assert [http.request(method, "/get/a").status_code for method in ("DELETE", "PATCH", "OPTIONS")] == [405] * 3


def test_a_request_beyond_ten_megabytes_is_refused(http: httpx.Client) -> None:
    answer = http.post("/set/big", content=b"x" * (10 * 1024 * 1024 + 1))
    text = "ERR max request size exceeded. Limit: 10485760 bytes, Actual: 10485761 bytes"
    assert (answer.status_code, answer.json()) == (400, {"error": text})


# Tokens


@pytest.mark.parametrize("header", [None, "Bearer wrong", "Bearer", "Basic t-secret", "Bearer \u00e9"])
def test_a_missing_or_wrong_token_is_answered_401(server: RunningServer, header: str | None) -> None:
    headers = [] if header is None else [(b"Authorization", header.encode("latin-1"))]
    answer = httpx.get(f"{server.url}/incr/n", headers=headers)
    assert (answer.status_code, answer.json()) == (401, {"error": "WRONGPASS invalid or missing auth token"})
    assert httpx.get(f"{server.url}/-/bill", headers=headers).status_code == 401
    assert server.ask("EXISTS", "n") == 0


def test_the_token_may_stand_in_the_query(server: RunningServer) -> None:
    assert httpx.get(f"{server.url}/set/a/b?_token={server.token}").json() == {"result": "OK"}


def test_the_read_only_token_reads_but_neither_writes_nor_lists_keys(server: RunningServer) -> None:
    server.ask("SET", "a", "1")
    with client_with(server.url, server.read_only_token) as reader:
        assert run(reader, "GET", "a") == {"result": "1"}
        assert run(reader, "EVAL_RO", "return redis.call('GET', KEYS[1])", 1, "a") == {"result": "1"}
        for command in (["SET", "a", "2"], ["EVAL", "return 1", 0], ["KEYS", "*"], ["SCAN", 0], ["PUBLISH", "c", "m"]):
            answer = reader.post("/", json=command)
            assert (answer.status_code, answer.json()["error"].split()[0]) == (400, "NOPERM")
        assert reader.post("/multi-exec", json=[["GET", "a"], ["INCR", "a"]]).json()["error"].startswith("NOPERM")
        assert reader.get("/-/bill").status_code == 401
    assert server.ask("GET", "a") == b"1"


# Replies


def test_base64_covers_every_string_but_ok_also_inside_arrays(http: httpx.Client) -> None:
    script = "return {'OK', 'a', {'\\255', false, 7}}"
    result = run(http, "EVAL", script, 0, **{"Upstash-Encoding": "base64"})
    assert result == {"result": ["OK", b64encode(b"a").decode(), [b64encode(b"\xff").decode(), None, 7]]}
    assert run(http, "PING", **{"Upstash-Encoding": "base64"}) == {"result": b64encode(b"PONG").decode()}


def test_without_base64_invalid_utf8_becomes_the_replacement_character(http: httpx.Client) -> None:
    http.post("/set/k", content=b"a\xffb")
    assert run(http, "GET", "k") == {"result": "a\ufffdb"}


def test_replies_keep_redis_own_shape(http: httpx.Client) -> None:
    run(http, "HSET", "h", "a", 1)
    run(http, "ZADD", "z", 1.5, "m")
    assert run(http, "HGETALL", "h") == {"result": ["a", "1"]}
    assert run(http, "ZRANGE", "z", 0, -1, "WITHSCORES") == {"result": ["m", "1.5"]}


@pytest.mark.parametrize(
    ("command", "error"),
    [
        (["GET"], "ERR wrong number of arguments for 'get' command"),
        (["INCR", "text"], "ERR value is not an integer or out of range"),
        (["LPUSH", "text", "x"], "WRONGTYPE Operation against a key holding the wrong kind of value"),
    ],
)
def test_a_failing_command_is_answered_400_with_redis_own_text(
    http: httpx.Client, server: RunningServer, command: list[str], error: str
) -> None:
    server.ask("SET", "text", "abc")
    answer = http.post("/", json=command)
    assert (answer.status_code, answer.json()) == (400, {"error": error})


@pytest.mark.parametrize(
    "command",
    """BLPOP a 0|blmove a b LEFT LEFT 0|XREAD BLOCK 0 STREAMS s 0|WATCH a|MULTI|EXEC|SUBSCRIBE c|MONITOR
    CLUSTER INFO|CLIENT LIST|SELECT 1|CONFIG GET maxmemory|CONFIG SET maxmemory 1""".replace("\n", "|").split("|"),
)
def test_a_command_the_rest_api_lacks_is_answered_400(http: httpx.Client, command: str) -> None:
    answer = http.post("/", json=command.split())
    assert answer.status_code == 400
    assert answer.json()["error"].startswith("ERR Command is not available: ")


def test_keyspace_events_are_the_one_setting(http: httpx.Client) -> None:
    assert run(http, "CONFIG", "GET", "notify-keyspace-events")["result"][0] == "notify-keyspace-events"
    assert run(http, "XREAD", "COUNT", 1, "STREAMS", "block", 0) == {"result": None}
    assert run(http, "COMMAND") == {"result": []}


def test_the_sync_token_changes_with_every_request_that_may_write(http: httpx.Client) -> None:
    paths = ("/get/a", "/get/a", "/set/a/1", "/get/a", "/set/a/1")
    first, again, written, read, rewritten = (http.get(path).headers["upstash-sync-token"] for path in paths)
    assert first == again
    assert written == read
    assert len({first, written, rewritten}) == 3


def test_resp2_answers_are_refused(http: httpx.Client) -> None:
    assert http.get("/get/a", headers={"Upstash-Response-Format": "resp2"}).status_code == 400


# Batches


def test_a_pipeline_answers_each_command_in_order_and_goes_on_after_an_error(http: httpx.Client) -> None:
    answer = http.post("/pipeline", json=[["SET", "a", "x"], ["INCR", "a"], ["BLPOP", "a", 0], ["NOPE"], ["GET", "a"]])
    elements = answer.json()
    assert answer.status_code == 200
    assert (elements[0], elements[4]) == ({"result": "OK"}, {"result": "x"})
    assert [set(element) for element in elements[1:4]] == [{"error"}] * 3


def test_a_transaction_goes_on_after_a_runtime_error(http: httpx.Client) -> None:
    answer = http.post("/multi-exec", json=[["SET", "a", "x"], ["INCR", "a"], ["GET", "a"]])
    error = {"error": "ERR value is not an integer or out of range"}
    assert (answer.status_code, answer.json()) == (200, [{"result": "OK"}, error, {"result": "x"}])


@pytest.mark.parametrize("bad", [["GET"], ["NOPE"], ["BLPOP", "a", 0], ["WATCH", "a"]])
def test_a_transaction_with_a_refused_command_answers_one_error_and_applies_nothing(
    http: httpx.Client, server: RunningServer, bad: list[object]
) -> None:
    answer = http.post("/multi-exec", json=[["SET", "a", "x"], bad])
    assert answer.status_code == 400
    assert answer.json()["error"].startswith("ERR ")
    assert server.ask("EXISTS", "a") == 0


@pytest.mark.parametrize("path", ["/pipeline", "/multi-exec"])
@pytest.mark.parametrize("body", ["", "[", "[]", "{}", "[[]]", '["GET","a"]'])
def test_a_batch_that_is_none_answers_one_error_object(http: httpx.Client, path: str, body: str) -> None:
    answer = http.post(path, content=body)
    assert answer.status_code == 400
    assert set(answer.json()) == {"error"}


async def test_nobody_sees_or_breaks_into_half_a_transaction(server: RunningServer) -> None:
    async with sdk(server) as redis:

        async def move() -> list[Any]:
            transaction = redis.multi()
            transaction.incr("n").incr("n").get("n")
            return list(await transaction.exec())

        results = await asyncio.gather(*(move() for _ in range(40)))
    assert sorted(results) == [[2 * n + 1, 2 * n + 2, str(2 * n + 2)] for n in range(40)]


# Upstash's own client


async def test_upstash_client_works_unchanged(server: RunningServer) -> None:
    async with sdk(server) as redis:
        assert await redis.set("k", "gr\u00fc\u00df", ex=60)
        assert await redis.get("k") == "gr\u00fc\u00df"
        await redis.hset("h", values={"a": "1", "b": "2"})
        assert await redis.hgetall("h") == {"a": "1", "b": "2"}
        pipeline = redis.pipeline()
        pipeline.incr("n").get("n")
        assert await pipeline.exec() == [1, "1"]
        with pytest.raises(UpstashError, match="WRONGTYPE"):
            await redis.lpush("k", "x")


async def test_a_script_with_upstash_flag_runs_under_the_digest_the_caller_knows(server: RunningServer) -> None:
    digest = sha1(FLAGGED.encode(), usedforsecurity=False).hexdigest()
    async with sdk(server) as redis:
        assert await redis.script_load(FLAGGED) == digest
        assert await redis.script_exists(digest) == [True]
        assert await redis.evalsha(digest, keys=["n"]) == 1
        assert await redis.eval(FLAGGED, keys=["n"]) == 2
        with pytest.raises(UpstashError, match=r":3:"):
            await redis.eval("#!lua flags=allow-key-locking\n\nerror('here')")
        with pytest.raises(UpstashError, match="read-only"):
            await redis.eval("#!lua flags=no-writes,allow-key-locking\nreturn redis.call('INCR', KEYS[1])", keys=["n"])


# The bill


@contextmanager
def monitored(server: RunningServer) -> Iterator[list[str]]:
    """Collects what MONITOR shows while the block runs."""
    lines: list[str] = []
    with socket.socket(socket.AF_UNIX) as watcher:
        watcher.connect(server.engine.socket_path)
        watcher.settimeout(10)
        stream = watcher.makefile("rwb")
        stream.write(b"MONITOR\r\n")
        stream.flush()
        assert stream.readline() == b"+OK\r\n"
        yield lines
        server.ask("ECHO", "the end")
        while b"the end" not in (line := stream.readline()):
            lines.append(line.decode())
        stream.close()


async def test_the_bill_of_a_script_is_the_script_and_what_monitor_shows_of_it(server: RunningServer) -> None:
    script = """for i = 1, 7 do redis.call('INCR', KEYS[1]) end
                redis.pcall('LPUSH', KEYS[1], 'wrong type')
                return redis.call('GET', KEYS[1])"""
    with monitored(server) as lines:
        async with sdk(server) as redis:
            assert await redis.eval(script, keys=["n"]) == "7"
    inner = sum(bool(re.search(r"\[\d+ lua\]", line)) for line in lines)
    bill = server.bill()
    assert (bill.calls, bill.outer, bill.inner, bill.billed) == (1, 1, inner, 1 + inner) == (1, 1, 9, 10)
    assert bill.by_command == {"eval": 1, "get": 1, "incr": 7, "lpush": 1}


def test_batches_are_billed_by_the_command_and_refusals_of_the_server_not_at_all(
    http: httpx.Client, server: RunningServer
) -> None:
    http.post("/pipeline", json=[["SET", "a", "1"], ["GET"], ["BLPOP", "a", 0]])
    http.post("/multi-exec", json=[["INCR", "a"], ["EVAL", "return redis.call('INCR', KEYS[1])", 1, "a"]])
    http.post("/multi-exec", json=[["INCR", "a"], ["GET"]])
    http.delete("/get/a")
    bill = server.bill()
    assert (bill.calls, bill.outer, bill.inner) == (4, 5, 1)
    assert bill.by_command == {"eval": 1, "get": 2, "incr": 2, "set": 1}


def test_looking_at_the_bill_costs_nothing_and_resetting_starts_over(http: httpx.Client, server: RunningServer) -> None:
    http.get("/incr/n")
    server.ask("INCR", "n")
    shown = {"calls": 1, "outer": 1, "inner": 0, "by_command": {"incr": 1}, "billed": 1}
    assert [http.get("/-/bill").json(), http.get("/-/bill").json()] == [shown, shown]
    assert http.post("/-/bill/reset").json()["billed"] == 0
    http.get("/get/n")
    assert server.bill().by_command == {"get": 1}


# Faults


@pytest.mark.parametrize(("fault", "applied"), [("drop_before", 0), ("apply_then_drop", 1)])
def test_a_dropped_connection_is_an_error_of_the_transport(
    http: httpx.Client, server: RunningServer, capfd: pytest.CaptureFixture[str], fault: str, applied: int
) -> None:
    http.get("/get/other")  # the connection that is dropped is one already in use
    server.inject(fault)
    with pytest.raises((httpx.RemoteProtocolError, httpx.ReadError)):
        http.get("/incr/n")
    assert server.ask("EXISTS", "n") == applied
    assert http.get("/incr/n").json() == {"result": applied + 1}
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize(("fault", "applied"), [("hang", 0), ("apply_then_hang", 1)])
async def test_others_are_served_while_one_request_hangs(server: RunningServer, fault: str, applied: int) -> None:
    hung = server.inject(fault, match="INCR n")
    async with sdk(server) as redis:
        waiting = asyncio.create_task(redis.incr("n"))
        while not hung.fired:
            await asyncio.sleep(0)
        assert await redis.incr("m") == 1
        assert not waiting.done()
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)
        assert await redis.get("n") == (str(applied) if applied else None)


def test_a_delayed_request_is_answered_normally(http: httpx.Client, server: RunningServer) -> None:
    server.inject(Fault.DELAY, seconds=0.02)
    answer = http.get("/incr/n")
    assert answer.json() == {"result": 1}
    assert answer.elapsed.total_seconds() >= 0.02


@pytest.mark.parametrize(("fault", "applied"), [("html_502", 0), ("apply_then_html_502", 1)])
def test_a_gateway_error_is_html(http: httpx.Client, server: RunningServer, fault: str, applied: int) -> None:
    server.inject(fault)
    answer = http.get("/incr/n")
    assert (answer.status_code, answer.headers["content-type"].split(";")[0]) == (502, "text/html")
    assert server.ask("EXISTS", "n") == applied


@pytest.mark.parametrize(
    ("fault", "status", "text", "reads"),
    [
        ("quota", 400, "ERR max requests limit exceeded. Limit: 500000, Usage: 500007", False),
        ("capacity", 400, "ERR DB capacity quota exceeded", True),
        ("read_only", 400, "NOPERM", True),
        ("wrong_token", 401, "WRONGPASS", False),
        ("throttled", 429, "Too Many Requests", False),
    ],
)
def test_a_refusing_fault_applies_nothing(
    http: httpx.Client, server: RunningServer, fault: str, status: int, text: str, reads: bool
) -> None:
    server.inject(fault, times=-1)
    for command in (["INCR", "n"], ["EVAL", "return redis.call('INCR', KEYS[1])", 1, "n"]):
        answer = http.post("/", json=command)
        assert answer.status_code == status
        assert text in answer.text
    assert text in http.post("/multi-exec", json=[["INCR", "n"]]).text
    assert (http.get("/get/n").status_code == 200) is reads
    server.clear_faults()
    assert http.get("/get/n").json() == {"result": None}


def test_a_fault_strikes_as_often_as_ordered_and_only_what_matches(http: httpx.Client, server: RunningServer) -> None:
    order = http.post("/-/faults", json={"fault": "throttled", "times": 2, "match": "SET a"}).json()
    assert order["fired"] == 0
    paths = ("/SET/a/1", "/SET/b/1", "/GET/a", "/SET/a/1", "/SET/a/1")
    assert [http.get(path).status_code for path in paths] == [429, 200, 200, 429, 200]
    http.post("/-/faults", json={"fault": "throttled", "times": -1})
    assert [shown["fired"] for shown in http.get("/-/faults").json()] == [0]
    assert http.delete("/-/faults").json() == http.get("/-/faults").json() == []
    assert http.post("/-/faults", json={"fault": "no such"}).status_code == 422


def test_a_seed_decides_which_requests_an_uncertain_fault_strikes(http: httpx.Client, server: RunningServer) -> None:
    def outcomes() -> list[int]:
        server.clear_faults()
        server.inject("throttled", times=-1, probability=0.5, seed=7)
        return [http.get("/get/a").status_code for _ in range(20)]

    first = outcomes()
    assert first == outcomes()
    assert set(first) == {200, 429}


# The engine and the process around it


def test_data_outlives_a_stop_when_a_directory_is_given(tmp_path: Path) -> None:
    with running_server(data_dir=tmp_path / "store") as running:
        httpx.get(f"{running.url}/set/k/v?_token={running.token}")
        with pytest.raises(EngineError, match="in use by another engine"):
            Engine(data_dir=tmp_path / "store").start()
    with running_server(data_dir=tmp_path / "store") as running:
        assert running.ask("GET", "k") == b"v"


def test_a_hanging_request_does_not_hold_up_the_stop() -> None:
    with socket.socket() as client:
        with running_server() as running:
            hung = running.inject("hang")
            client.connect(("127.0.0.1", int(running.url.rpartition(":")[2])))
            client.sendall(f"GET /get/a?_token={running.token} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
            while not hung.fired:
                os.sched_yield()
        assert client.recv(1) == b""


def test_an_engine_that_ends_or_stays_silent_says_so_with_its_log(tmp_path: Path) -> None:
    binary = tmp_path / "engine"
    for script, message in (("exit 1", "ended while starting"), ("exec sleep 60", "did not answer PING in time")):
        binary.write_text(f"#!/bin/sh\necho bad setting\n{script}\n")
        binary.chmod(0o755)
        with pytest.raises(EngineError, match=message) as raised:
            Engine(binary).start(deadline_seconds=0.2)
        assert "bad setting" in str(raised.value)


def test_stopping_twice_is_harmless() -> None:
    engine = Engine().start()
    engine.stop()
    engine.stop()
    with pytest.raises(EngineError, match="not running"):
        _ = engine.pid


def command_line(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "local.rest_server", *arguments]


def test_an_occupied_port_is_one_message_and_status_2() -> None:
    with socket.socket() as occupant:
        occupant.bind(("127.0.0.1", 0))
        occupant.listen()
        port = str(occupant.getsockname()[1])
        ended = subprocess.run(command_line("--port", port), cwd=ROOT, capture_output=True, text=True, check=False)
    assert ended.returncode == 2
    assert ended.stderr == f"rest_server: cannot listen on 127.0.0.1:{port}: Address already in use\n"


@pytest.mark.skipif(not hasattr(os, "pidfd_open"), reason="pidfd, to wait for a foreign process, is Linux only")
@pytest.mark.parametrize(("number", "status"), [(signal.SIGTERM, 0), (signal.SIGINT, 0), (signal.SIGKILL, -9)])
def test_the_engine_ends_with_the_server_however_that_ends(number: signal.Signals, status: int) -> None:
    environment = os.environ | {"UPSTASH_REDIS_REST_TOKEN": "t"}
    with subprocess.Popen(
        command_line("--port", "0"),
        cwd=ROOT,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None and process.stderr is not None
        url = process.stdout.readline().split()[-1]
        facts = httpx.get(f"{url}/info/server", headers={"Authorization": "Bearer t"}).json()["result"]
        engine = os.pidfd_open(int(re.search(r"process_id:(\d+)", facts)[1]))  # type: ignore[index]
        process.send_signal(number)
        assert process.wait(10) == status
        assert process.stderr.read() == ""
        assert select.select([engine], [], [], 10)[0] == [engine]
        os.close(engine)
