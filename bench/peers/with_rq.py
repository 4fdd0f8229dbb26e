"""rq: the job, and a client."""

from typing import Any

from redis import Redis
from rq import Queue

from bench.peers.producing import URL, announce, serve_blocking


def job() -> None:
    """The job."""
    announce()


def main() -> None:
    """Runs the client."""
    from bench.peers import with_rq

    queue: Any = Queue(connection=Redis.from_url(URL))
    # Under the module's name: the worker could not import __main__'s.
    serve_blocking(lambda: queue.enqueue(with_rq.job), lambda queued: queued.get_status(refresh=True).value)


if __name__ == "__main__":
    main()
