"""Mutants of what keeps API keys and users apart."""

from tests.mutants.mutant import Mutant, lua

BATCHES = "tests/queue/test_batches.py::test_"
HALTS = "tests/queue/test_halts.py::test_"
WEIGHTS = "tests/queue/test_key_weights.py::test_"
YIELDING = "tests/queue/test_yielding.py::test_"
SHARES = "tests/queue/test_shares.py::test_"

MUTANTS: tuple[Mutant, ...] = (
    lua(
        "an API key fills the whole queue", "shares",
        "waiting of a key", "do return nil end",
        f"{SHARES}a_key_that_fills_its_part_gets_429_and_the_other_key_is_admitted[memory]",
    ),
    lua(
        "the jobs of batches do not count for their user", "shares",
        "waiting of a user", "do return nil end",
        f"{SHARES}a_users_limit_of_waiting_jobs_counts_single_jobs_and_those_of_batches[memory]",
    ),
    lua(
        "a claim gives one API key all slots", "shares",
        "slots of a key", "if false then return true end",
        f"{SHARES}a_key_has_no_more_slots_than_it_may_and_the_others_start_behind_its_jobs[memory]",
    ),
    lua(
        "a claim knows no limit of a key's own", "shares",
        "slots of an own limit", "local allowed = tonumber(arg.key_tasks)",
        "tests/access/test_key_limits.py::test_no_more_jobs_of_a_key_run_than_its_own_limit_allows",
    ),
    lua(
        "a submit gives one API key all slots", "shares",
        "slots of a key at submit", "return false",
        f"{SHARES}a_submit_of_a_key_with_all_its_slots_waits[memory]",
    ),
    lua(
        "an end makes all held jobs ready", "yielding",
        "one held job", "",
        f"{SHARES}held_jobs_whose_list_is_lost_or_stale_start_all_the_same[memory]",
    ),
    lua(
        "an end leaves held jobs held", "yielding",
        "held job released", "",
        f"{SHARES}a_slot_that_a_key_leaves_goes_to_its_best_held_job[memory-finish]",
    ),
    lua(
        "a held job that cannot start takes the slot of one that can", "yielding",
        "held job that can start", "true",
        f"{SHARES}a_held_job_starts_when_a_better_one_of_its_key_cannot[memory-paused queue]",
        part="not is_shut(gates, job, tonumber(arg.now))",
    ),
    lua(
        "a held job that is cancelled leaves its slot empty", "ending",
        "release passed on", "",
        f"{SHARES}a_held_job_starts_when_a_better_one_of_its_key_cannot[memory-cancel]",
    ),
    lua(
        "a held job that is put aside leaves its slot empty", "claim",
        "release of a parked job", "",
        f"{SHARES}a_held_job_starts_when_a_better_one_of_its_key_cannot[memory-later circuit]",
    ),
    lua(
        "held jobs that are over stay in the list of those that wait", "ending",
        "held job that is over", "",
        f"{YIELDING}a_slot_goes_to_a_held_job_behind_many_that_were_cancelled[memory]",
    ),
    lua(
        "held jobs are not looked at", "claim",
        "looks at held jobs", "MAX_HELD",
        f"{SHARES}a_held_job_starts_when_a_better_one_of_its_key_cannot[memory-later pause]",
        part="HELD_GAP * (list.count + #list / 2)",
    ),
    lua(
        "jobs that cannot start keep their seats", "yielding",
        "idle job", "do return false end",
        f"{YIELDING}a_poll_of_the_waiting_job_finds_it_a_seat[memory]",
    ),
    lua(
        "a batch loses a job that makes way for another of it", "yielding",
        "next of its batch", "",
        f"{YIELDING}a_job_of_a_batch_that_makes_way_for_another_of_its_batch_starts_later[memory]",
    ),
    lua(
        "jobs that run lose their seats", "yielding",
        "may leave its seat", "return is_shut(gates, f, now)",
        f"{YIELDING}a_job_that_runs_or_could_start_keeps_its_seat[memory]",
    ),
    lua(
        "a user's own circuit locks their seats", "yielding",
        "own circuit is shut", "do return false end",
        f"{YIELDING}the_fourth_job_starts_if_the_three_with_seats_cannot[memory-own circuit]",
    ),
    lua(
        "a job behind many that cannot start is never found", "yielding",
        "page of what waits", "local offset = 0",
        f"{YIELDING}a_job_behind_many_that_cannot_start_is_found_in_time[memory]",
    ),
    lua(
        "the end of a job that took a seat does not look for the one that left it", "enqueue",
        "heirs of the idle", "",
        f"{YIELDING}an_idle_job_gets_its_seat_back_where_no_user_has_more_jobs_than_seats[memory]",
    ),
    lua(
        "a better job that cannot start takes the seat of one that can", "enqueue",
        "way for idle", "return true",
        f"{YIELDING}a_better_job_that_cannot_start_takes_no_seat_of_one_that_can[memory]",
    ),
    lua(
        "a tick asks for seats of users with no waiting job", "claim",
        "stuck", "",
        f"{YIELDING}a_tick_asks_for_no_seat_where_no_job_waits_for_one[memory]",
    ),
    lua(
        "a freed seat goes to a job that cannot start", "ending",
        "amid a pause", "",
        f"{YIELDING}a_seat_that_is_free_goes_to_a_job_that_can_start_before_better_ones_that_cannot[memory]",
    ),
    lua(
        "what waits expires in an operator's pause", "expire",
        "pause of what waits", "",
        f"{HALTS}no_job_expires_in_an_operators_pause[memory-queues]",
    ),
    lua(
        "a pause that is set again begins anew", "halts",
        "repeated pause", "",
        f"{HALTS}a_pause_that_is_set_again_is_the_same_pause[memory]",
    ),
    lua(
        "all users of a key together have no share", "tags",
        "users of a key", "local active = own_weight()",
        f"{WEIGHTS}a_user_is_active_until_virtual_time_has_reached_their_tag[memory]",
    ),
    lua(
        "a key has no weight", "tags",
        "weight of a key", "return math.max(1, cost * active)",
        f"{WEIGHTS}a_user_is_active_until_virtual_time_has_reached_their_tag[memory]",
    ),
    lua(
        "a cancelled batch is paid for", "tags",
        "refund", "",
        f"{BATCHES}under_fair_a_cancelled_batch_is_not_paid_for[memory-batch]",
    ),
    lua(
        "a job that was started is not paid for", "tags",
        "refund of a job that was started", "if not f.cost then return end",
        f"{BATCHES}under_fair_a_job_that_was_started_is_paid_for[memory]",
    ),
    lua(
        "a job that starts counts as waiting", "claim",
        "share of a slot", "false",
        f"{SHARES}a_share_follows_its_job_from_the_submit_to_the_end[memory]",
        part="true",
    ),
)  # fmt: skip
