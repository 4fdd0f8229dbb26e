"""Mutants of the HTTP edge: what a caller may hold, and what an answer carries."""

from tests.mutants.mutant import Mutant, lua, python

ANSWERS = "tests/http/test_answers.py::test_"
SUBMIT = "tests/http/test_submit.py::test_"
EGRESS = "tests/hooks/test_egress.py::test_"
GUARD = "tests/hooks/test_guard.py::test_"
WAITS = "tests/hooks/test_long_waits.py::test_"
TEXTS = "tests/http/test_texts.py::test_"
LARGE = "tests/http/test_large_answers.py::test_"
REFUSED = "tests/http/test_refused_calls.py::test_"
BODIES = "tests/http/test_bodies.py::test_"
CACHE = "tests/queue/test_cache.py::test_"
CALLERS = "tests/http/test_refused_calls.py::test_a_caller_is_whom_its_platform_names"

MUTANTS: tuple[Mutant, ...] = (
    python(
        "a value of any weight is kept", "shared/cache.py",
        "heavy value", "remembered = Remembered(value, began + ttl)",
        f"{CACHE}a_heavy_value_is_shared_by_those_who_wait_and_not_kept",
    ),
    python(
        "a cache counts only its values", "shared/cache.py",
        "bytes of a cache", "", f"{CACHE}values_hold_at_most_so_many_bytes_and_the_oldest_goes_first",
        part=" or self.held_bytes > self._max_bytes",
    ),
    python(
        "a body may take any time", "shared/requests/bodies.py", "slow body", "async with asyncio.timeout(None):",
        f"{BODIES}a_body_that_does_not_come_is_408_and_its_connection_is_closed",
    ),
    python(
        "a body that is not wanted is read for ever", "shared/requests/bodies.py", "endless body", "if False:",
        f"{BODIES}an_endless_body_is_closed_on_every_route",
    ),
    python(
        "a page of another site uses what a browser remembers", "shared/requests/auth.py", "cross site", "if False:",
        f"{ANSWERS}a_page_of_another_site_cannot_use_what_a_browser_remembers[GET /api/jobs]",
    ),
    python(
        "a form of another origin uses what an old browser remembers", "shared/requests/auth.py",
        "origin of a form", "return False",
        f"{ANSWERS}a_form_of_another_origin_cannot_use_what_a_browser_remembers[https://evil.example-True]",
    ),
    python(
        "the first of two credentials counts", "shared/requests/auth.py", "two credentials", "if False:",
        "tests/http/test_ambiguous.py::test_two_credentials_are_refused[memory]",
    ),
    python(
        "a result leads to any address", "shared/jobs/results.py", "result redirect", 'return parts.scheme == "https"',
        f"{ANSWERS}a_result_leads_only_to_public_names_by_https[https://192.168.1.1/reboot]",
    ),
    python(
        "pieces of two outputs are joined", "shared/documents/cutting.py", "pieces of one text", "if False:",
        f"{LARGE}pieces_of_an_output_that_changes_between_them_are_not_joined",
    ),
    python(
        "a packed body is unpacked whole", "shared/requests/reading.py",
        "packed bomb", "plain += unpacker.decompress(body)[: limit - len(plain)]",
        f"{ANSWERS}a_packed_body_is_bounded_by_what_it_unpacks_to",
    ),
    python(
        "each address of a flood is logged", "shared/requests/refusals.py",
        "bounded lines", "if _is_power_of_ten(count):", f"{REFUSED}a_flood_costs_a_bounded_log_and_no_command",
    ),
    python(
        "each forged webhook costs a command", "shared/jobs/webhook_alarm.py",
        "quiet alarm", "if False:", f"{REFUSED}a_wrong_webhook_secret_is_an_error_and_degrades_health",
    ),
    python(
        "an old URL and a forged signature ring the alarm", "shared/jobs/webhook_alarm.py",
        "forged webhooks", "if False:",
        f"{REFUSED}an_old_url_with_a_forged_signature_is_no_alarm_while_others_verify",
    ),
    python(
        "a name may turn the text behind it around", "shared/access/user.py",
        "characters of a name", "", f"{TEXTS}a_name_with_a_control_or_an_override_is_refused",
        part=" or bidirectional(c) in OVERRIDES",
    ),
    python(
        "a text may hold any control", "shared/jobs/request.py",
        "characters of a text", "if False:", f"{TEXTS}a_name_with_a_control_or_an_override_is_refused",
    ),
    lua(
        "progress falls with a late report", "progress", "falling progress", "",
        "tests/queue/test_attempts.py::test_progress_never_falls_within_an_attempt_and_begins_anew_with_the_next[memory]",
    ),
    python(
        "slow names of one owner take all threads", "shared/egress.py", "threads of an owner",
        "self._free = asyncio.Semaphore(MAX_RESOLVING)",
        f"{GUARD}slow_names_of_one_owner_hold_up_no_other_and_free_their_threads_at_last",
    ),
    python(
        "any number of names wait for a thread", "shared/egress.py", "names that wait", "if False:",
        f"{GUARD}names_that_wait_for_a_thread_are_bounded_and_cost_nothing",
    ),
    python(
        "a lookup in the name of another owner is shared", "shared/hooks/address.py", "lookups of one owner",
        'f"{host}:{port}",', f"{GUARD}a_lookup_that_waits_behind_slow_names_of_its_owner_holds_up_no_other_owner",
    ),
    python(
        "trouble of the resolver refuses a submit for ever", "shared/egress.py",
        "trouble of the resolver", 'raise EgressRefused("unresolved") from None',
        f"{GUARD}trouble_of_the_resolver_is_no_answer_about_the_name",
    ),
    python(
        "silent addresses leave no time for the last", "shared/egress.py", "time for the last",
        "each = min(CONNECT_EACH, patience) if left else patience",
        f"{EGRESS}silent_addresses_leave_time_for_the_last[10.0-expected0]",
    ),
    python(
        "what was sent is sent to the next address too", "shared/egress.py",
        "next address", "except httpx.TransportError as error:",
        f"{EGRESS}what_was_sent_to_one_address_is_never_sent_to_another",
    ),
    python(
        "a retried job keeps an old default hook", "shared/jobs/redrive.py",
        "present default hook", '"hook_url": job.hook_url or None,',
        f"{WAITS}a_retried_job_takes_the_present_default_hook[False]",
    ),
    lua(
        "a job of a retried batch keeps an old default hook", "batch_retry",
        "present default hook", "if true then return end",
        f"{WAITS}jobs_of_a_retried_batch_take_the_present_default_hook[False]",
    ),
    lua(
        "a long wait binds the host", "outbox_note", "long pause", "if false then",
        f"{WAITS}a_long_wait_binds_the_url_and_not_its_host",
    ),
    lua(
        "a new event of a held URL is sent", "outbox", "held url", "local free_at = tonumber(known[1] or '0')",
        f"{WAITS}a_long_wait_binds_the_url_and_not_its_host",
    ),
    python(
        "a submit is not found as its job is deleted", "shared/jobs/admission.py",
        "deleted meanwhile", "for _ in range(1):",
        f"{SUBMIT}a_submit_that_meets_the_deletion_of_its_job_is_admitted_anew[once]",
    ),
    python(
        "a batch is not found as its like is deleted", "shared/jobs/batches.py",
        "batch deleted meanwhile", "for _ in range(1):",
        "tests/http/test_ended_jobs.py::test_a_batch_that_meets_the_deletion_of_its_like_is_made_anew[memory]",
    ),
    python(
        "a header that a caller writes names their address on Vercel", "shared/requests/callers.py",
        "header of the platform", 'return _last(scope, b"x-forwarded-for") or connected', f"{CALLERS}[vercel]",
    ),
    python(
        "a header that a caller writes names their address on Lambda", "shared/requests/callers.py",
        "source of the event", "if is_direct:", f"{CALLERS}[lambda]",
    ),
    python(
        "an entry of a proxy is taken for the caller", "shared/requests/callers.py", "trusted proxy", "if True:",
        "tests/http/test_refused_calls.py::test_a_caller_is_whom_the_nearest_trusted_proxy_names",
    ),
    python(
        "what is no address escapes the rate of failures", "shared/requests/callers.py", "no address", "return hop",
        "tests/http/test_refused_calls.py::test_a_caller_is_whom_the_nearest_trusted_proxy_names",
    ),
    python(
        "half of all addresses may be proxies", "shared/config/hosting.py", "wide network", "if False:",
        "tests/http/test_refused_calls.py::test_what_is_no_network_of_proxies_stops_the_start",
    ),
)  # fmt: skip
