"""The names of all keys the job queue owns."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

# The names by which scripts' headers know keys that belong to something, and the letters that those begin with
LETTERS = {
    "job": "j", "user": "u", "job_of_prediction": "o", "batch": "b", "batch_queue": "q", "lane_rows": "x",
    "lane_state": "h", "holder": "jb",
}  # fmt: skip


@dataclass(frozen=True)
class Keys:
    """Key names under one prefix; see prelude.lua for what the index holds."""

    prefix: str

    @cached_property
    def standing(self) -> Mapping[str, str]:
        """The keys of which there is one, by the names that the scripts' headers use."""
        return {
            "index": self.index, "stats": self.stats, "dead": self.dead, "outbox": self.outbox,
            "undelivered": self.undelivered, "root": self.root, "jobs": self.jobs, "predictions": self.predictions,
        }  # fmt: skip

    def checked(self, name: str, key: object) -> str:
        """The key, if it can be what a script's header calls ``name``; else raises TypeError."""
        if isinstance(key, str):
            if key == self.standing.get(name):
                return key
            if any(key.startswith(f"{self.prefix}:{letter}:") for letter in LETTERS.get(name, "")):
                return key
        raise TypeError(f"{name} takes the key of another thing")

    @property
    def index(self) -> str:
        """ZSET: every live job once; the score's band says where it is. Also gates, alarms and the history."""
        return f"{self.prefix}:z"

    @property
    def stats(self) -> str:
        """HASH: how many jobs ended how, and when the last tick ran."""
        return f"{self.prefix}:st"

    @property
    def dead(self) -> str:
        """ZSET: ids of dead letters by the time they died."""
        return f"{self.prefix}:d"

    @property
    def outbox(self) -> str:
        """ZSET: what is left to do for ended jobs and told events, by when it is due; see outbox.lua."""
        return f"{self.prefix}:x"

    def lane_rows(self, lane: str) -> str:
        """ZSET: the events to deliver to one host for one owner, by when they are due."""
        return f"{self.prefix}:x:{lane}"

    @property
    def lanes(self) -> str:
        """What every lane's rows' key begins with."""
        return f"{self.prefix}:x:"

    def lane_state(self, lane: str) -> str:
        """HASH: how a host has failed lately, and which URLs of it are gone."""
        return f"{self.prefix}:h:{lane}"

    @property
    def undelivered(self) -> str:
        """ZSET: events that were tried often enough, by the time they were given up."""
        return f"{self.prefix}:y"

    @property
    def root(self) -> str:
        """What every key of the queue begins with; scripts build the keys from it that only they can know."""
        return f"{self.prefix}:"

    @property
    def jobs(self) -> str:
        """What every job's key begins with."""
        return f"{self.prefix}:j:"

    @property
    def users(self) -> str:
        """What every user's key begins with."""
        return f"{self.prefix}:u:"

    @property
    def predictions(self) -> str:
        """What every prediction's key begins with."""
        return f"{self.prefix}:o:"

    def job_of_prediction(self, prediction: str) -> str:
        """STRING: the job a prediction belongs to, kept as long as anybody could want to adopt it."""
        return self.predictions + prediction

    def job(self, job_id: str) -> str:
        """HASH: the whole job."""
        return self.jobs + job_id

    def user(self, owner: str, user: str) -> str:
        """ZSET: the user's live jobs, those his concurrency admits below zero. Owners' names hold no colon."""
        return f"{self.users}{owner}:{user}"

    def batch(self, batch_id: str) -> str:
        """HASH: a batch, and how each of its ended jobs ended."""
        return f"{self.prefix}:b:{batch_id}"

    def batch_queue(self, batch_id: str) -> str:
        """ZSET: a batch's live jobs; those in its user's backlog from zero on."""
        return f"{self.prefix}:q:{batch_id}"
