"""The local REST server answers as Upstash documents."""

import asyncio
from base64 import b64encode
from hashlib import sha1
from typing import Any

import httpx
import pytest
from upstash_redis.errors import UpstashError

from local.rest_server.running import RunningServer
from tests.local.rest_server.calls import client_with, run, sdk

FLAGGED = "#!lua flags=allow-key-locking\nreturn redis.call('INCR', KEYS[1])"


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
def test_a_body_without_a_command_is_answered_400(http: httpx.Client, body: str) -> None:
    answer = http.post("/", content=body)
    assert answer.status_code == 400
    assert answer.json()["error"].startswith("ERR ")


def test_other_methods_are_answered_405(http: httpx.Client) -> None:
    assert [http.request(method, "/get/a").status_code for method in ("DELETE", "PATCH", "OPTIONS")] == [405] * 3


def test_a_request_beyond_ten_megabytes_is_refused(http: httpx.Client) -> None:
    answer = http.post("/set/big", content=b"x" * (10 * 1024 * 1024 + 1))
    text = "ERR max request size exceeded. Limit: 10485760 bytes, Actual: 10485761 bytes"
    assert (answer.status_code, answer.json()) == (400, {"error": text})


def test_an_answer_beyond_ten_megabytes_is_refused_though_its_command_is_applied(
    http: httpx.Client, server: RunningServer
) -> None:
    server.ask("EVAL", "redis.call('SET', KEYS[1], string.rep('x', 10485760))", 1, "big")
    text = "ERR max request size exceeded. Limit: 10485760 bytes, Actual: 10485773 bytes"
    answer = http.post("/", json=["GETDEL", "big"])
    assert (answer.status_code, answer.json()) == (400, {"error": text})
    assert server.ask("EXISTS", "big") == 0


@pytest.mark.parametrize(
    "command",
    [["SET", "{}", "v"], ["MGET", "a", "{}"], ["EVAL", "return 1", 1, "{}"], ["XREAD", "STREAMS", "{}", "0"]],
)
def test_a_key_beyond_32_kilobytes_is_refused_and_a_value_is_not(http: httpx.Client, command: list[object]) -> None:
    def sent(size: int) -> list[object]:
        return [word.format("k" * size) if isinstance(word, str) else word for word in command]

    text = "ERR max key size exceeded. Limit: 32768 bytes, Actual: 32769 bytes"
    answer = http.post("/", json=sent(32769))
    assert (answer.status_code, answer.json()) == (400, {"error": text})
    assert http.post("/multi-exec", json=[["SET", "a", "v"], sent(32769)]).json() == {"error": text}
    assert http.post("/pipeline", json=[["EXISTS", "a"], sent(32769)]).json() == [{"result": 0}, {"error": text}]
    assert http.post("/", json=sent(32768)).status_code == 200
    assert run(http, "SET", "a", "v" * 32769) == {"result": "OK"}


# Tokens


@pytest.mark.parametrize("header", [None, "Bearer wrong", "Bearer", "Basic t-secret", "Bearer \u00e9"])
def test_a_missing_or_wrong_token_is_answered_401(server: RunningServer, header: str | None) -> None:
    headers = [] if header is None else [(b"Authorization", header.encode("latin-1"))]
    answer = httpx.get(f"{server.url}/incr/n", headers=headers)
    assert (answer.status_code, answer.json()) == (401, {"error": "WRONGPASS invalid or missing auth token"})
    assert httpx.get(f"{server.url}/-/bill", headers=headers).status_code == 401
    assert server.ask("EXISTS", "n") == 0


def test_the_token_may_be_in_the_query(server: RunningServer) -> None:
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


def test_base64_covers_every_string_except_ok_also_inside_arrays(http: httpx.Client) -> None:
    script = "return {'OK', 'a', {'\\255', false, 7}}"
    result = run(http, "EVAL", script, 0, **{"Upstash-Encoding": "base64"})
    assert result == {"result": ["OK", b64encode(b"a").decode(), [b64encode(b"\xff").decode(), None, 7]]}
    assert run(http, "PING", **{"Upstash-Encoding": "base64"}) == {"result": b64encode(b"PONG").decode()}


def test_without_base64_invalid_utf8_becomes_the_replacement_character(http: httpx.Client) -> None:
    http.post("/set/k", content=b"a\xffb")
    assert run(http, "GET", "k") == {"result": "a\ufffdb"}


def test_replies_have_the_shape_of_redis(http: httpx.Client) -> None:
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
def test_a_failing_command_is_answered_400_with_the_text_of_redis(
    http: httpx.Client, server: RunningServer, command: list[str], error: str
) -> None:
    server.ask("SET", "text", "abc")
    answer = http.post("/", json=command)
    assert (answer.status_code, answer.json()) == (400, {"error": error})


@pytest.mark.parametrize(
    "command",
    """BLPOP a 0|blmove a b LEFT LEFT 0|XREAD BLOCK 0 STREAMS s 0|WATCH a|MULTI|EXEC|SUBSCRIBE c|MONITOR
    CLUSTER INFO|CLIENT LIST|SELECT 1|CONFIG GET maxmemory|CONFIG SET maxmemory 1
    NOPE|nope a""".replace("\n", "|").split("|"),
)
def test_a_command_the_rest_api_lacks_is_answered_400(http: httpx.Client, command: str) -> None:
    answer = http.post("/", json=command.split())
    assert answer.status_code == 400
    page = "https://upstash.com/docs/redis/overall/compatibility"
    assert answer.json() == {"error": f"ERR Command is not available: '{command.split()[0]}'. See {page} for details"}


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


def test_an_argument_that_is_null_is_refused(http: httpx.Client) -> None:
    assert run(http, "SET", "a", None) == {"error": "ERR null args are not supported"}


# Scripts


def test_an_unknown_script_is_answered_as_upstash_does(http: httpx.Client) -> None:
    text = {"error": "NOSCRIPT No matching script. Please use EVAL."}
    assert run(http, "EVALSHA", "0" * 40, 0) == text
    assert http.post("/pipeline", json=[["EVALSHA", "0" * 40, 0]]).json() == [text]
    assert http.post("/multi-exec", json=[["EVALSHA", "0" * 40, 0]]).json() == [text]


@pytest.mark.parametrize("first", ["-- no flag", "#!lua flags=allow-key-locking"])
@pytest.mark.parametrize(
    ("rest", "text"),
    [
        ("local n = redis.call('INCR', KEYS[1])", "ERR value is not an integer or out of range"),
        ("redis.call('LPUSH', KEYS[1], 'x')", "WRONGTYPE Operation against a key holding the wrong kind of value"),
        ("error('here')", "here"),
        ("error({ err = 'MINE text' })", "MINE text"),
        ("local none = nil; return none.field", "attempt to index local 'none' (a nil value)"),
    ],
)
def test_an_error_in_a_script_names_its_line_in_upstashs_form(
    http: httpx.Client, server: RunningServer, first: str, rest: str, text: str
) -> None:
    server.ask("SET", "k", "text")
    answer = http.post("/", json=["EVAL", f"{first}\n\n{rest}", 1, "k"])
    shown = f"ERR Error running script: @user_script:3: {text} stack traceback: [G]: in function 'call'"
    assert (answer.status_code, answer.json()) == (400, {"error": shown})


def test_an_error_that_a_script_returns_is_answered_as_it_is(http: httpx.Client) -> None:
    assert run(http, "EVAL", "return redis.error_reply('MINE text')", 0) == {"error": "MINE text"}


def test_a_script_that_the_engines_memory_refuses_is_no_error_inside_it(
    http: httpx.Client, server: RunningServer
) -> None:
    server.ask("CONFIG", "SET", "maxmemory", "1")
    try:
        refused = run(http, "EVAL", "return redis.call('SET', KEYS[1], 'v')", 1, "k")
    finally:
        server.ask("CONFIG", "SET", "maxmemory", "0")
    assert refused["error"].startswith("OOM command not allowed")


LOCKING = "#!lua flags=allow-key-locking\n"


@pytest.mark.parametrize(
    ("script", "stray"),
    [
        ("local n = redis.call('GET', KEYS[1]); return redis.call('GET', 'other')", "other"),
        ("return redis.call('DEL', KEYS[1], ARGV[1])", "argument"),
        ("local moved = redis.call('RENAME', KEYS[1], KEYS[1] .. ':2'); return moved", "k:2"),
        ("return redis.call('EVAL', 'return 1', 1, 'inner')", "inner"),
        ("local a = redis.pcall('SET', KEYS[1], 'changed'); return redis.pcall('SET', 'other', 'v')", "other"),
    ],
)
def test_with_key_locking_a_key_that_is_not_declared_is_refused(
    http: httpx.Client, server: RunningServer, script: str, stray: str
) -> None:
    server.ask("SET", "k", "v")
    text = f"ERR Dynamic keys are not allowed in Lua scripts when 'allow-key-locking' flag is set. Key was: {stray}"
    digest = run(http, "SCRIPT", "LOAD", LOCKING + script)["result"]
    for command in (["EVAL", LOCKING + script], ["EVALSHA", digest]):
        answer = http.post("/", json=[*command, 1, "k", "argument"])
        assert answer.status_code == 400 and text in answer.json()["error"]
    assert server.ask("EXISTS", "k", "other", "k:2") == 1
    assert "Dynamic keys" not in str(run(http, "EVAL", script, 1, "k", "argument"))


def test_with_key_locking_declared_keys_and_commands_without_keys_work_and_cost_the_same(
    http: httpx.Client, server: RunningServer
) -> None:
    script = """redis.call('HSET', KEYS[2], 'at', redis.call('TIME')[1])
    redis.pcall('INCR', KEYS[1])
    return { redis.call('EXISTS', KEYS[1], KEYS[2]), redis.sha1hex('') ~= nil, redis.call('PING') }"""
    bills = []
    for text in (script, LOCKING + script):
        server.flush()
        server.reset_bill()
        assert run(http, "EVAL", text, 2, "k", "h") == {"result": [2, 1, "PONG"]}
        bills.append(server.bill())
    assert bills[0] == bills[1]


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
def test_a_malformed_batch_is_answered_with_one_error_object(http: httpx.Client, path: str, body: str) -> None:
    answer = http.post(path, content=body)
    assert answer.status_code == 400
    assert set(answer.json()) == {"error"}


async def test_transactions_do_not_interleave(server: RunningServer) -> None:
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


async def test_a_script_with_upstashs_flag_keeps_the_digest_of_its_text(server: RunningServer) -> None:
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
