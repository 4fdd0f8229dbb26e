"""rq: the job, and a client."""

from typing import Any

from redis import Redis
from rq import Queue

from bench.peers.producing import URL, announce, serve_blocking


def job() -> None:
    """What is queued."""
    announce()


def main() -> None:
    """The client."""
    from bench.peers import with_rq

    queue: Any = Queue(connection=Redis.from_url(URL))
    # By the module's name and not __main__'s, which the worker could not import.
    serve_blocking(lambda: queue.enqueue(with_rq.job), lambda queued: queued.get_status(refresh=True).value)


if __name__ == "__main__":
    main()
