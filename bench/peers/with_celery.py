"""Celery: an application whose broker and result backend are the same Redis, and a client."""

from typing import Any

from celery import Celery

from bench.peers.producing import URL, announce, serve_blocking


def run() -> None:
    """The job."""
    announce()


app: Any = Celery("peers", broker=URL, backend=URL)
job: Any = app.task(name="job")(run)

if __name__ == "__main__":
    serve_blocking(job.delay, lambda queued: queued.status)
