"""The admin API under `/-/`: the bill and the faults, for callers with the server's token. Nothing here is billed."""

from typing import Annotated

from fastapi import APIRouter, Depends, Header, HTTPException
from pydantic import BaseModel, ConfigDict, Field

from .bridge import Bridge
from .faults import UNTIL_CLEARED, Fault, Faults, Injection
from .tokens import UNAUTHORIZED, Role, Tokens


class Order(BaseModel):
    """The body of `POST /-/faults`; the fields are those of `faults.Injection`."""

    model_config = ConfigDict(extra="forbid")

    fault: Fault
    times: Annotated[int, Field(ge=UNTIL_CLEARED)] = 1
    match: str | None = None
    seconds: Annotated[float, Field(ge=0)] = 0.0
    probability: Annotated[float, Field(ge=0, le=1)] = 1.0
    seed: int = 0


def admin_router(bridge: Bridge, faults: Faults, tokens: Tokens) -> APIRouter:
    """Returns the routes `/-/bill`, `/-/bill/reset` and `/-/faults`, open to the standard token only."""

    def owner_only(authorization: Annotated[str | None, Header()] = None) -> None:
        if tokens.role(authorization) is not Role.OWNER:
            raise HTTPException(401, UNAUTHORIZED["error"])

    router = APIRouter(prefix="/-", dependencies=[Depends(owner_only)])

    @router.get("/bill")
    async def show_bill() -> dict[str, object]:
        return (await bridge.bill()).as_json()

    @router.post("/bill/reset")
    async def reset_bill() -> dict[str, object]:
        await bridge.reset_bill()
        return (await bridge.bill()).as_json()

    @router.get("/faults")
    async def show_faults() -> list[dict[str, object]]:
        return [injection.as_json() for injection in faults.active()]

    @router.post("/faults", status_code=201)
    async def inject_fault(order: Order) -> dict[str, object]:
        return faults.inject(Injection(**order.model_dump())).as_json()

    @router.delete("/faults")
    async def clear_faults() -> list[dict[str, object]]:
        faults.clear()
        return []

    return router
