"""What jobs cost: which accounts of the store reserve and pay a job, and what these say. spending.lua keeps them."""

from collections.abc import Mapping

from shared.clock import Clock
from shared.config.settings import Settings
from shared.frozen import dataclass
from shared.jobqueue.constants import DAY
from shared.jobqueue.periods import month_of
from shared.jobqueue.replies import Reclaimed
from shared.jobqueue.scripted import Scripted
from shared.signing.derived import payer_tag
from shared.store import Store

PAGE = 500  # fields of a month that one step of a walk looks at, about
ALL = "all"


def ledger_of(settings: Settings, owner: str, user: str, now: int) -> str:
    """Which accounts reserve a job that this user submits now; '' without budgets."""
    if not settings.budget_limits:
        return ""
    return f"{month_of(now)}:{payer_tag(settings.signing_key, owner, user)}"


def bound_of(fields: Mapping[str, str]) -> int:
    """What a job with these fields costs at most, in micro-dollars; 0 without a price."""
    first = fields.get("price", "").partition(",")[0]
    return int(first.removeprefix("at_most=") or 0)


@dataclass(frozen=True)
class Spent:
    """Micro-dollars that an account has reserved or spent, in a month and on a day of it."""

    month: int
    day: int

    @classmethod
    def of(cls, said: str | None, day: int) -> "Spent":
        """Reads an account's text; see spending.lua."""
        month, *days = (said or "0").split("|")
        by_day = dict(entry.split(":") for entry in days)
        return cls(int(month), int(by_day.get(str(day), "0")))


class Spending(Scripted):
    """Reads the accounts, and releases reservations that no job needs."""

    def __init__(self, store: Store, settings: Settings, clock: Clock) -> None:
        super().__init__(store, settings, clock)
        self._cursors: dict[str, str] = {}  # where the walk through a month goes on

    async def read(self, owner: str | None = None, user: str = "") -> tuple[Spent, Spent | None]:
        """What was spent by all in the present periods, and by a user of an API key if one is named; one command."""
        now = self._clock.now()
        payers = [] if owner is None else [payer_tag(self._settings.signing_key, owner, user)]
        said = await self._store.execute("HMGET", self.keys.spending(month_of(now)), ALL, *payers)
        of_all, *of_user = [Spent.of(text, now // DAY) for text in said]
        return of_all, of_user[0] if of_user else None

    async def reclaim(self, month: str) -> tuple[int, bool]:
        """Releases the reservations of jobs without a record among the next fields of a month, about PAGE of them.

        Returns how many, and whether there are more fields. Each call goes on where this process' last one stopped. One
        command, and another in a script if a job has a reservation.
        """
        cursor = self._cursors.get(month, "0")
        found = await self._store.execute("HSCAN", self.keys.spending(month), cursor, "MATCH", "=*", "COUNT", str(PAGE))
        at, fields = found
        # upstash-redis makes a dict of this answer (format.py); in memory mode it is flat.
        names = list(fields) if isinstance(fields, dict) else fields[::2]
        ids = [name.removeprefix("=") for name in names]
        self._cursors[month] = str(at)
        if not ids:
            return 0, str(at) != "0"
        return (await self._run("reclaim", Reclaimed, month=month, ids=ids)).reclaimed, str(at) != "0"
