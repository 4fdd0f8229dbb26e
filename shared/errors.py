"""Every error an answer can carry, as RFC 9457 problem documents.

    401  Unauthenticated
    403  LinkRefused: a file's signed URL is not valid; others are in shared/access/errors.py
    404  JobNotFound, BatchNotFound, NoSuchEvent, NoSuchFile: the same for what another owner has
    409  StateConflict: NotCompleted, OutputChanged, NotWaiting, NotUnknown, NotFailed, NotTerminal,
           BelongsToBatch, AlreadyRedriven, NoStorage, ChangedMeanwhile
    416  RangeRefused, with Content-Range
    422  IdempotencyConflict; InvalidRequest, which names the field only, and may be 400, 408, 411, 413 or 415
    429  UserLimitReached, UserQueueFull, KeyQueueFull, BudgetExceeded, with Retry-After
    503  QueueFull, LookupFailed, StorageUnavailable and StoreError, with Retry-After
           StoreUnavailable: surely not applied; StoreRefused: the store's quota, capacity, read-only or wrong token
           StoreUncertain: maybe applied
           StoreScriptError: the store ran the command and it failed: a bug of Sluice, or foreign keys

No message holds a secret, a token, a signed URL or what the caller sent.
"""

from typing import ClassVar

from shared.problem import FixedProblem as FixedProblem
from shared.problem import Problem as Problem

PROBLEM_JSON = "application/problem+json"
UNKNOWN_FIELD = "This field is not known."
UNANSWERED = "The store did not answer in time; the request may have been applied."


class InvalidRequest(Problem):
    """The request cannot be accepted; sending it again unchanged does not help."""

    code = "invalid_request"
    title = "The request is not valid"

    def __init__(
        self, detail: str, *, field: str | None = None, http_status: int = 422, is_field_known: bool = True
    ) -> None:
        super().__init__(detail, field=field)
        self.http_status = http_status
        self.is_field_known = is_field_known


class Unauthenticated(Problem):
    """The credentials are missing or wrong."""

    code = "unauthenticated"
    http_status = 401
    title = "Authentication is required"
    is_guess: ClassVar[bool] = True  # whether it counts against the caller's address, see rates/rates.py

    def headers(self) -> dict[str, str]:
        return {**super().headers(), "WWW-Authenticate": 'Bearer realm="sluice", Basic realm="sluice"'}


class JobNotFound(FixedProblem):
    """There is no such job for this caller."""

    code = "job_not_found"
    http_status = 404
    title = "No such job"
    reason = "There is no job with this id."


class BatchNotFound(FixedProblem):
    """There is no such batch for this caller."""

    code = "batch_not_found"
    http_status = 404
    title = "No such batch"
    reason = "There is no batch with this id."


class NoSuchEvent(FixedProblem):
    """The job has no such event to send again."""

    code = "no_such_event"
    http_status = 404
    title = "No such event"
    reason = "This job had no such event, or no hook was to receive it."


class NoSuchFile(FixedProblem):
    """The file never existed, or is no longer kept."""

    code = "no_such_file"
    http_status = 404
    title = "No such file"
    reason = "There is no such file, or it is no longer kept."


class LinkRefused(FixedProblem):
    """This deployment did not sign the URL for this request, or the URL has expired."""

    code = "link_refused"
    http_status = 403
    title = "The link is not valid"
    reason = "The link is not valid here, has expired, or was made for another size or Content-Type of an upload."


class RangeRefused(Problem):
    """The file ends before the range begins."""

    code = "range_not_satisfiable"
    http_status = 416
    title = "No such range"

    def __init__(self, size: int) -> None:
        super().__init__("The file ends before this range begins.", field="Range")
        self.size = size

    def headers(self) -> dict[str, str]:
        return {**super().headers(), "Content-Range": f"bytes */{self.size}"}


class StateConflict(FixedProblem):
    """Base of errors of one cause: the state of the job, or of the deployment, does not allow the request."""

    http_status = 409


class NoStorage(StateConflict):
    """This deployment has no storage."""

    code = "no_storage"
    title = "No storage"
    reason = "This deployment keeps no files: STORAGE_URL is not set."


class StorageUnavailable(FixedProblem):
    """The storage does not answer."""

    code = "storage_unavailable"
    http_status = 503
    title = "Storage unavailable"
    retryable = True
    reason = "The storage of files does not answer."
    wait = 10


class NotWaiting(StateConflict):
    """The job has started or ended, so its position in the queue can no longer change."""

    code = "not_waiting"
    title = "The job is not waiting"
    reason = "The job has started or ended; its priority no longer matters."


class NotUnknown(StateConflict):
    """The outcome of the job's submission is known, or the submission is under way."""

    code = "not_unknown"
    title = "The outcome is not unknown"
    reason = "The outcome of the job's submission is known, or the submission is still under way."


class NotFailed(StateConflict):
    """The job has not ended, or did not end as failed; there is nothing to redrive."""

    code = "not_failed"
    title = "The job has not failed"
    reason = "Only a job that has failed can be redriven."


class AlreadyRedriven(StateConflict):
    """The job was redriven before, and the job that the redrive created has been deleted."""

    code = "already_redriven"
    title = "The job was redriven before"
    reason = "The job was redriven before, and the new job has been deleted since. Submit a new job."


class ChangedMeanwhile(StateConflict):
    """Other calls changed the same thing at the same time, each try anew; nothing of this call was applied."""

    code = "changed_meanwhile"
    title = "Other calls changed it at the same time"
    retryable = True
    reason = "Other calls changed this at the same time, and this one was not applied. Send it again."
    wait = 1


class BelongsToBatch(StateConflict):
    """The job belongs to a batch, whose counters include it."""

    code = "belongs_to_batch"
    title = "The job belongs to a batch"
    reason = "The job belongs to a batch; only the whole batch can be retried or deleted."


class NotTerminal(StateConflict):
    """The job has not ended."""

    code = "not_terminal"
    title = "The job has not ended"
    reason = "The job has not ended; cancel it first."


class NotCompleted(StateConflict):
    """The job has no result and never will have one."""

    code = "not_completed"
    title = "The job has no result"
    reason = "The job ended without a result; its status says why."


class NotCompletedYet(NotCompleted):
    """The job may have a result later."""

    retryable = True
    reason = "The job has not been completed yet."
    wait = 2


class OutputChanged(StateConflict):
    """The output is no longer the one that the first pieces were of."""

    code = "output_changed"
    title = "The output has changed"
    reason = "The output has changed since its first piece. Begin again with ?from=0."


class UserLimitReached(Problem):
    """The user has reached the limit of live tasks; one must end first."""

    code = "user_limit_reached"
    http_status = 429
    title = "The user has reached the limit of live tasks"
    retryable = True

    def __init__(self, live: int, allowed: int) -> None:
        detail = f"This user has {live} live task{'s' * (live != 1)} and may have {allowed}. Wait until one has ended."
        super().__init__(detail, field="user_id", retry_after=5)
        chinese = f"该用户已有 {live} 个进行中的任务，最多允许 {allowed} 个。请等待其中一个任务结束后再提交。"  # noqa: RUF001
        self.translations = {"zh": ("该用户的进行中任务已达上限", chinese)}


class UserQueueFull(Problem):
    """As many of the user's jobs wait as one user may have, those of batches too."""

    code = "user_queue_full"
    http_status = 429
    title = "The user has as many waiting jobs as allowed"
    retryable = True


class KeyQueueFull(Problem):
    """As many jobs of the caller's API key wait as one key may have."""

    code = "key_queue_full"
    http_status = 429
    title = "The API key has as many waiting jobs as allowed"
    retryable = True


class BudgetExceeded(Problem):
    """What the job may cost is more than a budget has left, of the user or of the deployment."""

    code = "budget_exceeded"
    http_status = 429
    title = "A budget has no room for this"
    retryable = True

    def __init__(self, whose: str, period: str, retry_after: int) -> None:
        owner = "this user" if whose == "user" else "this deployment"
        detail = f"What this may cost is more than the budget of {owner} has left for the {period}."
        super().__init__(detail, field="user_id" if whose == "user" else None, retry_after=retry_after)


class QueueFull(Problem):
    """The queue holds as many waiting jobs as the deployment allows."""

    code = "queue_full"
    http_status = 503
    title = "The queue is full"
    retryable = True


class LookupFailed(FixedProblem):
    """The host of a hook URL could not be looked up: the DNS did not answer, which says nothing about the URL."""

    code = "lookup_failed"
    http_status = 503
    title = "The host could not be looked up"
    retryable = True
    reason = "The name of the host could not be looked up in time."
    at, wait = "hook_url", 10


class IdempotencyConflict(FixedProblem):
    """The Idempotency-Key was used before with another body."""

    code = "idempotency_conflict"
    http_status = 422
    title = "The idempotency key belongs to another request"
    reason = "This Idempotency-Key was already used with a different body. Use a new key."
    at = "Idempotency-Key"


class StoreError(Problem):
    """The store could not be used; the request itself may be fine."""

    code = "store_unavailable"
    http_status = 503
    title = "The store cannot be used right now"
    retryable = True
    refusal = ""  # the limit that the store names, for the operator; see store/refusals.py
    trouble = ""  # why it could not be reached, for the operator: it names the host

    @property
    def cause(self) -> str:
        """The limit that was met, or what kept it from being reached, or the name of the error."""
        return self.refusal or self.trouble or super().cause


class StoreUnavailable(StoreError):
    """Surely not applied: the request never reached the store."""

    def __init__(self, detail: str = "The store could not be reached.", *, retry_after: int = 5) -> None:
        super().__init__(detail, retry_after=retry_after)


class StoreRefused(StoreUnavailable):
    """Surely not applied: the store refused to serve."""

    code = "store_refused"

    def __init__(self, reason: str, *, retry_after: int = 60) -> None:
        super().__init__(f"The store refuses requests: {reason}.", retry_after=retry_after)


class StoreUncertain(StoreError):
    """Maybe applied: the request was sent, and no usable answer came back."""

    code = "store_uncertain"

    def __init__(self, detail: str = UNANSWERED, *, retry_after: int = 2) -> None:
        super().__init__(detail, retry_after=retry_after)


class StoreScriptError(StoreError):
    """The store answered a command with an error. ``text`` goes to the log only."""

    code = "store_error"

    def __init__(self, text: str) -> None:
        super().__init__("The store answered with an error.", retry_after=5)
        self.text = text
        self.because(text[:300])
