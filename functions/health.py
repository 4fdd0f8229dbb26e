"""GET /api/health: whether this deployment works."""

import time

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse

from shared import runtime
from shared.application import create_app, create_handler
from shared.documents.operating import Health, StoreHealth, Unavailable
from shared.errors import StoreError
from shared.requests.auth import Role

LATE_AFTER_PERIODS = 3  # a healthy schedule may miss a run, or begin one late

router = APIRouter()


@router.get("/api/health")
async def health(request: Request) -> JSONResponse:
    """200, or 503 if the store cannot be read; the age of the last tick shows whether the schedule works."""
    began = time.monotonic()
    async with runtime.call(request, Role.ANYONE) as call:
        sluice, settings = call.runtime, call.runtime.settings
        try:
            tick_at = await sluice.records.last_tick()
        except StoreError as error:
            store: StoreHealth = {"mode": settings.storage_mode, "reachable": False, "code": error.code}
            unavailable: Unavailable = {"status": "unavailable", "store": store}
            return JSONResponse(unavailable, 503)
        age = None if tick_at is None else max(0, (sluice.clock.now() - tick_at) // 1000)
    latency = round((time.monotonic() - began) * 1000, 1)
    body: Health = {
        "status": "ok",
        "store": {"mode": settings.storage_mode, "reachable": True, "latency_ms": latency},
        "last_tick_age_seconds": age,
        "tick_is_late": age is None or age > LATE_AFTER_PERIODS * settings.tick_period,
    }
    return JSONResponse(body)


app = create_app(router)
handler = create_handler(app)
