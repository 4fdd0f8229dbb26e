"""Mutants of prices and budgets."""

from tests.mutants.mutant import Mutant, lua, python

SPENDING = "tests/queue/test_spending.py::test_"
BATCHES = "tests/queue/test_spending_batches.py::test_"
CHANGES = "tests/queue/test_spending_changes.py::test_"
STOPS = "tests/faults/test_stops.py::test_a_script_that_stops_at_any_command_is_survived"

MUTANTS: tuple[Mutant, ...] = (
    lua(
        "a reservation is added to the earlier one of the same job", "spending",
        "earlier reservation", "",
        f"{SPENDING}a_job_reserves_the_most_that_it_may_cost_and_pays_what_its_metrics_say[memory]",
    ),
    lua(
        "a budget is overdrawn", "spending",
        "budget", "if false then",
        f"{SPENDING}the_budget_of_all_refuses_a_user_whose_own_has_room[memory]",
    ),
    lua(
        "a job cannot be tried again where the budgets were taken away", "spending",
        "no budgets", "local limit = limits[i]",
        f"{CHANGES}a_job_that_budgets_admitted_goes_on_where_they_were_taken_away[memory]",
    ),
    lua(
        "a budget refuses what costs nothing", "spending",
        "growth", "local grows = true",
        f"{CHANGES}a_job_that_costs_nothing_passes_where_a_budget_is_overdrawn[memory]",
    ),
    lua(
        "nothing is reserved", "spending",
        "reservation", "",
        f"{SPENDING}a_canceled_waiting_job_costs_nothing[memory]",
    ),
    lua(
        "what is not known costs nothing", "spending",
        "unknown cost", "if bill == '' then return 0 end",
        f"{SPENDING}a_submission_of_unknown_outcome_may_have_been_paid[memory]",
    ),
    lua(
        "a failed run costs where it is free", "spending",
        "free failure", "",
        f"{SPENDING}a_failed_run_is_free_where_its_price_says_so[memory]",
    ),
    lua(
        "a metric that is not reported costs nothing", "spending",
        "missing metric", "if metric and not metrics[metric] then metric = nil end",
        f"{SPENDING}a_report_without_a_metric_that_the_price_needs_costs_the_most[memory]",
    ),
    lua(
        "an attempt is paid at its most, and then again", "spending",
        "paid once", "if true then",
        f"{SPENDING}a_submission_of_unknown_outcome_may_have_been_paid[memory]",
    ),
    lua(
        "the run beside the one that ended the job costs nothing", "spending",
        "other run", "",
        f"{SPENDING}a_submission_of_unknown_outcome_may_have_been_paid[memory]",
    ),
    lua(
        "a job is settled once more", "spending",
        "settled once", "entry = entry or '0:0:'",
        f"{STOPS}[priced_ordinary-webhooks_ok]",
    ),
    lua(
        "a settled reservation stays", "spending",
        "settlement", "",
        f"{SPENDING}a_canceled_waiting_job_costs_nothing[memory]",
    ),
    lua(
        "a retry overdraws a budget", "spending",
        "budget of a retry", "",
        f"{SPENDING}a_job_gets_no_retry_that_no_budget_has_room_for[memory]",
    ),
    lua(
        "an account that has cost nothing stays", "spending",
        "empty account", "",
        f"{CHANGES}an_account_whose_jobs_cost_nothing_is_not_kept[memory]",
    ),
    lua(
        "a repeat of a day's first submit lets its month stay for ever", "spending",
        "repeated day", "local is_again = false",
        f"{CHANGES}a_repeat_of_a_submit_that_stopped_says_how_long_the_month_is_kept[memory]",
    ),
    lua(
        "a month whose last submit has stopped stays for ever", "reclaim",
        "reclaimed month", "",
        f"{CHANGES}a_month_whose_first_submit_stopped_is_forgotten_too[memory]",
    ),
    lua(
        "a job that is deleted before its settlement costs nothing", "delete",
        "settlement before a deletion", "",
        f"{CHANGES}a_job_that_is_deleted_before_its_settlement_still_costs[memory]",
    ),
    python(
        "a failed walk over the accounts ends the tick", "shared/dispatch/tick.py",
        "failure of a walk", "except ZeroDivisionError as error:",
        f"{CHANGES}a_failed_walk_over_reservations_ends_no_tick_and_keeps_no_file[memory]",
    ),
    python(
        "old files wait for a long walk over the accounts", "shared/dispatch/tick.py",
        "before a long walk", "",
        f"{CHANGES}a_failed_walk_over_reservations_ends_no_tick_and_keeps_no_file[memory]",
    ),
    lua(
        "an end that was cut short leaves its reservation", "ending",
        "settlement after a stop", "",
        f"{STOPS}[priced_ordinary-webhooks_ok]",
    ),
    lua(
        "a job starts without a reservation", "enqueue",
        "reserved first", "",
        f"{SPENDING}a_canceled_waiting_job_costs_nothing[memory]",
    ),
    lua(
        "a batch starts without reservations", "batch_create",
        "reserved first", "",
        f"{BATCHES}a_batch_reserves_for_each_of_its_jobs_or_for_none[memory]",
    ),
    lua(
        "a retried batch starts without reservations", "batch_retry",
        "reserved first", "",
        f"{BATCHES}a_retry_of_a_batch_reserves_for_its_new_jobs[memory]",
    ),
    python(
        "an account names its user", "shared/signing/derived.py",
        "payer", "return user",
        f"{SPENDING}no_account_says_whose_it_is[memory]",
    ),
    python(
        "a run that never began costs what a canceled one does", "shared/dispatch/bills.py",
        "free run", "if False:",
        f"{SPENDING}a_report_becomes_a_bill[aborted]",
    ),
    python(
        "an aborted run costs what a canceled one does", "shared/providers/replicate_api.py",
        "aborted", "is_free=False,",
        f"{SPENDING}a_report_becomes_a_bill[aborted]",
    ),
)  # fmt: skip
