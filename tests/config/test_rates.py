"""The settings of rates: how they are written, and what stops the start."""

import pytest

from shared.config.rates import Rate
from shared.startup import load_settings
from tests.config.production import faults

SUBMIT = ("SUBMIT_RATE_PER_USER", "SUBMIT_RATE_PER_KEY", "FAILED_AUTH_RATE")


@pytest.mark.parametrize(
    ("text", "count", "seconds"),
    [("10/minute", 10, 60), ("1/second", 1, 1), ("999999/hour", 999_999, 3600), (" 5/day\n", 5, 86_400)],
)
def test_a_rate_is_a_number_and_a_unit(environment: pytest.MonkeyPatch, text: str, count: int, seconds: int) -> None:
    for name in (*SUBMIT, "VERIFICATION_CLIENT_RATE"):
        environment.setenv(name, text)
    loaded = load_settings()
    for rate in (loaded.rate_per_user, loaded.rate_per_key, loaded.rate_of_failures, loaded.rate_of_clients):
        assert rate is not None and (rate.count, rate.seconds) == (count, seconds)
    assert str(loaded.rate_per_user) == text.strip()


def test_nothing_is_limited_at_first_but_calls_for_codes(environment: pytest.MonkeyPatch) -> None:
    loaded = load_settings()
    assert (loaded.rate_per_user, loaded.rate_per_key, loaded.rate_of_failures) == (None, None, None)
    assert loaded.rate_of_clients == Rate(60, "hour")
    environment.setenv("VERIFICATION_CLIENT_RATE", "off")
    assert load_settings().rate_of_clients is None


@pytest.mark.parametrize("name", [*SUBMIT, "VERIFICATION_CLIENT_RATE"])
@pytest.mark.parametrize(
    "text",
    ["10", "10/m", "10 / minute", "0/minute", "-1/hour", "1.5/day", "1000000/day", "CANARY/minute", "10/minute,5/hour"],
)
def test_another_form_stops_the_start_and_one_line_says_what_is_wanted(
    environment: pytest.MonkeyPatch, name: str, text: str
) -> None:
    (line,) = faults(environment, **{name: text})
    assert line.startswith(f"{name}: must be a whole number up to 999999 in each second, minute, hour or day")
    assert text not in line.partition(": ")[2].removesuffix("10/minute").removesuffix("60/hour")
