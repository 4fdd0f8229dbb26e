"""The only way out to an address that a caller or a provider's answer has named.

    URL ──▶ check the form: https, port 443, a name with a dot, no credentials
        ──▶ resolve the name, once per request
        ──▶ refuse the name if any of its addresses is not public
        ──▶ connect to the first of the checked addresses that takes a connection; Host, SNI and the certificate's
            check still use the name

A check of the URL alone is not enough: the name may resolve to another address a moment later. So the address that was
checked is the address that is called. Redirects are not followed, the environment's proxies are not used, and cookies
are not kept. No connection serves two requests.
https://cheatsheetseries.owasp.org: Server-Side Request Forgery Prevention, case 2.
"""

import asyncio
import functools
import socket
import ssl
from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from http.cookiejar import CookieJar, DefaultCookiePolicy
from typing import Any, Literal
from weakref import WeakKeyDictionary

import httpx

from shared.addresses import LOOPBACK, NUMBER, is_loopback, is_public, is_public_name
from shared.frozen import dataclass
from shared.tls import tls_context

Reason = Literal["scheme", "port", "userinfo", "host", "address", "unresolved", "lookup", "redirect"]
Resolver = Callable[[str, int], Awaitable[list[str]]]

MESSAGES: dict[Reason, str] = {
    "scheme": "only https is allowed",
    "port": "only the scheme's own port is allowed",
    "userinfo": "credentials in a URL are not allowed",
    "host": "this host may not be called",
    "address": "the host is, or has, an address that is not public",
    "unresolved": "the host cannot be found",
    "lookup": "the host could not be looked up in time",
    "redirect": "a redirect is not followed",
}
RESOLVE_TIMEOUT = 5.0  # s
MAX_RESOLVING = 64  # names at the same time, each in a thread
MAX_RESOLVING_OF_ONE = 8  # of these for one owner: slow names of one must not hold up another's
MAX_WAITING_OF_ONE = 100  # names of one owner that wait for a thread; more are refused at once
MAX_ADDRESSES = 4  # of a host that are tried
CONNECT_EACH = 3.0  # s for an address that is not the last
# What the resolver says of a name that does not exist, as against a failure of its own (EAI_AGAIN, a time-out).
NO_SUCH_NAME = {
    getattr(socket, name) for name in ("EAI_NONAME", "EAI_NODATA", "EAI_ADDRFAMILY") if hasattr(socket, name)
}
# The errors of a request other than EgressRefused, for modules that do not load httpx.
TOO_SLOW = (TimeoutError, httpx.TimeoutException)
UNREACHABLE = (httpx.HTTPError, httpx.InvalidURL, ValueError, OSError)


class EgressRefused(Exception):
    """The address may not be called. ``reason`` is stable; the message holds nothing of the URL."""

    def __init__(self, reason: Reason) -> None:
        super().__init__(MESSAGES[reason])
        self.reason: Reason = reason


@functools.cache
def _resolvers() -> ThreadPoolExecutor:
    """Returns threads for name resolution only: a slow name holds its thread beyond the deadline."""
    return ThreadPoolExecutor(MAX_RESOLVING, "resolve")


class Turns:
    """The threads that one owner's names may take at the same time; each until the thread itself is free again.

    Belongs to one event loop.
    """

    def __init__(self) -> None:
        self._free = asyncio.Semaphore(MAX_RESOLVING_OF_ONE)  # mutant: threads of an owner
        self._waiting = 0

    async def take(self) -> None:
        """Takes a thread, or waits for one; raises TimeoutError at once if too many names of the owner wait already."""
        if self._waiting >= MAX_WAITING_OF_ONE:  # mutant: names that wait
            raise TimeoutError
        self._waiting += 1
        try:
            await self._free.acquire()
        finally:
            self._waiting -= 1

    def give_back(self, loop: asyncio.AbstractEventLoop) -> None:
        """Frees the thread for the next name; called in any thread."""
        with suppress(RuntimeError):  # the loop is closed, and its turns with it
            loop.call_soon_threadsafe(self._free.release)


# An entry for each API key of the deployment, most times in the only loop of the process.
_turns: WeakKeyDictionary[asyncio.AbstractEventLoop, defaultdict[str, Turns]] = WeakKeyDictionary()
_looked_up_for: ContextVar[str] = ContextVar("looked_up_for", default="")


@contextmanager
def looked_up_for(owner: str) -> Iterator[None]:
    """Names that are resolved within the block take the threads of this owner."""
    token = _looked_up_for.set(owner)
    try:
        yield
    finally:
        _looked_up_for.reset(token)


async def resolve(host: str, port: int) -> list[str]:
    """Returns all addresses that the system's resolver has for the host, in its order. Raises OSError or ValueError.

    The order is RFC 6724's: on a machine without IPv6 the addresses of IPv4 come first.
    """
    owner, loop = _looked_up_for.get(), asyncio.get_running_loop()
    async with asyncio.timeout(RESOLVE_TIMEOUT):
        if owner:  # Sluice itself has none, and takes any thread
            turns = _turns.setdefault(loop, defaultdict(Turns))[owner]
            await turns.take()
        looking = _resolvers().submit(socket.getaddrinfo, host, port)
        if owner:
            looking.add_done_callback(lambda _: turns.give_back(loop))
        found = await asyncio.wrap_future(looking)
    return list(dict.fromkeys(str(where[0]) for *_, where in found))


@dataclass(frozen=True)
class Guard:
    """Decides where a request may go.

    If ``hosts`` is given, only these hosts and their subdomains may be called. ``allow_loopback`` is for development:
    it also allows this machine, as 127.0.0.1, ::1 or localhost, on any port and without TLS.
    """

    allow_loopback: bool = False
    resolver: Resolver = resolve
    hosts: tuple[str, ...] | None = None

    async def addresses_of(self, url: httpx.URL) -> list[str]:
        """Resolves the host and returns the addresses that may be called; raises EgressRefused and no other error."""
        host = url.raw_host.decode("ascii")
        is_local = self.allow_loopback and host in LOOPBACK and url.scheme in ("http", "https")
        if url.userinfo:
            raise EgressRefused("userinfo")
        if not is_local:
            self._check(url, host)
        addresses = await self._addresses(host, url.port or (80 if url.scheme == "http" else 443))
        if not all(is_loopback(address) if is_local else is_public(address) for address in addresses):
            raise EgressRefused("address")
        return addresses

    def _check(self, url: httpx.URL, host: str) -> None:
        if url.scheme != "https":
            raise EgressRefused("scheme")
        if url.port not in (None, 443):
            raise EgressRefused("port")
        if ":" in host or NUMBER.fullmatch(host):
            raise EgressRefused("address")
        if not (is_public_name(host) and _is_readable(url) and self._is_listed(host)):
            raise EgressRefused("host")

    def _is_listed(self, host: str) -> bool:
        return self.hosts is None or any(host == listed or host.endswith(f".{listed}") for listed in self.hosts)

    async def _addresses(self, host: str, port: int) -> list[str]:
        try:
            addresses = await self.resolver(host, port)
        except ValueError:  # a name that cannot be encoded
            raise EgressRefused("unresolved") from None
        except OSError as error:  # a TimeoutError too
            is_answer = isinstance(error, socket.gaierror) and error.errno in NO_SUCH_NAME
            raise EgressRefused("unresolved" if is_answer else "lookup") from None  # mutant: trouble of the resolver
        if not addresses:
            raise EgressRefused("unresolved")
        return addresses


class GuardedTransport(httpx.AsyncBaseTransport):
    """Sends each request to an address that its guard has just allowed. Belongs to one event loop.

    ``tls`` replaces the certificates that come with httpx. Without it, these are read at the first request.
    """

    def __init__(self, guard: Guard, tls: ssl.SSLContext | None = None) -> None:
        self._guard = guard
        self._tls = tls
        self._built: httpx.AsyncHTTPTransport | None = None

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Sends the request. Raises EgressRefused before anything is sent, and httpx's errors after that.

        A host's next address is tried if the one before takes no connection, so nothing was sent.
        """
        addresses = (await self._guard.addresses_of(request.url))[:MAX_ADDRESSES]
        failed: httpx.TransportError | None = None
        loop = asyncio.get_running_loop()
        until = loop.time() + _connect_timeout(request)
        for left, address in zip(reversed(range(len(addresses))), addresses, strict=True):
            patience = until - loop.time()
            # Equal parts for those that may be silent, and two for the last: it must answer within the same time.
            each = min(CONNECT_EACH, patience / (left + 2)) if left else patience  # mutant: time for the last
            try:
                return await self._send(request, address, each)
            except (httpx.ConnectError, httpx.ConnectTimeout) as error:  # mutant: next address
                # A certificate that fails says more than that another address is silent.
                failed = failed if failed is not None and is_tls_failure(failed) else error
        raise failed or EgressRefused("unresolved")

    async def _send(self, request: httpx.Request, address: str, connect_timeout: float) -> httpx.Response:
        timeouts = {**request.extensions.get("timeout", {}), "connect": connect_timeout}
        by_address = httpx.Request(
            request.method,
            request.url.copy_with(host=address),
            headers=request.headers,  # they include Host, which httpx made from the original URL
            stream=request.stream,
            extensions={
                **request.extensions,
                "timeout": timeouts,
                "sni_hostname": request.url.raw_host.decode("ascii"),
            },
        )
        response = await self._transport.handle_async_request(by_address)
        if not _is_readable(response.headers.get("location", "")):
            del response.headers["location"]
        return response

    async def aclose(self) -> None:
        if self._built is not None:
            await self._built.aclose()

    @property
    def _transport(self) -> httpx.AsyncHTTPTransport:
        if self._built is None:
            self._built = httpx.AsyncHTTPTransport(
                verify=self._tls or tls_context(),
                trust_env=False,
                retries=0,
                # httpx knows a kept connection by its address alone. It would carry a request for another host, and
                # the certificate of that host was never checked.
                limits=httpx.Limits(max_connections=None, max_keepalive_connections=0),
            )
        return self._built


class GuardedClient(httpx.AsyncClient):
    """A client that raises EgressRefused for a text that is not a URL; httpx has three errors for it."""

    def build_request(self, method: str, url: httpx.URL | str, **options: Any) -> httpx.Request:
        if not _is_readable(url):
            raise EgressRefused("host")
        return super().build_request(method, url, **options)


def guarded_client(guard: Guard, timeout: httpx.Timeout | float, tls: ssl.SSLContext | None = None) -> GuardedClient:
    """Returns a client that only calls what the guard allows.

    ``timeout`` does not include the name's resolution; callers set a deadline for the whole request.
    """
    return GuardedClient(
        transport=GuardedTransport(guard, tls),
        timeout=timeout,
        # No compression: a small answer must not unpack to a large one.
        headers={"User-Agent": "Sluice", "Accept-Encoding": "identity"},
        # Cookies are never kept: one owner's cookie would be sent with another owner's hook.
        cookies=CookieJar(DefaultCookiePolicy(allowed_domains=[])),
        follow_redirects=False,
        trust_env=False,
    )


def _is_readable(url: httpx.URL | str) -> bool:
    """Whether httpx can read the host. It also reads a Location that it does not follow, and fails with ValueError."""
    try:
        return httpx.URL(url).host is not None
    except (httpx.InvalidURL, ValueError):
        return False


def is_tls_failure(error: BaseException) -> bool:
    """Whether TLS with the host failed, most times for its certificate; httpx has no error of its own for it."""
    cause: BaseException | None = error
    while cause is not None and not isinstance(cause, ssl.SSLError):
        cause = cause.__cause__ or cause.__context__
    return cause is not None


def _connect_timeout(request: httpx.Request) -> float:
    given = request.extensions.get("timeout", {}).get("connect")
    return CONNECT_EACH if given is None else float(given)
