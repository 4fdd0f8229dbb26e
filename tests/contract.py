"""Checks each answer of an HTTP test against its operation in shared/operations.py."""

import functools
import json
import re
from typing import Any

import httpx
from pydantic import TypeAdapter

from shared.documents.problem import ProblemDocument
from shared.errors import PROBLEM_JSON
from shared.operations import OPERATIONS, Operation

# Answers of any route before its function is reached, or after it has failed.
ALWAYS = {"not_found": 404, "method_not_allowed": 405, "internal_error": 500}
answered: set[tuple[str, str]] = set()  # method and path of each operation that has answered with a success


class CheckedTransport(httpx.ASGITransport):
    """Calls the application in this process and checks its answers."""

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        response = await super().handle_async_request(request)
        await response.aread()
        operation = operation_of(request.method, request.url.path)
        if operation is not None:
            check(operation, response)
        return response


def operation_of(method: str, path: str) -> Operation | None:
    """The operation of a request; None if there is none."""
    for operation in OPERATIONS:
        if operation.method == method and _pattern(operation.path).fullmatch(path):
            return operation
    return None


def check(operation: Operation, response: httpx.Response) -> None:
    """Fails unless the answer is one that the operation announces."""
    name, status = f"{operation.method} {operation.path}", response.status_code
    if operation.method == "HEAD" and status not in operation.answers:
        return  # an error without a body, which GET answers with one
    if response.headers.get("content-type") == PROBLEM_JSON:
        document = same(ProblemDocument, response.content, name)
        codes = {error.code for error in operation.refuses_with} | set(ALWAYS)
        assert document["code"] in codes, f"{name} does not announce {document['code']}"
        assert document["status"] == status
        return
    assert status in operation.answers, f"{name} does not announce {status}"
    answered.add((operation.method, operation.path))
    model = operation.answers[status]
    if model is not None:
        assert response.headers["content-type"] == "application/json"
        same(model, response.content, name)


def same(model: Any, body: bytes, name: str) -> dict[str, Any]:
    """The document, which the model must describe completely: an unknown member would be lost."""
    document: dict[str, Any] = json.loads(body)
    assert _adapter(model).validate_python(document, strict=True) == document, f"{name} answers more than its model has"
    return document


@functools.cache
def _adapter(model: Any) -> TypeAdapter[Any]:
    return TypeAdapter(model)


@functools.cache
def _pattern(path: str) -> re.Pattern[str]:
    """A route's path as an expression; a name with ``:path`` takes slashes, too."""
    parts = re.split(r"\{\w+(:path)?\}", path)
    wild = [".+" if kind else "[^/]+" for kind in parts[1::2]]
    fixed = [re.escape(part) for part in parts[::2]]
    return re.compile("".join(a + b for a, b in zip(fixed, [*wild, ""], strict=True)), re.DOTALL)
