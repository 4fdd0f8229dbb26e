"""The deployments that the machine runs on, and what its rules draw from."""

from typing import Any

from hypothesis import strategies as st

from shared.jobqueue.constants import MAX_GATES, MAX_HEAD
from shared.providers.base import Rejected, SubmissionOutcome, Throttled, Unknown
from tests.model.deployment import Deployment
from tests.model.driver import MAX_SKEW, OUT_OF_MEMORY, SOUND, Caller
from tests.world import settings_for


def deployment_of(most_gates: int = MAX_GATES, most_rows: int = MAX_HEAD, **changes: Any) -> Deployment:
    values: dict[str, Any] = {
        "providers": "replicate,wavespeed", "provider_concurrency": "wavespeed:1", "max_concurrent_tasks": 3,
        "queue_concurrency": 2, "storyboard_concurrency": 2, "max_queue_size": 9, "queue_max_retries": 2,
        "queue_retry_delay": 10_000, "queue_options": {"video": {"ttl": 900, "deadline": 30}}, "lease": 90,
        "cancel_after": 45, "adoption_margin": 61, "tick_period": 300, "circuit_failures": 2,
        "storage_url": "memory://",
    }  # fmt: skip
    return Deployment(settings_for(None, **(values | changes)), most_gates, most_rows)


DEPLOYMENTS = {
    # The default: no user may have more than they may run, until their limit is lowered.
    "plain": deployment_of(max_user_tasks=3, max_queue_size=6),
    # The limits of a key and of a user's waiting jobs come before that of the queue.
    "backlog": deployment_of(max_user_tasks=2, max_user_queued=5, max_key_queued=7, max_user_waiting=4),
    "fair": deployment_of(
        max_user_tasks=2, max_user_queued=4, priority_policy="fair", priority_grants_per_point=0.02, max_key_tasks=2
    ),
    # Scripts that see little more of the index than the slots: as with a long queue. Its gates must still fit.
    "short-sighted": deployment_of(
        5, max_user_tasks=4, max_user_queued=6, max_queue_size=14, priority_policy="multiplicative", circuit_failures=0
    ),
    # More slots are taken than a script reads at first.
    "crowded": deployment_of(
        5, 6, max_user_tasks=4, max_user_queued=6, max_queue_size=14, max_concurrent_tasks=6, queue_concurrency=5,
        provider_concurrency="wavespeed:3", circuit_failures=0,
    ),
}  # fmt: skip
DEPLOYMENTS["priced"] = deployment_of(
    max_user_tasks=2, max_user_queued=5,
    prices={"default": {"run": 1.0}, "acme/video": {"run": 0.5, "per": {"predict_time": 0.1}, "at_most": 2.0}},
    budgets={"user": {"day": 5.0, "month": 30.0}, "all": {"day": 9.0}},
)  # fmt: skip
USERS = ["ada", "bob", "eve"]
MODELS = ["acme/video", "acme/image"]


def outcomes() -> st.SearchStrategy[list[SubmissionOutcome]]:
    """The providers' answers to the next creates; they accept when none is left."""
    refusals = [
        Throttled("rate_limited", 5),
        Throttled("provider_auth", 5, 403),
        Throttled("billing", 5, 402),
        Throttled("provider_down", 5),
        Unknown("timeout"),
        Rejected("invalid_input", "no"),
    ]
    return st.lists(st.sampled_from(refusals), max_size=2)


CALLERS = st.sampled_from(
    [
        SOUND,
        SOUND,
        Caller(MAX_SKEW),
        Caller(-MAX_SKEW),
        Caller(loses_answers=True),
        Caller(MAX_SKEW, loses_answers=True),
    ]
)
ACTS = st.sampled_from(
    [
        "record", "record", "another", "reject", "not found", "snooze", "pause", "refuse", "refuse", "put back",
        "rescue", "trip", "completed", "canceled", "failed", "unreadable",
    ]
)  # fmt: skip
SUBMISSIONS = st.sampled_from(
    [[Unknown("timeout")] * 3, [Throttled("rate_limited", 5)] * 3, [Throttled("provider_auth", 5, 403)], []]
)
SLOTS = st.integers(0, 17)
PICKS = st.integers(0, 10**6)
# Two URLs of one host, one of another; and the events for each, the default if omitted
HOOKS: dict[str, tuple[str, list[str] | None]] = {
    "ends": ("https://a.example.com/x", None),
    "all": ("https://a.example.com/y", ["job.processing", "job.completed", "job.files", "job.failed", "job.canceled"]),
    "failures": ("https://b.example.com/x", ["job.processing", "job.failed", "batch.completed"]),
}
HOOK = st.sampled_from(["", "ends", "all", "all", "failures"])
Request = tuple[str, str, int, str]  # queue, provider, priority, hook
REQUESTS = st.tuples(
    st.sampled_from(["video", "storyboard"]),
    st.sampled_from(["replicate", "wavespeed"]),
    st.sampled_from([1, 3, 5]),
    HOOK,
)
RANKS = st.lists(st.sampled_from([1, 2, 3, 4, 5]), min_size=2, max_size=6)
ERRORS = [OUT_OF_MEMORY, OUT_OF_MEMORY, OUT_OF_MEMORY, "NSFW content"]
GATES = st.dictionaries(
    st.sampled_from(["=s", "=q0", "=q1", "=p0", "=p1"]), st.sampled_from([0, 1, 1, 2, None]), min_size=1, max_size=3
)

# Answers of an owner's endpoint: status, text, requested wait in s, and error
ANSWERS: dict[str, tuple[int | None, str, float, str | None]] = {
    "well": (204, "", 0.0, None),
    "not found": (404, "no", 0.0, None),
    "moved": (302, "", 0.0, None),
    "gone": (410, "", 0.0, None),
    "broken": (500, "", 0.0, None),
    "busy": (429, "", 120.0, None),
    "silent": (None, "", 0.0, "timeout"),
}
ENDPOINTS = st.sampled_from(["well", "well", *ANSWERS])
SOURCES = st.sampled_from(["there", "there", "later", "lost"])
WORDS = st.sampled_from(["delivered", "retry", "retry", "failed", "disabled"])
PAUSES = st.sampled_from([None, None, 0, 60_000])
SIZES = st.integers(1, 4)
POLICIES = st.sampled_from(["best_effort", "all_or_nothing"])
BATCH_HOOKS: dict[str, tuple[str, list[str] | None]] = {
    "end": ("https://a.example.com/x", ["batch.completed"]),
    "all": (
        "https://a.example.com/y",
        ["job.processing", "job.completed", "job.failed", "job.canceled", "batch.completed"],
    ),
}
