"""The ports of the stack, found free before any child starts, and the addresses that they give."""

import errno
import socket
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass

HOST = "127.0.0.1"


class PortUnavailable(Exception):
    """A port is not free; the message names it and the flag that chooses another."""


@dataclass(frozen=True)
class Urls:
    """Where the parts are; None for one that does not run here. The provider's ends in `/v1`, as Replicate's does."""

    functions: str
    store: str | None
    provider: str | None


@dataclass(frozen=True)
class Wish:
    """A port to listen on, 0 for any free one, and the flag and variable that choose it."""

    port: int
    flag: str
    variable: str


def free_ports(wishes: Mapping[str, Wish]) -> dict[str, int]:
    """Returns a free port for each name; raises PortUnavailable for the first that is not free.

    It holds each port until all are found, so that no two names get the same one. Then the children bind them.
    """
    with ExitStack() as held:
        return {name: _hold(held, name, wish) for name, wish in wishes.items()}


def _hold(held: ExitStack, name: str, wish: Wish) -> int:
    try:
        listening = held.enter_context(socket.create_server((HOST, wish.port)))
    except OSError as refused:
        why = "is occupied" if refused.errno == errno.EADDRINUSE else f"cannot be used ({refused.strerror})"
        raise PortUnavailable(
            f"port {wish.port} for the {name} {why}: "
            f"choose another with {wish.flag} or {wish.variable}, or 0 for any free one"
        ) from None
    port: int = listening.getsockname()[1]
    return port
