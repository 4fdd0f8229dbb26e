"""/api/operate/...: the operations of operators."""

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from shared import runtime
from shared.access.caller import Role
from shared.alerts.order import SilenceOrder
from shared.application import create_app, create_handler
from shared.doctor.order import DoctorOrder, DoctorQuery
from shared.errors import JobNotFound
from shared.jobqueue.record import is_job_id
from shared.jobs.audit_trail import AuditQuery
from shared.jobs.bulk import CancelOrder, PurgeOrder
from shared.jobs.clearing import RoomOrder
from shared.jobs.issued_keys import KeyChange, KeysQuery, NewKey, Rotation
from shared.jobs.limits import LimitsChange, UserLimitsQuery
from shared.jobs.listing import AnyJobsQuery, LettersQuery, UndeliveredQuery
from shared.jobs.redrive import RedriveOrder
from shared.jobs.settlement import Settlement
from shared.jobs.survey import StatisticsQuery
from shared.requests.reading import read_model, read_optional_model, read_query
from shared.requests.router import Router
from shared.usage.report import UsageQuery
from shared.verification.request import BlockedChange, BlockedQuery
from shared.warming import Needs

MAX_BODY = 64 * 1024

router = Router(prefix="/api/operate")


@router.get("/limits")
async def limits(request: Request) -> JSONResponse:
    """200 with all limits: the configured ones, those in force, and the pauses."""
    async with runtime.call(request, Role.OPERATOR) as call:
        standing = await call.runtime.controls.set_gates({})
    return JSONResponse(call.runtime.limits.shown(standing.standing, standing.pauses))


@router.patch("/limits")
async def change_limits(request: Request) -> JSONResponse:
    """200 with all limits after the change; starts the jobs that may start now."""
    async with runtime.call(request, Role.OPERATOR) as call:
        change = await read_model(request, MAX_BODY, LimitsChange)
        async with call.audited("limits.change", *change.named()):
            shown = await call.runtime.limits.change(change)
        await call.runtime.dispatcher.run(call.budget)
    return JSONResponse(shown)


@router.get("/user-limits")
async def user_limits(request: Request) -> JSONResponse:
    """200 with some users' own limits, and ``next_cursor``, which is null at the end. A user may come twice."""
    async with runtime.call(request, Role.OPERATOR) as call:
        page = await call.runtime.limits.of_users(read_query(request, UserLimitsQuery))
    return JSONResponse(page)


@router.get("/jobs")
async def jobs(request: Request) -> JSONResponse:
    """200 with a page of all API keys' jobs, and ``next_cursor``, which is null on the last page."""
    async with runtime.call(request, Role.OPERATOR) as call:
        page = await call.runtime.listing.of_all_keys(read_query(request, AnyJobsQuery))
    return JSONResponse(page)


@router.get("/jobs/{job_id}")
async def job(request: Request, job_id: str) -> JSONResponse:
    """200 with all that is kept of the job of any API key, except for its input and its output."""
    async with runtime.call(request, Role.OPERATOR) as call:
        return JSONResponse(await call.runtime.inspection.job(job_id))


@router.get("/jobs/{job_id}/input")
async def job_input(request: Request, job_id: str) -> JSONResponse:
    """200 with what the job was submitted with. It is private to the job's user, so the log says that it was read."""
    async with runtime.call(request, Role.OPERATOR) as call:
        async with call.audited("input.read", job_id):
            found = await call.runtime.inspection.input(job_id)
    return JSONResponse(found)


@router.post("/cancel")
async def cancel(request: Request) -> JSONResponse:
    """200 with what became of the jobs of this call; a ``next_cursor`` means that more are left."""
    async with runtime.call(request, Role.OPERATOR) as call:
        order = await read_model(request, MAX_BODY, CancelOrder)
        async with call.audited("jobs.try" if order.dry_run else "jobs.cancel", *order.named({})) as act:
            report = await call.runtime.bulk.cancel(order, call.budget)
            act.about = order.named(report["counts"])
    return JSONResponse(report)


@router.post("/purge")
async def purge(request: Request) -> JSONResponse:
    """200 with how many ended jobs this call has deleted; a ``next_cursor`` means that more are left."""
    async with runtime.call(request, Role.OPERATOR) as call:
        order = await read_model(request, MAX_BODY, PurgeOrder)
        async with call.audited("jobs.try" if order.dry_run else "jobs.purge", *order.named({})) as act:
            report = await call.runtime.bulk.purge(order, call.budget)
            act.about = order.named(report["counts"])
    return JSONResponse(report)


@router.get("/dead-letters")
async def dead_letters(request: Request) -> JSONResponse:
    """200 with a page of the dead letters, the latest first, and ``next_cursor``, which is null on the last page."""
    async with runtime.call(request, Role.OPERATOR) as call:
        page = await call.runtime.listing.letters(read_query(request, LettersQuery))
    return JSONResponse(page)


@router.delete("/dead-letters/{job_id}")
async def drop_dead_letter(request: Request, job_id: str) -> Response:
    """204 once the job is no longer a dead letter; it stays until it expires. 404 if it was none."""
    async with runtime.call(request, Role.OPERATOR) as call:
        async with call.audited("dead-letter.drop", job_id):
            if not is_job_id(job_id) or not await call.runtime.history.drop_letter(job_id):
                raise JobNotFound
    return Response(status_code=204)


@router.post("/dead-letters/redrive")
async def redrive(request: Request) -> JSONResponse:
    """200 with the new jobs for failed ones; a ``next_cursor`` means that more are left."""
    async with runtime.call(request, Role.OPERATOR) as call:
        order = await read_model(request, MAX_BODY, RedriveOrder)
        async with call.audited("dead-letters.try" if order.dry_run else "dead-letters.redrive") as act:
            report = await call.runtime.redrive.run(order, call.budget)
            act.about += [job["id"] for job in report["redriven"]]
        for job in report["redriven"]:
            call.runtime.statuses.forget(job["id"])
    return JSONResponse(report)


@router.post("/jobs/{job_id}/settle")
async def settle(request: Request, job_id: str) -> JSONResponse:
    """200 with the job after its unknown submission was settled as made or as not made; 409 if it is not unknown."""
    async with runtime.call(request, Role.OPERATOR) as call:
        settlement = await read_model(request, MAX_BODY, Settlement)
        async with call.audited("job.settle", job_id):
            settled = await call.runtime.settlements.settle(job_id, settlement, call.budget)
        call.runtime.statuses.forget(job_id)
    return JSONResponse(settled)


@router.post("/make-room")
async def make_room(request: Request) -> JSONResponse:
    """200 after records of ended jobs were deleted, with plain commands; a ``next_cursor`` means that more are left."""
    async with runtime.call(request, Role.OPERATOR) as call:
        order = await read_model(request, MAX_BODY, RoomOrder)
        async with call.audited("room.make") as act:
            made = await call.runtime.clearing.run(order, call.budget)
            act.about.append(f"{made['deleted']} jobs")
    return JSONResponse(made)


@router.get("/undelivered")
async def undelivered(request: Request) -> JSONResponse:
    """200 with up to 100 events that were given up, the latest first, and ``next_cursor``; null on the last page."""
    async with runtime.call(request, Role.OPERATOR) as call:
        wanted = read_query(request, UndeliveredQuery)
        page = await call.runtime.listing.undelivered(wanted)
    return JSONResponse(page)


@router.get("/blocked")
async def blocked(request: Request) -> JSONResponse:
    """200 with a page of the addresses and domains that get no verification code, and ``next_cursor``."""
    async with runtime.call(request, Role.OPERATOR) as call:
        page = await call.runtime.verification.blocked(read_query(request, BlockedQuery))
    return JSONResponse(page)


@router.patch("/blocked")
async def change_blocked(request: Request) -> JSONResponse:
    """200 with how many are blocked after addresses and domains were added and removed."""
    async with runtime.call(request, Role.OPERATOR) as call:
        change = await read_model(request, MAX_BODY, BlockedChange)
        async with call.audited("addresses.block", f"{len(change.add)} added", f"{len(change.remove)} removed"):
            counted = await call.runtime.verification.block(change)
    return JSONResponse(counted)


@router.post("/keys")
async def create_key(request: Request) -> JSONResponse:
    """201 with a new API key and its secret, which no other answer has."""
    async with runtime.call(request, Role.OPERATOR) as call:
        wanted = await read_model(request, MAX_BODY, NewKey)
        async with call.audited("key.create") as act:
            made = await call.runtime.keys.issued.create(wanted)
            act.about += [made["id"], wanted.owner]
    return JSONResponse(made, 201)


@router.get("/keys")
async def keys(request: Request) -> JSONResponse:
    """200 with some of the API keys, without their secrets, and ``next_cursor``, which is null on the last page."""
    async with runtime.call(request, Role.OPERATOR) as call:
        page = await call.runtime.keys.issued.page(read_query(request, KeysQuery))
    return JSONResponse(page)


@router.get("/keys/{key_id}")
async def key(request: Request, key_id: str) -> JSONResponse:
    """200 with an API key, without its secret."""
    async with runtime.call(request, Role.OPERATOR) as call:
        shown = await call.runtime.keys.issued.read(key_id)
    return JSONResponse(shown)


@router.patch("/keys/{key_id}")
async def change_key(request: Request, key_id: str) -> JSONResponse:
    """200 with an API key after the change; 409 if it has ended."""
    async with runtime.call(request, Role.OPERATOR) as call:
        change = await read_model(request, MAX_BODY, KeyChange)
        async with call.audited("key.change", key_id, *sorted(change.model_fields_set)):
            shown = await call.runtime.keys.issued.change(key_id, change)
    return JSONResponse(shown)


@router.post("/keys/{key_id}/rotate")
async def rotate_key(request: Request, key_id: str) -> JSONResponse:
    """201 with a new API key for an old one, which ends after the overlap; 409 if it has ended or was rotated."""
    async with runtime.call(request, Role.OPERATOR) as call:
        rotation = await read_optional_model(request, MAX_BODY, Rotation)
        async with call.audited("key.rotate", key_id) as act:
            made = await call.runtime.keys.issued.rotate(key_id, rotation)
            act.about.append(made["id"])
    return JSONResponse(made, 201)


@router.post("/keys/{key_id}/revoke")
async def revoke_key(request: Request, key_id: str) -> JSONResponse:
    """200 with an API key after it was revoked; processes that have seen it refuse it ten seconds later at most."""
    async with runtime.call(request, Role.OPERATOR) as call:
        async with call.audited("key.revoke", key_id):
            shown = await call.runtime.keys.issued.revoke(key_id)
    return JSONResponse(shown)


@router.get("/doctor")
async def doctor(request: Request) -> JSONResponse:
    """200 with what is wrong with this deployment and its jobs; a ``next_cursor`` means that more jobs are left."""
    async with runtime.call(request, Role.OPERATOR) as call:
        report = await call.runtime.doctor.run(read_query(request, DoctorQuery), call.budget)
    return JSONResponse(report)


@router.post("/doctor")
async def call_doctor(request: Request) -> JSONResponse:
    """200 as for GET; with ``fix`` after what is safe to heal was healed."""
    async with runtime.call(request, Role.OPERATOR) as call:
        order = await read_model(request, MAX_BODY, DoctorOrder)
        async with call.audited("doctor.fix" if order.fix else "doctor.look") as act:
            report = await call.runtime.doctor.run(order, call.budget, fix=order.fix)
            act.about.append(f"{report['healed']} of {report['found']} healed")
    return JSONResponse(report)


@router.get("/usage")
async def usage(request: Request) -> JSONResponse:
    """200 with the counted commands of the last months, what the present one will have, and the bill."""
    async with runtime.call(request, Role.OPERATOR) as call:
        shown = await call.runtime.usage_report.view(read_query(request, UsageQuery))
    return JSONResponse(shown)


@router.get("/statistics")
async def statistics(request: Request) -> JSONResponse:
    """200 with the sums of a time, its steps and groups, and the queue as it is now."""
    async with runtime.call(request, Role.OPERATOR) as call:
        document = await call.runtime.survey.of(read_query(request, StatisticsQuery))
    return JSONResponse(document)


@router.get("/audit")
async def audit(request: Request) -> JSONResponse:
    """200 with some of the audit's entries, the newest first, and ``next_cursor``, which is null on the last page."""
    async with runtime.call(request, Role.OPERATOR) as call:
        page = await call.runtime.keys.audit.page(read_query(request, AuditQuery))
    return JSONResponse(page)


@router.get("/alerts")
async def alerts(request: Request) -> JSONResponse:
    """200 with the alerts that stand, the silences, and who is told."""
    async with runtime.call(request, Role.OPERATOR) as call:
        return JSONResponse(await call.runtime.alert_board.view())


@router.post("/alerts/silences")
async def silence(request: Request) -> JSONResponse:
    """201 with a new silence: its alert is not told until it ends."""
    async with runtime.call(request, Role.OPERATOR) as call:
        order = await read_model(request, MAX_BODY, SilenceOrder)
        async with call.audited("alert.silence", order.alert, f"{order.minutes} minutes") as act:
            made = await call.runtime.alert_board.silence(order)
            act.about.append(made["id"])
    return JSONResponse(made, 201)


@router.delete("/alerts/silences/{silence_id}")
async def lift_silence(request: Request, silence_id: str) -> Response:
    """204 once the silence has ended; 404 if there was none."""
    async with runtime.call(request, Role.OPERATOR) as call:
        async with call.audited("alert.lift", silence_id):
            await call.runtime.alert_board.lift(silence_id)
    return Response(status_code=204)


NEEDS = Needs(("limits",), ("stats",))
app = create_app(router)
handler = create_handler(app, NEEDS)
