"""How long each step may take, and the inequalities between these times.

|-- connect --|
|-- one try of a store call --|
|-- the call with its one repeat (total) ------|
                                               |-- provider call --------------------|-- margin --|
|-- a function's longest life (the platform kills it here) ----------------------------------------|-- 30 s --|
|-- lease: no tick or poll rescues the job before ------------------------------------------------------------>|

Most deployments set FUNCTION_MAX_DURATION (F) and nothing else here. These settings follow from it unless they are set:

    setting                 formula                            at F = 60 s
    LEASE                   F + 60                             120
    TICK_BUDGET             3/4 F, at most F - 10               45
    PROVIDER_TIMEOUT        F / 3, at most 15                   15
    HOOK_TIMEOUT            F / 3, at most 15                   15
    STORE_TOTAL_TIMEOUT     F / 8, at most 5                     5
    STORE_TRY_TIMEOUT       F / 20, at most 2                    2
    STORE_CONNECT_TIMEOUT   F / 40, at most 1                    1

All inequalities then hold for each F from MIN_FUNCTION_DURATION on.
"""

from collections.abc import Callable

from pydantic import Field, ValidationInfo, field_validator

from shared.config.environment import EnvironmentSettings
from shared.config.quantities import Seconds

MIN_FUNCTION_DURATION = 25.0  # s; in less, TICK_MARGIN leaves a tick no time for a round of calls
ZOMBIE_MARGIN = 30.0  # s; a function is surely dead this long after its platform's limit
SUBMIT_MARGIN = 5.0  # s; what must be left of a lease beyond a provider call's timeout when the call begins
ANSWER_MARGIN = 2.0  # s; kept for answering when a function plans its calls
MAX_MODEL_RUN = 1800.0  # s; Replicate ends a run after 30 minutes
LAST_WEBHOOK_RETRY = 60.0  # s; Replicate's last try to deliver, counted from completion
# The provider's clock may differ from Sluice's by so many s.
CLOCK_MARGIN = 120.0
# s at least from one complete list without a prediction to the question for the next: what a list may lag behind.
LIST_GAP = 30.0
LATE_MARGIN = 30.0  # s; how far a process' clock may be behind the store's before a call is sent twice
COPY_ALARM = 1800.0  # s after a job's end; a file that is not stored by then is reported
COPY_DEADLINE = 2700.0  # s; then storing gives up, while the provider may still have the file for its owner
MAX_EVENT_WAIT = 300.0  # s after a job's end that its owner's event waits for a file that fails
MIN_COPY_TIME = 10.0  # s; with less time left, no copy of a file begins
COPY_MARGIN = 1.0  # s that pass before a tick begins one
TICK_MARGIN = 10.0  # s; a tick stops taking work this long before the platform would kill it

Derivation = Callable[[dict[str, float]], float]


def _share(divisor: int, *, at_most: float) -> Derivation:
    """A part of FUNCTION_MAX_DURATION: calls need no longer in a longer function."""
    return lambda values: min(values["function_max_duration"] / divisor, at_most)


def _tick_budget(values: dict[str, float]) -> float:
    duration = values["function_max_duration"]
    return min(0.75 * duration, duration - values["timing_scale"] * TICK_MARGIN)


def _lease(values: dict[str, float]) -> float:
    """Twice the margin that is checked: a late rescue costs a minute, an early one may cost a second generation."""
    return values["function_max_duration"] + 2 * values["timing_scale"] * ZOMBIE_MARGIN


class TimingSettings(EnvironmentSettings):
    """All times that must fit each other. A derived one is declared after those that it follows from."""

    # Multiplies the fixed margins above; below 1 only to let a test see hours in a minute.
    timing_scale: float = Field(1.0, gt=0, le=1)
    function_max_duration: Seconds = 60.0

    lease: Seconds = Field(default_factory=_lease)
    tick_budget: Seconds = Field(default_factory=_tick_budget)
    provider_timeout: Seconds = Field(default_factory=_share(3, at_most=15.0))
    # Below HOOK_LEASE of shared/jobqueue/constants.py
    hook_timeout: float = Field(default_factory=_share(3, at_most=15.0), gt=0, le=20)
    store_total_timeout: Seconds = Field(default_factory=_share(8, at_most=5.0))
    store_try_timeout: Seconds = Field(default_factory=_share(20, at_most=2.0))
    store_connect_timeout: Seconds = Field(default_factory=_share(40, at_most=1.0))

    cancel_after: Seconds = Field(1800.0, ge=5)
    adoption_margin: Seconds = 90.0
    webhook_tolerance: Seconds = 300.0
    first_check_after: Seconds = 30.0  # no question about a younger run, if webhooks work
    check_interval: Seconds = 30.0  # between two questions of ticks about one job
    status_check_interval: Seconds = 2.0  # between two questions of status reads about one job, fleet-wide
    status_cache_ttl: Seconds = 2.0
    waiting_check_interval: Seconds = 10.0  # how long a job waits before reading its status looks for free capacity
    tick_period: Seconds = 60.0
    tick_second_pass: float = Field(0.0, ge=0, le=50)  # s after its start that a tick looks once more; 0: never

    @property
    def late_tick_after(self) -> float:
        """The s without a tick after which the schedule is late: a healthy one may miss a run, or begin one late."""
        return 3 * self.tick_period

    @property
    def news_after(self) -> float:
        """The s from a job's end to its owner's event, if all files are stored but some that fail.

        Two leases: a function that died with the first try has left time for a second one.
        """
        return min(2 * self.lease, self.timing_scale * MAX_EVENT_WAIT)

    @field_validator("function_max_duration")
    @classmethod
    def _check_duration(cls, duration: float, values: ValidationInfo) -> float:
        shortest = values.data.get("timing_scale", 1.0) * MIN_FUNCTION_DURATION
        if duration < shortest:
            raise ValueError(
                f"{duration:g} s must be at least {shortest:g} s: a shorter function has no time for"
                " a provider call and the store calls around it"
            )
        return duration

    def faults(self) -> list[str]:
        problems = []
        if self.timing_scale != 1 and not self.is_development:
            problems.append("TIMING_SCALE is for tests: shorter margins than the platforms' own would break promises")
        return problems + self._contradictions() + super().faults()

    def _contradictions(self) -> list[str]:
        """Each inequality that does not hold, as a sentence with the two numbers."""
        rules = [*self._rules_of_calls(), *self._rules_of_leases(), *self._rules_of_rounds()]
        return [fault for fault in rules if fault]

    def _rules_of_calls(self) -> list[str]:
        """What must hold between the times of single calls and questions; '' for a rule that holds."""
        provider, total = self.provider_timeout, self.store_total_timeout
        last_retry = self.timing_scale * LAST_WEBHOOK_RETRY
        return [
            _unless_below(
                "STORE_CONNECT_TIMEOUT", self.store_connect_timeout, "STORE_TRY_TIMEOUT", self.store_try_timeout
            ),
            _unless_at_most("twice STORE_TRY_TIMEOUT", 2 * self.store_try_timeout, "STORE_TOTAL_TIMEOUT", total),
            _unless_below("STORE_TOTAL_TIMEOUT", total, "PROVIDER_TIMEOUT", provider),
            _unless_below("PROVIDER_TIMEOUT", provider, "FUNCTION_MAX_DURATION", self.function_max_duration),
            _unless_at_most("STATUS_CACHE_TTL", self.status_cache_ttl, "CHECK_INTERVAL", self.check_interval),
            _unless_at_most("CANCEL_AFTER", self.cancel_after, "the provider's run limit", MAX_MODEL_RUN),
            _unless_below("the provider's last webhook retry", last_retry, "ADOPTION_MARGIN", self.adoption_margin),
            _unless_below(
                "twice the provider's last webhook retry", 2 * last_retry, "WEBHOOK_TOLERANCE", self.webhook_tolerance
            ),
        ]

    def _rules_of_leases(self) -> list[str]:
        """What keeps a rescue away from a function that may still live."""
        dead = self.function_max_duration + self.timing_scale * ZOMBIE_MARGIN
        submitted = self.provider_timeout + self.timing_scale * SUBMIT_MARGIN
        return [
            _unless_at_most("FUNCTION_MAX_DURATION plus 30", dead, "LEASE", self.lease),
            _unless_below("PROVIDER_TIMEOUT plus 5", submitted, "LEASE", self.lease),
        ]

    def _rules_of_rounds(self) -> list[str]:
        """What must fit into a tick, and into any other function."""
        duration, budget = self.function_max_duration, self.tick_budget
        answer = slack = self.timing_scale * ANSWER_MARGIN  # slack: what may pass before a function comes to submit
        one_round = 2 * self.store_total_timeout + self.provider_timeout
        second_round = self.tick_second_pass + one_round if self.tick_second_pass else 0.0
        delivery = self.hook_timeout + self.store_total_timeout + slack
        copy = self.timing_scale * (MIN_COPY_TIME + COPY_MARGIN) + self.store_total_timeout
        calls = "two store calls and one provider call with their full timeouts"
        longest_tick = duration - self.timing_scale * TICK_MARGIN
        return [
            _unless_at_most("TICK_BUDGET", budget, "FUNCTION_MAX_DURATION minus 10", longest_tick),
            _unless_at_most(calls, one_round, "TICK_BUDGET", budget),
            _unless_at_most(f"TICK_SECOND_PASS, {calls}", second_round, "TICK_BUDGET", budget),
            _unless_at_most("HOOK_TIMEOUT, STORE_TOTAL_TIMEOUT and 2 s", delivery, "TICK_BUDGET", budget),
            _unless_at_most("a copy's 11 s and STORE_TOTAL_TIMEOUT", copy, "TICK_BUDGET", budget),
            _unless_at_most(f"{calls}, and 4 s", one_round + answer + slack, "FUNCTION_MAX_DURATION", duration),
        ]


def _unless_below(left: str, a: float, right: str, b: float) -> str:
    return "" if a < b else f"{left} ({a:g} s) must be below {right} ({b:g} s)"


def _unless_at_most(left: str, a: float, right: str, b: float) -> str:
    return "" if a <= b else f"{left} ({a:g} s) must be at most {right} ({b:g} s)"
