"""Logs refused calls with their reason: counted, so that a flood costs a bounded log, and no command of the store.

what proves no caller    within a minute, an address is logged at its 1st, 10th, 100th ... refusal of a kind, and so is
                         a kind over all addresses from the 100th on. A line has the counts until then
all other refusals       for each caller, call and code one line in ten seconds, with its count

Each process counts for itself.
"""

import time
from collections import Counter
from collections.abc import Callable, Sequence

from starlette.requests import Request
from starlette.types import Scope

from shared.access.caller import Caller, Role
from shared.access.errors import CrossSite, TokenRefused
from shared.config.hosting import Network
from shared.errors import LinkRefused, Problem, Unauthenticated
from shared.log import Repeats, log
from shared.requests.callers import address_of, network_of
from shared.signing.derived import address_tag

WINDOW = 60.0  # s
MAX_LINES = 20  # a window, for single addresses
MAX_ADDRESSES = 1000  # that a window distinguishes; the rest count together
MAX_FIELD = 100  # characters
OTHERS = "others"
REFUSED = (401, 403, 429)  # a warning; what else is refused is a mistake in the request, and no news for the operator
KINDS = {
    "/api/webhook/": "webhook",
    "/api/operate/": "operator_token",
    "/api/process-queue": "scheduler_token",
    "/api/metrics": "metrics_token",
}


class Refusals:
    """Counts the refused calls of this process, by kind and by address.

    ``signing_key`` is read at the first refusal: on Lambda, a function that signs and refuses nothing has none.
    """

    def __init__(
        self,
        signing_key: Callable[[], str],
        clock: Callable[[], float] = time.monotonic,
        proxies: Sequence[Network] = (),
    ) -> None:
        self._signing_key = signing_key
        self._proxies = proxies
        self._clock = clock
        self._until = 0.0
        self._lines = 0
        self._by_address: Counter[tuple[str, str]] = Counter()
        self._by_kind: Counter[str] = Counter()
        self._repeats = Repeats(clock)

    def note(self, request: Request, error: Problem) -> None:
        """Counts the error, and logs it if its turn has come."""
        kind = _kind_of(request.url.path, error)
        if kind is None:
            self._note_call(request, error)
            return
        if self._clock() >= self._until:
            self._begin()
        address = self._address(request.scope, kind)
        self._by_address[kind, address] += 1
        self._by_kind[kind] += 1
        count, total = self._by_address[kind, address], self._by_kind[kind]
        if _is_power_of_ten(count) and self._lines < MAX_LINES:  # mutant: bounded lines
            self._lines += 1
            log.warning("refused", kind=kind, address=address, count=count, total=total, **_said(error))
        elif total >= 100 and _is_power_of_ten(total):
            log.warning("refused", kind=kind, address="", count=total, total=total, **_said(error))

    def _note_call(self, request: Request, error: Problem) -> None:
        caller, call = _caller_in(request), _call_in(request)
        count = self._repeats.count(error.code, caller, call)
        if not count:
            return
        said = {**_said(error), "status": error.http_status, "caller": caller, "call": call, "count": count}
        if error.field is not None and error.is_field_known:  # mutant: field of the caller
            said["field"] = error.field[:MAX_FIELD]
        if error.http_status >= 500:
            log.warning("unavailable", **said)
        elif error.http_status in REFUSED:
            log.warning("refused", **said)
        else:
            log.info("refused", **said)

    def _begin(self) -> None:
        self._until = self._clock() + WINDOW
        self._lines = 0
        self._by_address.clear()
        self._by_kind.clear()

    def _address(self, scope: Scope, kind: str) -> str:
        tag = address_tag(self._signing_key(), network_of(address_of(scope, self._proxies)))
        is_new = (kind, tag) not in self._by_address
        return OTHERS if is_new and len(self._by_address) >= MAX_ADDRESSES else tag


def _said(error: Problem) -> dict[str, str]:
    """What the log says of the reason."""
    return {"code": error.code, "reason": error.detail, **({"cause": error.cause} if error.cause else {})}


def _caller_in(request: Request) -> str:
    """The API key that proved the caller, or the role; '' if the call is refused before that."""
    caller: Caller | None = getattr(request.state, "caller", None)
    if caller is None:
        return ""
    return caller.name if caller.role is Role.APPLICATION else caller.role.name.lower()


def _call_in(request: Request) -> str:
    """The operation, without the ids in its path."""
    return f"{request.method} {getattr(request.scope.get('endpoint'), 'path', '')}".rstrip()


def _kind_of(path: str, error: Problem) -> str | None:
    if isinstance(error, LinkRefused):
        return "file_link"
    if isinstance(error, CrossSite):
        return "cross_site"
    if isinstance(error, TokenRefused):
        return "token"
    if isinstance(error, Unauthenticated):
        return next((kind for start, kind in KINDS.items() if path.startswith(start)), "api_key")
    return None


def _is_power_of_ten(number: int) -> bool:
    return str(number).strip("0") == "1"
