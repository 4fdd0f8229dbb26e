"""The doctor's call: the checks of the deployment at the same time, and then the walk past all jobs and keys."""

import asyncio
import time
from collections.abc import Sequence
from typing import Literal

from shared.budget import Budget
from shared.doctor.check import Check, Said
from shared.doctor.order import DoctorQuery
from shared.doctor.queue_check import Looked, QueueCheck
from shared.documents.doctor import CheckReport, DoctorReport
from shared.errors import Problem, StoreError
from shared.log import log
from shared.together import together

MARGIN = 3.0  # s of the function's time that no check takes: for tidying up, and for the report


class Doctor:
    """Runs the checks and reports."""

    def __init__(self, checks: Sequence[Check], queue: QueueCheck) -> None:
        self._checks = checks
        self._queue = queue

    async def run(self, query: DoctorQuery, budget: Budget, *, fix: bool = False) -> DoctorReport:
        """Looks at the deployment and at its jobs; with a cursor at further jobs alone.

        Raises StoreError if the jobs cannot be read.
        """
        reports: dict[str, CheckReport] = {}
        if query.cursor is None:
            wanted = [check for check in self._checks if query.only in (None, check.name)]
            await together(*(self._run(check, reports, budget) for check in wanted))
        looked = Looked(Said(), None, None)
        if query.only in (None, QueueCheck.name):
            began = time.monotonic()
            looked = await self._queue.run(query.cursor, query.limit, budget, fix=fix)
            reports[QueueCheck.name] = _report(QueueCheck.name, looked.said, began)
        names = [*(check.name for check in self._checks), QueueCheck.name]
        checks = [reports[name] for name in names if name in reports]
        found = [finding for check in checks for finding in check["findings"]]
        healed = sum(finding["healed"] is True for finding in found)
        log.info("doctor", found=sorted({finding["code"] for finding in found}), count=len(found), healed=healed)
        return {
            "status": "found" if found else "well" if looked.following is None else "unfinished",
            "found": len(found),
            "healed": healed,
            "checks": checks,
            "stopped_by": looked.stopped_by,
            "next_cursor": looked.following,
        }

    async def _run(self, check: Check, reports: dict[str, CheckReport], budget: Budget) -> None:
        """Runs one check within its time and the function's; what it raises is a finding, so one ends no other."""
        began, said = time.monotonic(), Said()
        timeout = max(0.0, min(check.timeout, budget.left - MARGIN))  # mutant: the function's time
        try:
            async with asyncio.timeout(timeout):
                said = await check.run()
        except TimeoutError:
            text = f"The check had no result after {timeout:.3g} s."
            said.find("check_timed_out", text, "Ask again. If it repeats, what it asks does not answer.")
        except (Problem, StoreError) as error:
            said.find("check_failed", "The check ended with an error.", "See the log.", evidence={"code": error.code})
        except Exception as error:
            log.exception("check_failed", check=check.name, error=type(error).__name__)
            name = type(error).__name__
            said.find("check_failed", "The check ended with an error.", "See the log.", evidence={"error": name})
        reports[check.name] = _report(check.name, said, began)


def _report(name: str, said: Said, began: float) -> CheckReport:
    outcome: Literal["well", "found", "undetermined"] = "well"
    if said.findings:
        outcome = "found"
    elif said.undetermined:
        outcome = "undetermined"
    return {
        "name": name,
        "outcome": outcome,
        "findings": said.findings,
        "undetermined": said.undetermined,
        "figures": said.figures,
        "milliseconds": round((time.monotonic() - began) * 1000),
    }
