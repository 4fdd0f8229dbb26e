"""Each operation gets requests that schemathesis makes from the API's description: valid ones and invalid ones.

They come with every kind of credential, and with the ids of other users' jobs. tests/contract.py checks that each
answer is one that shared/operations.py announces.
"""

import random
from collections.abc import Iterator
from functools import cache
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, note, settings
from hypothesis import strategies as st
from schemathesis import Case, GenerationMode

from local.rest_server.running import RunningServer
from local.simulator.running import RunningSimulator
from shared.access.caller import Role
from shared.errors import PROBLEM_JSON
from shared.operations import OPERATIONS, STORE, Operation
from tests import contract
from tests.fuzz.schema import described, path_of
from tests.fuzz.sending import Sent
from tests.fuzz.stage import MARK, OTHERS, STRANGERS, Stage, opened_stage

SAMPLE, MANY = 6, 60  # requests to each operation
OF_STORE = {error.code for error in STORE}
FITTING = {
    Role.APPLICATION: "key", Role.OPERATOR: "operator", Role.PROVIDER: "signed", Role.LINK: "signed",
    Role.SCHEDULER: "processor", Role.QSTASH: "processor", Role.ANYONE: "none",
}  # fmt: skip


@pytest.fixture(scope="module")
def stage(valkey: RunningServer, simulator: RunningSimulator) -> Iterator[Stage]:
    with opened_stage(valkey, simulator) as made:
        yield made


@cache
def schema() -> schemathesis.BaseSchema:
    return schemathesis.openapi.from_dict(described())


def requests_of(operation: Operation) -> st.SearchStrategy[Case[Any]]:
    """Valid and invalid requests; invalid ones exist where something is read."""
    made = schema()[path_of(operation)][operation.method]
    valid = made.as_strategy(generation_mode=GenerationMode.POSITIVE)
    if operation.body is None and operation.query is None and not operation.numbers:
        return valid
    return st.one_of(valid, made.as_strategy(generation_mode=GenerationMode.NEGATIVE))


async def judge(stage: Stage, operation: Operation, request: Sent, kind: str) -> None:
    if not await stage.is_whole():
        await stage.fresh()
    answer = await stage.client.request(
        operation.method, request.url, content=request.content or None, headers=request.headers
    )
    stage.sent += 1
    shown = f"{answer.headers.multi_items()} {answer.text}"
    assert answer.status_code != 500, answer.text
    if answer.headers.get("content-type") == PROBLEM_JSON:
        assert {text for text in request.texts if text in shown} == set()
        document = answer.json() if operation.method != "HEAD" else {"code": "", "type": "urn:sluice:problem:"}
        assert document["type"] == f"urn:sluice:problem:{document['code']}"
        assert document["code"] not in OF_STORE, "the store is well, so it was asked for what it cannot do"
    if kind in STRANGERS:
        hidden = {MARK, *stage.of_ada} if answer.is_success else {MARK}  # a refusal may be of the id that was sent
        assert {text for text in hidden if text in shown} == set()
        assert await stage.is_whole(), "another user's job was changed"


def fuzz(stage: Stage, operation: Operation, count: int) -> None:
    """Sends so many requests. A few are most times of other users, many of each kind of credential."""
    stage.runner.run(stage.fresh())
    fitting = FITTING[operation.roles[-1]]
    few = ("bob", "other key", fitting)
    kinds = few if count == SAMPLE else (*STRANGERS, *OTHERS, *few * 4)

    @settings(
        max_examples=count, deadline=None, database=None, derandomize=True, phases=[Phase.generate, Phase.shrink],
        suppress_health_check=list(HealthCheck),
    )  # fmt: skip
    @given(requests_of(operation), st.integers(0, 2**32))
    def run(case: Case[Any], number: int) -> None:
        # Of the whole request: Hypothesis likes to repeat a simple value, and so would most times name one credential.
        luck = random.Random(f"{number} {case.path_parameters} {case.query} {case.headers} {case.body!r}")
        kind = luck.choice(kinds)
        request = Sent(stage, operation, case, kind, luck)
        note(f"{kind}: {operation.method} {request.url} {request.headers} {request.content!r}")
        stage.runner.run(judge(stage, operation, request, kind))

    run()


def named(operation: Operation) -> str:
    return f"{operation.method} {operation.path}"


@pytest.mark.parametrize("operation", OPERATIONS, ids=named)
def test_no_request_breaks_an_operation_shows_what_was_sent_or_reaches_another_user(
    stage: Stage, operation: Operation
) -> None:
    before = stage.sent
    fuzz(stage, operation, SAMPLE)
    assert stage.sent - before >= SAMPLE


@pytest.mark.exhaustive
@pytest.mark.timeout(300)
def test_many_more_requests_do_neither_and_most_operations_take_some(stage: Stage) -> None:
    contract.answered.clear()
    before = stage.sent
    for operation in OPERATIONS:
        fuzz(stage, operation, MANY)
    assert stage.sent - before > 3000
    # Some take none: no submission is unknown, no event was sent, no job failed, and a time or a code seldom fits.
    never = {(one.method, one.path) for one in OPERATIONS} - contract.answered
    assert len(never) < len(OPERATIONS) / 3, sorted(never)
