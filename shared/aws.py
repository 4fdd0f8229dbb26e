"""What is particular to AWS Lambda: stages of an API in a request's path, and snapshots of a started function."""

import os
from typing import Any

ROUTES = "/api/"


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


def after_restore() -> None:
    """Gives a function that is restored from a snapshot its own random numbers.

    All restored functions begin with one snapshot's memory. What comes from the operating system differs between them;
    Python's own generator and OpenSSL's do not. No connection is in a snapshot, since each is opened at its first use.
    """
    import random
    import ssl

    random.seed()
    ssl.RAND_add(os.urandom(32), 32.0)


def register_restore() -> None:
    """Lets Lambda call ``after_restore``. Its runtime has the package; elsewhere there are no snapshots."""
    try:
        from snapshot_restore_py import register_after_restore
    except ImportError:
        return
    register_after_restore(after_restore)
