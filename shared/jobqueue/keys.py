"""The names of all keys the job queue owns.

Each begins with the deployment's prefix and a colon. The letters behind that are here and nowhere else: the loader puts
them in front of the scripts under these names, and keys.lua makes the keys that only a script can know.
"""

from collections.abc import Mapping
from functools import cached_property

from shared.frozen import dataclass

# Of each there is one.
INDEX = "z"
STATS = "st"
DEAD = "d"
OUTBOX = "x"
UNDELIVERED = "y"
LOST = "sl"
QUEUE_NAMES = "qn"
BLOCKED = "vb"
API_KEYS = "ak"
AUDIT = "au"
ENTRIES = "se"
SUMS = "ss"
ALERTS_STATE = "al"
# Of each there are many.
JOBS = "j:"
USERS = "u:"
PREDICTIONS = "o:"
BATCHES = "b:"
BATCH_QUEUES = "q:"
RUNS = "m:"
PAUSES = "p:"
LANE_ROWS = "x:"
HOSTS = "h:"
ARCHIVES = "a:"
ERASURES = "g:"
HELD = "k:"
SPENDING = "sp:"
ACTIVE = "w:"
CODES = "v:"
CODE_CLIENTS = "c:"
RATES = "rl:"
COMMANDS = "cc:"
TRIALS = "tr:"

# What a key begins with, by the name that scripts' headers have for it
BEGINNINGS: Mapping[str, tuple[str, ...]] = {
    "job": (JOBS,), "user": (USERS,), "job_of_prediction": (PREDICTIONS,), "batch": (BATCHES,),
    "batch_queue": (BATCH_QUEUES,), "lane_rows": (LANE_ROWS,), "lane_state": (HOSTS,), "holder": (JOBS, BATCHES),
    "erasure": (ERASURES,), "archive": (ARCHIVES,), "active": (ACTIVE,), "codes": (CODES,),
    "client": (CODE_CLIENTS,), "trial": (TRIALS,),
}  # fmt: skip


def run_of(model: str) -> str:
    """What a provider runs for a model: the version, if the name has one. Prelude.lua has the same function."""
    return model.rpartition(":")[2]


@dataclass(frozen=True)
class Keys:
    """Key names under one prefix; see prelude.lua for what the index holds."""

    prefix: str

    @cached_property
    def standing(self) -> Mapping[str, str]:
        """The keys and beginnings that never change, by the names that the scripts' headers use."""
        return {
            "index": self.index, "stats": self.stats, "dead": self.dead, "outbox": self.outbox,
            "undelivered": self.undelivered, "lost": self.lost, "root": self.root, "jobs": self.jobs,
            "predictions": self.predictions, "blocked": self.blocked, "api_keys": self.api_keys,
            "entries": self.entries, "sums": self.sums, "alerts": self.alerts,
        }  # fmt: skip

    def checked(self, name: str, key: object) -> str:
        """The key, if it can be what a script's header calls ``name``; else raises TypeError."""
        if isinstance(key, str):
            beginnings = tuple(self.root + beginning for beginning in BEGINNINGS.get(name, ()))
            if key == self.standing.get(name) or key.startswith(beginnings):
                return key
        raise TypeError(f"{name} takes the key of another thing")

    @cached_property
    def root(self) -> str:
        """What every key of the queue begins with."""
        return f"{self.prefix}:"

    @property
    def index(self) -> str:
        """ZSET: every live job once; the score's band says where it is. Also gates, alarms and the history."""
        return self.root + INDEX

    @property
    def stats(self) -> str:
        """HASH: how many jobs ended how, and when the last tick ran."""
        return self.root + STATS

    @property
    def dead(self) -> str:
        """ZSET: ids of dead letters by the time they died."""
        return self.root + DEAD

    @property
    def outbox(self) -> str:
        """ZSET: what is left to do for ended jobs and events, by when it is due; see outbox.lua."""
        return self.root + OUTBOX

    @property
    def undelivered(self) -> str:
        """ZSET: events that were tried often enough, by the time they were given up."""
        return self.root + UNDELIVERED

    @property
    def lost(self) -> str:
        """ZSET: submissions of unknown outcome, and those given up before it was known; see lost.lua."""
        return self.root + LOST

    @property
    def queue_names(self) -> str:
        """STRING: the names of the queues in the order of their numbers; see numbering.py."""
        return self.root + QUEUE_NAMES

    @property
    def blocked(self) -> str:
        """ZSET: e-mail addresses and domains that get no verification code, each with the score 0."""
        return self.root + BLOCKED

    @property
    def api_keys(self) -> str:
        """HASH: the API keys that the operator has made, without their secrets; see api_keys.py."""
        return self.root + API_KEYS

    @property
    def audit(self) -> str:
        """STREAM: who did what as an operator, or erased a user; see audit.py."""
        return self.root + AUDIT

    @property
    def entries(self) -> str:
        """STREAM: what the statistics have not summed yet; see entries.lua."""
        return self.root + ENTRIES

    @property
    def sums(self) -> str:
        """HASH: the statistics by minute, by hour, and of all time; see shared/statistics."""
        return self.root + SUMS

    @property
    def alerts(self) -> str:
        """HASH: which alerts stand, and what was told of them; see alert_store.py in shared/alerts."""
        return self.root + ALERTS_STATE

    @property
    def jobs(self) -> str:
        """What every job's key begins with."""
        return self.root + JOBS

    @property
    def users(self) -> str:
        """What every user's key begins with."""
        return self.root + USERS

    @property
    def predictions(self) -> str:
        """What every prediction's key begins with."""
        return self.root + PREDICTIONS

    @property
    def lanes(self) -> str:
        """What every lane's rows' key begins with."""
        return self.root + LANE_ROWS

    @property
    def models(self) -> str:
        """What every model's key begins with."""
        return self.root + RUNS

    @property
    def swept(self) -> str:
        """A pattern for SCAN that fits the keys of users, of lanes' rows and of models."""
        return f"{self.root}[{USERS[0]}{LANE_ROWS[0]}{RUNS[0]}]:*"

    def job(self, job_id: str) -> str:
        """HASH: the whole job."""
        return self.jobs + job_id

    def user(self, owner: str, user: str) -> str:
        """ZSET: the user's live jobs, those with a seat below zero. Owners' names hold no colon."""
        return f"{self.users}{owner}:{user}"

    def job_of_prediction(self, prediction: str) -> str:
        """STRING: the job a prediction belongs to, kept as long as a lost submission could adopt it."""
        return self.predictions + prediction

    def batch(self, batch_id: str) -> str:
        """HASH: a batch, and how each of its ended jobs ended."""
        return self.root + BATCHES + batch_id

    def batch_queue(self, batch_id: str) -> str:
        """ZSET: a batch's live jobs; those in its user's backlog from zero on."""
        return self.root + BATCH_QUEUES + batch_id

    def runs(self, provider: int, model: str) -> str:
        """HASH: how runs of a model at a provider went, given by its number; see runs.lua."""
        return f"{self.root}{RUNS}{provider}:{run_of(model)}"

    def refusals(self, provider: int) -> str:
        """HASH: what refusals have shown of a provider, given by its number; see pauses.lua."""
        return f"{self.root}{PAUSES}{provider}"

    @property
    def halts(self) -> str:
        """HASH: by gate, when the operator's pauses began and ended; see halts.lua."""
        return f"{self.root}{PAUSES}halts"

    def archive(self, owner: str, user: str) -> str:
        """ZSET: ids of the user's jobs that the history no longer lists, by when they were submitted."""
        return f"{self.root}{ARCHIVES}{owner}:{user}"

    def erasure(self, folder: str) -> str:
        """STRING: until when files of a user who is being erased may come back; by the user's folder in the storage."""
        return self.root + ERASURES + folder

    def lane_rows(self, lane: str) -> str:
        """ZSET: the events to deliver to one host for one owner, by when they are due."""
        return self.lanes + lane

    def held(self, owner: str) -> str:
        """ZSET: jobs that wait for a slot of their API key, by score; see shares.lua."""
        return self.root + HELD + owner

    def active(self, owner: str) -> str:
        """ZSET: the users of an API key who have a tag above virtual time, by their share; see tags.lua."""
        return self.root + ACTIVE + owner

    def spending(self, month: str) -> str:
        """HASH: what the jobs of a month, ``202611``, have cost, and their reservations; see spending.lua."""
        return self.root + SPENDING + month

    def codes(self, owner: str, address: str) -> str:
        """STRING: an e-mail address' verification code, and when it was sent codes; by the address' tag."""
        return f"{self.root}{CODES}{owner}:{address}"

    def code_client(self, owner: str, client: str) -> str:
        """STRING: how often a client address has asked for codes or tried some; by the client address' tag."""
        return f"{self.root}{CODE_CLIENTS}{owner}:{client}"

    def rates(self, name: str) -> str:
        """HASH: what is left of a rate; the limiter puts a colon and the API key, the user or the address behind it."""
        return self.root + RATES + name

    def commands(self, month: str) -> str:
        """HASH: how many billed commands were counted in a month, by day and operation; see usage/counting.py."""
        return self.root + COMMANDS + month

    def trial(self, name: str) -> str:
        """ZSET: what the doctor tries on this store; a minute later it is gone."""
        return f"{self.root}{TRIALS}{name}"

    def lane_state(self, lane: str) -> str:
        """HASH: how a host has failed lately, and which URLs of it are gone."""
        return self.root + HOSTS + lane
