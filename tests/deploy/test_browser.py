"""A page of another origin in a real Chromium: it submits, polls and cancels with a token, if its origin is listed."""

import asyncio
import re
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from playwright.async_api import Page, async_playwright
from starlette.types import ASGIApp, Receive, Scope, Send

from shared import runtime
from shared.application import create_app
from shared.clock import SystemClock
from tests.access.issuing import user_of
from tests.http.serving import HOST, served
from tests.project import ROOT
from tests.world import http_client, make_world, settings_for

pytestmark = pytest.mark.deploy

CHROMIUM = shutil.which("chromium")  # Debian's package; .ci/run installs it
# What a product's page does, with more said of each answer.
PROGRAM = """
async ({api, token}) => {
  const call = (method, path, body) => fetch(api + path, {
    method,
    headers: {Authorization: `Bearer ${token}`, ...(body && {"Content-Type": "application/json"})},
    body: body && JSON.stringify(body),
  });
  const submitted = await call("POST", "/api/submit", {model: "acme/video", input: {prompt: "a lighthouse"}});
  const job = await submitted.json();
  const polls = [];
  for (let number = 0; number < 3; number += 1) {
    const answer = await call("GET", job.links.status);
    polls.push({status: answer.status, etag: answer.headers.get("ETag"), wait: answer.headers.get("Retry-After"),
      state: (await answer.json()).status});
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  const canceled = await (await call("POST", job.links.cancel)).json();
  const unknown = await (await call("GET", "/api/status/job_none")).json();
  return {status: submitted.status, location: submitted.headers.get("Location"), id: job.id, polls, canceled, unknown};
}
"""


class Watched:
    """Passes calls to an application, and notes their methods and paths."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self.calls: list[tuple[str, str]] = []

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.calls.append((scope["method"], scope["path"]))
        await self._app(scope, receive, send)


@asynccontextmanager
async def site() -> AsyncIterator[str]:
    """A product's site on an origin of its own: one empty page."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        body = b"<!doctype html><title>A product</title>"
        head = f"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"
        writer.write(head.encode() + body)
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(answer, HOST, 0)
    async with server:
        yield f"http://{HOST}:{server.sockets[0].getsockname()[1]}"


@asynccontextmanager
async def opened(address: str) -> AsyncIterator[Page]:
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        page = await browser.new_page()
        await page.goto(address)
        yield page
        await browser.close()


async def test_a_page_of_a_listed_origin_submits_polls_and_cancels(monkeypatch: pytest.MonkeyPatch) -> None:
    from functions.index import ROUTERS

    assert CHROMIUM is not None, "install chromium"
    async with make_world(None, SystemClock()), http_client() as backend, site() as product, site() as other:
        monkeypatch.setattr(runtime, "settings", lambda: settings_for(None, cors_origins=product))
        watched = Watched(create_app(*ROUTERS))
        headers = await user_of(backend)
        token = headers["Authorization"].removeprefix("Bearer ")
        async with served(watched) as port:
            given = {"api": f"http://{HOST}:{port}", "token": token}
            async with opened(product) as page:
                done: dict[str, Any] = await page.evaluate(PROGRAM, given)
            _check(done)
            asked = [path for method, path in watched.calls if method == "OPTIONS"]
            assert asked.count(f"/api/status/{done['id']}") == 1  # the browser keeps a preflight
            watched.calls.clear()
            async with opened(other) as page:
                refused = await page.evaluate(f"(given) => ({PROGRAM})(given).then(() => 'read', (e) => e.name)", given)
            assert refused == "TypeError" and watched.calls == [("OPTIONS", "/api/submit")]


async def test_the_page_of_the_guide_renews_its_token_and_shows_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """The first token has ended. The job ends while the page polls."""
    from functions.index import ROUTERS

    found = re.search(r"```js\n(.*?)```", (ROOT / "docs/access.md").read_text(), re.S)
    assert found is not None and CHROMIUM is not None
    async with make_world(None, SystemClock()) as world, http_client() as backend, site() as product:
        monkeypatch.setattr(runtime, "settings", lambda: settings_for(None, cors_origins=product))
        headers = await user_of(backend)
        tokens = ["ended", headers["Authorization"].removeprefix("Bearer ")]

        async def finish() -> None:
            while not world.provider.created:
                await asyncio.sleep(0.05)
            job_id = world.provider.created[0].job_id
            while not (ran := await world.runtime.records.read(job_id)).prediction:
                await asyncio.sleep(0.05)
            done = {"output": "1"}
            await world.runtime.queue.finish(job_id, 1, ran.prediction, "completed", done, incarnation=ran.incarnation)

        async with served(create_app(*ROUTERS)) as port, opened(product) as page:
            await page.route("**/my/backend/token", lambda route: route.fulfill(json={"token": tokens.pop(0)}))
            program = found[1].replace("https://sluice.acme.dev", f"http://{HOST}:{port}")
            shown = page.evaluate(f"async () => {{ {program}; return job; }}")
            job, _ = await asyncio.gather(shown, finish())
        assert (job["status"], tokens) == ("completed", [])


def _check(done: dict[str, Any]) -> None:
    assert (done["status"], done["location"]) == (202, f"/api/status/{done['id']}")
    assert [poll["status"] for poll in done["polls"]] == [200] * 3
    assert all(poll["etag"] and poll["wait"] and poll["state"] == "processing" for poll in done["polls"])
    assert done["canceled"]["result"] in ("canceled", "cancel_requested")
    assert done["unknown"]["code"] == "job_not_found"
