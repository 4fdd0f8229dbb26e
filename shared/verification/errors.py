"""The errors of verification codes, as callers get them."""

from shared.config.rates import Rate
from shared.errors import FixedProblem, Problem
from shared.rates.quota import Quota, fields_of


class AddressBlocked(FixedProblem):
    """The operator has blocked the address or its domain."""

    code = "address_blocked"
    http_status = 403
    title = "The address is blocked"
    reason = "This address gets no verification codes."
    at = "email"


class CodeInvalid(FixedProblem):
    """The code is wrong, too old, used, or was tried too often; or the address has none. All get the same answer."""

    code = "code_invalid"
    http_status = 422
    title = "The code is not valid"
    reason = "The code is wrong, was used, or is no longer valid. Ask for a new one after five wrong tries."
    at = "code"


class VerificationLimited(Problem):
    """The address has got as many codes as allowed, or its client address has called too often."""

    code = "verification_limited"
    http_status = 429
    title = "Too many verification calls"
    retryable = True

    def __init__(self, by: str, wait: int, rate: Rate | None = None) -> None:
        details = {
            "gap": "This address got a code less than a minute ago.",
            "day": "This address got ten codes within a day.",
        }
        many = "This client address has called too often. An application that calls for its users sends client_address."
        super().__init__(details.get(by, many), field="email" if by in details else None, retry_after=wait)
        # The header names the rate of the client address alone; those of an e-mail address are fixed.
        self._quotas = [Quota("client", rate, 0, wait, is_refused=True)] if by == "client" and rate else []

    def headers(self) -> dict[str, str]:
        return super().headers() | fields_of(self._quotas)
