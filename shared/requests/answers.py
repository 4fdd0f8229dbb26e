"""What every answer has in common: its headers, and HEAD for each GET."""

from collections.abc import Mapping

from starlette.types import ASGIApp, Message, Receive, Scope, Send

# An answer is data. Opened in a browser, it runs nothing, shows nothing of another host, and is in no frame.
POLICY = "default-src 'none'; frame-ancestors 'none'; sandbox"
HEADERS = {
    "cache-control": "no-store",
    "content-security-policy": POLICY,
    "referrer-policy": "no-referrer",  # a signed URL must not reach the next page
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",  # for browsers that do not read frame-ancestors
}
HSTS = {"strict-transport-security": "max-age=31536000"}  # a year, the least that browsers' lists ask for
SERVES_HEAD = "/api/files/"  # its route has a HEAD of its own, since a URL is signed for one method


def headers_for(scope: Scope, *, is_https: bool) -> Mapping[str, str]:
    """Returns the headers of an answer that has none; ``is_https``: callers reach this deployment by https."""
    return HEADERS | HSTS if is_https or scope.get("scheme") == "https" else HEADERS


class CommonHeaders:
    """Adds to each answer those of the common headers that it does not have."""

    def __init__(self, app: ASGIApp, is_https: bool) -> None:
        self._app = app
        self._is_https = is_https

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def send_completed(message: Message) -> None:
            if message["type"] == "http.response.start":
                # ASGI requires header names in lower case.
                given = {name for name, _ in message["headers"]}
                added = [
                    (name.encode(), value.encode())
                    for name, value in headers_for(scope, is_https=self._is_https).items()
                    if name.encode() not in given
                ]
                message["headers"] = [*message["headers"], *added]
            await send(message)

        await self._app(scope, receive, send_completed)


class HeadAsGet:
    """Answers a HEAD as the GET of its path, without the body."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["method"] != "HEAD" or scope["path"].startswith(SERVES_HEAD):
            await self._app(scope, receive, send)
            return

        async def send_head(message: Message) -> None:
            await send({**message, "body": b""} if message["type"] == "http.response.body" else message)

        await self._app({**scope, "method": "GET"}, receive, send_head)
