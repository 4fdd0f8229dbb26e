"""A deployment on Valkey whose calls and commands are counted, one operation after the other."""

import httpx

from local.rest_server.running import RunningServer
from shared.budget import Budget
from shared.providers.base import Prediction
from tests.http.calls import webhook_url
from tests.world import AUTH, PROCESSOR, World


class Counting:
    """A deployment on Valkey that counts the calls and commands of one operation."""

    def __init__(self, world: World, client: httpx.AsyncClient, server: RunningServer) -> None:
        self.world = world
        self.client = client
        self.server = server

    async def submit(self, user: str = "ada", key: str | None = None) -> str:
        headers = AUTH | ({"Idempotency-Key": key} if key else {})
        body = {"model": "acme/video", "input": {"prompt": "a lighthouse"}, "user_id": user}
        answer = await self.client.post("/api/submit", json=body, headers=headers)
        assert answer.status_code in (202, 429), answer.text
        return str(answer.json().get("id", ""))

    async def dispatch(self) -> None:
        await self.world.runtime.dispatcher.run(Budget(60))

    async def webhook(self, job_id: str, prediction: str, status: str = "completed") -> None:
        self.world.provider.states[prediction] = Prediction(prediction, status, output=["https://x/y.mp4"])  # type: ignore[arg-type]
        # Past the bill: a provider has the URL from the submission.
        incarnation = self.server.ask("HGET", self.world.runtime.queue.keys.job(job_id), "incarnation")
        given = incarnation.decode() if isinstance(incarnation, bytes) else ""
        url = await webhook_url(self.world, job_id, incarnation=given)
        assert (await self.client.post(url, content=prediction.encode())).status_code == 200

    async def poll(self, job_id: str) -> None:
        assert (await self.client.get(f"/api/status/{job_id}", headers=AUTH)).status_code == 200

    def count(self) -> tuple[int, int]:
        bill = self.server.bill()
        self.server.reset_bill()
        return bill.calls, bill.billed

    async def tick(self) -> None:
        assert (await self.client.post("/api/process-queue", headers=PROCESSOR)).status_code == 200
