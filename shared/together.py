"""Several pieces of work at the same time."""

import asyncio
from collections.abc import Coroutine
from typing import Any


async def together(*works: Coroutine[Any, Any, Any]) -> None:
    """Does all of them; the first failure ends the others and is raised, and none goes on behind the answer."""
    try:
        async with asyncio.TaskGroup() as group:
            for work in works:
                group.create_task(work)
    except* Exception as failed:
        raise failed.exceptions[0] from None
