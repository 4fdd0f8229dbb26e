"""Makes what a function's first call needs while Lambda still starts the function.

A start has a whole core, a call only the part of one that its memory buys: the same work takes several times as long
there. So a start loads the clients, assembles the scripts, and makes one useless answer.

    start ──▶ warm ──▶ the first call
    start ──▶ warm, for all calls ──▶ snapshot ──▶ each restore: own random numbers, own runtime ──▶ the first call
"""

import asyncio
import importlib
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from shared import runtime
from shared.aws import register_before_snapshot
from shared.jobqueue.script import VERBS, script
from shared.log import log

TYPE = "AWS_LAMBDA_INITIALIZATION_TYPE"  # AWS Lambda, "Defined runtime environment variables"


@dataclass
class Needs:
    """What most calls of a function use: services of the runtime by name, scripts by verb, and providers."""

    services: Sequence[str] = ()
    verbs: Sequence[str] = ()
    calls_providers: bool = False


def warm_on_lambda(needs: Needs, answer: Callable[[], object]) -> None:
    """Warms a function that Lambda starts, at once or for its snapshot; does nothing elsewhere.

    ``answer`` makes a useless answer. Elsewhere a start has no more CPU than a call.
    """
    if "AWS_LAMBDA_FUNCTION_NAME" not in os.environ:
        return
    if os.environ.get(TYPE) == "snap-start":
        # All functions that are restored share what this costs once.
        register_before_snapshot(lambda: warm(Needs(needs.services, VERBS, calls_providers=True), answer))
    else:
        warm(needs, answer)


def warm(needs: Needs, answer: Callable[[], object]) -> None:
    """Makes what the function needs, and an answer. Never raises, and calls nothing outside."""
    try:
        asyncio.get_event_loop().run_until_complete(_make(needs))
        answer()
    except Exception as error:
        # Lambda repeats a start that fails. The first call meets the same error, and answers it.
        log.warning("not_warmed", error=type(error).__name__)


async def _make(needs: Needs) -> None:
    sluice = runtime.current()
    for name in needs.services:
        getattr(sluice, name)
    for verb in needs.verbs:
        script(verb, None)  # as the queue asks for it: without the None, the cache has another entry
    if needs.calls_providers:
        importlib.import_module("httpcore")  # httpx loads it with its first client
        for name in sluice.settings.provider_names:
            _ = sluice.providers[name]
