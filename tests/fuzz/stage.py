"""One deployment for all requests of the fuzzer: two users' jobs, files and keys, and every kind of credential."""

import asyncio
import secrets
import time
from collections.abc import Iterator
from contextlib import AsyncExitStack, contextmanager
from typing import Any

import httpx

from local.rest_server.running import RunningServer
from local.simulator.running import RunningSimulator
from shared.clock import SystemClock
from shared.providers.replicate_api import Replicate
from shared.signing.webhooks import sign
from tests.access.issuing import AUDIENCE, ISSUER, TAKES_JWTS, bearer, issued
from tests.buckets import pieces
from tests.http.erasure.jobs import ended
from tests.post import post_office
from tests.world import AUTH, OPERATOR, OTHER_AUTH, PROCESSOR, World, http_client, make_world, settings_for

MARK = f"only-of-ada-{secrets.token_hex(4)}"
CRON = bearer("cron-secret-in-tests")
FILE = "results/job_bob/a.txt"
UPLOAD = {"user_id": "bob", "content_type": "image/png", "size": 5}
STRANGERS = ("none", "wrong", "malformed", "other key", "bob", "issued bob", "shop", "processor", "cron")  # to Ada
OTHERS = ("ada", "key", "operator", "signed")


class Stage:
    """The deployment, and what is in it at first; ``fresh`` brings that back."""

    def __init__(self, runner: asyncio.Runner, world: World, client: httpx.AsyncClient, secret: str) -> None:
        self.runner = runner
        self.world = world
        self.client = client
        self._secret = secret
        self.credentials: dict[str, dict[str, str]] = {}
        self.ids: dict[str, list[str]] = {}  # by the name of the path's parameter: Ada's, Bob's, and a key's
        self.links: dict[str, str] = {}  # signed URLs of files, by the method that they are for
        self.of_ada: list[str] = []
        self.sent = 0
        self._before: Any = None

    async def fresh(self) -> None:
        """Empties the store, and makes Ada's and Bob's things again."""
        assert self.world.server is not None
        self.world.server.flush()
        metadata = {"note": MARK}
        done = await ended(self.world, [MARK], input={"prompt": MARK}, metadata=metadata, job_id="job_ada_done")
        asked: dict[str, Any] = {"input": {"prompt": MARK}, "metadata": metadata, "queue": "storyboard"}
        live = await self.world.enqueue("ada", job_id="job_ada_waits", **asked)
        bobs = await self.world.enqueue("bob", job_id="job_bob", queue="storyboard")
        paused = {"queues": {"storyboard": 0}}
        await self.client.patch("/api/operate/limits", json=paused, headers=OPERATOR)
        batch = {
            "user_id": "ada",
            "model": "acme/video",
            "metadata": metadata,
            "jobs": [{"input": {"prompt": MARK}}] * 2,
        }
        made = (await self.client.post("/api/batches", json=batch, headers=AUTH)).json()["id"]
        key = (await self.client.post("/api/operate/keys", json={"owner": "shop"}, headers=OPERATOR)).json()
        self.of_ada = [done, live, made]
        self.ids = {"job_id": [done, live, f"{made}_0", bobs], "batch_id": [made], "key_id": [key["id"]]}
        scopes = ["read", "submit", "cancel"]
        tokens = {}
        for user in ("ada", "bob"):
            wanted = {"user_id": user, "scopes": scopes, "tier": "pro"}
            tokens[user] = (await self.client.post("/api/tokens", json=wanted, headers=AUTH)).json()["token"]
        now = int(time.time())
        upload = (await self.client.post("/api/uploads", json=UPLOAD, headers=AUTH)).json()
        await self.world.runtime.bucket.save(FILE, pieces(b"a text"), "text/plain")
        read = self.world.runtime.bucket.url(FILE, self.world.clock.now())
        self.links = {"PUT": upload["url"], "GET": read, "HEAD": read}
        self.credentials = {
            "none": {}, "wrong": bearer("wrong-key"), "malformed": {"Authorization": "Basic !!!"}, "key": AUTH,
            "other key": OTHER_AUTH, "operator": OPERATOR, "processor": PROCESSOR, "cron": CRON, "signed": AUTH,
            "shop": bearer(key["secret"]), "ada": bearer(tokens["ada"]), "bob": bearer(tokens["bob"]),
            "issued bob": bearer(issued(sub="bob", iss=ISSUER, aud=AUDIENCE, iat=now, exp=now + 900)),
        }  # fmt: skip
        self._before = await self._of_ada()

    async def is_whole(self) -> bool:
        """Whether Ada's completed job is as it was."""
        return bool(await self._of_ada() == self._before)

    async def _of_ada(self) -> Any:
        return await self.world.raw("HGETALL", self.world.runtime.queue.keys.job("job_ada_done"))

    def signed(self, body: bytes) -> dict[str, str]:
        """The headers by which the provider signs this body."""
        now = int(time.time())
        value = sign(self._secret, "msg_1", now, body)
        return {"webhook-id": "msg_1", "webhook-timestamp": str(now), "webhook-signature": value}


@contextmanager
def opened_stage(store: RunningServer, simulator: RunningSimulator) -> Iterator[Stage]:
    """A stage on a real store and a simulated provider."""
    changes: dict[str, Any] = {
        **TAKES_JWTS, "replicate_base_url": simulator.url, "replicate_api_token": simulator.token,
        "replicate_webhook_secret": simulator.webhook_secret, "storage_url": "memory://fuzz", "audit_entries": 100,
        "verification_client_rate": "off", "mail_from": "no-reply@acme.dev", "max_user_tasks": 50,
        "max_user_queued": 1000, "cors_origins": "https://app.test",
    }  # fmt: skip
    replicate = Replicate(settings_for(store, **changes))
    with asyncio.Runner() as runner:
        stack = AsyncExitStack()

        async def build() -> Stage:
            post = await stack.enter_async_context(post_office())
            made = make_world(store, SystemClock(), {"replicate": replicate}, **changes, smtp_url=post.url)
            world = await stack.enter_async_context(made)
            client = await stack.enter_async_context(http_client())
            return Stage(runner, world, client, simulator.webhook_secret)

        try:
            yield runner.run(build())
        finally:
            runner.run(stack.aclose())
