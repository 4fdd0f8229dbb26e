"""Which providers a stack simulates."""

from pathlib import Path

import pytest

from local.configuration import Configuration
from local.environment import Environment

# --- the embedded stack


def stack_variables(data_dir: Path, **settings: str) -> dict[str, str]:
    configuration = Configuration(data_dir=data_dir, sealed=True, settings=settings)
    return Environment(configuration).variables({"functions": 1, "store": 2, "provider": 3})


def test_the_embedded_stack_has_both_providers_when_they_are_simulated(tmp_path: Path) -> None:
    variables = stack_variables(tmp_path)
    assert variables["PROVIDERS"] == "replicate,wavespeed"
    assert variables["WAVESPEED_BASE_URL"] == "http://127.0.0.1:3/api/v3"
    assert variables["WAVESPEED_API_KEY"] and variables["WAVESPEED_WEBHOOK_SECRET"].startswith("whsec_")
    assert stack_variables(tmp_path)["WAVESPEED_API_KEY"] == variables["WAVESPEED_API_KEY"], "kept for the next start"


@pytest.mark.parametrize("name", ["WAVESPEED_API_KEY", "REPLICATE_API_TOKEN"])
def test_with_a_real_key_wavespeed_is_not_simulated_and_no_setting_of_it_made_up(tmp_path: Path, name: str) -> None:
    variables = stack_variables(tmp_path, **{name: "0123456789abcdef"})
    assert {each for each in variables if each.startswith("WAVESPEED")} == {name} - {"REPLICATE_API_TOKEN"}
    assert "PROVIDERS" not in variables
