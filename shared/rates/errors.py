"""The error of a rate limit, as callers get it."""

from shared.errors import Problem
from shared.rates.quota import Quota, fields_of

REASONS = {
    "user": "This user may submit {rate.count} jobs each {rate.unit}.",
    "key": "This API key may submit {rate.count} jobs each {rate.unit}.",
    "client": "Too many calls of this client address have proved no caller.",
}


class RateLimited(Problem):
    """The key, the user or the client address has no call left within the rate's present window."""

    code = "rate_limited"
    http_status = 429
    title = "The rate limit is reached"
    retryable = True

    def __init__(self, quota: Quota) -> None:
        field = "user_id" if quota.name == "user" else None
        super().__init__(REASONS[quota.name].format(rate=quota.rate), field=field, retry_after=quota.wait)
        self.quota = quota

    def headers(self) -> dict[str, str]:
        return super().headers() | fields_of([self.quota])
