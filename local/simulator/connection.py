"""Connections that a route can cut or leave hanging, so that the caller gets no answer."""

import asyncio
import contextlib
import socket

import uvicorn
from fastapi import Request
from starlette.types import ASGIApp
from uvicorn.protocols.http.h11_impl import H11Protocol

MAX_HANG_S = 300
"""Longer than any caller's timeout; it only keeps a forgotten connection from staying for ever."""


class CuttableConnection(H11Protocol):
    """Hands its transport to the application as `request.state.transport`."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        # asyncio sets this only on sockets that name their protocol; those of socket.create_server do not. Without it
        # every answer on a kept-alive connection waits 40 ms for the caller's delayed acknowledgement.
        transport.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.app_state = {**self.app_state, "transport": transport}


def cut(request: Request) -> None:
    """Closes the connection without an answer, as a crashed or restarted server does."""
    request.state.transport.abort()


async def hang(request: Request) -> None:
    """Returns when the caller has given up."""
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(request.receive(), MAX_HANG_S)


def server_of(app: ASGIApp) -> uvicorn.Server:
    """Returns a server for bound sockets; it logs problems only."""
    return uvicorn.Server(
        uvicorn.Config(
            app,
            http=CuttableConnection,
            ws="none",
            lifespan="on",
            log_config=None,
            access_log=False,
            proxy_headers=False,
            server_header=False,
            timeout_graceful_shutdown=1,
        )
    )
