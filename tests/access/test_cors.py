"""Pages of other origins: which may read answers, and what a preflight answers."""

from collections.abc import AsyncIterator

import httpx
import pytest
from starlette.applications import Starlette

from shared import runtime
from shared.application import create_app
from shared.config.settings import Settings
from shared.requests.answers import HEADERS
from shared.requests.cors import EXPOSED
from tests.access.issuing import user_of
from tests.http.calls import BODY
from tests.world import AUTH, World, http_client, settings_for

LISTED, OTHER = "https://app.acme.dev", "https://evil.test"


def app_for(origins: str, environment: pytest.MonkeyPatch) -> Starlette:
    """The application of a deployment that lists these origins."""
    from functions.index import ROUTERS

    environment.setattr(runtime, "settings", lambda: settings_for(None, cors_origins=origins))
    return create_app(*ROUTERS)


@pytest.fixture
async def open_client(world: World, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[httpx.AsyncClient]:
    transport = httpx.ASGITransport(
        app=app_for(f"{LISTED},https://two.acme.dev", monkeypatch), raise_app_exceptions=False
    )
    async with httpx.AsyncClient(transport=transport, base_url="http://sluice.test") as client:
        yield client


def preflight(origin: str, method: str = "POST", headers: str = "authorization,content-type") -> dict[str, str]:
    return {
        "Origin": origin,
        "Access-Control-Request-Method": method,
        "Access-Control-Request-Headers": headers,
    }


async def test_a_preflight_of_a_listed_origin_is_answered_and_kept(open_client: httpx.AsyncClient) -> None:
    for path in ("/api/submit", "/api/status/job_1", "/api/jobs/job_1/cancel", "/api/batches"):
        answer = await open_client.options(path, headers=preflight(LISTED, headers="authorization,idempotency-key"))
        assert answer.status_code == 200, answer.text
        assert answer.headers["access-control-allow-origin"] == LISTED
        assert answer.headers["access-control-max-age"] == "7200"
        assert "Origin" in answer.headers["vary"]
        assert "access-control-allow-credentials" not in answer.headers
        assert set(HEADERS) <= set(answer.headers)


@pytest.mark.parametrize(
    "headers",
    [
        preflight(OTHER), preflight("null"), preflight(f"{LISTED}.evil.test"), preflight("http://app.acme.dev"),
        preflight(f"{LISTED}:444"), preflight(LISTED.upper()), preflight(LISTED, method="DELETE"),
        preflight(LISTED, headers="x-other"),
    ],
)  # fmt: skip
async def test_any_other_preflight_is_refused(open_client: httpx.AsyncClient, headers: dict[str, str]) -> None:
    answer = await open_client.options("/api/submit", headers=headers)
    assert answer.status_code == 400
    if headers["Origin"] != LISTED:
        assert "access-control-allow-origin" not in answer.headers


async def test_only_a_listed_page_may_read_an_answer(
    open_client: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch, world: World
) -> None:
    ada = await user_of(open_client)
    receipt = await open_client.post("/api/submit", json=BODY, headers=ada | {"Origin": LISTED})
    path = f"/api/status/{receipt.json()['id']}"
    for answer in (receipt, *[await open_client.get(path, headers=ada | {"Origin": LISTED}) for _ in range(2)]):
        assert answer.headers["access-control-allow-origin"] == LISTED
        assert set(answer.headers["access-control-expose-headers"].split(", ")) == set(EXPOSED)
        assert {"ETag", "Retry-After", "Location", "RateLimit"} <= set(EXPOSED)
    assert {part.strip() for part in answer.headers["vary"].split(",")} == {"Authorization", "Origin"}
    known = ada | {"Origin": LISTED, "If-None-Match": answer.headers["etag"]}
    unchanged = await open_client.get(path, headers=known)
    assert (unchanged.status_code, unchanged.headers["access-control-allow-origin"]) == (304, LISTED)
    for refused in ("/api/status/none", "/api/nowhere"):
        answer = await open_client.get(refused, headers={"Origin": LISTED})
        assert answer.status_code in (401, 404) and answer.headers["access-control-allow-origin"] == LISTED
    other = await open_client.get(path, headers=ada | {"Origin": OTHER})
    assert "access-control-allow-origin" not in other.headers

    async def breaks(*_: object, **__: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(world.runtime.listing, "jobs", breaks)
    for origin, is_read in ((LISTED, True), (OTHER, False)):
        bug = await open_client.get("/api/jobs", headers=ada | {"Origin": origin})
        assert bug.status_code == 500 and ("access-control-allow-origin" in bug.headers) == is_read


async def test_a_deployment_without_origins_answers_as_before(world: World) -> None:
    async with http_client(**AUTH) as client:
        asked = await client.options("/api/submit", headers=preflight(LISTED))
        assert asked.status_code == 405
        answer = await client.get("/api/jobs", headers={"Origin": LISTED})
        assert not [name for name in (*asked.headers, *answer.headers) if name.startswith("access-control")]


@pytest.mark.parametrize(
    "origin",
    [
        "*", "null", "https://*.acme.dev", "https://app.acme.dev/", "https://app.acme.dev/a", "https://App.acme.dev",
        "https://app.acme.dev:443", "app.acme.dev", "http://app.acme.dev", "https://a:b@app.acme.dev", "https://",
        "ftp://app.acme.dev", "https://app.acme.dev:x", "https://app.acme.dev?x", "https://[::1",
        "https://app acme.dev", "https://app\tacme.dev", "https://app\n.acme.dev", "https://\u00e4cme.dev", "https://acme.dev\u3002",
        "https://a@app.acme.dev", "https://@app.acme.dev", "https://app.acme.dev:", "https://app.acme.dev:0",
        "https://app.acme.dev:70000", "https://app.acme.dev:08443", "https://app..acme.dev", "https://.acme.dev",
        "https://app.acme.dev.", "https://-acme.dev", "https://acme-.dev", "https://app%2eacme.dev", "https://<app>.acme.dev",
        "https://app.acme.dev;x", "https://app.acme.dev#", "https://app.acme.dev\\x", "https://300.1.1.1", "https://127.1",
        "https://0x7f.0.0.1", "https://2130706433", "https://[0:0:0:0:0:0:0:1]", "https://[fe80::1%25eth0]",
        "https://" + "a" * 64 + ".dev", "https://" + "a." * 127 + "dev", "https:///app.acme.dev", "https:app.acme.dev",
        "file://", "chrome-extension://abc", "https://?.acme.dev",
    ],
)  # fmt: skip
def test_what_is_no_origin_stops_the_start(origin: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from shared.config.browsers import BrowserSettings

    made = BrowserSettings(sluice_env="production", cors_origins=f"https://app.acme.dev:8443,{origin}")
    (line,) = made.faults()
    assert line.startswith("CORS_ORIGINS: entry 2 ") and "acme" not in line
    assert BrowserSettings(cors_origins="https://xn--cme-pla.dev,https://10.0.0.1,https://a_b.acme.dev").faults() == []
    assert BrowserSettings(cors_origins="https://app.acme.dev:8443,http://localhost:3000,http://[::1]:5").faults() == []
    assert Settings.model_fields["cors_origins"].default == ""
