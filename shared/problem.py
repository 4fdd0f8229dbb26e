"""The base of all errors that reach a caller: what the answer says, and what only the log says."""

from typing import ClassVar, Self


class Problem(Exception):
    """Base of all errors that reach a caller."""

    code: ClassVar[str]
    http_status: int
    title: ClassVar[str]
    retryable: ClassVar[bool] = False
    is_field_known: bool = True  # False: a name that the caller has made up, which no log may hold
    translations: dict[str, tuple[str, str]]  # title and detail by language; any other language gets English

    def __init__(self, detail: str, *, field: str | None = None, retry_after: int | None = None) -> None:
        super().__init__(detail)
        self.detail = detail
        self.field = field
        self.retry_after = retry_after
        self.translations = {}
        self._cause = ""

    @property
    def cause(self) -> str:
        """Why it came to this, for the operator's log: a host, an error's name, a limit; '' if the detail says all."""
        return self._cause

    def because(self, cause: Exception | str) -> Self:
        """Returns the error with its cause. An exception gives its name alone, since its text may hold anything."""
        self._cause = cause if isinstance(cause, str) else type(cause).__name__
        return self

    def headers(self) -> dict[str, str]:
        return {} if self.retry_after is None else {"Retry-After": str(self.retry_after)}


class FixedProblem(Problem):
    """Base of errors whose text never differs."""

    reason: ClassVar[str]
    at: ClassVar[str | None] = None  # the field
    wait: ClassVar[int | None] = None  # s

    def __init__(self) -> None:
        super().__init__(self.reason, field=self.at, retry_after=self.wait)
