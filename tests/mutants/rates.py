"""Mutants of rate limits."""

from tests.mutants.mutant import Mutant, python

SUBMIT = "tests/rates/test_submit_rates.py::test_"
FAILED = "tests/rates/test_failed_authentications.py::test_"

MUTANTS: tuple[Mutant, ...] = (
    python(
        "a rate refuses nothing", "shared/rates/rates.py", "refused", "if False:",
        f"{SUBMIT}a_users_refusals_take_nothing_of_the_key_and_of_other_users[memory]",
    ),
    python(
        "a key's own rate counts all keys of its owner", "shared/rates/rates.py", "own rate",
        "return self._own[rate], owner",
        "tests/access/test_key_limits.py::"
        "test_two_keys_of_an_owner_with_the_same_rate_are_counted_apart",
    ),
    python(
        "a rate of a user takes of their key first", "shared/rates/rates.py", "user first",
        'callers = (self._limit_of_key(owner, key_id, rate), (self._user, f"{owner}:{user}"))',
        f"{SUBMIT}a_users_refusals_take_nothing_of_the_key_and_of_other_users[memory]",
    ),
    python(
        "a process asks the store again about a caller it has refused", "shared/rates/limit.py", "known refusal",
        "return None", f"{SUBMIT}a_refusal_that_the_process_knows_needs_no_call_of_the_store",
    ),
    python(
        "a process remembers any number of refusals", "shared/rates/refused.py", "bounded memory", "elif False:",
        "tests/rates/test_refused.py::test_the_oldest_refusals_make_room",
    ),
    python(
        "a flood of failed calls is counted all at once", "shared/rates/rates.py", "flood", "if False:",
        f"{FAILED}a_flood_of_failures_leaves_the_store_to_others",
    ),
    python(
        "other errors are refused for the failures of others", "shared/application.py", "failures alone",
        "if not isinstance(error, Unauthenticated) or error.is_guess:",
        f"{FAILED}right_credentials_are_never_refused_for_the_failures_of_others[memory]",
    ),
    python(
        "a client address is asked about again in the store", "shared/verification/codes.py", "known client",
        "if wait := 0:",
        "tests/verification/test_codes.py::test_a_client_that_a_process_has_refused_costs_no_call_until_its_window_ends",
    ),
    python(
        "a client stays refused though its call no longer counts", "shared/verification/codes.py",
        "room for a client", "pass", "tests/verification/test_codes.py::test_a_release_lets_a_refused_client_in_again",
    ),
    python(
        "an expired token is a guess", "shared/access/errors.py", "no guess", "is_guess = True",
        f"{FAILED}an_expired_token_is_no_guess_and_is_told_so[memory]",
    ),
)  # fmt: skip
