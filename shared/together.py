"""Runs coroutines at the same time."""

import asyncio
from collections.abc import Coroutine


async def together(*works: Coroutine[object, object, object]) -> None:
    """Runs all of them. The first failure cancels the others and is raised; none is left running."""
    try:
        async with asyncio.TaskGroup() as group:
            for work in works:
                group.create_task(work)
    except* Exception as failed:
        raise failed.exceptions[0] from None
