"""How a script is called and answers: everything by name, and what must follow is done here."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, ClassVar, TypeVar

from shared.clock import Clock
from shared.config.settings import Settings
from shared.errors import (
    BelongsToBatch,
    BudgetExceeded,
    IdempotencyConflict,
    JobNotFound,
    KeyQueueFull,
    NoSuchEvent,
    NotTerminal,
    Problem,
    QueueFull,
    StoreError,
    StoreScriptError,
    StoreUnavailable,
    UserLimitReached,
    UserQueueFull,
)
from shared.jobqueue.answers import FORMS, Forms, reply_to
from shared.jobqueue.follow_ups import FollowUps
from shared.jobqueue.keys import Keys
from shared.jobqueue.kinds import Value
from shared.jobqueue.periods import begins_in
from shared.jobqueue.replies import Refusal, Reply
from shared.jobqueue.script import Script, script
from shared.jobqueue.terms import Terms
from shared.store import Store, goes_first
from shared.store.refusals import OF_ALL_WRITES

R = TypeVar("R", bound=Reply)
# These note what a provider has answered. If one got no turn, a paid submission would be unknown.
GO_FIRST = frozenset({"record", "finish", "fail", "snooze", "trip"})


class Scripted:
    """Sends scripts to one store, for one deployment. A room with scripts of its own names their folder and forms."""

    folder: ClassVar[Path | None] = None
    forms: ClassVar[Forms] = FORMS

    def __init__(self, store: Store, settings: Settings, clock: Clock, follow_ups: FollowUps | None = None) -> None:
        self._store = store
        self._settings = settings
        self._clock = clock
        self.follow_ups = follow_ups or FollowUps(clock)
        self.keys = Keys(settings.prefix)
        self.refused_at: int | None = None  # ms; when the store refused the last script, unless it took one since
        self._behind = 0  # ms that this process' clock is behind the store's, as far as its answers have shown
        self._standing: Mapping[str, Value] = {**self.keys.standing, **vars(Terms(settings))}

    async def _run(self, verb: str, kind: type[R], /, **given: Value) -> R:
        """Runs a verb's script and returns its answer, which is of this kind.

        Its header says which keys and arguments it takes. What the deployment fixes and what time it is need not be
        given: see Terms and Keys. What has to follow is noted. Raises TypeError, before anything is sent, for a name
        that the header does not have, for one that is missing, and for a value of the wrong kind; the error that
        belongs to a refusal; and StoreScriptError for an answer that the header does not name.
        """
        called = script(verb, self.folder)
        passing = goes_first.set(verb in GO_FIRST)  # mutant: verbs that go first
        try:
            return await self._called(called, kind, given)
        finally:
            goes_first.reset(passing)

    async def _called(self, called: Script, kind: type[R], given: Mapping[str, Value]) -> R:
        reply = await self._answered(called, given)
        if late_at := getattr(reply, "late_at", None):
            # A caller that gets this answer is not late: this process' clock is behind the store's.
            self._behind = late_at - self._clock.now()
            reply = await self._answered(called, given)
            if getattr(reply, "late_at", None):
                raise StoreUnavailable
        if isinstance(reply, Refusal):
            raise self._refused(reply)
        self.follow_ups.note(getattr(reply, "follow", ""))
        if not isinstance(reply, kind):
            raise StoreScriptError(
                f"{called.verb} answered with {type(reply).__name__}, which its caller does not expect."
            )
        return reply

    async def _sent(self, *command: str) -> Any:
        """Executes a script and returns its answer; notes when the store refuses all writes."""
        try:
            answer = await self._store.execute(*command)
        except StoreError as error:
            if error.refusal in OF_ALL_WRITES:
                self.refused_at = self._clock.now()
            raise
        self.refused_at = None
        return answer

    async def _answered(self, called: Script, given: Mapping[str, Value]) -> Reply:
        values = self._values(called, given)
        keys = [self.keys.checked(name, values[name]) for name in called.keys]
        arguments = [text for argument in called.arguments for text in argument.written(values[argument.name])]
        answer = await self._sent("EVAL", called.text, str(len(keys)), *keys, *arguments)
        return reply_to(called, answer, self.forms)

    def _refused(self, refusal: Refusal) -> Problem:
        """The error that the caller gets."""
        match refusal.word:
            case "user_limit":
                return UserLimitReached(refusal.live, refusal.allowed)
            case "user_queue_full":
                detail = f"{refusal.waiting} jobs of this user wait, and {refusal.allowed} may wait (MAX_USER_WAITING)."
                return UserQueueFull(detail, field="user_id", retry_after=30)
            case "key_queue_full":
                detail = (
                    f"{refusal.waiting} jobs of this API key wait, and {refusal.allowed} may wait, which is its limit."
                )
                return KeyQueueFull(detail, retry_after=30)
            case "budget_exceeded":
                return BudgetExceeded(refusal.whose, refusal.period, begins_in(refusal.period, self._clock.now()))
            case "queue_full":
                detail = f"{refusal.waiting} jobs are waiting, which is all this deployment holds."
                return QueueFull(detail, retry_after=30)
            case word:
                errors: dict[str, Callable[[], Problem]] = {
                    "conflict": IdempotencyConflict,
                    "not_terminal": NotTerminal,
                    "belongs_to_batch": BelongsToBatch,
                    "no_event": NoSuchEvent,
                }
                return errors.get(word, JobNotFound)()

    def _values(self, called: Script, given: Mapping[str, Value]) -> dict[str, Value]:
        """The value of each key and argument by its name."""
        wanted = [*called.keys, *(argument.name for argument in called.arguments)]
        lease_now = self._clock.lease_now()
        now: dict[str, Value] = {
            "now": self._clock.now(),
            "lease_now": int(lease_now) if lease_now else None,
            "sent_at": int(lease_now) if lease_now else self._clock.now() + self._behind,
        }
        known = {**self._standing, **now, **given}
        missing = [name for name in wanted if name not in known]
        unknown = [name for name in given if name not in wanted]
        if missing or unknown:
            raise TypeError(f"{called.verb}: missing {missing}, unknown {unknown}")
        return {name: known[name] for name in wanted}
