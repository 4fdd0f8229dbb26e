"""Mutants of the doctor: it overlooks a fault, sees one where there is none, or heals what it should not."""

from tests.mutants.edit import Edit
from tests.mutants.mutant import Mutant, python

SCRIPTS = "shared/doctor/scripts"
TESTS = "tests/doctor/test_planted_faults.py::test_"
HEALS = "tests/doctor/test_healing.py::test_"


def planted(name: str, file: str, anchor: str, after: str, plant: str, part: str = "") -> Mutant:
    """A mutant that the test of one planted fault notices."""
    test = f"{TESTS}a_planted_fault_is_found_and_healed[memory-{plant}]"
    return Mutant(name, (Edit(f"{SCRIPTS}/{file}.lua", anchor, after, part),), (test,))


def lua(name: str, file: str, anchor: str, after: str, test: str, part: str = "", case: str = "") -> Mutant:
    """A mutant of a script of the doctor."""
    return Mutant(
        name,
        (Edit(f"{SCRIPTS}/{file}.lua", anchor, after, part),),
        (f"{HEALS}{test}[{'-'.join(('memory', case)) if case else 'memory'}]",),
    )


MUTANTS: tuple[Mutant, ...] = (
    planted("an ended job in a slot takes none", "faults", "indexed end", "local takes_slot = false", "leaked_slot"),
    planted("an ended job without a ttl is overlooked", "faults", "ended without a ttl", "", "no_ttl_on_an_ended_job"),
    planted(
        "a waiting job in a slot is only misplaced", "faults", "misplaced",
        "note(faults, 'misplaced', shown_band(at.job))", "waiting_job_in_a_slot",
    ),
    planted("an expired lease is overlooked", "faults", "expired lease", "if false then", "expired_lease"),
    planted("a ttl on a live job is overlooked", "faults", "live with a ttl", "", "ttl_on_a_live_job"),
    planted("a lost alarm is overlooked", "faults", "companions", "", "lost_alarm"),
    planted(
        "a job that its user's set lost is overlooked", "faults", "not in the set", "",
        "live_job_that_its_users_set_has_lost",
    ),
    planted(
        "a job that its batch lost is overlooked", "faults", "not in the batch", "",
        "live_job_that_its_batch_has_lost",
    ),
    planted("an unlisted submission is overlooked", "faults", "unlisted", "", "submission_that_no_list_settles"),
    lua(
        "a key of another type ends the walk", "looks", "broken record",
        "local is_whole, faults, f = true, look(name)", "a_key_of_another_type_is_found_and_ends_no_walk", "", "batch",
    ),
    lua(
        "a record that lacks a field is looked at as a whole one", "faults", "broken field", "",
        "a_record_that_lacks_a_field_is_found_and_the_others_are_looked_at", "", "score",
    ),
    Mutant(
        "large sets are all looked at in one script",
        (Edit(f"{SCRIPTS}/examine_users.lua", "large sets", ""),),
        (f"{HEALS}users_with_large_sets_are_looked_at_in_several_calls",),
    ),
    python(
        "keys of others do not count", "shared/doctor/walk.py", "keys of others", "passed = len(names)",
        f"{HEALS}keys_of_others_count_and_the_lifetimes_of_many_keys_are_one_call[valkey]",
    ),
    python(
        "a check may take longer than its function", "shared/doctor/doctor.py", "the function's time",
        "timeout = check.timeout", "tests/doctor/test_deployment.py::test_a_check_ends_with_the_time_of_its_function",
    ),
    planted("a lost event is overlooked", "events", "lost event", "return false", "stuck_delivery"),
    planted("a batch's lost event is overlooked", "batches", "lost event of a batch", "", "lost_event_of_a_batch"),
    planted(
        "a batch that its user's set has lost is overlooked", "batches", "marker of a batch",
        "if true then return nil end", "batch_that_its_users_set_has_lost",
    ),
    Mutant(
        "a batch is ended by a job that is gone",
        (Edit(f"{SCRIPTS}/batches.lua", "a job that is there", "return job"),),
        (f"{HEALS}a_batch_ends_with_the_outcomes_that_it_knows_when_records_of_its_jobs_have_expired[memory-first]",),
    ),
    Mutant(
        "a set that was evicted stays without its batch",
        (Edit("shared/jobqueue/scripts/rehome.lua", "marker", "return true"),),
        (f"{TESTS}a_planted_fault_is_found_and_healed[memory-batch_that_its_users_set_has_lost]",),
    ),
    Mutant(
        "a job that is gone has failed, whatever its batch knows",
        (Edit("shared/jobqueue/scripts/rehome.lua", "known end", "note_in_batch(f, 'failed')"),),
        (f"{HEALS}a_batch_counts_a_job_that_is_gone_by_the_end_that_it_knows[memory]",),
    ),
    planted("lost files are overlooked", "faults", "unstored", "", "files_that_the_outbox_has_lost"),
    planted("a dead member is overlooked", "examine_users", "dead member", "", "users_set_with_a_dead_job"),
    planted("free seats are overlooked", "examine_users", "free seats", "", "backlog_not_promoted"),
    planted(
        "a member of a batch without a record is overlooked", "batches", "member without a record", "",
        "batch_that_lost_a_member",
    ),
    planted(
        "a member that a batch has lost is overlooked", "batches", "unknown member", "",
        "batch_that_lost_a_member_from_its_queue_too",
    ),
    planted("an ended batch without a ttl is overlooked", "batches", "ended batch", "", "ended_batch_without_a_ttl"),
    planted("a ttl on a live batch is overlooked", "batches", "live batch", "", "ttl_on_a_live_batch"),
    planted(
        "a batch without an end is overlooked", "batches", "not ended", "",
        "batch_that_has_not_ended_with_its_last_job",
    ),
    planted("a lost lane is overlooked", "lanes", "lost lane", "if not due then return nil end",
            "lane_missing_from_the_outbox"),
    lua("a late lane is overlooked", "lanes", "late lane", "", "a_lane_that_no_call_claims_is_delivered"),
    planted("a live job keeps its ttl", "mend_job", "persist", "ttl_on_live = function() end,", "ttl_on_a_live_job"),
    planted("a lost event gets no lane", "events", "lane of an event", "", "stuck_delivery"),
    lua(
        "a lane that is only late is put off no longer", "mend_lane", "stuck lane",
        "if not fault then return 0 end", "a_mend_leaves_alone_what_has_no_fault",
    ),
    lua(
        "an operator's limit is ended as a pause", "mend_gates", "automatic gate", "local is_automatic = true",
        "only_automatic_pauses_beyond_their_bound_are_ended",
    ),
    lua(
        "a pause is ended early", "mend_gates", "forgotten gate", "if score and is_automatic then",
        "only_automatic_pauses_beyond_their_bound_are_ended",
    ),
    python(
        "one look is enough for a finding", "shared/doctor/queue_check.py", "twice", "faults = first.faults",
        f"{HEALS}what_only_one_of_two_looks_sees_is_no_finding[memory]",
    ),
)  # fmt: skip
