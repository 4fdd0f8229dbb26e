"""How callers prove who they are. Reads nothing from the store, unless a credential says that it is kept there.

Each operation names the roles that may call it, and the scope that an application's credential needs: runtime.call.
"""

import base64
import hmac
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace

from pydantic import SecretStr
from starlette.requests import Request

from shared.access.caller import Caller, Role
from shared.access.credentials import WRONG_KEY
from shared.access.errors import CrossSite, ScopeMissing
from shared.access.scope import ALL, Scope
from shared.config.settings import Settings
from shared.errors import Unauthenticated
from shared.requests.reading import read_body
from shared.signing import qstash
from shared.signing.api_keys import looks_like_key

QSTASH_PATH = "/api/process-queue"
MAX_SIGNED_BODY = 64 * 1024  # bytes, of a call that QStash signed


# Of a Bearer credential that is none of API_KEYS: returns its caller, or raises Unauthenticated.
Issued = Callable[[str], Awaitable[Caller]]


async def authenticate(request: Request, roles: Sequence[Role], settings: Settings, now: int, issued: Issued) -> Caller:
    """Returns the caller in one of these roles; Unauthenticated if the request proves none. ``now`` in ms."""
    for role in roles:
        if role in (Role.PROVIDER, Role.LINK, Role.ANYONE):
            return Caller(role)
        if role is Role.APPLICATION:
            return await _application(request, settings, issued)
        if _bears(request, _token_of(role, settings)):
            return Caller(role)
        if role is Role.OPERATOR and looks_like_key(key := _bearer(request)):
            is_open = Role.APPLICATION in roles
            caller = await (_application(request, settings, issued) if is_open else issued(key))
            return _operator(caller, is_open=is_open)
    signature = request.headers.get(qstash.HEADER, "")
    if Role.QSTASH in roles and signature and settings.qstash_keys:
        url = f"{(settings.public_base_url or '').rstrip('/')}{QSTASH_PATH}"
        # Before the body: a stranger, who has no signature, makes this function hold no byte of it.
        signed = qstash.signed_hash(signature, url, settings.qstash_keys, now)
        qstash.verify_body(await read_body(request, MAX_SIGNED_BODY), signed)
        return Caller(Role.QSTASH)
    if Role.OPERATOR not in roles:
        raise Unauthenticated("Send the queue processor's token as Bearer token.")
    others = " or the queue processor's" if Role.SCHEDULER in roles else ""
    others += " or the metrics'" if Role.METRICS in roles else ""
    raise Unauthenticated(f"Send the operator's{others} token as Bearer token.")


def _operator(caller: Caller, *, is_open: bool) -> Caller:
    """Returns an application with the scope `operate` as the operator; ``is_open``: one without it may call too."""
    if Scope.OPERATE in caller.scopes:
        return replace(caller, role=Role.OPERATOR)
    if not is_open:  # mutant: operate
        raise ScopeMissing(Scope.OPERATE)
    return caller


def _token_of(role: Role, settings: Settings) -> SecretStr | None:
    tokens = {
        Role.OPERATOR: settings.operator_token,
        Role.SCHEDULER: settings.queue_processor_token,
        Role.METRICS: settings.metrics_token,
        Role.CRON: settings.cron_secret,
    }
    return tokens.get(role)


async def _application(request: Request, settings: Settings, issued: Issued) -> Caller:
    """Returns the application, or the user of an application, whose credential the request carries."""
    scheme, _, credentials = _authorization(request).partition(" ")
    if scheme.lower() == "bearer":
        key = credentials.strip()
        owner = _owner_of_key(key, None, settings)
        return await issued(key) if owner is None else _of_whole_key(owner)
    if scheme.lower() == "basic":
        # A browser sends what it remembers of a person, to any page that asks: a form or a picture of another site.
        if _is_of_another_page(request, settings) and not _follows_a_link(request):  # mutant: cross site
            raise CrossSite
        name, _, key = _decoded(credentials.strip()).partition(":")
        owner = _owner_of_key(key, name, settings)
        if owner is None:
            raise Unauthenticated(WRONG_KEY)
        return _of_whole_key(owner)
    raise Unauthenticated("Send an API key as Bearer token, or its name and the key by HTTP Basic.")


def _of_whole_key(name: str) -> Caller:
    return Caller(Role.APPLICATION, name, scopes=ALL)


def _authorization(request: Request) -> str:
    """Returns the request's one Authorization header; '' without one. A proxy may read another of two than we do."""
    given = request.headers.getlist("authorization")
    if len(given) > 1:  # mutant: two credentials
        raise Unauthenticated("Send one Authorization header.", field="Authorization")
    return given[0] if given else ""


def _is_of_another_page(request: Request, settings: Settings) -> bool:
    """Whether a page of another origin made the call. A sibling of this host is one: others may run it."""
    if request.headers.get("sec-fetch-site", "").lower() in ("cross-site", "same-site"):
        return True
    # A browser that does not send the first still says where a form was. CORS_ORIGINS are for pages with tokens.
    public = "/".join((settings.public_base_url or "").split("/")[:3])
    host = request.headers.get("host", "")
    own = {public, f"https://{host}"}
    if not public.startswith("https://"):  # else a page that came without encryption may be anyone's
        own.add(f"{request.url.scheme}://{host}")
    return not {*request.headers.getlist("origin")} <= own - {""}  # mutant: origin of a form


def _follows_a_link(request: Request) -> bool:
    """Whether a person opens the address as a page: it changes nothing, and the other site cannot read the answer."""
    mode, place = (request.headers.get(f"sec-fetch-{name}", "").lower() for name in ("mode", "dest"))
    return request.method in ("GET", "HEAD") and mode == "navigate" and place == "document"


def _owner_of_key(key: str, claimed_name: str | None, settings: Settings) -> str | None:
    found = None
    # Every key is compared, so the time taken does not reveal which key was close.
    for name, expected in settings.callers.items():
        if _same(key, expected) and claimed_name in (None, name):
            found = name
    return found


def _decoded(credentials: str) -> str:
    try:
        return base64.b64decode(credentials, validate=True).decode("utf-8")
    except ValueError:
        return ""


def _bears(request: Request, token: SecretStr | None) -> bool:
    """Whether the request carries this token as Bearer token; never true without a token to compare with."""
    if token is None or not token.get_secret_value():
        return False
    return _same(_bearer(request), token.get_secret_value())


def _bearer(request: Request) -> str:
    """Returns the Bearer credential that the request carries; '' without one."""
    scheme, _, credentials = _authorization(request).partition(" ")
    return credentials.strip() if scheme.lower() == "bearer" else ""


def _same(given: str, expected: str) -> bool:
    # Compares bytes: compare_digest raises TypeError on text beyond ASCII, and the answer would be a 500.
    return hmac.compare_digest(given.encode("utf-8", "replace"), expected.encode())
