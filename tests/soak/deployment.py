"""The deployment under test: production's settings with every time scaled down, and the limits under watch."""

import math

PREFIX = "soak"
OWNER = "app"
API_KEY = "key-of-the-app-in-the-soak"
FLOODER = "studio"  # the name of a second API key, which floods
FLOOD_KEY = "key-of-the-studio-in-the-soak"
PROCESSOR_TOKEN = "processor-token-in-the-soak"
OPERATOR_TOKEN = "operator-token-in-the-soak"
SIGNING_SECRET = "signing-secret-in-the-soak"
STORE_TOKEN = "store-token-in-the-soak"
PROVIDER_TOKEN = "r8_token_in_the_soak"

USERS = 60
GUILTY_USERS = ("locked-out", "failing", "flood0", "flood1")
MAX_CONCURRENT_TASKS = 20
QUEUES = {"video": 14, "storyboard": 8}  # their sum exceeds MAX_CONCURRENT_TASKS, so each of the three can be reached
MAX_USER_TASKS = 4
MAX_USER_QUEUED = 8  # so that users have backlogs
MAX_QUEUE_SIZE = 600  # less than the flood would like to have, more than all innocent users may have
MAX_RETRIES = 3
MAX_RESCUES = 3  # after so many lost submissions a job is given up
CLEAN_COUNTERS = ("missing", "rehomed")  # nothing is evicted here, so no job may be missing

# In s. The inequalities of shared/config/timing.py hold, with the fixed margins multiplied by TIMING_SCALE.
TIMES = {
    "TIMING_SCALE": 0.02,
    "STORE_CONNECT_TIMEOUT": 0.2,
    "STORE_TRY_TIMEOUT": 0.4,
    "STORE_TOTAL_TIMEOUT": 1.0,
    "PROVIDER_TIMEOUT": 2.5,
    "FUNCTION_MAX_DURATION": 6.0,
    "LEASE": 7.0,
    "CANCEL_AFTER": 5.0,
    "ADOPTION_MARGIN": 2.0,
    "WEBHOOK_TOLERANCE": 300.0,
    "FIRST_CHECK_AFTER": 1.5,
    "CHECK_INTERVAL": 2.0,
    "STATUS_CHECK_INTERVAL": 1.0,
    "WAITING_CHECK_INTERVAL": 1.0,
    "STATUS_CACHE_TTL": 0.5,
    "TICK_PERIOD": 1.0,
    "TICK_BUDGET": 5.7,
    "HOOK_TIMEOUT": 2.0,
    "CIRCUIT_PAUSE": 0.5,
}
RETRY_DELAY = 0.3  # s
MAX_RUN = 2.0  # s; except stalled runs: CANCEL_AFTER ends them and their jobs


def environment(store: str, provider: str, front: str, webhook_secret: str) -> dict[str, str]:
    """Returns an instance's variables; the arguments are base URLs and the secret of the provider's signatures."""
    return {
        "SLUICE_ENV": "test",
        "QUEUE_PREFIX": PREFIX,
        "UPSTASH_REDIS_REST_URL": store,
        "UPSTASH_REDIS_REST_TOKEN": STORE_TOKEN,
        "REPLICATE_BASE_URL": f"{provider}/v1",
        "REPLICATE_API_TOKEN": PROVIDER_TOKEN,
        "REPLICATE_WEBHOOK_SECRET": webhook_secret,
        "REPLICATE_ACCOUNT_IS_OWN": "true",  # the simulated list shows no mark
        "PUBLIC_BASE_URL": front,
        "API_KEYS": f"{OWNER}:{API_KEY},{FLOODER}:{FLOOD_KEY}",
        "QUEUE_PROCESSOR_TOKEN": PROCESSOR_TOKEN,
        "OPERATOR_TOKEN": OPERATOR_TOKEN,
        "SIGNING_SECRET": SIGNING_SECRET,
        "STATISTICS": "true",
        "LOG_LEVEL": "WARNING",
        "PRIORITY_POLICY": "fair",  # under offset, what a flood has submitted first goes first
        "MAX_CONCURRENT_TASKS": str(MAX_CONCURRENT_TASKS),
        "QUEUE_CONCURRENCY": str(QUEUES["video"]),
        "STORYBOARD_CONCURRENCY": str(QUEUES["storyboard"]),
        "MAX_QUEUE_SIZE": str(MAX_QUEUE_SIZE),
        "MAX_USER_TASKS": str(MAX_USER_TASKS),
        "MAX_USER_QUEUED": str(MAX_USER_QUEUED),
        "QUEUE_MAX_RETRIES": str(MAX_RETRIES),
        "QUEUE_RETRY_DELAY": str(round(RETRY_DELAY * 1000)),
        **{name: str(value) for name, value in TIMES.items()},
    }


def limits() -> dict[str, int]:
    """Returns the maximum of concurrent predictions for each label of the workload."""
    by_queue = {f"queue:{name}": limit for name, limit in QUEUES.items()}
    return by_queue | {f"user:{user}": MAX_USER_TASKS for user in (*users(), *GUILTY_USERS)}


def users() -> list[str]:
    """Returns all innocent users who submit."""
    return [f"user{number}" for number in range(USERS)]


def settle_seconds(lost_submissions: int) -> float:
    """Returns the time, in s, in which every job is over after the last fault.

    ``lost_submissions`` is how many of a job's last submissions may be lost. The longest way adds up:

    * each lost submission waits until its adoption window closes and a tick sees that;
    * every attempt fails, and its webhook is lost;
    * before all this, the jobs of all other users have had their turn;
    * each lost submission may have been the probe of a paused provider or an open circuit. No other job starts
      during its lease.
    """
    t = TIMES
    seen = t["CHECK_INTERVAL"] + t["TICK_PERIOD"]
    window = t["LEASE"] + t["CANCEL_AFTER"] + t["ADOPTION_MARGIN"] + seen
    attempt = t["PROVIDER_TIMEOUT"] + MAX_RUN + t["FIRST_CHECK_AFTER"] + seen
    backoff = sum(RETRY_DELAY * 2.0**n * 1.5 for n in range(MAX_RETRIES))
    turns = math.ceil(USERS * MAX_USER_QUEUED / MAX_CONCURRENT_TASKS)
    probes = lost_submissions * (t["LEASE"] + t["TICK_PERIOD"] + 16 * t["CIRCUIT_PAUSE"])
    return probes + lost_submissions * window + (1 + MAX_RETRIES) * attempt + backoff + turns * (MAX_RUN + 1.0)
