"""Scenarios of the outbox: files to store and events to deliver.

Few jobs, and a short deadline, so that a long freeze is short.
"""

from dataclasses import replace

from shared.config.hooks import Event
from tests.faults.scenario import FAILS, UNLUCKY, Batch, Creation, Scenario, Step, Work
from tests.faults.scenarios import CANCELED, LATER

ENDS: tuple[Event, ...] = ("job.completed", "job.failed", "job.canceled")
QUICK = {"cancel_after": 60.0, "queue_max_retries": 0, "storage_url": "memory://faults", "thumbnails": False}
FILM = Work("ada", (Creation(seconds=10),), ends=UNLUCKY, events=ENDS, files=1)

FILED = Scenario("filed", {"film": FILM}, (Step(0, "submit", "film"), Step(35, "poll", "film")), QUICK)

TWO_FILES = Scenario(
    "two_files",
    {"films": replace(FILM, files=2, source=("ok", "ok", "ok", "down", "down", "down", "ok"))},
    (Step(0, "submit", "films"),),
    QUICK,
)

NOTIFIED = Scenario(
    "notified",
    {
        "runs": Work("ada", (Creation(seconds=10),), ends=UNLUCKY, events=("job.processing", *ENDS)),
        "fails": Work("bob", (FAILS,), ends=("failed",), events=ENDS),
        "canceled": Work("eve", ends=CANCELED, events=ENDS),
    },
    (
        Step(0, "submit", "runs"), Step(1, "submit", "fails"), Step(2, "submit", "canceled"),
        Step(3, "cancel", "canceled"),
    ),
    QUICK,
)  # fmt: skip

NOTIFIED_BATCH = Scenario(
    "notified_batch",
    {
        "one": Work("ada", (Creation(seconds=10),), ends=UNLUCKY, events=("job.failed",), files=1),
        "two": Work("ada", (FAILS,), ends=("failed",), events=("job.failed",)),
    },
    (Step(0, "submit_batch", "album"),),
    QUICK,
    batches={"album": Batch("ada", ("one", "two"), events=("job.failed", "batch.completed"))},
)

FLAKY = Scenario(
    "flaky",
    {"clip": Work("ada", (Creation(seconds=10),), ends=UNLUCKY, events=ENDS)},
    (Step(0, "submit", "clip"),),
    QUICK,
    endpoint=("down", "hangs", "ok"),
)

UNDELIVERED = Scenario(
    "undelivered",
    {
        "clip": Work("ada", (Creation(seconds=10),), ends=UNLUCKY, events=ENDS),
        "never": Work("bob", (Creation(seconds=30),), ends=UNLUCKY, events=ENDS),
    },
    (Step(0, "submit", "clip"), Step(1, "submit", "never")),
    QUICK,
    endpoint=("gone",),
)

HANGING = replace(FLAKY, name="hanging", endpoint=("hangs",))

REDELIVERED = replace(
    FLAKY,
    name="redelivered",
    endpoint=("gone", "ok"),
    steps=(Step(0, "submit", "clip"), Step(LATER, "redeliver", "clip")),
)

# All of them end at one tick, and the host fails at the first events.
CROWD = Scenario(
    "crowd",
    {name: Work(name, (Creation(seconds=10),), ends=UNLUCKY, events=ENDS) for name in ("ada", "bob", "eve")},
    (Step(0, "submit", "ada"), Step(1, "submit", "bob"), Step(2, "submit", "eve")),
    {**QUICK, "max_concurrent_tasks": 3},
    endpoint=("down", "ok", "down", "hangs", "ok"),
)

REVOKED = Scenario(
    "revoked",
    {
        "one": Work("ada", (Creation(seconds=30),), ends=CANCELED, events=ENDS, files=1),
        "two": Work("ada", ends=CANCELED, events=ENDS),
        "three": Work("ada", ends=CANCELED, events=ENDS),
    },
    (Step(0, "submit_batch", "album"), Step(10, "cancel_batch", "album")),
    {**QUICK, "max_user_tasks": 1},
    batches={"album": Batch("ada", ("one", "two", "three"), events=("job.canceled", "batch.completed"))},
)

SOURCE_DOWN = Scenario(
    "source_down",
    {"film": replace(FILM, source=("down", "breaks", "ok"))},
    (Step(0, "submit", "film"),),
    QUICK,
)

# Its owner is notified while one file still fails, and of that file later.
LATE_FILE = Scenario(
    "late_file",
    {"films": replace(FILM, files=2, events=("job.completed", "job.files"), source=("ok", *("down",) * 6, "ok"))},
    (Step(0, "submit", "films"),),
    QUICK,
)

SOURCE_NEVER = replace(
    SOURCE_DOWN, name="source_never", works={"film": replace(FILM, source=("down",), kept="expired")}
)

SOURCE_GONE = Scenario(
    "source_gone",
    {"film": replace(FILM, source=("gone",), kept="expired")},
    (Step(0, "submit", "film"),),
    QUICK,
)

STORAGE_DOWN = Scenario(
    "storage_down",
    {"film": FILM},
    (Step(0, "submit", "film"),),
    QUICK,
    storage=("down", "down", "ok"),
)

# Late enough that a frozen submit does not create the job again.
DELETED = Scenario(
    "deleted",
    {"film": replace(FILM, source=("down", "down", "down", "down", "ok"))},
    (Step(0, "submit", "film"), Step(400, "delete", "film")),
    QUICK,
    endpoint=("down", "down", "ok"),
)

# The sweep at 60 s moves all but one entry into archives. The first erasure cancels what lives. At the last one, no
# copy and no upload URL of before is left.
ERASED = Scenario(
    "erased",
    {
        "film": FILM,
        "canceled": Work("ada", (Creation(seconds=90),), ends=("canceled", "completed"), events=ENDS),
        "waits": Work("ada", (Creation(seconds=10),), ends=("canceled", *UNLUCKY)),
        "other": Work("bob", (Creation(seconds=10),), ends=UNLUCKY, files=1),
    },
    (
        Step(0, "submit", "film"), Step(5, "submit", "other"), Step(30, "submit", "canceled"),
        Step(31, "submit", "waits"), Step(65, "erase", "ada"), Step(500, "erase", "ada"), Step(900, "erase", "ada"),
    ),
    QUICK | {"max_user_tasks": 1, "max_user_queued": 3, "storage_url_ttl": 60},
    max_listed=1,
)  # fmt: skip

OUTBOX_SCENARIOS = (
    FILED, TWO_FILES, NOTIFIED, NOTIFIED_BATCH, FLAKY, UNDELIVERED, REDELIVERED, CROWD, REVOKED, SOURCE_DOWN,
    LATE_FILE, SOURCE_GONE, STORAGE_DOWN, DELETED, ERASED,
)  # fmt: skip
LASTING = (HANGING, SOURCE_NEVER)  # too long to try every fault
