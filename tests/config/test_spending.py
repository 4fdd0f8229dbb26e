"""Prices and budgets, and what keeps a deployment with them from starting."""

from typing import Any

import pytest
from pydantic import ValidationError

from shared.config.spending import MICROS
from shared.startup import cautions
from tests.world import settings_for

HASH = "0" * 64
PRICES: dict[str, Any] = {
    "acme/video": {"run": 0.1}, f"acme/video:{HASH}": {"run": 0.2},
    "acme/tokens": {"per": {"token_output_count": 0.0000005}, "at_most": 0.25}, "default": {"run": 1},
}  # fmt: skip


@pytest.mark.parametrize(
    ("model", "bound"),
    [
        ("acme/video", 0.1),
        (f"acme/video:{HASH}", 0.2),
        ("acme/video:" + "1" * 64, 0.1),
        ("acme/tokens", 0.25),
        ("acme/other", 1),
        (HASH, 1),
    ],
)
def test_a_model_has_its_own_price_or_that_of_its_name_or_the_default(model: str, bound: float) -> None:
    price = settings_for(None, prices=PRICES).price_of(model)
    assert price is not None and price.bound == round(bound * MICROS)


def test_a_price_below_a_micro_dollar_is_kept() -> None:
    price = settings_for(None, prices=PRICES).price_of("acme/tokens")
    assert price is not None and price.text == "at_most=250000,run=0,*token_output_count=0.500000"


def test_a_model_without_a_price_has_none_unless_there_is_a_default() -> None:
    assert settings_for(None, prices={"acme/video": {"run": 1}}).price_of("acme/other") is None


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"budgets": {"user": {"day": 1}}}, "BUDGETS needs a price of `default`"),
        ({"prices": {"default": {"per": {"predict_time": 0.1}}}}, "needs at_most"),
        ({"prices": {"default": {"run": 2, "at_most": 1}}}, "must not be below run"),
        ({"prices": {"default": {"run": -1}}}, "prices.default.run"),
        ({"prices": {"default": {"runs": 1}}}, "prices.default.runs"),
        ({"prices": {"default": {"run": float("nan")}}}, "prices.default.run"),
        ({"prices": PRICES, "budgets": {"user": {"week": 1}}}, "budgets.user.week"),
        ({"prices": PRICES, "budgets": {"all": {"day": 0}}}, "budgets.all.day"),
    ],
)
def test_a_price_or_budget_that_cannot_be_meant_is_refused(changes: dict[str, Any], said: str) -> None:
    with pytest.raises(ValidationError) as refused:
        settings_for(None, **changes)
    assert said in str(refused.value)


def test_what_is_below_a_micro_dollar_is_rounded_up() -> None:
    price = settings_for(None, prices={"default": {"run": 0.0000004, "per": {"a": 1.1e-13}, "at_most": 0.07}}).prices
    assert price["default"].text == "at_most=70000,run=1,*a=0.000001"


@pytest.mark.parametrize(
    ("changes", "warned"),
    [
        ({"prices": {"default": {"run": 1}, "acme/video": {"run": 2}}, "budgets": {"all": {"day": 9}}}, True),
        ({"prices": {"default": {"run": 2}, "acme/video": {"run": 2}}, "budgets": {"all": {"day": 9}}}, False),
        ({"prices": {"default": {"run": 1}, "acme/video": {"run": 2}}}, False),
        ({}, False),
    ],
)
def test_a_default_below_another_price_is_warned_of_where_budgets_count(changes: dict[str, Any], warned: bool) -> None:
    events = [caution.event for caution in cautions(settings_for(None, **changes))]
    assert ("default_price_is_low" in events) == warned


def test_budgets_that_limit_nothing_are_as_none() -> None:
    assert settings_for(None, budgets={"user": {}}).budget_limits == []
