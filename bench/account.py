"""An account at Replicate in simulated time: the provider's own module, and calls that this process answers."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, NamedTuple

import httpx

from shared.clock import ManualClock
from shared.config.settings import Settings
from shared.providers.calls import Calls
from shared.providers.replicate_api import Replicate

BASE = "https://replicate.test/v1"
REFUSED_MODEL = "acme/locked"
REFUSAL = {"title": "Forbidden", "detail": "You do not have permission to run this model.", "status": 403}
GATEWAY_PAGE = "<html><body><h1>503 Service Unavailable</h1></body></html>"
# Replicate's own text for a model that raised an exception without one.
FAILURE = "Prediction failed."


class Plan(NamedTuple):
    """How long one job's prediction takes, in ms, and whether it fails. A prompt names the job."""

    took: int
    fails: bool = False


@dataclass
class Run:
    """One prediction; times are in ms of the clock."""

    id: str
    model: str
    prompt: str
    webhook: str | None
    created_at: int
    ends_at: int
    outcome: str
    input: dict[str, Any] = field(default_factory=dict)

    def status(self, now: int) -> str:
        return self.outcome if now >= self.ends_at else "processing"

    def shown(self, now: int) -> dict[str, Any]:
        """Returns the prediction object of the API."""
        status = self.status(now)
        return {
            "id": self.id,
            "model": self.model,
            "version": "hidden",
            "input": self.input,
            "status": status,
            "output": "A text." if status == "succeeded" else None,
            "error": FAILURE if status == "failed" else None,
            "logs": "",
            "metrics": {"total_time": (self.ends_at - self.created_at) / 1000} if now >= self.ends_at else {},
            "created_at": iso(self.created_at),
            "completed_at": iso(self.ends_at) if now >= self.ends_at else None,
        }


def iso(moment: int) -> str:
    return datetime.fromtimestamp(moment / 1000, UTC).isoformat().replace("+00:00", "Z")


class Account:
    """All predictions of the account. ``plans`` says by prompt what a job takes; ``storm`` when creates get a 503."""

    def __init__(self, clock: ManualClock, plans: Mapping[str, Plan], storm: tuple[int, int] | None) -> None:
        self.clock = clock
        self.runs: dict[str, Run] = {}
        self.changed: list[Run] = []  # made or cancelled, and not yet taken up by the bench
        self.creates = 0
        self._plans = plans
        self._storm = storm

    def answer(self, request: httpx.Request) -> httpx.Response:
        """Answers one call of the API."""
        now, parts = self.clock.now(), request.url.path.removeprefix("/v1/").split("/")
        if request.method == "POST" and parts[0] == "models":
            return self._create(now, f"{parts[1]}/{parts[2]}", json.loads(request.content))
        if len(parts) == 1:
            listed = self._listed(now, request.url.params)
            return httpx.Response(200, json={"next": None, "previous": None, "results": listed})
        run = self.runs[parts[1]]
        if request.method == "POST" and run.status(now) == "processing":
            run.ends_at, run.outcome = now, "canceled"
            self.changed.append(run)
        return httpx.Response(200, json=run.shown(now))

    def _listed(self, now: int, bounds: httpx.QueryParams) -> list[dict[str, Any]]:
        """Returns the predictions between the two times of the query, newest first; here on one page."""
        after, before = (_moment(bounds, name) for name in ("created_after", "created_before"))
        return [
            run.shown(now)
            for run in reversed(self.runs.values())
            if (after is None or run.created_at >= after) and (before is None or run.created_at < before)
        ]

    def _create(self, now: int, model: str, body: dict[str, Any]) -> httpx.Response:
        self.creates += 1
        if self._storm and self._storm[0] <= now < self._storm[1]:
            return httpx.Response(503, html=GATEWAY_PAGE)
        if model == REFUSED_MODEL:
            return httpx.Response(403, json=REFUSAL)
        prompt = str(body["input"]["prompt"])
        plan = self._plans[prompt]
        outcome = "failed" if plan.fails else "succeeded"
        name = f"p{len(self.runs):025d}"
        run = Run(name, model, prompt, body.get("webhook"), now, now + plan.took, outcome, body["input"])
        self.runs[name] = run
        self.changed.append(run)
        return httpx.Response(201, json=run.shown(now))


def _moment(bounds: httpx.QueryParams, name: str) -> float | None:
    return datetime.fromisoformat(bounds[name]).timestamp() * 1000 if name in bounds else None


class AccountCalls(Calls):
    """The HTTP clients of Replicate's module, which an account answers."""

    def __init__(self, account: Account) -> None:
        super().__init__(Replicate.name, BASE, None, 1.0)
        self._account = account

    def _build(self, limits: httpx.Limits) -> httpx.AsyncClient:
        return httpx.AsyncClient(base_url=f"{BASE}/", transport=httpx.MockTransport(self._account.answer))


class AccountProvider(Replicate):
    """Replicate's module on an account."""

    def __init__(self, settings: Settings, account: Account) -> None:
        super().__init__(settings)
        self._calls = AccountCalls(account)
