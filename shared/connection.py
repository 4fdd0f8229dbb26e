"""Why a connection could not be made, in words for the operator's log: a wrong host, port or certificate."""

import asyncio
import os
import socket
import ssl
from collections.abc import Iterator
from urllib.parse import urlsplit
from urllib.request import proxy_bypass_environment  # type: ignore[attr-defined]  # typeshed has only the platforms' own functions

from shared.proxies import proxies

CONNECT_TIMEOUT = 5.0  # s
DEPTH = 8  # causes of causes that are looked at


def trouble_of(error: BaseException, url: str) -> str:
    """Returns what kept a connection to the URL's host from being made. Names host and port, and nothing else of it."""
    try:
        host, port = _place(url)
        variable, proxy = proxy_of(urlsplit(url).scheme, host)
        host, port = _place(proxy) if proxy else (host, port)
    except ValueError:
        return "the address cannot be read"
    prefix = f"the proxy of {variable}: " if proxy else ""
    found = (_words(cause, host, port) for cause in _causes(error))
    return prefix + next(filter(None, found), f"{host}:{port} cannot be reached: {type(error).__name__}")


async def find_trouble(url: str) -> str:
    """Connects to the URL's host, and returns what keeps the connection from being made; '' if nothing does.

    For clients whose errors do not say it. Behind a proxy it cannot be found out like this, and is ''.
    """
    parts = urlsplit(url)
    if proxy_of(parts.scheme, parts.hostname or "")[1]:
        return ""
    tls = ssl.create_default_context() if parts.scheme == "https" else None
    try:
        async with asyncio.timeout(CONNECT_TIMEOUT):
            _, writer = await asyncio.open_connection(*_place(url), ssl=tls)
    except (OSError, ValueError) as error:  # ValueError: no name that can be looked up
        return trouble_of(error, url)
    writer.close()
    return ""


def _place(url: str) -> tuple[str, int]:
    parts = urlsplit(url)
    return parts.hostname or "", parts.port or (80 if parts.scheme == "http" else 443)


def proxy_of(scheme: str, host: str) -> tuple[str, str]:
    """Returns the variable and the address of the proxy that httpx uses for this host; '' for none."""
    if proxy_bypass_environment(host):
        return "", ""
    found = proxies(os.environ)
    variable = next((name for name in (f"{scheme.upper()}_PROXY", "ALL_PROXY") if name in found), "")
    url = found.get(variable, "")
    return variable, url if "://" in url or not url else f"http://{url}"


def _words(cause: BaseException, host: str, port: int) -> str:
    match cause:
        case ssl.SSLCertVerificationError():
            return f"the certificate of {host} is not valid: {cause.verify_message}"
        case ssl.SSLError():
            return f"{host}:{port} does not speak TLS as expected: {cause.reason or 'unknown'}"
        case socket.gaierror():
            is_passing = cause.errno == socket.EAI_AGAIN
            return f"the name {host} cannot be looked up right now" if is_passing else f"there is no host {host}"
        case ConnectionRefusedError():
            return f"nothing listens at {host}:{port}"
        case TimeoutError():
            return f"{host}:{port} does not answer"
    return ""


def _causes(error: BaseException, depth: int = DEPTH) -> Iterator[BaseException]:
    """Yields the error, and what caused it."""
    yield error
    if depth:
        grouped = error.exceptions if isinstance(error, BaseExceptionGroup) else ()
        for cause in (*grouped, error.__cause__, error.__context__):
            if cause is not None:
                yield from _causes(cause, depth - 1)
