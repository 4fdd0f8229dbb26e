"""Mutants of the HTTP edge: what a caller may hold, and what an answer carries."""

from tests.mutants.mutant import Mutant, lua, python

ANSWERS = "tests/http/test_answers.py::test_"
TEXTS = "tests/http/test_texts.py::test_"
REFUSED = "tests/http/test_refused_calls.py::test_"
BODIES = "tests/http/test_bodies.py::test_"
CACHE = "tests/queue/test_cache.py::test_"

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
        "a result leads to any address", "shared/jobs/results.py", "result redirect", 'return parts.scheme == "https"',
        f"{ANSWERS}a_result_leads_only_to_public_names_by_https[https://192.168.1.1/reboot]",
    ),
    python(
        "a packed body is unpacked whole", "shared/requests/reading.py",
        "packed bomb", "plain = unpacker.decompress(body)[:limit]",
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
        "a name may turn the text behind it around", "shared/jobs/request.py",
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
)  # fmt: skip
