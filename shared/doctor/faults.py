"""The faults of jobs and of what belongs to them, by the words of the scripts: what each means, and what heals it."""

from typing import Literal

from shared.documents.doctor import Severity
from shared.frozen import dataclass

Kind = Literal["job", "user", "batch", "lane", "gate", "key"]
Heal = Literal["rehome", "expire", "mend", "restore", "dispatch", "deliver", ""]


@dataclass(frozen=True)
class Fault:
    """What a word means. ``shows`` names what stands behind it in a script's answer; without ``heal``, none is safe."""

    text: str
    shows: str
    heal: Heal
    advice: str = ""
    severity: Severity = "error"


AT_NEXT_SWEEP = "A sweep finds it too, but may need days for a large store. Run the doctor with fix."
FIX = "Run the doctor with fix."
SCHEDULE = "Look at the schedule: ticks do this. With fix, this call does it once."

FAULTS: dict[str, Fault] = {
    # of jobs
    "leaked_slot": Fault("A job that is not at a provider takes a slot.", "band", "rehome", FIX),
    "still_indexed": Fault("A job has ended, and the index still names it.", "band", "rehome", FIX),
    "no_record": Fault("The index names a job that has no record.", "band", "expire", FIX),
    "not_indexed": Fault(
        "A live job is not in the index, so no claim finds it.", "state", "rehome", AT_NEXT_SWEEP
    ),
    "misplaced": Fault("A live job is at a place of the index that its record contradicts.", "band", "rehome", FIX),
    "unaccompanied": Fault("A live job lacks its alarm or its share in the index.", "state", "mend", FIX),
    "not_in_set": Fault("The user's set says something else than the job's record.", "state", "rehome", FIX),
    "not_in_batch": Fault("A batch's queue lacks a live job, so the batch may end too early.", "state", "mend", FIX),
    "expired_lease": Fault("No call has looked at a slot since its time came.", "seconds", "dispatch", SCHEDULE),
    "unwatched_slot": Fault("The next look at a slot is too far away.", "seconds", "mend", FIX),
    "expired_wait": Fault("A job waits for longer than its queue allows.", "seconds", "expire", SCHEDULE),
    "ttl_on_live": Fault("The store would delete the record of what still lives.", "seconds", "mend", FIX),
    "no_ttl": Fault("What has ended would be kept for ever.", "of", "mend", FIX, "warning"),
    "unlisted": Fault("No list settles this submission of unknown outcome.", "attempt", "mend", FIX),
    "lost_event": Fault("A pending event is in no delivery lane, so it is never sent.", "event", "mend", FIX),
    "unstored": Fault("A job's files wait, and the outbox does not know of it.", "of", "restore", FIX),
    "broken_record": Fault(
        "A key has another type than ours, or a record lacks a field, so nobody can work with it.", "what", "",
        "Something else has written it. Mend the key by hand, or delete it and run the doctor with fix.",
    ),
    # of users
    "dead_member": Fault("A user's set has a job or batch that does not live.", "member", "rehome", FIX),
    "free_seats": Fault("A user has free seats, and jobs in the backlog.", "seats", "rehome", FIX),
    # of batches
    "lost_member": Fault("A batch waits for a job that is gone.", "job", "rehome", FIX),
    "not_ended": Fault("All jobs of a batch have ended, and the batch has not.", "job", "rehome", FIX),
    "unmarked_batch": Fault("A user's set lacks a live batch, so its jobs get no seat.", "job", "rehome", FIX),
    "no_batch": Fault(
        "There is a queue of a batch that has no record.", "batch", "",
        "If its jobs are gone too, delete the key. If the store evicts, switch eviction off.", "warning",
    ),
    # of delivery lanes
    "lost_lane": Fault("The outbox has lost a delivery lane with events.", "due", "restore", FIX),
    "stuck_lane": Fault("The outbox puts off a delivery lane for too long.", "seconds", "mend", FIX),
    "late_lane": Fault("No call has delivered what is due in a lane.", "seconds", "deliver", SCHEDULE),
    # of gates
    "forgotten_pause": Fault(
        "A pause or an open circuit lasts longer than any refusal may make it.", "seconds", "mend",
        "With fix, one job tries. Or lift it: `PATCH /api/operate/limits` with `resume`.",
    ),
    "long_pause": Fault(
        "An operator's pause has lasted for more than a day.", "hours", "",
        "If it is forgotten, lift it: `PATCH /api/operate/limits` with null.", "notice",
    ),
    # of other keys
    "key_without_ttl": Fault("A key that should expire does not.", "seconds", "", "Delete it.", "warning"),
    "unknown_key": Fault(
        "A key under this deployment's prefix is none of its keys.", "type", "",
        "It may be another deployment's, whose prefix begins with this one. Else delete it.", "notice",
    ),
}  # fmt: skip


@dataclass(frozen=True)
class Suspect:
    """Something with faults, as a script answers them: `word:shown`. ``user`` is the owner and user, if it has any."""

    kind: Kind
    id: str
    faults: tuple[str, ...]
    user: str = ""

    @property
    def words(self) -> frozenset[str]:
        return frozenset(fault.partition(":")[0] for fault in self.faults)

    def shown(self, word: str) -> tuple[str, ...]:
        """What the script has shown with each fault of this word."""
        return tuple(shown for found, _, shown in (fault.partition(":") for fault in self.faults) if found == word)

    def heals(self) -> frozenset[Heal]:
        """What would heal it."""
        return frozenset(FAULTS[word].heal for word in self.words if FAULTS[word].heal)
