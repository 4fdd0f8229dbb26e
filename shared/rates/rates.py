"""The rates of a deployment. One that sets none of them pays no command, and loads no limiter."""

from typing import TYPE_CHECKING

from shared.clock import Clock
from shared.config.rates import Rate, read_rate
from shared.config.settings import Settings
from shared.errors import InvalidRequest, StoreError
from shared.jobqueue.keys import Keys
from shared.log import log
from shared.rates.errors import RateLimited
from shared.rates.quota import fields_of
from shared.signing.derived import client_tag
from shared.store import Store

if TYPE_CHECKING:
    from shared.rates.limit import Limit

MAX_COUNTING = 8  # failed calls that a process counts at once; a flood of them leaves the store to the others


class Rates:
    """Counts submitted jobs and failed authentications. Belongs to one event loop."""

    def __init__(self, store: Store, settings: Settings, clock: Clock) -> None:
        self._store = store
        self._settings = settings
        self._clock = clock
        self._keys = Keys(settings.prefix)
        self._user = self._limit("user", settings.rate_per_user)
        self._key = self._limit("key", settings.rate_per_key)
        self._client = self._limit("client", settings.rate_of_failures)
        self._own: dict[str, Limit] = {}  # of API keys with a rate of their own, by their rate
        self._counting = 0

    def _limit(self, name: str, rate: Rate | None) -> "Limit | None":
        return None if rate is None else self._counted(name, rate, name)

    def _counted(self, name: str, rate: Rate, kept_as: str) -> "Limit":
        from shared.rates.limit import Limit

        return Limit(name, rate, self._store, self._keys.rates(kept_as), self._clock)

    def _limit_of_key(self, owner: str, key_id: str, rate: str | None) -> "tuple[Limit | None, str]":
        """Returns what counts the submits of an API key, and under which name."""
        if rate is None:
            return self._key, owner
        if rate not in self._own:
            # An owner may be called as another key's id, so the two are kept apart.
            self._own[rate] = self._counted("key", read_rate(rate), "own")
        return self._own[rate], key_id  # mutant: own rate

    async def submit(
        self, owner: str, user: str, jobs: int = 1, *, key_id: str = "", rate: str | None = None
    ) -> dict[str, str]:
        """Counts so many jobs of a key's user, and returns the header fields that say what is left.

        ``rate`` is the key's own, in place of SUBMIT_RATE_PER_KEY, and counts that key alone. Raises RateLimited, and
        InvalidRequest for more jobs than one window allows. Raises StoreError too: a job is not admitted uncounted.
        """
        # The user's first, and one after the other: what a user is refused must take nothing of their key.
        callers = ((self._user, f"{owner}:{user}"), self._limit_of_key(owner, key_id, rate))  # mutant: user first
        wanted = [(limit, who) for limit, who in callers if limit is not None]
        for limit, who in wanted:
            if jobs > limit.rate.count:
                raise InvalidRequest(
                    f"At most {limit.rate.count} jobs are allowed each {limit.rate.unit}, so no batch may have more.",
                    field="jobs",
                )
            if refused := limit.known_refusal(who, jobs):
                raise RateLimited(refused)
        taken = []
        for limit, who in wanted:
            quota = await limit.take(who, jobs)
            if quota.is_refused:  # mutant: refused
                raise RateLimited(quota)
            taken.append(quota)
        return fields_of(taken)

    async def failed(self, network: str) -> RateLimited | None:
        """Counts a call that proved no caller; returns the refusal if its network has failed too often.

        Never raises. Without the store, and in a flood, the call is answered as if there was no limit: it is refused in
        any case. ``network`` is '' if it is not known.
        """
        if self._client is None or not network:
            return None
        who = client_tag(self._settings.signing_key, "", network)
        quota = self._client.known_refusal(who, 1)
        if quota is None:
            if self._counting >= MAX_COUNTING:  # mutant: flood
                return None
            self._counting += 1
            try:
                quota = await self._client.take(who, 1)
            except StoreError as error:
                log.warning("failure_not_counted", code=error.code, cause=error.cause)
                return None
            finally:
                self._counting -= 1
        return RateLimited(quota) if quota.is_refused else None
