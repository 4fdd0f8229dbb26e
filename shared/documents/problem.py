"""An error as callers see it: a problem document (RFC 9457)."""

from typing import NotRequired, TypedDict

from shared.errors import Problem


class ProblemDocument(TypedDict):
    """RFC 9457's members, ``code``, ``retryable``, and ``field`` if it is known. A bug's document has no ``detail``."""

    type: str
    title: str
    status: int
    code: str
    detail: NotRequired[str]
    retryable: bool
    field: NotRequired[str]


def problem_document(problem: Problem, language: str = "en") -> ProblemDocument:
    """Returns the error's document, in this language if it has a translation."""
    title, detail = problem.translations.get(language, (problem.title, problem.detail))
    body: ProblemDocument = {
        "type": f"urn:sluice:problem:{problem.code}",
        "title": title,
        "status": problem.http_status,
        "code": problem.code,
        "detail": detail,
        "retryable": problem.retryable,
    }
    if problem.field is not None:
        body["field"] = problem.field
    return body
