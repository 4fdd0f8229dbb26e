"""Mutants of what answers a provider that pushes back: pauses, probes, circuits and buckets."""

from tests.mutants.mutant import Mutant, circuit, lua, pushback, refusals, suspects, targeted

INNOCENT = "what_others_have_disproved_makes_no_innocent_job_wait_for_more_than_a_create"
OUTAGE = "an_account_without_credit_gets_one_create_a_pause_though_its_users_were_refused_before"

MUTANTS: tuple[Mutant, ...] = (
    lua(
        "a pause is not honoured by claim", "room",
        "pause", "if true then",
        *pushback("one_refusal_pauses_the_provider_for_all_users[memory-rate_limited]"),
        part="if not paused_until then",
    ),
    lua(
        "a probe is granted twice", "claim",
        "one probe", "",
        *pushback("while_the_probe_runs_no_job_follows_and_a_probe_that_died_is_replaced[memory]"),
    ),
    lua(
        "an accepted probe does not end the pause", "record",
        "pause ends", "",
        *pushback("an_accepted_probe_ends_the_pause[memory]"),
    ),
    lua(
        "a probe that was refused itself is as good as any", "pauses",
        "probe of a refused job", "0",
        *refusals("a_probe_is_of_another_model_and_another_user_if_there_is_one"),
        part="4",
    ),
    lua(
        "the refusal that ends a job is not counted", "snooze",
        "snoozed", "if answer[1] == 'delayed' then redis.call('HINCRBY', key.stats, 'snoozed', 1) end",
        *refusals("others_start_at_the_first_probe_and_the_refused_job_ends_as_a_dead_letter"),
    ),
    lua(
        "a probe of a refused model is as good as any", "pauses",
        "probe of a refused model", "",
        *refusals("a_probe_is_of_another_model_and_another_user_if_there_is_one"),
    ),
    lua(
        "a probe of a refused user is as good as any", "pauses",
        "probe of a refused user", "",
        *refusals("a_probe_is_of_another_model_and_another_user_if_there_is_one"),
    ),
    lua(
        "all jobs of a provider start with its probe", "probes",
        "chosen probe", "if true then",
        *refusals("a_probe_is_of_another_model_and_another_user_if_there_is_one"),
        part="if not probe or probe == job.id then",
    ),
    lua(
        "a claim looks no further for a probe", "probes",
        "further probes", "if false then",
        *refusals("an_innocent_job_far_behind_refused_ones_is_found"),
        part="if best.suspicion > 0 and #own >= MAX_LOOKS then",
    ),
    lua(
        "a claim looks for a probe at the same page each time", "probes",
        "pages turn with time", "0",
        *suspects("an_innocent_job_among_many_of_suspects_is_found_though_none_of_them_is_sent[memory-5]"),
        part="math.floor(head.time / 1000) * GOLDEN % 1",
    ),
    lua(
        "suspects probe one after the other", "probes",
        "suspects wait", "if false then",
        *suspects(f"{OUTAGE}[memory-acme/video]"),
        part="if best.suspicion > 0 and head.time < tonumber(known.suspects_until or '0') then",
    ),
    lua(
        "a suspect is as good a probe as any", "pauses",
        "probe of a suspect", "",
        *suspects("a_suspect_that_was_not_refused_in_this_pause_waits_all_the_same"),
        part=" + (is_suspect(known, f) and 1 or 0)",
    ),
    lua(
        "a model is blamed for its user", "pauses",
        "blamed", "for _, name in ipairs({ names_of(f) }) do",
        *suspects(f"{INNOCENT}[memory-one user, the model of all]"),
    ),
    lua(
        "a model of which a job was accepted stays a suspect", "pauses",
        "absolved", "",
        *suspects(f"{INNOCENT}[memory-one user, the model of all]"),
    ),
    lua(
        "a 429 makes its user a suspect", "pauses",
        "mark of a 429", "return ''",
        *suspects("too_many_submissions_make_no_user_a_suspect"),
    ),
    lua(
        "a 429 hides a refusal that others disprove", "pauses",
        "mark of a 429", "",
        *suspects("a_user_who_is_refused_for_another_reason_than_a_429_is_a_suspect[memory-codes1]"),
        part="and is_first ",
    ),
    lua(
        "a user whose refused job was accepted stays a suspect", "pauses",
        "absolved user", "{ model }",
        *suspects("refused_jobs_that_are_accepted_after_all_free_their_users_and_their_model"),
        part="(f.refusals or '0') ~= '0' and { model, user } or { model }",
    ),
    lua(
        "a refused job that is accepted later frees no user", "record",
        "refused and accepted", "",
        *suspects("refused_jobs_that_are_accepted_after_all_free_their_users_and_their_model"),
    ),
    lua(
        "an accepted probe disproves no refusal", "pauses",
        "disproved", "",
        *refusals("others_start_at_the_first_probe_and_the_refused_job_ends_as_a_dead_letter"),
    ),
    lua(
        "a probe whose record was lost does not lift the pause", "pauses",
        "accepted probe", "if false then",
        *refusals("a_probe_whose_answer_is_lost_ends_the_pause_by_the_news_of_its_prediction[memory-completed]"),
        part="if is_accepted then",
    ),
    lua(
        "a late success of an earlier attempt lets a second probe go", "ending",
        "late success", "else settle_pause(f, more.is_accepted) end if false then",
        *refusals("a_late_success_of_an_earlier_attempt_leaves_the_probe_of_the_current_one"),
    ),
    lua(
        "a probe of a job that is over keeps its provider shut", "pauses",
        "late answer", "",
        *refusals("a_probe_of_a_job_that_is_over_lets_another_one_probe_when_it_fails[memory-tripped]"),
    ),
    lua(
        "many refused users make a lifted pause unknown", "pauses",
        "lifted pause", "",
        *suspects("many_refused_users_are_forgotten_and_the_pause_that_was_lifted_is_not"),
    ),
    lua(
        "what others have disproved pauses a provider again", "snooze",
        "suspect", "",
        *suspects("a_refusal_that_others_have_disproved_stops_them_no_more"),
    ),
    lua(
        "a refusal that no other job has disproved counts against its job", "snooze",
        "disproved", "if f.refused_as ~= arg.code then return 0 end",
        *refusals("a_wrong_token_pauses_all_and_ends_no_job_before_its_time"),
    ),
    lua(
        "a job is refused for ever", "snooze",
        "refused for ever", "elseif false then",
        *refusals("others_start_at_the_first_probe_and_the_refused_job_ends_as_a_dead_letter"),
    ),
    lua(
        "a refused job comes back as soon each time", "snooze",
        "growing delay", "delay",
        *refusals("what_ends_a_job_that_alone_is_refused[memory-rate_limited-429-None]"),
        part="delay * 2 ^ math.min(faults, MAX_DOUBLINGS)",
    ),
    lua(
        "what is known of refusals outlives the lifted pause", "limit",
        "lifted pause", "",
        *refusals("an_operator_sees_why_a_provider_is_paused_and_lifts_it"),
    ),
    lua(
        "a circuit's probe that is refused keeps it shut", "snooze",
        "refused probe of a circuit", "",
        *circuit("a_probe_that_is_refused_lets_another_job_probe_its_model[memory]"),
    ),
    lua(
        "a claim writes any number of parts in one command", "prelude",
        "many parts", "redis.call(command, set, unpack(parts))",
        *circuit("a_claim_drops_any_number_of_lost_jobs[memory]"),
    ),
    lua(
        "retries wait behind the jobs that a circuit has put aside", "claim",
        "retries behind a circuit", "local count = want",
        *circuit("a_retry_behind_many_jobs_that_a_circuit_has_put_aside_starts_at_the_next_tick"),
    ),
    lua(
        "a circuit never opens", "runs",
        "circuit opens", "if false then",
        *circuit("failures_in_a_row_open_the_models_circuit_and_other_models_go_on[memory]"),
    ),
    lua(
        "a circuit never closes", "ending",
        "circuit", "if false then",
        *circuit("after_its_pause_one_job_probes_the_model_and_success_closes_the_circuit[memory]"),
    ),
    lua(
        "a success does not end a row of failures", "runs",
        "success", "",
        *circuit("a_success_in_between_starts_the_count_anew[memory]"),
        part="since = text(now), ",
    ),
    lua(
        "an open circuit is not honoured", "probes",
        "circuit", "",
        *circuit("failures_in_a_row_open_the_models_circuit_and_other_models_go_on[memory]"),
    ),
    lua(
        "a circuit that was closed does not open again for a while", "runs",
        "success", "",
        targeted("a_circuit_that_was_closed_may_open_at_once"),
        part="open_until = '0', ",
    ),
    lua(
        "the probe of a provider is none of its model", "claim",
        "probe of a model", "room.probe[provider_of(job.lane)] and {} or circuits",
        targeted("the_probe_of_a_provider_may_be_its_models_too"),
        part="circuits",
    ),
    lua(
        "a circuit opens as shortly each time", "runs",
        "longer pause", "",
        *circuit("a_failed_probe_opens_the_circuit_for_twice_as_long[memory]"),
        part=" * 2 ^ math.min(circuit.opened, MAX_DOUBLINGS)",
    ),
    lua(
        "a failure removes any number of users of earlier rows", "runs",
        "many old pairs", "else",
        *circuit("a_failure_of_a_model_that_many_users_have_used_removes_some_of_them[memory]"),
    ),
    lua(
        "each attempt of a job counts as a failure of its user", "runs",
        "each job once", "local is_counted = false",
        *circuit("a_job_counts_once_in_a_row_of_failures_however_often_it_is_tried[memory]"),
    ),
    lua(
        "one user opens no circuit", "runs",
        "own circuit opens", "elseif false then",
        *circuit("one_user_alone_opens_a_circuit_for_that_user_alone[memory]"),
    ),
    lua(
        "one user opens the circuit of all", "runs",
        "circuit opens", "own.count",
        *circuit("one_user_alone_opens_a_circuit_for_that_user_alone[memory]"),
        part="failing",
    ),
    lua(
        "failures before a success count", "runs",
        "row of failures", "if not row then return nil end",
        *circuit("a_success_in_between_starts_the_count_anew[memory]"),
    ),
    lua(
        "any job probes a model", "probes",
        "chosen probe of a model", "local is_behind = probed[gate]",
        *circuit("the_probe_is_of_a_user_whose_jobs_have_not_failed_and_a_retry_goes_last[memory]"),
    ),
    lua(
        "a user whose jobs fail probes the model", "probes",
        "probe of a failing user", "local is_of_failing = nil",
        *circuit("the_probe_is_of_a_user_whose_jobs_have_not_failed_and_a_retry_goes_last[memory]"),
    ),
    lua(
        "a job that has failed probes the model", "probes",
        "probe that has failed", "local has_failed = false",
        *circuit("the_probe_is_of_a_user_whose_jobs_have_not_failed_and_a_retry_goes_last[memory]"),
    ),
    lua(
        "a lost submission counts twice against its model", "trip",
        "once", "",
        targeted("a_repeated_trip_counts_once"),
    ),
    lua(
        "a claim charges no token", "claim",
        "token", "",
        *pushback("the_bucket_keeps_creates_below_the_configured_rate[memory]"),
    ),
    lua(
        "a start at submit charges no token", "enqueue",
        "token", "0",
        *pushback("jobs_started_at_submit_are_counted_by_the_bucket[memory]"),
        part="1",
    ),
    lua(
        "expire ends a running job", "expire",
        "waiting", "if false then",
        targeted("what_is_at_the_provider_does_not_expire"),
    ),
    lua(
        "expire looks at no time", "expire",
        "time", "time = math.max(time, tonumber(f.expire_at))",
        targeted("what_may_still_wait_does_not_expire"),
    ),
    lua(
        "an expired job is started", "claim",
        "expired", "elseif false then",
        targeted("a_job_without_its_alarm_is_not_started_after_it_has_expired"),
    ),
    lua(
        "a live limit is not read", "room",
        "system limit", "limits.slots",
        "tests/http/test_limits.py::test_a_live_limit_holds_at_once_and_lifting_it_starts_what_waited",
        part="(head.gates['=s'] or limits.slots)",
    ),
)  # fmt: skip
