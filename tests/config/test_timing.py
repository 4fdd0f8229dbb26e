"""The times that follow from FUNCTION_MAX_DURATION, and the contradictions that stop the start."""

from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from shared.config.settings import Settings
from shared.config.timing import MIN_COPY_TIME, MIN_FUNCTION_DURATION
from shared.startup import SettingsError, load_settings

DERIVED = (
    "lease", "tick_budget", "provider_timeout", "hook_timeout",
    "store_total_timeout", "store_try_timeout", "store_connect_timeout",
)  # fmt: skip
MAX_DURATION = 86_400 - 60  # s; a lease is at most a day
PATIENT = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])  # time for a busy machine


def made(**values: Any) -> Settings:
    return Settings(sluice_env="test", **values)


def test_at_60_s_the_derived_times_are_those_that_were_measured() -> None:
    default = made()
    assert default.function_max_duration == 60
    assert [getattr(default, name) for name in DERIVED] == [120, 45, 15, 15, 5, 2, 1]


# Lambda behind an HTTP API: 29 and 30; Vercel: 60, 300 and 800; Lambda: up to 900.
@pytest.mark.parametrize("duration", [25, 29, 30, 60, 300, 800, 900])
def test_one_number_is_enough_on_every_platform(environment: pytest.MonkeyPatch, duration: int) -> None:
    environment.setenv("FUNCTION_MAX_DURATION", str(duration))
    loaded = load_settings()
    assert loaded.lease == duration + 60
    assert loaded.tick_budget > MIN_COPY_TIME + loaded.store_total_timeout, "a tick has no time to store a file"


@PATIENT
@given(data=st.data(), scale=st.just(1.0) | st.floats(0.001, 1))
def test_no_contradiction_arises_from_the_duration_alone(data: st.DataObject, scale: float) -> None:
    duration = data.draw(st.floats(scale * MIN_FUNCTION_DURATION, MAX_DURATION))
    assert broken(made(function_max_duration=duration, timing_scale=scale)) == []


@PATIENT
@given(
    duration=st.integers(25, 120),
    override=st.fixed_dictionaries(
        {},
        optional={
            "lease": st.integers(1, 200), "tick_budget": st.integers(1, 110), "provider_timeout": st.integers(1, 130),
            "hook_timeout": st.integers(1, 20), "store_total_timeout": st.integers(1, 20),
            "store_try_timeout": st.integers(1, 8), "store_connect_timeout": st.integers(1, 4),
            "tick_second_pass": st.integers(0, 50), "status_cache_ttl": st.integers(1, 40),
            "check_interval": st.integers(1, 40),
        },
    ),
)  # fmt: skip
def test_a_start_is_refused_exactly_if_an_inequality_does_not_hold(duration: int, override: dict[str, float]) -> None:
    values: dict[str, Any] = {"function_max_duration": duration, **override}
    expected = broken(made().model_copy(update={**vars(made(function_max_duration=duration)), **values}))
    if not expected:
        assert made(**values).function_max_duration == duration
        return
    with pytest.raises(ValidationError) as raised:
        made(**values)
    sentences = raised.value.errors()[0]["msg"].splitlines()
    assert len(sentences) == len(expected)
    assert all(sentence.count(" s) ") + sentence.endswith(" s)") == 2 for sentence in sentences), sentences


def broken(s: Settings) -> list[str]:
    """DESIGN.md's table of inequalities, written a second time."""
    scale, one_round = s.timing_scale, 2 * s.store_total_timeout + s.provider_timeout
    held = {
        "connect": s.store_connect_timeout < s.store_try_timeout,
        "tries": 2 * s.store_try_timeout <= s.store_total_timeout,
        "store": s.store_total_timeout < s.provider_timeout,
        "provider": s.provider_timeout < s.function_max_duration,
        "zombie": s.lease >= s.function_max_duration + 30 * scale,
        "submission": s.lease > s.provider_timeout + 5 * scale,
        "run": s.cancel_after <= 1800,
        "adoption": s.adoption_margin > 60 * scale,
        "tolerance": s.webhook_tolerance > 120 * scale,
        "tick": s.tick_budget <= s.function_max_duration - 10 * scale,
        "cache": s.status_cache_ttl <= s.check_interval,
        "second pass": s.tick_second_pass == 0 or s.tick_second_pass + one_round <= s.tick_budget,
        "delivery": s.hook_timeout + s.store_total_timeout + 2 * scale <= s.tick_budget,
        "copy": 11 * scale + s.store_total_timeout <= s.tick_budget,
        "tick's round": one_round <= s.tick_budget,
        "function's round": one_round + 4 * scale <= s.function_max_duration,
    }
    return [name for name, holds in held.items() if not holds]


CONTRADICTIONS: list[tuple[dict[str, str], str]] = [
    ({"STORE_CONNECT_TIMEOUT": "2"}, r"STORE_CONNECT_TIMEOUT \(2 s\) must be below STORE_TRY_TIMEOUT \(2 s\)"),
    ({"STORE_TOTAL_TIMEOUT": "3"}, r"twice STORE_TRY_TIMEOUT \(4 s\) must be at most STORE_TOTAL_TIMEOUT \(3 s\)"),
    ({"PROVIDER_TIMEOUT": "5"}, r"STORE_TOTAL_TIMEOUT \(5 s\) must be below PROVIDER_TIMEOUT \(5 s\)"),
    ({"PROVIDER_TIMEOUT": "60"}, r"PROVIDER_TIMEOUT \(60 s\) must be below FUNCTION_MAX_DURATION \(60 s\)"),
    ({"LEASE": "80"}, r"FUNCTION_MAX_DURATION plus 30 \(90 s\) must be at most LEASE \(80 s\)"),
    ({"CANCEL_AFTER": "3600"}, r"CANCEL_AFTER \(3600 s\) must be at most the provider's run limit \(1800 s\)"),
    ({"ADOPTION_MARGIN": "60"}, r"retry \(60 s\) must be below ADOPTION_MARGIN \(60 s\)"),
    (
        {"WEBHOOK_TOLERANCE": "60"},
        r"twice the provider's last webhook retry \(120 s\) must be below WEBHOOK_TOLERANCE \(60 s\)",
    ),
    ({"TICK_BUDGET": "55"}, r"TICK_BUDGET \(55 s\) must be at most FUNCTION_MAX_DURATION minus 10 \(50 s\)"),
    ({"STATUS_CACHE_TTL": "31"}, r"STATUS_CACHE_TTL \(31 s\) must be at most CHECK_INTERVAL \(30 s\)"),
    ({"TICK_BUDGET": "24"}, r"full timeouts \(25 s\) must be at most TICK_BUDGET \(24 s\)"),
    ({"TICK_SECOND_PASS": "30"}, r"TICK_SECOND_PASS, .* \(55 s\) must be at most TICK_BUDGET \(45 s\)"),
    (
        {"TICK_BUDGET": "25", "PROVIDER_TIMEOUT": "10", "HOOK_TIMEOUT": "20"},
        r"HOOK_TIMEOUT, STORE_TOTAL_TIMEOUT and 2 s \(27 s\) must be at most TICK_BUDGET \(25 s\)",
    ),
    (
        {"TICK_BUDGET": "15.5", "PROVIDER_TIMEOUT": "5.1", "HOOK_TIMEOUT": "5"},
        r"a copy's 11 s and STORE_TOTAL_TIMEOUT \(16 s\) must be at most TICK_BUDGET \(15.5 s\)",
    ),
    (
        {"FUNCTION_MAX_DURATION": "28", "PROVIDER_TIMEOUT": "15", "STORE_TOTAL_TIMEOUT": "5"},
        r"and 4 s \(29 s\) must be at most FUNCTION_MAX_DURATION \(28 s\)",
    ),
]


@pytest.mark.parametrize(("change", "message"), CONTRADICTIONS, ids=[next(iter(row[0])) for row in CONTRADICTIONS])
def test_a_contradictory_deployment_does_not_start_and_names_the_two_numbers(
    environment: pytest.MonkeyPatch, change: dict[str, str], message: str
) -> None:
    for name, value in change.items():
        environment.setenv(name, value)
    with pytest.raises(SettingsError, match=message):
        load_settings()


@pytest.mark.parametrize("duration", ["1", "10", "15", "24.9"])
def test_a_function_that_lives_too_shortly_is_refused_in_one_sentence(
    environment: pytest.MonkeyPatch, duration: str
) -> None:
    environment.setenv("FUNCTION_MAX_DURATION", duration)
    with pytest.raises(SettingsError) as raised:
        load_settings()
    assert str(raised.value) == (
        f"Sluice cannot start: FUNCTION_MAX_DURATION: {duration} s must be at least 25 s:"
        " a shorter function has no time for a provider call and the store calls around it"
    )


def test_a_malformed_duration_is_the_only_fault_that_is_named(environment: pytest.MonkeyPatch) -> None:
    environment.setenv("FUNCTION_MAX_DURATION", "a minute")
    with pytest.raises(SettingsError) as raised:
        load_settings()
    assert "FUNCTION_MAX_DURATION" in str(raised.value) and "LEASE" not in str(raised.value)
