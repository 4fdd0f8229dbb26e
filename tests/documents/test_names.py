"""Every name and link in the documents leads to something that exists."""

import re
from pathlib import Path

import pytest

from shared.env_file import setting_names
from tests.documents.console import PAGES, README, name
from tests.documents.headings import anchors
from tests.project import ROOT

NAMES = ("DESIGN.md", "CONTRIBUTING.md", "SECURITY.md", "CHANGELOG.md")
DOCUMENTS = [README, *(ROOT / name for name in NAMES), *sorted((ROOT / "docs").rglob("*.md"))]
# Names of platforms that Sluice does not read.
FOREIGN = {"KV_URL", "REDIS_URL", "KV_REST_API_URL", "KV_REST_API_TOKEN", "VERCEL_PYTHON_COMPILEALL", "AWS_REGION"}
FOREIGN |= {"VERCEL_ENV", "UPSTASH_REDIS_URL", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY"}
LOCAL = {"SLUICE_PORT", "API_KEY", "UPLOAD_URL", "IMAGE_URL"}  # of the stack, and of a reader's own shell
FILE = r"`((?:functions|shared|local|bench|tests|docs)/[\w./-]*|[\w-]+\.(?:txt|json|yml|toml)|\.env\.example)`"


@pytest.mark.parametrize("path", DOCUMENTS, ids=name)
def test_every_link_leads_somewhere(path: Path) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", path.read_text()):
        if target.startswith("https://"):
            continue
        file, _, anchor = target.partition("#")
        found = (path.parent / file).resolve() if file else path
        assert found.is_relative_to(ROOT) and found.exists(), target
        assert not anchor or anchor in anchors(found), target


@pytest.mark.parametrize("path", [README, *PAGES], ids=name)
def test_every_setting_exists(path: Path) -> None:
    named = set(re.findall(r"`([A-Z][A-Z0-9]*(?:_[A-Z0-9]+)+)(?:=[^`]*)?`", path.read_text()))
    assert named - setting_names() - FOREIGN - LOCAL == set()


@pytest.mark.parametrize("path", DOCUMENTS, ids=name)
def test_every_file_and_make_target_exists(path: Path) -> None:
    text = path.read_text()
    for file in re.findall(FILE, text):
        assert (ROOT / file).exists(), file
    makefile = (ROOT / "Makefile").read_text()
    targets = set(re.findall(r"(?:`|^ *\$ )make ([a-z-]+)", text, re.M))
    assert [target for target in targets if f"\n{target}: " not in makefile] == []


def test_every_page_is_in_the_index() -> None:
    index = (ROOT / "docs/README.md").read_text()
    assert [page.name for page in PAGES if f"({page.name})" not in index and page.name != "README.md"] == []


def test_the_readme_is_short_enough_to_be_read() -> None:
    assert len(README.read_text().splitlines()) <= 130
