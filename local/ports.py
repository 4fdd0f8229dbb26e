"""The ports of the stack: found free before any child starts."""

import errno
import socket
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass

HOST = "127.0.0.1"


class PortUnavailable(Exception):
    """A port cannot be listened on; the message names it and what to set instead."""


@dataclass(frozen=True)
class Wish:
    """A port that is wanted, 0 for any free one, and where the wish comes from."""

    port: int
    flag: str
    variable: str


def free_ports(wishes: Mapping[str, Wish]) -> dict[str, int]:
    """Returns a free port for each name; raises PortUnavailable for the first that is not.

    All are held until all are found, so that no two get the same one; then they are let go for the children to bind.
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
