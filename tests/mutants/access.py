"""Mutants of what a credential allows."""

from tests.mutants.mutant import Mutant, python

CALLER = "tests/access/test_caller.py::test_"
MINTED = "tests/access/test_minted.py::test_"
ISSUED = "tests/access/test_issuer.py::test_"

MUTANTS: tuple[Mutant, ...] = (
    python("no scope is needed", "shared/access/caller.py", "scope", "if False:", f"{CALLER}a_missing_scope_is_named"),
    python(
        "a token of one job lists jobs", "shared/access/caller.py", "only one", "if False:",
        f"{CALLER}a_token_of_one_job_reaches_that_job_alone",
    ),
    python(
        "a token of one job reads others", "shared/access/caller.py", "only job", "if False:",
        f"{CALLER}a_token_of_one_job_reaches_that_job_alone",
    ),
    python(
        "a token of one batch reads jobs of others", "shared/access/caller.py", "only job", "self.only",
        f"{CALLER}a_token_of_one_batch_reaches_that_batch_and_its_jobs_alone", part='f"{self.only}_"',
    ),
    python(
        "a token of one batch reads other batches", "shared/access/caller.py", "only batch", "if False:",
        f"{CALLER}a_token_of_one_batch_reaches_that_batch_and_its_jobs_alone",
    ),
    python(
        "a token goes on without its API key", "shared/access/tokens.py", "key is gone", "if False:",
        f"{MINTED}a_token_ends_in_time_and_with_its_key",
    ),
    python(
        "a token of any type is one", "shared/access/tokens.py", "type of a token", "if False:",
        f"{ISSUED}a_jwt_that_proves_no_user_is_refused[type of an id token for others]",
    ),
    python(
        "a cursor shows whose entry its page walked past", "shared/jobs/cursors.py",
        "hidden cursor", "pad = bytes(len(text))",
        "tests/http/test_listing.py::test_a_cursor_shows_nothing_of_the_entries_that_its_page_walked_past[memory]",
    ),
    python(
        "a job of a batch chooses its priority", "shared/access/permission.py",
        "of the application in a batch", "pass",
        f"{MINTED}a_job_of_a_batch_says_no_more_than_the_token",
    ),
    python(
        "a body chooses its user", "shared/access/permission.py", "what a body says", "if False:",
        f"{MINTED}a_body_that_says_otherwise_is_refused[changes0-user_id]",
    ),
    python(
        "a user sets a hook", "shared/access/permission.py", "of the application", "if False:",
        f"{MINTED}a_body_that_says_otherwise_is_refused[changes3-hook_url]",
    ),
    python(
        "a user chooses any model", "shared/access/permission.py", "models", "if False:",
        f"{MINTED}what_the_token_says_is_what_the_job_gets",
    ),
    python(
        "a user chooses any provider", "shared/access/permission.py", "providers", "if False:",
        f"{MINTED}a_provider_that_the_token_does_not_name_is_refused",
    ),
    python(
        "a token of any length is read", "shared/access/forms.py", "long token", "if False:",
        f"{ISSUED}a_jwt_that_proves_no_user_is_refused[long]",
    ),
    python(
        "a critical header is passed over", "shared/access/forms.py", "critical headers", "if False:",
        f"{ISSUED}a_jwt_that_proves_no_user_is_refused[critical header that the library knows]",
    ),
    python(
        "an end of any type is one", "shared/access/forms.py", "no end", "if False:",
        f"{ISSUED}a_jwt_that_proves_no_user_is_refused[exp is true]",
    ),
    python(
        "an unknown key is asked for each time", "shared/access/key_set.py", "questions", "if True:",
        f"{ISSUED}a_key_set_is_asked_once_and_its_keys_go_on_while_it_is_down",
    ),
    python(
        "a key set of any size is read", "shared/access/key_set.py", "large key set", "if False:",
        f"{ISSUED}a_key_set_that_cannot_be_read_is_503_until_it_can",
    ),
    python(
        "a key mints scopes that it does not have", "shared/jobs/tokens.py", "scopes of a token", "if False:",
        f"{MINTED}a_key_mints_no_more_than_it_has",
    ),
    python(
        "a user reads another user's job", "shared/jobs/status.py", "job of another user", "if False:",
        f"{MINTED}another_users_job_is_answered_like_one_that_does_not_exist",
    ),
    python(
        "a user cancels another user's job", "shared/jobs/cancellation.py",
        "job to cancel", "if not is_job_id(job_id):",
        f"{MINTED}another_users_job_is_answered_like_one_that_does_not_exist",
    ),
    python(
        "a user reads another user's batch", "shared/jobs/batches.py", "batch of another user", "if owner != caller:",
        f"{MINTED}another_users_job_is_answered_like_one_that_does_not_exist",
    ),
    python(
        "a user cancels another user's batch", "shared/jobs/batches.py", "batch to cancel", "if False:",
        f"{MINTED}another_users_job_is_answered_like_one_that_does_not_exist",
    ),
    python(
        "a user's wrong list is corrected", "shared/jobs/listing.py", "list of another user", "if False:",
        f"{MINTED}a_query_that_says_otherwise_is_refused",
    ),
    python(
        "users share idempotency keys", "shared/signing/derived.py", "keys of users", "return ()",
        f"{MINTED}idempotency_keys_of_two_users_and_of_their_application_never_meet",
    ),
)  # fmt: skip
