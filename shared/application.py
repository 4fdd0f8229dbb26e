"""The application around a function's routes: one form for errors, and what all requests pass."""

import gc
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

from mangum import Mangum
from mangum.adapter import DEFAULT_TEXT_MIME_TYPES
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse

from shared import runtime
from shared.aws import UNROUTED, register_after_restore, seed, without_stage
from shared.config.settings import Settings
from shared.documents.problem import ProblemDocument, problem_document
from shared.errors import PROBLEM_JSON, Problem, StoreScriptError, Unauthenticated
from shared.log import Repeats, log
from shared.requests.answers import CommonHeaders, HeadAsGet, headers_for
from shared.requests.bodies import BoundedBodies
from shared.requests.callers import address_of, network_of
from shared.requests.cors import allow_origins, headers_of_bug
from shared.requests.refusals import Refusals
from shared.requests.router import Router
from shared.startup import SettingsError
from shared.telemetry import flushing
from shared.warming import Needs, warm_on_lambda

# s; a third of a function, so that what follows has time for its calls
MAX_BODY_TIME = 20.0
Handler = Callable[[dict[str, Any], Any], Any]
App = TypeVar("App", bound=Starlette)
ADMISSIONS = ("/api/submit", "/api/batches")
MAX_LANGUAGES = 16  # of a header that are read
_script_errors = Repeats()
_compositions: list[bool] = []  # those whose imports go on
# Starlette's own refusals, before any function is called.
CODES = {404: "not_found", 405: "method_not_allowed"}


def create_app(*routers: Router) -> Starlette:
    """Returns an application with these routes; see equip."""
    return equip(Starlette(), *routers)


def equip(app: App, *routers: Router) -> App:
    """Gives an application these routes. Reads the settings, so a deployment with faulty ones cannot start.

    A server prints the faults, one line each, and ends; Lambda reports the error itself.
    """
    try:
        settings = runtime.settings()
    except SettingsError as error:
        if "AWS_LAMBDA_FUNCTION_NAME" in os.environ:
            raise
        sys.exit(str(error))
    # No redirect to a path without a slash: its address would be made from the caller's Host.
    app.router.redirect_slashes = False
    for router in routers:
        app.router.routes.extend(router.routes())
    seconds = min(MAX_BODY_TIME, settings.function_max_duration / 3)
    app.add_middleware(BoundedBodies, seconds=seconds, max_upload=settings.upload_max_bytes)
    app.add_middleware(HeadAsGet)
    allow_origins(app, settings.origins)
    app.add_middleware(CommonHeaders, is_https=_is_https(settings))
    if flushing.is_needed():
        app.add_middleware(flushing.Flushed)
    app.state.refusals = Refusals(lambda: settings.signing_key, proxies=settings.proxy_networks)
    app.add_exception_handler(Problem, _answer_problem)
    app.add_exception_handler(HTTPException, _answer_http)
    app.add_exception_handler(Exception, _answer_bug)
    return app


def _is_https(settings: Settings) -> bool:
    """Whether callers reach this deployment by https, though a proxy may call its functions without."""
    return (settings.public_base_url or "").startswith("https://")


def create_handler(app: Starlette, needs: Needs | None = None) -> Handler:
    """Returns the application as AWS Lambda calls it; without lifespan events, which would run at every invocation.

    On Lambda it makes what the function's calls need, and it ends the start; a part of another function does neither.
    """
    answer = Mangum(app, lifespan="off", text_mime_types=[*DEFAULT_TEXT_MIME_TYPES, PROBLEM_JSON])
    no_context: Any = None
    if not _compositions:
        register_after_restore(seed, runtime.forget)
        warm_on_lambda(needs or Needs(), lambda: answer(UNROUTED, no_context))
        end_start()
    return lambda event, context: answer(without_stage(event), context)


@contextmanager
def composing() -> Iterator[None]:
    """Within it, the imported functions are parts of another one, which warms all that they need."""
    _compositions.append(True)
    try:
        yield
    finally:
        _compositions.pop()


def end_start() -> None:
    """Switches on garbage collection, which functions/__init__.py switches off; it never searches the modules."""
    gc.freeze()
    gc.enable()


async def _answer_problem(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, Problem)  # noqa: S101 (the handler is registered for it)
    if isinstance(error, StoreScriptError) and (count := _script_errors.count(error.text[:300])):
        log.error("store_script_error", text=error.text[:300], count=count)  # memory mode has no other line of it
    refusals: Refusals = request.app.state.refusals
    refusals.note(request, error)
    if isinstance(error, Unauthenticated) and error.is_guess:  # mutant: failures alone
        sluice = runtime.current()
        address = address_of(request.scope, sluice.settings.proxy_networks)
        limited = await sluice.rates.failed(network_of(address))
        if limited is not None:
            refusals.note(request, error := limited)
    if request.method == "POST" and request.url.path in ADMISSIONS:
        _count_refusal(request, error)
    headers, language = error.headers(), "en"
    if error.translations:
        language = preferred(request.headers.get("accept-language", ""), ("en", *error.translations))
        headers |= {"Content-Language": language, "Vary": "Accept-Language"}
    return JSONResponse(problem_document(error, language), error.http_status, headers=headers, media_type=PROBLEM_JSON)


def _count_refusal(request: Request, error: Problem) -> None:
    """Counts a refused admission by its code, where statistics are kept. A later call sends it.

    That of a caller who has not proven who they are is not urgent, so a stranger's flood causes no command.
    """
    if sending := runtime.current().sending:
        is_known = getattr(request.state, "caller", None) is not None
        sending.tally.count(f"refused.{error.code}", is_urgent=is_known)  # mutant: refused strangers


def preferred(accepted: str, offered: tuple[str, ...]) -> str:
    """Returns the offered language that an Accept-Language header prefers, or the first one if it names none."""
    best, weight = offered[0], 0.0
    for part in accepted.split(",")[:MAX_LANGUAGES]:
        name, _, parameter = part.partition(";")
        language = name.strip().partition("-")[0].lower()
        quality = parameter.strip().lower().removeprefix("q=")
        try:
            given = float(quality or 1)
        except ValueError:
            continue
        if language in offered and given > weight:
            best, weight = language, given
    return best


async def _answer_http(_: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, HTTPException)  # noqa: S101 (the handler is registered for it)
    code = CODES.get(error.status_code, "http_error")
    document: ProblemDocument = {
        "type": f"urn:sluice:problem:{code}",
        "title": code.replace("_", " ").capitalize(),
        "status": error.status_code,
        "code": code,
        "retryable": False,
    }
    return JSONResponse(document, error.status_code, headers=error.headers, media_type=PROBLEM_JSON)


async def _answer_bug(request: Request, error: Exception) -> JSONResponse:
    log.error("bug", error=type(error).__name__, exc_info=error)
    await flushing.flush()  # Starlette answers it outside of all layers
    document: ProblemDocument = {
        "type": "urn:sluice:problem:internal_error",
        "title": "Internal error",
        "status": 500,
        "code": "internal_error",
        "retryable": True,
    }
    # Starlette answers bugs outside of all other layers.
    settings = runtime.settings()
    common = headers_for(request.scope, is_https=_is_https(settings))
    headers = {**common, **headers_of_bug(request, settings.origins)}
    return JSONResponse(document, 500, headers=headers, media_type=PROBLEM_JSON)
