"""Dramatiq: a broker with its default middleware, and a client. By default it has no status."""

from typing import Any

import dramatiq
from dramatiq.brokers.redis import RedisBroker

from bench.peers.producing import URL, announce, serve_blocking

dramatiq.set_broker(RedisBroker(url=URL))


def run() -> None:
    """The job."""
    announce()


job: Any = dramatiq.actor(actor_name="job")(run)

if __name__ == "__main__":
    serve_blocking(job.send, lambda message: "")
