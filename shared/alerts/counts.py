"""What is counted elsewhere, as far as the deployment counts: how models' jobs ended, and the month's commands."""

from shared.alerts.rules import Ends
from shared.providers.failures import speaks_of_model
from shared.statistics.statistics import Statistics
from shared.sums import Amounts, Sums, parts
from shared.usage.usage import Outlook, Usage

MINUTE, SPAN = 60_000, 3_600_000  # ms


class Counts:
    """Reads the counts; those that there are not cost nothing."""

    def __init__(self, statistics: Statistics | None = None, usage: Usage | None = None) -> None:
        self._statistics = statistics
        self._usage = usage

    async def ends(self, now: int) -> dict[str, Ends]:
        """Returns how jobs of the last hour ended, by model. Two commands, and those of a fold if anything is new."""
        if self._statistics is None:
            return {}
        last = now // MINUTE * MINUTE + MINUTE
        whole = Sums()
        for step in await self._statistics.range(last - SPAN, last, MINUTE):
            whole.add(step.sums)
        return {model: _ends(amounts) for model, amounts in whole.grouped("model").items() if model}

    async def outlook(self) -> Outlook | None:
        """Returns how the month's commands go; two commands. None without a quota."""
        return None if self._usage is None else await self._usage.outlook()


def _ends(amounts: Amounts) -> Ends:
    """Returns how many jobs ended, and how many by a fault of the model: a bad input is its user's own."""
    failed = parts(amounts, "failed")
    of_model = sum(number for code, number in failed.items() if speaks_of_model(code))
    return Ends(amounts.get("completed", 0) + sum(failed.values()), of_model)
