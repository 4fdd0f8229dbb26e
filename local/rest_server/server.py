"""The ASGI application: Upstash's REST API at every path, the admin API under `/-/`.

Streams (`/subscribe`, `/monitor`) and `Upstash-Response-Format: resp2` of Upstash's API are left out and answered 400.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from enum import Enum, auto

from fastapi import FastAPI
from redis.exceptions import ConnectionError as EngineGoneError
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from .admin import admin_router
from .breakage import Breakage, NoResponse
from .bridge import Bridge
from .commands import BadRequestError, batch_from_body, check_size, from_body, from_path, read_body, token_in_query
from .connections import Command, Failure
from .faults import Faults, Injection, refusal_by
from .sync_tokens import SyncTokens
from .tokens import UNAUTHORIZED, Role, Tokens
from .wire import answer, dump

METHODS = frozenset(("GET", "POST", "PUT", "HEAD"))


class Form(Enum):
    """How a request carries its commands, and so how it is answered."""

    SINGLE = auto()
    PIPELINE = auto()
    TRANSACTION = auto()


@dataclass(frozen=True)
class Call:
    """A parsed request: its commands, and the form, role and encoding that decide the answer."""

    form: Form
    commands: list[Command]
    role: Role
    base64: bool


def create_app(engine_socket: str, token: str, read_only_token: str | None = None) -> FastAPI:
    """Returns the application that serves the engine listening on `engine_socket`.

    Run it with `listener.Listener`, whose transport the faults need to close a connection. `app.state` holds `bridge`,
    `faults` and `breakage` for callers in the same process.
    """
    bridge, faults, breakage, tokens = Bridge(engine_socket), Faults(), Breakage(), Tokens(token, read_only_token)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        await bridge.open()
        yield
        await bridge.close()

    app = FastAPI(lifespan=lifespan, openapi_url=None)
    app.state.bridge, app.state.faults, app.state.breakage = bridge, faults, breakage
    app.include_router(admin_router(bridge, faults, tokens))
    app.mount("/", RestEndpoint(bridge, faults, breakage, tokens))
    return app


class RestEndpoint:
    """Answers every request outside `/-/`."""

    def __init__(self, bridge: Bridge, faults: Faults, breakage: Breakage, tokens: Tokens) -> None:
        self._bridge = bridge
        self._faults = faults
        self._breakage = breakage
        self._tokens = tokens
        self._sync_tokens = SyncTokens()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers one request."""
        request = Request(scope, receive)
        self._bridge.ledger.add_call()
        try:
            response = await self._respond(request)
        except ClientDisconnect:
            response = NoResponse()
        except EngineGoneError:
            response = _json({"error": "ERR the engine behind this server does not answer"}, 500)
        await response(scope, receive, send)

    async def _respond(self, request: Request) -> Response:
        if request.method not in METHODS:
            return _json({"error": "ERR method is not allowed"}, 405)
        role = self._tokens.role(request.headers.get("authorization"), token_in_query(request.scope["query_string"]))
        if role is None:
            return _json(UNAUTHORIZED, 401)
        try:
            call = await _understand(request, role)
            struck = self._faults.strike(call.commands)
            response = await self._struck(struck, request, call) if struck else await self._run(call, None)
            check_size(len(response.body))
        except BadRequestError as error:
            return _json({"error": str(error)}, 400)
        wrote = any(self._bridge.catalogue.writes(command) for command in call.commands)
        response.headers["upstash-sync-token"] = self._sync_tokens.after(wrote)
        return response

    async def _struck(self, injection: Injection, request: Request, call: Call) -> Response:
        if injection.fault.refuses:
            return await self._run(call, injection)
        return await self._breakage.answer(injection, request, lambda: self._run(call, None))

    async def _run(self, call: Call, injection: Injection | None) -> Response:
        def guard(command: Command) -> Failure | None:
            return self._refusal(call.role, injection, command)

        if call.form is Form.SINGLE:
            reply = await self._bridge.run(call.commands[0], guard)
            return _json(answer(reply, call.base64), 400 if isinstance(reply, Failure) else 200)
        if call.form is Form.PIPELINE:
            replies = await self._bridge.run_in_order(call.commands, guard)
            return _json([answer(reply, call.base64) for reply in replies])
        outcome = await self._bridge.run_atomically(call.commands, guard)
        if isinstance(outcome, Failure):
            return _json(answer(outcome, call.base64), 400)
        return _json([answer(reply, call.base64) for reply in outcome])

    def _refusal(self, role: Role, injection: Injection | None, command: Command) -> Failure | None:
        catalogue = self._bridge.catalogue
        refused = catalogue.refusal(command)
        if refused is None and role is Role.READER:
            refused = catalogue.refusal_to_reader(command)
        if refused is None and injection is not None:
            refused = refusal_by(injection.fault, command, catalogue.writes(command))
        return refused


async def _understand(request: Request, role: Role) -> Call:
    body = await read_body(request.stream())
    if request.headers.get("upstash-response-format", "json").lower() != "json":
        raise BadRequestError("ERR this server answers in JSON only")
    base64 = request.headers.get("upstash-encoding", "").lower() == "base64"
    raw_path: bytes = request.scope["raw_path"]
    if raw_path == b"/pipeline":
        return Call(Form.PIPELINE, batch_from_body(body), role, base64)
    if raw_path == b"/multi-exec":
        return Call(Form.TRANSACTION, batch_from_body(body), role, base64)
    if raw_path in (b"", b"/"):
        return Call(Form.SINGLE, [from_body(body)], role, base64)
    return Call(Form.SINGLE, [from_path(raw_path, request.scope["query_string"], body)], role, base64)


def _json(value: object, status: int = 200) -> Response:
    return Response(dump(value), status, media_type="application/json")
