"""Mutants of the queue's scripts."""

from tests.mutants.mutant import Mutant, backlog, batches, contract, lua, pushback, targeted

STORE = "tests/queue/test_store.py::test_"
NOT_SUBMITTING = "if f.attempt ~= arg.attempt or f.state ~= 'submitting' then"
UNINDEXED = "redis.call('ZREM', ending.index, unpack(gone))"
UNSEATED = "redis.call('ZREM', user, id)\n  redis.call('HSET', key, 'state', 'done'"

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
        "if f.attempt ~= arg.attempt or not at_provider then return {'stale'} end",
        "if not at_provider then return {'stale'} end",
        targeted("a_write_of_an_attempt_before_the_last_is_stale[fail]"),
    ),
    lua(
        "unfenced fail: a failure of any prediction counts", "fail",
        "if arg.prediction ~= '' and recorded ~= '' and recorded ~= arg.prediction then return {'stale'} end", "",
        targeted("an_end_of_another_prediction_of_the_attempt_is_stale"),
    ),
    lua(
        "unfenced snooze", "snooze",
        NOT_SUBMITTING, "if f.state ~= 'submitting' then",
        targeted("a_write_of_an_attempt_before_the_last_is_stale[snooze]"),
    ),
    lua(
        "unfenced rescue", "rescue",
        "if f.attempt ~= arg.attempt then return {'stale'} end", "",
        targeted("a_write_of_an_attempt_before_the_last_is_stale[rescue]"),
    ),
    lua(
        "record accepts a stale attempt", "record",
        NOT_SUBMITTING, "if f.state ~= 'submitting' then",
        *contract("a_write_of_an_old_attempt_changes_nothing"),
    ),
    lua(
        "adopt takes an earlier attempt's prediction", "adopt",
        "local me, free = id .. ':' .. arg.attempt, {}",
        "local me, free = id .. ':' .. text(tonumber(arg.attempt) - 1), {}",
        targeted("a_prediction_of_an_earlier_attempt_is_not_adopted"),
    ),
    lua(
        "progress of any prediction is noted", "progress",
        "or f.prediction ~= arg.prediction then", "then",
        *contract("progress_is_noted_for_the_current_prediction_only"),
    ),
)  # fmt: skip

ENDS = (
    lua(
        "finish forgets to remove from the index", "ending",
        UNINDEXED, "",
        *contract("a_job_goes_through_its_whole_life"),
    ),
    lua(
        "double completion: finish does not look whether the job is done", "finish",
        "if f.state == 'done' then", "if false then",
        *contract("every_end_of_an_attempt_is_safe_to_send_twice"),
    ),
    lua(
        "finish forgets what else to cancel when it is repeated", "finish",
        "waiting(key.index, arg.now), f.other or ''}", "waiting(key.index, arg.now), ''}",
        targeted("a_repeated_finish_still_names_the_prediction_to_cancel"),
    ),
    lua(
        "leaked slot on cancel", "ending",
        UNINDEXED, f"if outcome ~= 'canceled' then {UNINDEXED} end",
        *contract("cancelling_a_running_job_keeps_its_slot_until_the_provider_confirms"),
    ),
    lua(
        "leaked seat on fail", "ending",
        UNSEATED, f"if outcome ~= 'failed' then {UNSEATED.replace(')', ') end', 1)}",
        *contract("a_job_whose_submission_is_lost_three_times_is_a_dead_letter"),
    ),
    lua(
        "a terminal job never expires", "ending",
        "redis.call('EXPIRE', key, (store_lease or plan) and math.max(FOLLOW_TTL, ending.ttl) or ending.ttl)", "",
        *contract("only_terminal_jobs_have_a_time_to_live"),
    ),
    lua(
        "TTL on a live job", "record",
        "local check_at =", "redis.call('EXPIRE', key.job, '604800') local check_at =",
        *contract("only_terminal_jobs_have_a_time_to_live"),
    ),
    lua(
        "a job of somebody else can be cancelled", "cancel",
        "if not f.state or f.owner ~= arg.owner then", "if not f.state then",
        *contract("a_job_of_somebody_else_cannot_be_cancelled"),
    ),
    lua(
        "retries without end", "fail",
        "used < tonumber(f.max_attempts)", "true",
        *contract("a_failed_attempt_waits_with_growing_backoff_and_then_becomes_a_dead_letter"),
    ),
)  # fmt: skip

LEASES = (
    lua(
        "a claim's lease is 0", "claim",
        "math.floor((time + tonumber(arg.lease)) / 1000)", "math.floor(time / 1000)",
        targeted("nobody_looks_at_a_submission_before_its_lease_is_over[claim]"),
    ),
    lua(
        "the lease of an immediate start is 0", "enqueue",
        "local lease_until = time + tonumber(arg.lease)", "local lease_until = time",
        targeted("nobody_looks_at_a_submission_before_its_lease_is_over[enqueue]"),
    ),
    lua(
        "rescue before the adoption window is over", "rescue",
        " or time < tonumber(f.adopt_until)", "",
        *contract("a_lapsed_submission_is_put_back_only_after_its_adoption_window"),
    ),
    lua(
        "rescue never gives up", "rescue",
        "if rescues >= tonumber(arg.max_rescues) or used >= tonumber(f.max_attempts) then", "if false then",
        *contract("a_job_whose_submission_is_lost_three_times_is_a_dead_letter"),
    ),
    lua(
        "snooze counts an attempt", "snooze",
        "text(tonumber(f.snoozes or '0') + 1)", "'0'",
        *contract("a_snooze_uses_up_no_attempt"),
    ),
    lua(
        "snooze gives the attempt's number back", "snooze",
        "'state', 'delayed',", "'state', 'delayed', 'attempt', text(tonumber(f.attempt) - 1),",
        *contract("a_snooze_uses_up_no_attempt"),
    ),
    lua(
        "an overdue slot is handed to everybody", "claim",
        "move(row.id, score_of(row.band, math.floor((time + interval) / 1000) * 1000))", "",
        *contract("an_overdue_run_is_handed_to_one_caller_only"),
    ),
    lua(
        "every poller asks", "check",
        "redis.call('HSET', key.job, 'checked_at', arg.now)", "",
        *contract("one_poller_asks_about_an_overdue_run_and_no_other_for_two_seconds"),
    ),
)  # fmt: skip

LIMITS = (
    lua(
        "claim ignores the queue's limit", "prelude",
        "room.queue[k] = (gates['=q' .. text(k)] or concurrency[k + 1]) - (head.by_queue[k] or 0)",
        "room.queue[k] = (gates['=q' .. text(k)] or concurrency[k + 1])",
        targeted("a_claim_keeps_the_limit_of_a_queue_that_others_leave_room_for"),
    ),
    lua(
        "claim ignores the system's limit", "prelude",
        "room.all = (gates['=s'] or limit) - head.slots", "room.all = (gates['=s'] or limit)",
        targeted("a_claim_keeps_the_systems_limit_where_the_provider_allows_more"),
    ),
    lua(
        "an immediate start ignores the queue's limit", "prelude",
        "return room.all > 0 and (room.queue[queue_of(lane)] or 0) > 0 and", "return room.all > 0 and",
        *contract("a_job_starts_beside_a_full_queue"),
    ),
    lua(
        "an immediate start ignores better waiting jobs", "enqueue",
        "(l ~= lane or row.ms <= score) then attention, may_start = true, false end",
        "(l ~= lane or row.ms <= score) then attention = true end",
        *contract("a_job_does_not_start_past_a_better_one"),
    ),
    lua(
        "the user's limit is one too high", "prelude",
        "local seen = #user.admitted - user.of_batches", "local seen = #user.admitted - 1 - user.of_batches",
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
        "if known.fingerprint ~= arg.fingerprint then return {'conflict'} end", "",
        *contract("a_repeated_submit_gets_the_same_job_and_another_body_a_conflict"),
    ),
    lua(
        "a repeated claim takes more jobs", "claim",
        "if row.ms % 1000 == mark and", "if false and",
        f"{STORE}a_repeated_claim_answers_the_same_jobs_and_takes_no_more",
    ),
    lua(
        "a repeated snooze counts again", "snooze",
        "if f.closed_attempt == arg.attempt then", "if false then",
        f"{STORE}a_repeated_snooze_counts_once",
    ),
    lua(
        "an index entry without its job stays", "claim",
        "redis.call('ZREM', index, unpack(lost))", "",
        *contract("a_slot_whose_job_is_lost_becomes_free"),
    ),
)  # fmt: skip

SEATS = (
    lua(
        "an end forgets to promote", "ending",
        "if f.heirs == '1' and f.state ~= 'backlog' then promote(ending, user) end", "",
        *backlog("an_end_makes_the_next_of_its_user_ready_in_their_order"),
    ),
    lua(
        "it promotes beyond the cap", "ending",
        "while #known.admitted + promoted < known.cap do", "while #known.admitted + promoted <= known.cap do",
        *backlog("an_end_makes_the_next_of_its_user_ready_in_their_order"),
    ),
    lua(
        "a job of the backlog is ready", "enqueue",
        "local is_ready = is_admitted or worse", "local is_ready = true",
        *backlog("what_a_user_may_not_run_waits_in_his_backlog"),
    ),
    lua(
        "a job of the backlog is started", "claim",
        "row.band == DELAYED and row.ms <= time", "(row.band == DELAYED or row.band == BACKLOG) and row.ms <= time",
        *backlog("what_a_user_may_not_run_waits_in_his_backlog"),
    ),
    lua(
        "nobody is told that somebody waits for his seat", "prelude",
        "redis.call('HSET', key, 'heirs', '1')", "redis.call('HSET', key, 'heirs', '0')",
        *backlog("a_user_limited_live_has_a_backlog_though_the_deployment_allows_none"),
    ),
    lua(
        "a paused user's ready jobs stay ready", "limit_user",
        "reseat(ending, key.user)", "promote(ending, key.user)",
        *backlog("a_paused_users_waiting_jobs_stay_until_he_is_resumed"),
    ),
    lua(
        "who is limited may keep more seats than one looks at", "prelude",
        " or #user.waiting == 0) then", ") then",
        targeted("a_pause_takes_the_seats_of_a_user_who_had_many"),
    ),
    lua(
        "a job keeps its place when its priority changes", "reprioritize",
        "if f.state == 'queued' then redis.call('ZADD'", "if false then redis.call('ZADD'",
        targeted("a_raised_job_starts_before_the_others"),
    ),
)  # fmt: skip

PUSHBACK = (
    lua(
        "a pause is not honoured by claim", "prelude",
        "if paused_until then", "if false then",
        *pushback("one_refusal_pauses_the_provider_for_everybody[memory-rate_limited]"),
    ),
    lua(
        "a probe is granted twice", "claim",
        "move(gate, text(-BAND + lease_until))", "",
        *pushback("while_the_probe_is_out_nobody_follows_and_a_probe_that_died_is_replaced[memory]"),
    ),
    lua(
        "all may try a paused provider at once", "prelude",
        "left = room.probe[p] and math.min(left, 1) or 0", "left = room.probe[p] and left or 0",
        *pushback("while_the_probe_is_out_nobody_follows_and_a_probe_that_died_is_replaced[memory]"),
    ),
    lua(
        "an accepted probe does not end the pause", "record",
        "if arg.probe ~= '' then", "if false then",
        *pushback("an_accepted_probe_ends_the_pause[memory]"),
    ),
    lua(
        "a circuit never opens", "ending",
        "if failures < threshold or", "if true or",
        *pushback("failures_in_a_row_open_the_models_circuit_and_other_models_go_on[memory]"),
    ),
    lua(
        "a circuit never closes", "ending",
        "if outcome == 'completed' then gone[3] =", "if false then gone[3] =",
        *pushback("after_its_pause_one_job_probes_the_model_and_success_closes_the_circuit[memory]"),
    ),
    lua(
        "a success does not end a row of failures", "ending",
        "redis.call('HSET', runs_key(ending, f), 'failures', '0',", "redis.call('HSET', runs_key(ending, f),",
        *pushback("a_success_in_between_starts_the_count_anew[memory]"),
    ),
    lua(
        "an open circuit is not honoured", "claim",
        "if open_until and open_until > time then return open_until end", "",
        *pushback("failures_in_a_row_open_the_models_circuit_and_other_models_go_on[memory]"),
    ),
    lua(
        "a circuit that was closed does not open again for a while", "ending",
        "'open_until', '0',", "",
        targeted("a_circuit_that_was_closed_may_open_at_once"),
    ),
    lua(
        "the probe of a provider is none of its model", "claim",
        "ipairs({probe, room.probe[provider] and '~p' .. text(provider) or ''})",
        "ipairs({room.probe[provider] and '~p' .. text(provider) or probe})",
        targeted("the_probe_of_a_provider_may_be_its_models_too"),
    ),
    lua(
        "a probe that its webhook overtakes leaves the pause", "record",
        "if arg.probe ~= '' then", "if arg.probe ~= '' and f.state == 'submitting' then",
        targeted("a_probe_that_its_webhook_overtakes_ends_the_pause"),
    ),
    lua(
        "a circuit opens as shortly each time", "ending",
        "pause * 2 ^ math.min(opened, 4)", "pause",
        *pushback("a_failed_probe_opens_the_circuit_for_twice_as_long[memory]"),
    ),
    lua(
        "a lost submission counts twice against its model", "trip",
        " or f.tripped == arg.attempt", "",
        targeted("a_repeated_trip_counts_once"),
    ),
    lua(
        "a claim charges no token", "claim",
        "move('~r' .. text(provider), bucket_after(head, providers, provider, count, time))", "",
        *pushback("the_bucket_keeps_creates_below_the_configured_rate[memory]"),
    ),
    lua(
        "a start at submit charges no token", "enqueue",
        "provider_of(lane), 1, time)", "provider_of(lane), 0, time)",
        *pushback("jobs_started_at_submit_are_counted_by_the_bucket[memory]"),
    ),
    lua(
        "expire ends a running job", "expire",
        "if not is_waiting(f.state) then", "if false then",
        targeted("what_is_at_the_provider_does_not_expire"),
    ),
    lua(
        "expire looks at no time", "expire",
        "if lease_time(arg.lease_now) < tonumber(f.expire_at) then return {'stale'} end", "",
        targeted("what_may_still_wait_does_not_expire"),
    ),
    lua(
        "an expired job is started", "claim",
        "elseif tonumber(f.expire_at) <= time then", "elseif false then",
        targeted("a_job_without_its_alarm_is_not_started_after_it_has_expired"),
    ),
    lua(
        "a live limit is not read", "prelude",
        "room.all = (gates['=s'] or limit) - head.slots", "room.all = limit - head.slots",
        "tests/http/test_limits.py::test_a_live_limit_holds_at_once_and_lifting_it_starts_what_waited",
    ),
)  # fmt: skip

BATCHES = (
    lua(
        "an end is not counted in its batch", "ending",
        "redis.call('HSET', batch, 's' .. f.number, outcome)", "",
        *batches("a_batch_ends_once_with_results_in_order"),
    ),
    lua(
        "a failure leaves the others of its batch alone", "ending",
        "f.policy == 'all_or_nothing' then", "false then",
        *batches("under_all_or_nothing_one_failure_ends_the_rest"),
    ),
    lua(
        "a retry takes what has not failed too", "batch_retry",
        "if outcome == 'failed' or", "if outcome or",
        *batches("failed_jobs_are_tried_anew_in_their_places"),
    ),
    lua(
        "each job of a batch counts as a task", "prelude",
        "if string.sub(member, 1, 4) == 'bat_' then", "if false then",
        *batches("ten_images_are_one_task_and_tell_their_progress"),
    ),
)  # fmt: skip

MUTANTS: tuple[Mutant, ...] = FENCING + ENDS + LEASES + LIMITS + REPEATS + SEATS + PUSHBACK + BATCHES
