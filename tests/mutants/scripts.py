"""Mutants of the queue's scripts."""

from tests.mutants.mutant import Edit, Mutant, contract, lua, targeted

STORE = "tests/test_store.py::test_"

FENCING = (
    lua(
        "unfenced finish: a failure or cancellation of any attempt counts", "finish",
        "if attempt ~= current or not at_provider then return {'stale'} end",
        "if not at_provider then return {'stale'} end",
        *contract("a_write_of_an_old_attempt_changes_nothing"),
    ),
    lua(
        "unfenced finish: any prediction of the attempt counts", "finish",
        "if attempt == current and recorded ~= '' and recorded ~= prediction then return {'stale'} end", "",
        targeted("an_end_of_another_prediction_of_the_attempt_is_stale"),
    ),
    lua(
        "unfenced fail: a failure of any attempt counts", "fail",
        "if f[1] ~= ARGV[2] or not at_provider then return {'stale'} end",
        "if not at_provider then return {'stale'} end",
        targeted("a_write_of_an_attempt_before_the_last_is_stale[fail]"),
    ),
    lua(
        "unfenced fail: a failure of any prediction counts", "fail",
        "if ARGV[3] ~= '' and recorded ~= '' and recorded ~= ARGV[3] then return {'stale'} end", "",
        targeted("an_end_of_another_prediction_of_the_attempt_is_stale"),
    ),
    lua(
        "unfenced snooze", "snooze",
        "if f[1] ~= ARGV[2] or f[2] ~= 'submitting' then", "if f[2] ~= 'submitting' then",
        targeted("a_write_of_an_attempt_before_the_last_is_stale[snooze]"),
    ),
    lua(
        "unfenced rescue", "rescue",
        "if f[1] ~= ARGV[2] then return {'stale'} end", "",
        targeted("a_write_of_an_attempt_before_the_last_is_stale[rescue]"),
    ),
    lua(
        "record accepts a stale attempt", "record",
        "if f[1] ~= ARGV[2] or f[2] ~= 'submitting' then", "if f[2] ~= 'submitting' then",
        *contract("a_write_of_an_old_attempt_changes_nothing"),
    ),
    lua(
        "adopt takes an earlier attempt's prediction", "adopt",
        "local me, free = id .. ':' .. ARGV[2], {}", "local me, free = id .. ':' .. text(tonumber(ARGV[2]) - 1), {}",
        targeted("a_prediction_of_an_earlier_attempt_is_not_adopted"),
    ),
    lua(
        "progress of any prediction is noted", "progress",
        "or f[3] ~= ARGV[2] then", "then",
        *contract("progress_is_noted_for_the_current_prediction_only"),
    ),
)  # fmt: skip

ENDS = (
    lua(
        "finish forgets to remove from the index", "prelude",
        "redis.call('ZREM', index, id)", "",
        *contract("a_job_goes_through_its_whole_life"),
    ),
    lua(
        "double completion: finish does not look whether the job is done", "finish",
        "if f[2] == 'done' then", "if false then",
        *contract("every_end_of_an_attempt_is_safe_to_send_twice"),
    ),
    lua(
        "finish forgets what else to cancel when it is repeated", "finish",
        "return {'already', f[6], waiting(KEYS[1], ARGV[5]), f[8] or ''}",
        "return {'already', f[6], waiting(KEYS[1], ARGV[5]), ''}",
        targeted("a_repeated_finish_still_names_the_prediction_to_cancel"),
    ),
    lua(
        "leaked slot on cancel", "prelude",
        "redis.call('ZREM', index, id)", "if outcome ~= 'canceled' then redis.call('ZREM', index, id) end",
        *contract("cancelling_a_running_job_keeps_its_slot_until_the_provider_confirms"),
    ),
    lua(
        "leaked user slot on fail", "prelude",
        "redis.call('ZREM', user_key, id)", "if outcome ~= 'failed' then redis.call('ZREM', user_key, id) end",
        *contract("a_job_whose_submission_is_lost_three_times_is_a_dead_letter"),
    ),
    lua(
        "a terminal job never expires", "prelude",
        "redis.call('EXPIRE', job_key, ttl)", "",
        *contract("only_terminal_jobs_have_a_time_to_live"),
    ),
    lua(
        "TTL on a live job", "record",
        "redis.call('SET', KEYS[3]", "redis.call('EXPIRE', KEYS[2], '604800') redis.call('SET', KEYS[3]",
        *contract("only_terminal_jobs_have_a_time_to_live"),
    ),
    lua(
        "a job of somebody else can be cancelled", "cancel",
        "if not f[1] or f[2] ~= ARGV[2] then", "if not f[1] then",
        *contract("a_job_of_somebody_else_cannot_be_cancelled"),
    ),
    lua(
        "retries without end", "fail",
        "used < tonumber(ARGV[9])", "true",
        *contract("a_failed_attempt_waits_with_growing_backoff_and_then_becomes_a_dead_letter"),
    ),
)  # fmt: skip

LEASES = (
    lua(
        "a claim's lease is 0", "claim",
        "math.floor((time + tonumber(ARGV[4])) / 1000)", "math.floor(time / 1000)",
        targeted("nobody_looks_at_a_submission_before_its_lease_is_over[claim]"),
    ),
    lua(
        "the lease of an immediate start is 0", "enqueue",
        "lease_time(ARGV[5]) + tonumber(ARGV[9])", "lease_time(ARGV[5])",
        targeted("nobody_looks_at_a_submission_before_its_lease_is_over[enqueue]"),
    ),
    lua(
        "rescue before the adoption window is over", "rescue",
        " or time < tonumber(f[10])", "",
        *contract("a_lapsed_submission_is_put_back_only_after_its_adoption_window"),
    ),
    lua(
        "rescue never gives up", "rescue",
        "if rescues >= tonumber(ARGV[7]) or used >= tonumber(ARGV[6]) then", "if false then",
        *contract("a_job_whose_submission_is_lost_three_times_is_a_dead_letter"),
    ),
    lua(
        "snooze counts an attempt", "snooze",
        "text(tonumber(f[6] or '0') + 1)", "'0'",
        *contract("a_snooze_uses_up_no_attempt"),
    ),
    lua(
        "snooze gives the attempt's number back", "snooze",
        "'state', 'delayed',", "'state', 'delayed', 'attempt', text(tonumber(f[1]) - 1),",
        *contract("a_snooze_uses_up_no_attempt"),
    ),
    lua(
        "an overdue slot is handed to everybody", "claim",
        "move(row.id, score_of(row.band, math.floor((time + interval) / 1000) * 1000))", "",
        *contract("an_overdue_run_is_handed_to_one_caller_only"),
    ),
    lua(
        "every poller asks", "check",
        "redis.call('HSET', KEYS[2], 'checked_at', ARGV[2])", "",
        *contract("one_poller_asks_about_an_overdue_run_and_no_other_for_two_seconds"),
    ),
)  # fmt: skip

LIMITS = (
    Mutant(
        "claim ignores the queue's limit",
        (
            Edit("shared/jobqueue/claim.lua", "math.min(room, concurrency[k + 1] - head.by_queue[k])", "room"),
            Edit("shared/jobqueue/claim.lua", " and head.by_queue[k] < (concurrency[k + 1] or 0) then", " then"),
        ),
        (targeted("a_claim_keeps_the_limit_of_a_queue_that_others_leave_room_for"),),
    ),
    lua(
        "claim ignores the system's limit", "claim",
        "local room = math.min(limit - head.slots, want)", "local room = want",
        *contract("claims_keep_the_system_and_the_queue_limits"),
    ),
    lua(
        "an immediate start ignores the queue's limit", "enqueue",
        "local room = head.slots < limit and head.by_queue[queue] < concurrency[queue + 1]",
        "local room = head.slots < limit",
        *contract("a_job_starts_beside_a_full_queue"),
    ),
    lua(
        "an immediate start ignores better waiting jobs", "enqueue",
        "if k ~= queue or row.ms <= score then attention, room = true, false end",
        "if k ~= queue or row.ms <= score then attention = true end",
        *contract("a_job_does_not_start_past_a_better_one"),
    ),
    lua(
        "the user's limit is one too high", "enqueue",
        "local live = redis.call('ZCARD', user_key)", "local live = redis.call('ZCARD', user_key) - 1",
        *contract("the_fourth_live_task_of_a_user_is_refused"),
    ),
    lua(
        "claim takes the worst of a queue", "claim",
        "if a.ms ~= b.ms then return a.ms < b.ms end", "if a.ms ~= b.ms then return a.ms > b.ms end",
        *contract("priority_and_tier_go_first_and_then_age"),
    ),
)  # fmt: skip

REPEATS = (
    lua(
        "the fingerprint of a repeated submit is not compared", "enqueue",
        "if known[1] ~= ARGV[3] then return {'conflict'} end", "",
        *contract("a_repeated_submit_gets_the_same_job_and_another_body_a_conflict"),
    ),
    lua(
        "a repeated claim takes more jobs", "claim",
        "if row.ms % 1000 == mark and", "if false and",
        f"{STORE}a_repeated_claim_answers_the_same_jobs_and_takes_no_more",
    ),
    lua(
        "a repeated snooze counts again", "snooze",
        "if f[7] == ARGV[2] then", "if false then",
        f"{STORE}a_repeated_snooze_counts_once",
    ),
    lua(
        "an index entry without its job stays", "claim",
        "redis.call('ZREM', index, unpack(lost))", "",
        *contract("a_slot_whose_job_is_lost_becomes_free"),
    ),
)  # fmt: skip

MUTANTS: tuple[Mutant, ...] = FENCING + ENDS + LEASES + LIMITS + REPEATS
