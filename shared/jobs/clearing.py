"""Makes room in a full store by the operator's word: see docs/operating.md."""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from shared.budget import Budget
from shared.clock import Clock
from shared.documents.operating import RoomMade
from shared.jobqueue import Leftovers
from shared.jobs.cursors import ScanCursor
from shared.log import log

MARGIN = 5.0  # s that must be left to begin another step


class RoomOrder(BaseModel):
    """The body of ``POST /api/operate/make-room``: which ended jobs are deleted, and where an earlier call stopped."""

    model_config = ConfigDict(extra="forbid", strict=True, hide_input_in_errors=True)

    ended_for: Annotated[int, Field(ge=60, le=10_000_000)] = 3600  # s
    limit: Annotated[int, Field(ge=1, le=10_000)] = 1000
    cursor: ScanCursor = "0"


class Clearing:
    """Deletes the records of ended jobs before they expire."""

    def __init__(self, leftovers: Leftovers, clock: Clock) -> None:
        self._leftovers = leftovers
        self._clock = clock

    async def run(self, order: RoomOrder, budget: Budget) -> RoomMade:
        """Deletes ended jobs until the limit or the time is reached, or all keys were looked at."""
        cursor, deleted = order.cursor, 0
        ended_before = self._clock.now() - order.ended_for * 1000
        while True:
            step = await self._leftovers.step(cursor, ended_before)
            deleted += await self._leftovers.delete(step.job_ids)
            cursor = step.cursor
            if cursor == "0" or deleted >= order.limit or budget.left < MARGIN:
                break
        log.warning("room_made", jobs=deleted)
        return {"deleted": deleted, "next_cursor": None if cursor == "0" else cursor}
