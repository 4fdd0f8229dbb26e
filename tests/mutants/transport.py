"""Mutants of the store's HTTP client, and of what bounds its calls."""

from tests.mutants.mutant import Mutant, python

WIRE = "tests/queue/test_wire.py::test_"
CONNECTS = "tests/queue/test_connects.py::test_"
TURNSTILE = "tests/queue/test_turnstile.py::test_"

MUTANTS: tuple[Mutant, ...] = (
    python(
        "any number of calls waits for the store", "shared/turnstile.py", "too many wait", "if False:",
        f"{TURNSTILE}beyond_so_many_that_wait_the_next_is_refused_at_once",
    ),
    python(
        "a call that waited in vain is like one without an answer", "shared/turnstile.py", "waited in vain", "raise",
        f"{TURNSTILE}a_call_waits_no_longer_than_its_patience",
    ),
    python(
        "a connection is used whatever its age", "shared/store/connection.py",
        "old connection", "if self._is_over():",
        f"{WIRE}an_old_connection_is_not_used_again",
    ),
    python(
        "an answer of the store has no bound", "shared/store/connection.py", "answer's bound", "if False:",
        f"{WIRE}a_large_answer_is_cut_off",
    ),
    python(
        "a broken connection is kept", "shared/store/wire.py", "broken connection", "self._idle.append(connection)",
        f"{WIRE}a_broken_answer_is_lost_and_its_connection_dropped",
    ),
    python(
        "what comes unasked is read as the next answer", "shared/store/connection.py", "unasked",
        "self._received += data; self._news.set()",
        f"{WIRE}what_comes_between_two_requests_is_no_answer_to_the_next",
    ),
    python(
        "a connection on which a proxy spoke is kept", "shared/store/connection.py", "status of a kept connection",
        "is_wanted = is_done and is_silent",
        f"{WIRE}a_status_that_a_proxy_may_have_said_ends_its_connection",
    ),
    python(
        "a repeat that fails gives the jobs of a lost answer up", "shared/jobqueue/queue.py", "failed repeat",
        "if isinstance(error, MAYBE_APPLIED):",
        "tests/queue/test_handover.py::test_jobs_of_a_lost_answer_outlast_a_repeat_that_fails",
    ),
    python(
        "an end that fails gives the jobs of a lost answer up", "shared/jobqueue/queue.py", "failed repeat of an end",
        "if isinstance(error, MAYBE_APPLIED):",
        "tests/queue/test_handover.py::test_jobs_of_a_lost_answer_outlast_a_repeat_that_fails",
    ),
    python(
        "a connection that came too late is left open", "shared/store/wire.py", "late connection", "pass",
        f"{CONNECTS}a_connect_that_is_cancelled_at_any_moment_leaves_no_socket_open",
    ),
    python(
        "a call that is cancelled at its look leaves its connection", "shared/store/wire.py", "unusable connection",
        "pass",
        f"{CONNECTS}a_call_that_is_cancelled_while_it_looks_at_a_kept_connection_closes_it",
    ),
    python(
        "a script is sent whole for ever", "shared/store/scripts.py", "an hour", "if False:",
        "tests/queue/test_script_digests.py"
        "::test_a_script_that_is_sent_whole_is_tried_by_its_digest_again_after_an_hour",
    ),
    python(
        "what notes a provider's answer waits behind the others", "shared/turnstile.py", "goes first",
        "queue = self._others",
        f"{TURNSTILE}what_goes_first_passes_all_that_wait_and_has_no_bound",
    ),
    python(
        "a record waits behind a flood of polls", "shared/jobqueue/scripted.py", "verbs that go first",
        "passing = goes_first.set(False)",
        f"{TURNSTILE}a_flood_of_polls_delays_no_record_of_a_paid_submission",
    ),
    python(
        "a script is sent twice for ever", "shared/store/scripts.py", "replica", "if True:",
        "tests/queue/test_script_digests.py::test_a_replica_that_never_knows_it_is_asked_a_few_times_and_no_more",
    ),
    python(
        "a create that got no turn may have been sent", "shared/providers/calls.py", "crowded create",
        "except ZeroDivisionError:",
        "tests/providers/test_connections.py::test_a_call_that_gets_no_turn_was_surely_not_sent",
    ),
)  # fmt: skip
