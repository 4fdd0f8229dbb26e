"""What every refusal looks like: an RFC 9457 problem document."""

from typing import Any

import httpx


def problem(answer: httpx.Response, http_status: int, code: str) -> dict[str, Any]:
    """The problem document of an answer, which must have this status and code."""
    assert answer.status_code == http_status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    document: dict[str, Any] = answer.json()
    assert document["code"] == code and document["status"] == http_status
    return document
