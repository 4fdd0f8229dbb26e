"""What is particular to AWS Lambda: stages of an API in a request's path, and snapshots of a started function."""

import importlib
import os
from collections.abc import Callable, Sequence
from typing import Any

ROUTES = "/api/"
# An event of an HTTP API, format 2.0, for a path that no function has.
UNROUTED: dict[str, Any] = {
    "version": "2.0",
    "rawPath": "/",
    "rawQueryString": "",
    "headers": {},
    "requestContext": {"http": {"method": "GET", "path": "/", "sourceIp": "127.0.0.1"}, "stage": "$default"},
    "isBase64Encoded": False,
}


def without_stage(event: dict[str, Any]) -> dict[str, Any]:
    """Returns the event of an HTTP API without its stage's name in the path; any other event as it is.

    The path of a named stage begins with its name, unless a domain of the deployment's own is mapped to the stage.
    """
    context = event.get("requestContext") or {}
    stage, request = context.get("stage") or "", context.get("http")
    if not isinstance(request, dict) or stage == "$default":
        return event
    path = str(request.get("path", ""))
    if not path.startswith(f"/{stage}{ROUTES}"):
        return event
    shortened = path.removeprefix(f"/{stage}")
    return {**event, "rawPath": shortened, "requestContext": {**context, "http": {**request, "path": shortened}}}


def seed() -> None:
    """Gives a function that is restored from a snapshot its own random numbers.

    All restored functions begin with one snapshot's memory. What comes from the operating system differs between them;
    Python's own generator and OpenSSL's do not.
    """
    import random
    import ssl

    random.seed()
    ssl.RAND_add(os.urandom(32), 32.0)


def register_after_restore(*hooks: Callable[[], object]) -> None:
    """Lets Lambda call the hooks, in this order, in each function that is restored from a snapshot."""
    _register("register_after_restore", hooks)


def register_before_snapshot(hook: Callable[[], object]) -> None:
    """Lets Lambda call the hook before it takes a snapshot of the started function."""
    _register("register_before_snapshot", (hook,))


def _register(name: str, hooks: Sequence[Callable[[], object]]) -> None:
    """Hands the hooks to Lambda's runtime, which has the package; elsewhere there are no snapshots."""
    try:
        package = importlib.import_module("snapshot_restore_py")
    except ImportError:
        return
    for hook in hooks:
        getattr(package, name)(hook)
