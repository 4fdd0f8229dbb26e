"""The routes of single functions: what they answer is what the composed application answers."""

from types import ModuleType

import httpx
import pytest

from tests.http.calls import problem
from tests.world import AUTH, World

METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE")
BESIDE = ("", "/", "/more")  # behind a path; only the first is a route


def modules() -> tuple[ModuleType, ...]:
    from functions.index import FUNCTIONS

    return FUNCTIONS


async def answer_of(module: ModuleType, method: str, path: str) -> tuple[int, bytes, dict[str, str]]:
    transport = httpx.ASGITransport(app=module.app, raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="https://sluice.test") as client:
        answer = await client.request(method, path)
    return answer.status_code, answer.content, dict(answer.headers)


async def test_a_function_alone_answers_as_the_composed_application(world: World) -> None:
    from functions import index

    seen = set()
    for module in modules():
        for path in {path.replace("{", "").replace("}", "") for _, path in module.router.operations()}:
            for method in METHODS:
                for beside in BESIDE:
                    alone = await answer_of(module, method, path + beside)
                    assert alone == await answer_of(index, method, path + beside), (method, path + beside)
                    seen.add(alone[0])
    assert {401, 404, 405} <= seen


async def test_a_405_names_each_method_of_its_path(world: World) -> None:
    from functions import index

    for module in modules():
        known: dict[str, set[str]] = {}
        for method, path in module.router.operations():
            known.setdefault(path, set()).update({method, "HEAD"} if method == "GET" else {method})
        for path, methods in known.items():
            status, _, headers = await answer_of(index, "OPTIONS", path.replace("{", "").replace("}", ""))
            assert (status, set(headers["allow"].split(", "))) == (405, methods), path


async def test_a_bug_in_a_single_function_is_a_problem_document(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    from functions import jobs

    async def breaks(*_: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(world.runtime.listing, "jobs", breaks)
    transport = httpx.ASGITransport(app=jobs.app, raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="https://sluice.test", headers=AUTH) as client:
        problem(await client.get("/api/jobs"), 500, "internal_error")
