"""Mutants of the store's HTTP client, and of what bounds its calls."""

from tests.mutants.mutant import Mutant, python

WIRE = "tests/queue/test_wire.py::test_"
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
        "old connection", "if self._transport.is_closing():",
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
        "a script is sent twice for ever", "shared/store/scripts.py", "replica", "if True:",
        "tests/queue/test_script_digests.py::test_a_replica_that_never_knows_it_is_asked_a_few_times_and_no_more",
    ),
    python(
        "a create that got no turn may have been sent", "shared/providers/calls.py", "crowded create",
        "except ZeroDivisionError:",
        "tests/providers/test_connections.py::test_a_call_that_gets_no_turn_was_surely_not_sent",
    ),
)  # fmt: skip
