"""One short-lived function: everything it does goes through ``io``, where it can be frozen or ended."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, TypeVar

from tests.faults.plan import FREEZES, LOSES_ANSWER, Crash, Fault, FaultPlan

Answer = TypeVar("Answer")


@dataclass(frozen=True)
class Passage:
    """What an I/O meets on its way: an answer to lose, and whether its process was frozen since it was decided on."""

    loss: Fault | None
    was_frozen: bool


class Process:
    """A function's invocation, made of one task or several that run at the same time."""

    def __init__(
        self, name: str, plan: FaultPlan, on_freeze: Callable[["Process", Fault], None], after_io: Callable[[], None]
    ) -> None:
        self.name = name
        self.is_dead = False
        self.frozen_by: Fault | None = None
        self.still: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._plan = plan
        self._on_freeze = on_freeze
        self._after_io = after_io
        self._thawed: asyncio.Event | None = None
        self._freezes = 0
        self._under_way = 0
        self._tasks: set[asyncio.Task[Any]] = set()

    @property
    def is_frozen(self) -> bool:
        return self._thawed is not None

    @property
    def was_frozen(self) -> bool:
        return self._freezes > 0

    async def io(self, verb: str, act: Callable[[Passage], Awaitable[Answer]]) -> Answer:
        """Does one I/O, unless the plan or the process' end is in its way. Siblings take turns here."""
        self._tasks.add(asyncio.current_task())  # type: ignore[arg-type]
        freezes = self._freezes - self.is_frozen
        await asyncio.sleep(0)
        await self._admitted()
        fault = self._plan.next(f"{self.name} {verb}")
        if fault is not None and fault.when == "before":
            await self._strike(fault)
        loss = fault if fault is not None and fault.kind in LOSES_ANSWER else None
        self._under_way += 1
        try:
            answer = await act(Passage(loss, self._freezes > freezes))
        finally:
            self._under_way -= 1
            self._after_io()
        if fault is not None and fault.when == "after":
            await self._strike(fault)
        await self._admitted()
        return answer

    async def freeze(self, fault: Fault) -> None:
        """Stops all of this process until somebody thaws it."""
        self._thawed = asyncio.Event()
        self._freezes += 1
        self._on_freeze(self, fault)
        self._settle()
        await self._thawed.wait()

    async def thaw(self) -> None:
        """Lets the process go on, and returns when it has ended or is frozen once more."""
        thawed, self._thawed = self._thawed, None
        self.still = asyncio.get_running_loop().create_future()
        if thawed is not None:
            thawed.set()
        await self.until_still()

    def end(self, _: object = None) -> None:
        """Tells that nothing of this process moves any more."""
        self._settle()

    async def until_still(self) -> None:
        """Returns when the process has ended or is frozen, and nothing that it sent is still under way."""
        await self.still
        while self.is_frozen and self._under_way > 1:
            await asyncio.sleep(0)

    async def bury(self) -> bool:
        """Ends what is left of a process whose main task has ended; says whether anything was."""
        left = [task for task in self._tasks if not task.done()]
        for task in left:
            task.cancel()
        await asyncio.gather(*left, return_exceptions=True)
        return bool(left)

    async def _strike(self, fault: Fault) -> None:
        if fault.kind == "crash":
            self.is_dead = True
            raise Crash
        if fault.kind in FREEZES:
            self._under_way += 1  # a frozen task counts as under way, wherever it was frozen
            await self.freeze(fault)
            self._under_way -= 1

    async def _admitted(self) -> None:
        while self._thawed is not None:
            await self._thawed.wait()
        if self.is_dead:
            raise Crash

    def _settle(self) -> None:
        if not self.still.done():
            self.still.set_result(None)
