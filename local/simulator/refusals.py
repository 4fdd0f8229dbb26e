"""The error answers of the API, as published or observed."""

from typing import Any

from fastapi import Request
from fastapi.responses import HTMLResponse, JSONResponse, Response

ENVELOPED = "/api/v3"
"""The prefix of the routes whose answers are envelopes."""


class Refusal(Exception):
    """The request is answered with an error status."""

    def __init__(self, status: int, title: str, detail: str, retry_after: int | None = None) -> None:
        super().__init__(detail)
        self.status = status
        self.body: dict[str, Any] = {"title": title, "detail": detail, "status": status}
        self.retry_after = retry_after


def unauthenticated() -> Refusal:
    """Returns the 401 of a missing or wrong token."""
    return Refusal(401, "Unauthenticated", "You did not pass a valid authentication token")


def not_found() -> Refusal:
    """Returns the 404 of an unknown prediction, model or deployment."""
    return Refusal(404, "Not found", "The requested resource could not be found.")


def invalid(detail: str) -> Refusal:
    """Returns the 422 of an invalid request."""
    return Refusal(422, "Input validation failed", detail)


def throttled(resets_in_s: int, retry_after: int | None = None) -> Refusal:
    """Returns the 429 of Replicate's rate limits page, which gives the waiting time in its text only.

    Accounts with little credit were seen to get title, status and `retry_after` as well; so here with `retry_after`.
    """
    refusal = Refusal(
        429, "Too Many Requests", f"Request was throttled. Your rate limit resets in ~{resets_in_s}s.", retry_after
    )
    if retry_after is None:
        refusal.body = {"detail": refusal.body["detail"]}
    else:
        refusal.body["retry_after"] = retry_after
    return refusal


def chosen(create: str, retry_after: int | None) -> Refusal:
    """Returns the refusal that a behaviour's `create` names."""
    if create == "429":
        return throttled(30 if retry_after is None else retry_after, retry_after)
    return {
        "401": unauthenticated(),
        "402": Refusal(
            402,
            "Insufficient credit",
            "You have insufficient credit to run this model. "
            "Go to https://replicate.com/account/billing#billing to purchase credit.",
        ),
        "403": Refusal(403, "Forbidden", "You do not have permission to perform this action."),
        "404": not_found(),
        "422": invalid("- input: prompt is not acceptable to this model\n"),
        "500": Refusal(500, "Internal server error", "An unexpected error occurred."),
        "503": Refusal(503, "Service Unavailable", "The gateway could not reach the API."),
    }[create]


async def answer(request: Request, refusal: Exception) -> Response:
    """Turns a refusal into its response: Replicate's is a problem document, WaveSpeed's an envelope.

    A 503 is a gateway's HTML page, so callers must not count on JSON.
    """
    if not isinstance(refusal, Refusal):
        raise refusal
    headers = {} if refusal.retry_after is None else {"Retry-After": str(refusal.retry_after)}
    if refusal.status == 503:
        page = f"<html><body><h1>503 {refusal.body['title']}</h1></body></html>"
        return HTMLResponse(page, refusal.status, headers)
    is_enveloped = request.url.path.startswith(f"{ENVELOPED}/")
    body = {"code": refusal.status, "message": refusal.body["detail"]} if is_enveloped else refusal.body
    return JSONResponse(body, refusal.status, headers)
