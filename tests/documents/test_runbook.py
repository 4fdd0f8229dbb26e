"""The runbook has a section for each alert, with three answers, and each alert links to its own."""

import re
from typing import get_args

import pytest

from shared.alerts.catalogue import RUNBOOK, runbook_of
from shared.config.alerts import THRESHOLDS, AlertName
from shared.config.settings import Settings
from tests.documents.headings import anchors
from tests.project import ROOT

PAGE = ROOT / RUNBOOK
SECTIONS = dict(re.findall(r"^## (.+)\n\n((?:.|\n)*?)(?=^## |\Z)", PAGE.read_text(), re.M))


@pytest.mark.parametrize("name", get_args(AlertName))
def test_each_alert_links_to_its_section_which_says_what_to_do(name: AlertName) -> None:
    anchor = runbook_of(name, Settings(sluice_env="test")).removeprefix(f"{RUNBOOK}#")
    assert anchor in anchors(PAGE)
    (text,) = [text for title, text in SECTIONS.items() if title.lower().replace(" ", "-") == anchor]
    assert re.findall(r"^\*\*(.+?)\.\*\*", text, re.M) == ["Means", "Look at", "Do"]


def test_the_table_of_thresholds_is_the_one_in_the_code() -> None:
    rows = re.findall(r"^\| \[`(\w+)`\]\(#[\w-]+\) \| ([\d.]+) \|", PAGE.read_text(), re.M)
    assert {name: float(value) for name, value in rows} == THRESHOLDS


def test_a_deployment_may_have_its_own_copy() -> None:
    settings = Settings(sluice_env="test", alert_runbook_url="https://acme.test/runbook")
    assert runbook_of("store_slow", settings) == "https://acme.test/runbook#store-slow"
