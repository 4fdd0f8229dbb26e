"""The REST server's bill and its injected faults."""

import asyncio
import re
import socket
from collections.abc import Iterator
from contextlib import contextmanager

import httpx
import pytest

from local.rest_server.faults import Fault
from local.rest_server.running import RunningServer
from tests.local.rest_server.calls import run, sdk

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


async def test_the_bill_of_a_script_is_one_plus_the_commands_that_monitor_shows(server: RunningServer) -> None:
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


def test_batches_are_billed_by_the_command_and_the_servers_refusals_are_free(
    http: httpx.Client, server: RunningServer
) -> None:
    http.post("/pipeline", json=[["SET", "a", "1"], ["GET"], ["BLPOP", "a", 0]])
    http.post("/multi-exec", json=[["INCR", "a"], ["EVAL", "return redis.call('INCR', KEYS[1])", 1, "a"]])
    http.post("/multi-exec", json=[["INCR", "a"], ["GET"]])
    http.delete("/get/a")
    bill = server.bill()
    assert (bill.calls, bill.outer, bill.inner) == (4, 5, 1)
    assert bill.by_command == {"eval": 1, "get": 2, "incr": 2, "set": 1}


def test_reading_the_bill_is_free_and_a_reset_clears_it(http: httpx.Client, server: RunningServer) -> None:
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
        ("capacity", 400, "ERR DB capacity quota exceeded. Threshold: 268435456 bytes, Usage: 268979370 bytes.", True),
        ("read_only", 400, "NOPERM", True),
        ("wrong_token", 401, "WRONGPASS", False),
        ("throttled", 429, "Too Many Requests", False),
        ("json_429", 429, '{"error":"Too many requests"}', False),
        ("json_500", 500, '{"error":"Internal server error"}', False),
        ("interrupted", 400, "ERR Error running script: @user_script:7: ERR DB capacity quota exceeded", False),
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


def test_a_ping_is_answered_when_the_months_commands_are_used_up(http: httpx.Client, server: RunningServer) -> None:
    server.inject("quota", times=-1)
    assert run(http, "PING") == {"result": "PONG"}
    assert http.post("/multi-exec", json=[["PING"], ["GET", "n"]]).status_code == 400


def test_a_full_database_still_deletes(http: httpx.Client, server: RunningServer) -> None:
    http.get("/set/n/1")
    server.inject("capacity", times=-1)
    assert http.get("/del/n").json() == {"result": 1}
    assert http.get("/set/n/1").status_code == 400


def test_a_fault_strikes_as_often_as_ordered_and_only_matching_requests(
    http: httpx.Client, server: RunningServer
) -> None:
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
