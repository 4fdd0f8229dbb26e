"""Faults to plant into the ward, each with the findings that it must cause."""

from collections.abc import Awaitable, Callable

from shared.jobqueue.constants import ALARMS, BAND, READY
from tests.doctor.ward import Ward
from tests.world import AUTH, World, http_client

DAY = 86_400
Plant = Callable[[World, Ward], Awaitable[set[tuple[str, str]]]]


async def leaked_slot(world: World, ward: Ward) -> set[tuple[str, str]]:
    """An ended job is still in a slot."""
    keys = world.runtime.queue.keys
    await world.raw("ZADD", keys.index, str(world.clock.now()), ward.ended)
    return {("leaked_slot", ward.ended)}


async def waiting_job_in_a_slot(world: World, ward: Ward) -> set[tuple[str, str]]:
    await world.raw("ZADD", world.runtime.queue.keys.index, str(world.clock.now()), ward.delayed)
    return {("leaked_slot", ward.delayed)}


async def index_entry_without_hash(world: World, ward: Ward) -> set[tuple[str, str]]:
    """A job's record and its member of the user's set are gone; the index has kept all three entries."""
    keys = world.runtime.queue.keys
    await world.raw("DEL", keys.job(ward.delayed))
    await world.raw("ZREM", keys.user("app", "bob"), ward.delayed)
    return {("no_record", ward.delayed)}


async def share_without_hash(world: World, ward: Ward) -> set[tuple[str, str]]:
    """Only the share in the index is left of a job."""
    keys = world.runtime.queue.keys
    await world.raw("DEL", keys.job(ward.delayed))
    await world.raw("ZREM", keys.user("app", "bob"), ward.delayed)
    await world.raw("ZREM", keys.index, ward.delayed, f"!{ward.delayed}")
    return {("no_record", ward.delayed)}


async def hash_without_index(world: World, ward: Ward) -> set[tuple[str, str]]:
    await world.raw("ZREM", world.runtime.queue.keys.index, ward.running, f"!{ward.running}", f"%{ward.running}")
    return {("not_indexed", ward.running), ("unaccompanied", ward.running)}


async def ready_job_in_another_lane(world: World, ward: Ward) -> set[tuple[str, str]]:
    await world.raw("ZADD", world.runtime.queue.keys.index, str((READY + 3) * BAND), ward.running)
    return {("misplaced", ward.running)}


async def lost_alarm(world: World, ward: Ward) -> set[tuple[str, str]]:
    await world.raw("ZREM", world.runtime.queue.keys.index, f"!{ward.backlog}")
    return {("unaccompanied", ward.backlog)}


async def expired_lease(world: World, ward: Ward) -> set[tuple[str, str]]:
    """A submission's lease has expired long ago, and no tick came."""
    long_ago = world.clock.now() - DAY * 1000
    await world.raw("ZADD", world.runtime.queue.keys.index, str(long_ago), ward.submitting)
    return {("expired_lease", ward.submitting)}


async def slot_that_is_looked_at_next_year(world: World, ward: Ward) -> set[tuple[str, str]]:
    later = world.clock.now() + 365 * DAY * 1000
    await world.raw("ZADD", world.runtime.queue.keys.index, f"{later}.5", ward.running)
    return {("unwatched_slot", ward.running)}


async def backlog_not_promoted(world: World, ward: Ward) -> set[tuple[str, str]]:
    """The user's two jobs have ended and left the set, and the one in the backlog was not made ready."""
    queue, keys = world.runtime.queue, world.runtime.queue.keys
    await world.raw("HDEL", keys.job(ward.running), "heirs")
    await queue.finish(ward.running, 1, "p-running", "completed", {"output": '"done"'})
    return {("free_seats", "app:ada")}


async def ttl_on_a_live_job(world: World, ward: Ward) -> set[tuple[str, str]]:
    await world.raw("EXPIRE", world.runtime.queue.keys.job(ward.running), "3600")
    return {("ttl_on_live", ward.running)}


async def no_ttl_on_an_ended_job(world: World, ward: Ward) -> set[tuple[str, str]]:
    await world.raw("PERSIST", world.runtime.queue.keys.job(ward.ended))
    return {("no_ttl", ward.ended)}


async def ttl_on_a_live_batch(world: World, ward: Ward) -> set[tuple[str, str]]:
    await world.raw("EXPIRE", world.runtime.queue.keys.batch(ward.batch), "3600")
    return {("ttl_on_live", ward.batch)}


async def batch_that_lost_a_member(world: World, ward: Ward) -> set[tuple[str, str]]:
    """A job of the batch is gone without a trace but its place in the batch's queue."""
    keys, job = world.runtime.queue.keys, f"{ward.batch}_3"
    await world.raw("DEL", keys.job(job))
    await world.raw("ZREM", keys.index, job, f"!{job}", f"%{job}")
    return {("lost_member", ward.batch)}


async def batch_that_lost_a_member_from_its_queue_too(world: World, ward: Ward) -> set[tuple[str, str]]:
    found = await batch_that_lost_a_member(world, ward)
    await world.raw("ZREM", world.runtime.queue.keys.batch_queue(ward.batch), f"{ward.batch}_3")
    return found


async def live_job_that_its_batch_has_lost(world: World, ward: Ward) -> set[tuple[str, str]]:
    await world.raw("ZREM", world.runtime.queue.keys.batch_queue(ward.batch), f"{ward.batch}_3")
    return {("lost_member", ward.batch), ("not_in_batch", f"{ward.batch}_3")}


async def stuck_delivery(world: World, ward: Ward) -> set[tuple[str, str]]:
    """A pending event has lost its row in the lane."""
    await world.raw("ZREM", world.runtime.queue.keys.lane_rows(ward.lane), f"completed|{ward.ended}")
    await world.raw("ZREM", world.runtime.queue.keys.outbox, ward.lane)
    return {("lost_event", ward.ended)}


async def lane_that_is_due_next_year(world: World, ward: Ward) -> set[tuple[str, str]]:
    later = world.clock.now() + 365 * DAY * 1000
    await world.raw("ZADD", world.runtime.queue.keys.outbox, str(later), ward.lane)
    return {("stuck_lane", ward.lane)}


async def lane_missing_from_the_outbox(world: World, ward: Ward) -> set[tuple[str, str]]:
    await world.raw("ZREM", world.runtime.queue.keys.outbox, ward.lane)
    return {("lost_lane", ward.lane)}


async def provider_pause_forgotten(world: World, ward: Ward) -> set[tuple[str, str]]:
    """A caller with a wrong clock has paused a provider for a year."""
    later = world.clock.now() + 365 * DAY * 1000
    await world.raw("ZADD", world.runtime.queue.keys.index, str(later - BAND), "~p0")
    return {("forgotten_pause", "~p0")}


async def users_set_with_a_dead_job(world: World, ward: Ward) -> set[tuple[str, str]]:
    keys = world.runtime.queue.keys
    score = await world.raw("ZSCORE", keys.user("app", "bob"), ward.delayed)
    await world.raw("ZADD", keys.user("app", "bob"), str(score), ward.ended)
    return {("dead_member", "app:bob")}


async def live_job_that_its_users_set_has_lost(world: World, ward: Ward) -> set[tuple[str, str]]:
    await world.raw("ZREM", world.runtime.queue.keys.user("app", "bob"), ward.delayed)
    return {("not_in_set", ward.delayed)}


async def batch_that_has_not_ended_with_its_last_job(world: World, ward: Ward) -> set[tuple[str, str]]:
    batch = world.runtime.queue.keys.batch(ward.batch)
    async with http_client(**AUTH) as application:
        await application.post(f"/api/batches/{ward.batch}/cancel")
    for number in range(2):  # they were at the provider
        job, owner = f"{ward.batch}_{number}", world.runtime.queue
        record = await world.runtime.records.read(job)
        await owner.finish(job, 1, record.prediction, "canceled", {}, incarnation=record.incarnation)
    world.follow_ups()
    await world.raw("HDEL", batch, "ended_at")
    await world.raw("PERSIST", batch)
    return {("not_ended", ward.batch)}


async def ended_batch_without_a_ttl(world: World, ward: Ward) -> set[tuple[str, str]]:
    await batch_that_has_not_ended_with_its_last_job(world, ward)
    await world.raw("HSET", world.runtime.queue.keys.batch(ward.batch), "ended_at", str(world.clock.now()))
    return {("no_ttl", ward.batch)}


async def batch_that_its_users_set_has_lost(world: World, ward: Ward) -> set[tuple[str, str]]:
    await world.raw("ZREM", world.runtime.queue.keys.user("app", "eve"), f"#{ward.batch}")
    return {("unmarked_batch", ward.batch)}


async def evicted_set_of_a_user_with_a_batch(world: World, ward: Ward) -> set[tuple[str, str]]:
    """The two jobs at the provider and the marker of the batch are gone, and so are seats that the others wait for."""
    await world.raw("DEL", world.runtime.queue.keys.user("app", "eve"))
    return {("unmarked_batch", ward.batch), ("not_in_set", f"{ward.batch}_0"), ("not_in_set", f"{ward.batch}_1")}


async def lost_event_of_a_batch(world: World, ward: Ward) -> set[tuple[str, str]]:
    """Each end of a batch is an event; that of its first end was delivered."""
    keys = world.runtime.queue.keys
    await world.raw("HSET", keys.batch(ward.batch), "hook_lane", ward.lane, "hook_tag", "tag", "hook_events", "batch")
    await world.raw("HSET", keys.batch(ward.batch), "rounds", "1")
    await batch_that_has_not_ended_with_its_last_job(world, ward)
    await world.raw("HSET", keys.batch(ward.batch), "ended_at", str(world.clock.now()))
    await world.raw("EXPIRE", keys.batch(ward.batch), "86400")
    await world.raw("ZREM", keys.lane_rows(ward.lane), f"batch1|{ward.batch}")
    return {("lost_event", ward.batch)}


async def wait_that_has_expired(world: World, ward: Ward) -> set[tuple[str, str]]:
    keys, long_ago = world.runtime.queue.keys, str(world.clock.now() - DAY * 1000)
    await world.raw("HSET", keys.job(ward.delayed), "expire_at", long_ago)
    await world.raw("ZADD", keys.index, str(ALARMS * BAND + int(long_ago)), f"!{ward.delayed}")
    return {("expired_wait", ward.delayed)}


async def submission_that_no_list_settles(world: World, ward: Ward) -> set[tuple[str, str]]:
    """Its outcome is unknown, and the set of such submissions has lost it."""
    await world.raw("HSET", world.runtime.queue.keys.job(ward.submitting), "lost", "1")
    return {("unlisted", ward.submitting)}


async def files_that_the_outbox_has_lost(world: World, ward: Ward) -> set[tuple[str, str]]:
    queue = world.runtime.queue
    files = '[{"state":"pending","url":"https://replicate.delivery/a.png"}]'
    await queue.finish(ward.running, 1, "p-running", "completed", {"output": '"done"', "files": files})
    world.follow_ups()
    await world.raw("ZREM", queue.keys.outbox, ward.running)
    return {("unstored", ward.running)}


PLANTS: tuple[Plant, ...] = (
    leaked_slot, waiting_job_in_a_slot, index_entry_without_hash, share_without_hash, hash_without_index,
    ready_job_in_another_lane, lost_alarm, expired_lease, slot_that_is_looked_at_next_year, backlog_not_promoted,
    ttl_on_a_live_job, no_ttl_on_an_ended_job, ttl_on_a_live_batch, batch_that_lost_a_member,
    batch_that_lost_a_member_from_its_queue_too, live_job_that_its_batch_has_lost, stuck_delivery,
    lane_that_is_due_next_year, lane_missing_from_the_outbox, provider_pause_forgotten, users_set_with_a_dead_job,
    live_job_that_its_users_set_has_lost, batch_that_has_not_ended_with_its_last_job, wait_that_has_expired,
    submission_that_no_list_settles, files_that_the_outbox_has_lost, ended_batch_without_a_ttl,
    batch_that_its_users_set_has_lost, evicted_set_of_a_user_with_a_batch, lost_event_of_a_batch,
)  # fmt: skip
