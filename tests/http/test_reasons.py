"""Each refusal, pause and 503 leaves a line with its reason, and no flood of them floods the log."""

import inspect
import json
import logging
from collections.abc import AsyncIterator, Iterator
from typing import Any

import httpx
import pytest
import structlog
from structlog.testing import capture_logs

import shared.access.errors
import shared.mail.errors
import shared.rates.errors
import shared.store.refusals
import shared.verification.errors
from local.rest_server.running import RunningServer
from shared.budget import Budget
from shared.clock import SystemClock
from shared.config.rates import Rate
from shared.egress import Guard
from shared.errors import (
    BudgetExceeded,
    FixedProblem,
    LookupFailed,
    Problem,
    RangeRefused,
    StoreError,
    StoreScriptError,
    UserLimitReached,
)
from shared.hooks.address import check_hook_url
from shared.log import GAP, MAX_KINDS, Repeats
from shared.providers.base import Throttled
from shared.rates.quota import Quota
from shared.requests.refusals import Refusals
from shared.storage.bucket import StorageError
from tests.http.calls import BODY, problem
from tests.world import AUTH, World, http_client, make_world

RATE = Rate(10, "minute")
MADE: dict[str, Problem] = {
    "RangeRefused": RangeRefused(10),
    "BudgetExceeded": BudgetExceeded("user", "day", 9),
    "UserLimitReached": UserLimitReached(3, 3),
    "RateLimited": shared.rates.errors.RateLimited(Quota("user", RATE, 0, 9, is_refused=True)),
    "VerificationLimited": shared.verification.errors.VerificationLimited("day", 9),
    "ScopeMissing": shared.access.errors.ScopeMissing("submit"),
}
UNAVAILABLE = ("queue_full", "storage_unavailable", "lookup_failed", "mail_unavailable", "token_keys_unavailable")


def kinds_of(kind: type[Problem]) -> Iterator[type[Problem]]:
    for each in kind.__subclasses__():
        if hasattr(each, "code"):
            yield each
        yield from kinds_of(each)


def made(kind: type[Problem]) -> Problem:
    """An error of this class, with a cause."""
    known = MADE.get(kind.__name__)
    if known is not None:
        return known
    if issubclass(kind, FixedProblem):
        return kind().because("the-cause")
    return kind("Said of it.").because("the-cause")


KINDS = sorted(set(kinds_of(Problem)), key=lambda kind: kind.__name__)


@pytest.fixture
async def lines(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[list[Any]]:
    """What is logged at each level."""
    from functions.index import app

    monkeypatch.setitem(app.state._state, "refusals", Refusals(lambda: "secret"))
    saved = structlog.get_config()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.DEBUG))
    with capture_logs() as written:
        yield written
    structlog.configure(**saved)


def plain_client() -> httpx.AsyncClient:
    """A client that takes answers which no operation announces."""
    from functions.index import app

    transport = httpx.ASGITransport(app=app)
    return httpx.AsyncClient(transport=transport, base_url="http://sluice.test", headers=AUTH)


def reasons(lines: list[Any]) -> list[Any]:
    return [line for line in lines if line["event"] in ("refused", "unavailable")]


def test_the_walk_meets_every_error_that_the_code_defines() -> None:
    codes = {kind.code for kind in KINDS}
    assert len(codes) > 35 and {*UNAVAILABLE, "store_uncertain", "user_limit_reached", "invalid_request"} <= codes


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
async def test_each_error_is_logged_with_its_reason(
    kind: type[Problem], lines: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    error = made(kind)

    async def refuses(*_: object, **__: object) -> None:
        raise error

    async with make_world(None, SystemClock()) as world, plain_client() as client:
        monkeypatch.setattr(world.runtime.listing, "jobs", refuses)
        answer = await client.get("/api/jobs")
    (line,) = reasons(lines)
    status = answer.status_code
    assert (line["code"], line["reason"], line["count"]) == (error.code, error.detail, 1)
    assert line.get("cause", "") == error.cause
    assert line["event"] == ("unavailable" if status >= 500 else "refused")
    assert line["log_level"] == ("warning" if status in (401, 403, 429, 503) else "info")
    if "kind" not in line:
        assert (line["caller"], line["call"], line["status"]) == ("app", "GET /api/jobs", status)


async def test_a_flood_of_refusals_is_one_line_in_ten_seconds_with_their_count(
    valkey: RunningServer, lines: list[Any]
) -> None:
    from functions.index import app

    now = [0.0]
    app.state.refusals = Refusals(lambda: "secret", lambda: now[0])
    async with make_world(valkey, SystemClock(), max_user_tasks=1), http_client(**AUTH) as client:
        for user in range(5):
            for _ in range(7):
                answer = await client.post("/api/submit", json=BODY | {"user_id": f"flood-{user}"})
        assert answer.status_code == 429
        (first,) = reasons(lines)
        now[0] = GAP
        assert (await client.post("/api/submit", json=BODY | {"user_id": "flood-0"})).status_code == 429
    first, second = reasons(lines)
    assert (first["count"], first["code"], first["field"]) == (1, "user_limit_reached", "user_id")
    assert second["count"] > 20 and "flood" not in json.dumps(reasons(lines))


def test_a_kind_is_written_anew_after_a_while_and_the_kinds_are_bounded() -> None:
    now = [0.0]
    repeats = Repeats(lambda: now[0])
    assert [repeats.count("a") for _ in range(4)] == [1, 0, 0, 0] and repeats.count("b") == 1
    now[0] = GAP
    assert (repeats.count("a"), repeats.count("a"), repeats.count("b")) == (4, 0, 1)
    for n in range(5 * MAX_KINDS):
        now[0] += GAP / 100
        repeats.count("c", str(n))
    assert len(repeats._kinds) <= MAX_KINDS + 1


def test_beyond_the_kinds_that_are_told_apart_the_rest_is_one_line() -> None:
    now = [0.0]
    repeats = Repeats(lambda: now[0])
    written = [repeats.count("a", str(n)) for n in range(5 * MAX_KINDS)]
    assert sum(map(bool, written)) == MAX_KINDS + 1
    now[0] = GAP
    assert repeats.count("a", "0") == 1, "a kind that was told apart still is"
    assert repeats.count("b") == 1, "the oldest has made room"


DEEP: Any = 1
for _ in range(20):
    DEEP = [DEEP]


@pytest.mark.parametrize(
    "more",
    [
        {"made_up": 1},
        {"made_up": DEEP},
        {"made_up": "\ud800"},
        {"metadata": {"made_up": DEEP}},
        {"made_up" * 500: DEEP},
    ],
    ids=["unknown", "deep", "surrogate", "inside", "long"],
)
async def test_a_field_that_the_caller_made_up_is_not_logged(
    valkey_world: World, lines: list[Any], more: dict[str, Any]
) -> None:
    async with http_client(**AUTH) as client:
        sent = AUTH | {"Content-Type": "application/json"}
        answer = await client.post("/api/submit", content=json.dumps(BODY | more), headers=sent)
        problem(answer, 422, "invalid_request")
    (line,) = reasons(lines)
    assert line.get("field") == ("metadata" if "metadata" in more else None) and "made_up" not in json.dumps(line)


@pytest.mark.parametrize(("name", "logged"), [("made_up", None), ("limit", "limit")])
async def test_a_parameter_given_twice_is_logged_if_it_is_a_known_one(
    valkey_world: World, lines: list[Any], name: str, logged: str | None
) -> None:
    async with http_client(**AUTH) as client:
        problem(await client.get(f"/api/jobs?{name}=1&{name}=2"), 422, "invalid_request")
    (line,) = reasons(lines)
    assert line.get("field") == logged and "made_up" not in json.dumps(line)


async def test_storage_that_fails_is_named_with_what_failed(lines: list[Any], monkeypatch: pytest.MonkeyPatch) -> None:
    async def fails(*_: object) -> None:
        raise StorageError("head: PermissionDeniedError AccessDenied")

    async with make_world(None, SystemClock(), storage_url="memory://reasons") as world, http_client() as client:
        url = world.runtime.bucket.url("results/x.mp4", world.clock.now())
        monkeypatch.setattr(world.runtime.bucket, "size", fails)
        problem(await client.get(url), 503, "storage_unavailable")
    (line,) = reasons(lines)
    assert line["cause"] == "head: PermissionDeniedError AccessDenied" and line["caller"] == "link"
    assert line["call"] == "GET /api/files/{key:path}"


async def test_a_hook_that_cannot_be_looked_up_is_named_by_its_domain_alone() -> None:
    async def fails(*_: object) -> list[str]:
        raise TimeoutError

    with pytest.raises(LookupFailed) as failed:
        await check_hook_url("https://as-good-as-a-password.hooks.example/x?token=y", Guard(resolver=fails))
    assert failed.value.cause == "hooks.example: lookup"


@pytest.mark.parametrize(
    ("fault", "cause"),
    [
        ("quota", "request_quota"),
        ("wrong_token", "token"),
        ("drop_before", "127.0.0.1: AnswerLost"),
        ("html_502", "the store answered with an error status"),
    ],
)
async def test_each_503_of_the_store_has_its_cause_in_both_lines(
    valkey: RunningServer, lines: list[Any], fault: str, cause: str
) -> None:
    async with make_world(valkey, SystemClock()), http_client(**AUTH) as client:
        valkey.inject(fault, times=20)
        answers = [await client.get("/api/status/job_" + "0" * 32) for _ in range(3)]
        valkey.clear_faults()
    assert {answer.status_code for answer in answers} == {503}
    (line,) = reasons(lines)
    assert line["cause"] == cause and line["event"] == "unavailable"
    (failed,) = [line for line in lines if line["event"] == "store_failed"]
    assert cause in (failed.get("cause"), failed.get("refusal")) and failed["count"] == 1


async def test_lost_answers_of_the_store_are_one_line_in_ten_seconds(valkey: RunningServer, lines: list[Any]) -> None:
    async with make_world(valkey, SystemClock()), http_client(**AUTH) as client:
        for _ in range(5):
            valkey.inject("html_502", times=1)
            await client.get("/api/status/job_" + "0" * 32)
        valkey.clear_faults()
    (line,) = [line for line in lines if line["event"] == "store_repeat"]
    assert line["count"] == 1


async def test_errors_of_a_script_are_one_line_in_ten_seconds(
    lines: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fails(*_: object, **__: object) -> None:
        raise StoreScriptError("a text")

    async with make_world(None, SystemClock()) as world, plain_client() as client:
        monkeypatch.setattr(world.runtime.listing, "jobs", fails)
        for _ in range(5):
            await client.get("/api/jobs")
    assert len([line for line in lines if line["event"] == "store_script_error"]) == 1


@pytest.mark.parametrize(
    ("refusal", "is_pause"),
    [(Throttled("rate_limited", 30.0, 429), True), (Throttled("provider_down", 2.0), False)],
    ids=["pause", "unreachable"],
)
async def test_a_submission_that_the_provider_refuses_says_why_and_for_how_long(
    valkey_world: World, lines: list[Any], refusal: Throttled, is_pause: bool
) -> None:
    valkey_world.provider.outcomes = [refusal]
    job = await valkey_world.enqueue()
    await valkey_world.runtime.dispatcher.run(Budget(60))
    (line,) = [line for line in lines if line["event"] == "provider_refused"]
    assert (line["provider"], line["job"], line["code"], line["status"]) == (
        "replicate", job, refusal.code, refusal.status,
    )  # fmt: skip
    assert line["is_pause"] is is_pause and refusal.retry_after <= line["seconds"] <= 1.25 * refusal.retry_after + 1


def test_each_503_that_is_raised_has_a_cause_or_a_reason_of_its_own() -> None:
    """An error without arguments says the same each time, so its cause must be added where it is raised."""
    fixed = [kind.__name__ for kind in KINDS if issubclass(kind, FixedProblem) and kind.http_status == 503]
    assert len(fixed) >= 6
    from tests.project import ROOT

    bare = []
    for path in (ROOT / "shared").rglob("*.py"):
        for line in path.read_text().splitlines():
            text = line.strip()
            if text.startswith("raise ") and any(f"raise {name}" in text for name in fixed) and ".because(" not in text:
                bare.append(f"{path.name}: {text}")
    assert bare == []
    assert inspect.signature(StoreError).parameters  # the store's errors take their reason
