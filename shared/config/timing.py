"""The inequalities between the timing settings, checked at start and tabled in DESIGN.md.

|-- connect --|
|-- one try of a store call --|
|-- the call with its one repeat (total) ------|
                                               |-- provider call --------------------|-- margin --|
|-- a function's longest life (the platform kills it here) ----------------------------------------|-- 30 s --|
|-- lease: nobody rescues the job before --------------------------------------------------------------------->|
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from shared.config.settings import Settings

ZOMBIE_MARGIN = 30.0  # s; a function is surely dead this long after its platform's limit
SUBMIT_MARGIN = 5.0  # s; what must be left of a lease beyond a provider call's timeout when the call begins
ANSWER_MARGIN = 2.0  # s; kept for answering when a function plans its calls
MAX_MODEL_RUN = 1800.0  # s; Replicate ends a run after 30 minutes
LAST_WEBHOOK_RETRY = 60.0  # s; Replicate's last try to deliver, counted from completion
COPY_ALARM = 1800.0  # s after a job's end; a file that is not stored by then is reported
COPY_DEADLINE = 2700.0  # s; then it is given up, while the provider may still have it for whoever looks at once
TICK_MARGIN = 10.0  # s; a tick stops taking work this long before the platform would kill it


def contradictions(s: "Settings") -> list[str]:
    """Each inequality that does not hold, as a sentence with the two numbers; empty when all hold."""
    zombie, submit, answer = (s.timing_scale * margin for margin in (ZOMBIE_MARGIN, SUBMIT_MARGIN, ANSWER_MARGIN))
    last_retry, tick = s.timing_scale * LAST_WEBHOOK_RETRY, s.timing_scale * TICK_MARGIN
    slack = s.timing_scale * ANSWER_MARGIN  # what may pass before a function comes to submit
    round_needs = 2 * s.store_total_timeout + s.provider_timeout
    rules = [
        (s.store_connect_timeout < s.store_try_timeout, "STORE_CONNECT_TIMEOUT", s.store_connect_timeout,
         "must be below STORE_TRY_TIMEOUT", s.store_try_timeout),
        (2 * s.store_try_timeout <= s.store_total_timeout, "twice STORE_TRY_TIMEOUT", 2 * s.store_try_timeout,
         "must be at most STORE_TOTAL_TIMEOUT", s.store_total_timeout),
        (s.store_total_timeout < s.provider_timeout, "STORE_TOTAL_TIMEOUT", s.store_total_timeout,
         "must be below PROVIDER_TIMEOUT", s.provider_timeout),
        (s.provider_timeout < s.function_max_duration, "PROVIDER_TIMEOUT", s.provider_timeout,
         "must be below FUNCTION_MAX_DURATION", s.function_max_duration),
        (s.lease >= s.function_max_duration + zombie, "LEASE", s.lease,
         "must be at least FUNCTION_MAX_DURATION plus 30", s.function_max_duration + zombie),
        (s.lease > s.provider_timeout + submit, "LEASE", s.lease,
         "must be above PROVIDER_TIMEOUT plus 5", s.provider_timeout + submit),
        (s.cancel_after <= MAX_MODEL_RUN, "CANCEL_AFTER", s.cancel_after,
         "must be at most the provider's run limit", MAX_MODEL_RUN),
        (s.adoption_margin > last_retry, "ADOPTION_MARGIN", s.adoption_margin,
         "must be above the provider's last webhook retry", last_retry),
        (s.webhook_tolerance > 2 * last_retry, "WEBHOOK_TOLERANCE", s.webhook_tolerance,
         "must be above twice the provider's last webhook retry", 2 * last_retry),
        (s.tick_budget <= s.function_max_duration - tick, "TICK_BUDGET", s.tick_budget,
         "must be at most FUNCTION_MAX_DURATION minus 10", s.function_max_duration - tick),
        (s.status_cache_ttl <= s.check_interval, "STATUS_CACHE_TTL", s.status_cache_ttl,
         "must be at most CHECK_INTERVAL", s.check_interval),
        (s.tick_second_pass == 0 or s.tick_second_pass + round_needs <= s.tick_budget,
         "TICK_SECOND_PASS and a round", s.tick_second_pass + round_needs, "must fit into TICK_BUDGET", s.tick_budget),
        (s.hook_timeout + s.store_total_timeout + slack <= s.tick_budget,
         "HOOK_TIMEOUT, STORE_TOTAL_TIMEOUT and 2 s", s.hook_timeout + s.store_total_timeout + slack,
         "must fit into TICK_BUDGET", s.tick_budget),
        (round_needs <= s.tick_budget, "two store calls and one provider call with their full timeouts", round_needs,
         "must fit into TICK_BUDGET", s.tick_budget),
        (round_needs + answer + slack <= s.function_max_duration,
         "two store calls and one provider call with their full timeouts, and 4 s", round_needs + answer + slack,
         "must fit into FUNCTION_MAX_DURATION", s.function_max_duration),
    ]  # fmt: skip
    return [f"{left} ({a:g} s) {rule} ({b:g} s)" for holds, left, a, rule, b in rules if not holds]
