"""One short-lived function. All its I/O goes through ``io``, where it can freeze or crash."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, TypeVar

from tests.faults.plan import FREEZES, LOSES_ANSWER, Crash, Fault, FaultPlan, Path

Answer = TypeVar("Answer")


@dataclass(frozen=True)
class Passage:
    """The conditions of an I/O: an answer to lose, and whether its process froze after it decided on the I/O."""

    loss: Fault | None
    was_frozen: bool
    number: int = 0  # of the I/O in its run


class Process:
    """A function's invocation, of one task or several concurrent ones."""

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

    def note_path(self, number: int, path: Path) -> None:
        """Notes what the script of an I/O did."""
        self._plan.paths[number] = path

    async def io(self, verb: str, act: Callable[[Passage], Awaitable[Answer]]) -> Answer:
        """Does one I/O, unless the plan or the process's end prevents it. Tasks of one process take turns here."""
        self._tasks.add(asyncio.current_task())  # type: ignore[arg-type]
        freezes = self._freezes - self.is_frozen
        await asyncio.sleep(0)
        await self._admitted()
        fault = self._plan.next(f"{self.name} {verb}")
        number = len(self._plan.points)
        if fault is not None and fault.when == "before":
            await self._strike(fault)
        loss = fault if fault is not None and fault.kind in LOSES_ANSWER else None
        self._under_way += 1
        try:
            answer = await act(Passage(loss, self._freezes > freezes, number))
        finally:
            self._under_way -= 1
            self._after_io()
        if fault is not None and fault.when == "after":
            await self._strike(fault)
        await self._admitted()
        return answer

    async def freeze(self, fault: Fault) -> None:
        """Stops the whole process until ``thaw``."""
        self._thawed = asyncio.Event()
        self._freezes += 1
        self._on_freeze(self, fault)
        self._settle()
        await self._thawed.wait()

    async def thaw(self) -> None:
        """Lets the process go on. Returns when it has ended or is frozen again."""
        thawed, self._thawed = self._thawed, None
        self.still = asyncio.get_running_loop().create_future()
        if thawed is not None:
            thawed.set()
        await self.until_still()

    def end(self, _: object = None) -> None:
        """Marks the process as still."""
        self._settle()

    async def until_still(self) -> None:
        """Returns when the process has ended or is frozen, and no I/O of it is in progress."""
        await self.still
        while self.is_frozen and self._under_way > 1:
            await asyncio.sleep(0)

    async def bury(self) -> bool:
        """Cancels what is left of a process whose main task has ended. Returns whether any task was left."""
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
            self._under_way += 1  # a frozen task counts as under way, at any place
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
