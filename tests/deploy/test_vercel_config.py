"""vercel.json and pyproject.toml as Vercel reads them. test_vercel.py tests what its builder makes of them."""

import json
import re
import tomllib
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from local.interpreter import VERSION
from shared.clock import ManualClock
from shared.config.hosting import BYPASS
from shared.config.settings import Settings
from shared.startup import load_settings
from tests.config.production import GOOD
from tests.deploy.vercel_tools import PACKAGE, REQUIREMENTS
from tests.project import ROOT
from tests.world import AUTH, http_client, make_world

CONFIG: dict[str, Any] = json.loads((ROOT / "vercel.json").read_text())
PYPROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text())
# The keys of Vercel's schema that are used. The schema is closed: an unknown key fails the deployment.
KEYS = {"$schema", "framework", "regions", "functions", "crons"}
FUNCTION_KEYS = {"maxDuration", "excludeFiles"}
MAX_GLOB = 256
REQUIREMENT = re.compile(r"^[a-z0-9-]+==\S+$", re.M)


def test_only_keys_that_vercel_knows() -> None:
    assert set(CONFIG) == KEYS
    assert list(CONFIG["functions"]) == ["functions/index.py"]
    (function,) = CONFIG["functions"].values()
    assert set(function) == FUNCTION_KEYS
    assert len(function["excludeFiles"]) <= MAX_GLOB


def test_the_function_lives_as_long_as_its_settings_say() -> None:
    (function,) = CONFIG["functions"].values()
    default = Settings.model_fields["function_max_duration"].default
    assert function["maxDuration"] == default


def test_one_region() -> None:
    """Each plan allows one; every call to a store in another region would cost time."""
    assert len(CONFIG["regions"]) == 1


async def test_the_cron_is_daily_and_calls_a_route_that_answers_get() -> None:
    from functions.index import ROUTERS

    (cron,) = CONFIG["crons"]
    minute, hour, *rest = cron["schedule"].split(" ")
    assert minute.isdigit() and hour.isdigit() and rest == ["*", "*", "*"]
    assert ("GET", cron["path"]) in [operation for router in ROUTERS for operation in router.operations()]


def test_the_entrypoint_is_the_application() -> None:
    module, _, name = PYPROJECT["tool"]["vercel"]["entrypoint"].partition(":")
    assert (module, name) == ("functions.index", "app")
    assert f"{module.replace('.', '/')}.py" in CONFIG["functions"]


def test_vercel_installs_what_requirements_txt_pins() -> None:
    """Vercel's builder ignores requirements.txt if there is a pyproject.toml."""
    pinned = REQUIREMENT.findall((ROOT / "requirements.txt").read_text())
    assert len(pinned) > 20
    assert PYPROJECT["project"]["dependencies"] == pinned
    assert "requires-python" not in PYPROJECT["project"]


def test_the_tools_are_pinned() -> None:
    assert json.loads(PACKAGE.read_text())["dependencies"] == {"vercel": "60.1.3"}
    assert REQUIREMENT.findall(REQUIREMENTS.read_text()) == REQUIREMENTS.read_text().split()
    assert (ROOT / ".python-version").read_text().strip() == VERSION


@pytest.fixture
def on_vercel(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """The environment of a preview with the guide's settings."""
    for name, value in GOOD.items():
        monkeypatch.setenv(name, value)
    for name in ("SLUICE_ENV", "PUBLIC_BASE_URL"):
        monkeypatch.delenv(name, raising=False)
    for name, value in {"VERCEL": "1", "VERCEL_ENV": "preview", "VERCEL_URL": "sluice-git-x.vercel.app"}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("USE_REDIS_FOR_TASKS", "true")
    return monkeypatch


def test_a_preview_has_its_own_keys(on_vercel: pytest.MonkeyPatch) -> None:
    assert load_settings().prefix == "sluice:preview"
    on_vercel.setenv("VERCEL_ENV", "production")
    assert load_settings().prefix == "sluice:production"
    on_vercel.setenv("QUEUE_PREFIX", "sluice:pr-17")
    assert load_settings().prefix == "sluice:pr-17"


def test_a_preview_gives_its_own_address_to_providers(on_vercel: pytest.MonkeyPatch) -> None:
    loaded = load_settings()
    assert loaded.public_base_url == "https://sluice-git-x.vercel.app" and loaded.webhooks_wanted


@pytest.mark.parametrize("secret", [None, "b&d=?"])
async def test_a_protected_deployment_gives_providers_its_bypass_secret(secret: str | None) -> None:
    changes = {"public_base_url": "https://sluice-git-x.vercel.app", "vercel_automation_bypass_secret": secret}
    async with make_world(None, ManualClock(), **changes) as world, http_client(**AUTH) as client:
        body = {"model": "acme/video", "input": {"prompt": "x"}, "user_id": "ada"}
        assert (await client.post("/api/submit", json=body)).status_code == 202
        url = urlsplit(str(world.provider.created[0].webhook_url))
    assert (url.netloc, url.path) == ("sluice-git-x.vercel.app", "/api/webhook/replicate")
    assert parse_qs(url.query).get(BYPASS) == ([secret] if secret else None)
