"""Mutants of API keys of the store."""

from tests.mutants.mutant import Mutant, lua, python

KEYS = "tests/access/test_api_keys.py::test_"
REACH = "tests/access/test_key_reach.py::test_"
ISSUED = "tests/access/test_issued_keys.py::test_"

MUTANTS: tuple[Mutant, ...] = (
    python(
        "a key that another deployment made is looked up", "shared/signing/api_keys.py", "tag of a key",
        "is_own = True",
        f"{KEYS}a_key_names_itself_and_only_the_deployment_that_made_it_knows_it",
    ),
    python(
        "any secret proves a known id", "shared/jobs/key_ring.py", "digest of a key", "if False:",
        f"{KEYS}a_wrong_secret_of_a_known_id_is_401",
    ),
    python(
        "a revoked key stays good", "shared/jobs/key_record.py", "revoked key", "if False:",
        f"{KEYS}a_revoked_key_is_refused_ten_seconds_later_at_most",
    ),
    python(
        "an expired key stays good", "shared/jobs/key_record.py", "expired key", "if False:",
        f"{KEYS}a_key_ends_at_its_time_even_in_a_process_that_has_seen_it",
    ),
    python(
        "a repeated revocation moves its time", "shared/jobs/issued_keys.py", "first revocation", "self._clock.now()",
        f"{KEYS}a_revoked_key_is_refused_ten_seconds_later_at_most",
        part="record.revoked_at or self._clock.now()",
    ),
    python(
        "a key is rotated twice", "shared/jobs/issued_keys.py", "replaced key", "if False:",
        f"{KEYS}a_rotated_key_is_good_during_the_overlap_and_its_jobs_stay",
    ),
    python(
        "a rotation lengthens a life", "shared/jobs/issued_keys.py", "overlap", "ends_at",
        f"{KEYS}a_rotation_never_lengthens_a_life_and_gives_the_new_key_the_old_ones_whole",
        part="min(ends_at, record.expires_at or ends_at)",
    ),
    python(
        "an ended key is changed", "shared/jobs/issued_keys.py", "ended key", "if False:",
        f"{KEYS}a_key_ends_at_its_time_even_in_a_process_that_has_seen_it",
    ),
    lua(
        "a change overwrites another one", "key_put", "changed key", "",
        f"{ISSUED}two_changes_at_once_are_both_kept_and_a_late_copy_changes_nothing",
    ),
    python(
        "each call notes the use of its key", "shared/jobs/key_ring.py", "noted use", "if True:",
        f"{KEYS}a_key_costs_one_command_in_ten_seconds_and_a_noted_use_one_in_ten_minutes",
    ),
    python(
        "every key of the store operates", "shared/requests/auth.py", "operate", "if False:",
        f"{KEYS}a_scope_that_a_key_lacks_is_403_and_named",
    ),
    python(
        "the owner's hook wins over its key's", "shared/hooks/subscription.py", "hook of a key",
        "settings.hooks.get(owner, HookOptions())",
        f"{KEYS}a_request_gets_what_it_leaves_to_its_key",
        part="of_key or settings.hooks.get(owner, HookOptions())",
    ),
    python(
        "a key's defaults make it another request", "shared/jobs/request.py", "sent as", "",
        f"{KEYS}a_request_gets_what_it_leaves_to_its_key",
        part="self._sent_as or ",
    ),
    python(
        "a token outlives its revoked key", "shared/jobs/key_ring.py", "token of a revoked key", "if False:",
        f"{REACH}a_user_of_a_key_gets_its_defaults_until_it_is_revoked",
    ),
    python(
        "a token keeps the scopes that its key has lost", "shared/jobs/key_ring.py",
        "scopes of a narrowed key", "scopes=caller.scopes,",
        f"{REACH}a_token_may_do_no_more_than_its_key_may_now",
    ),
    python(
        "a token keeps the models that its key has lost", "shared/jobs/key_ring.py",
        "models of a narrowed key", "return given",
        f"{REACH}a_token_may_do_no_more_than_its_key_may_now",
    ),
    python(
        "a version of a model that its key allows is lost", "shared/jobs/key_ring.py",
        "models of a narrowed key", "return given & frozenset(of_key)",
        f"{REACH}a_version_that_its_key_and_a_token_both_allow_is_submitted",
    ),
    python(
        "a token of a revoked key is a guess", "shared/access/errors.py", "no guess of a token", "is_guess = True",
        f"{REACH}what_was_good_once_is_no_guess",
    ),
    python(
        "a revoked key is a guess", "shared/access/errors.py", "no guess of a key", "is_guess = True",
        f"{REACH}what_was_good_once_is_no_guess",
    ),
    python(
        "an entry holds the key of a path", "shared/jobs/audit_trail.py", "key in the audit", "return bounded",
        "tests/access/test_audit.py::test_a_key_in_a_path_is_not_noted[memory]",
    ),
    python(
        "a rotated key may live on", "shared/jobs/issued_keys.py", "end of a rotated key", "if False:",
        "tests/access/test_issued_keys.py::test_the_end_of_a_rotated_key_stays[None]",
    ),
    python(
        "a token of a key is not looked up", "shared/access/credentials.py", "token of a key", "return caller",
        f"{REACH}a_user_of_a_key_gets_its_defaults_until_it_is_revoked",
    ),
)  # fmt: skip
