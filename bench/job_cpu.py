"""How much CPU the functions use for a whole job: ``python -m bench.job_cpu``.

One job is a submit to a full system, the webhook of the job before it, which starts it, its own webhook, and one poll.
That takes four calls of the store. It took five when the unit was set, and the unit stays five bare calls of the same
store, in the same process and in turn, so that results can be compared. The store runs in another process and is not
counted. The provider is not called.
"""

import argparse
import json
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field

import httpx

from bench import report
from bench.cases import enqueue_command
from bench.driving import Deployment, entered_store, own_loop
from bench.handlers import unprinted
from shared import runtime
from shared.clock import SystemClock
from shared.config.settings import Settings

JOBS = 300
STEPS = "submit, claim and record, webhook, poll"
MAX_RATIO = 1.2
BARE_CALLS = 5  # in the unit
PACKAGES = ("fastapi", "starlette", "pydantic", "mangum", "structlog", "upstash-redis", "httpx")


@dataclass
class Taken:
    """CPU times of this process in ns: of each job, and of the bare calls after it."""

    jobs: list[int] = field(default_factory=list)
    bare: list[int] = field(default_factory=list)
    calls: float = 0.0  # of the store for each job, as the server counted them


class Bill:
    """The server's count of calls."""

    def __init__(self, url: str, settings: Settings) -> None:
        token = settings.upstash_redis_rest_token
        assert token is not None
        self._client = httpx.Client(base_url=url, headers={"Authorization": f"Bearer {token.get_secret_value()}"})

    def calls(self) -> int:
        """Returns the calls since the start."""
        return int(self._client.get("/-/bill").json()["calls"])

    def close(self) -> None:
        self._client.close()


def bare_calls(
    url: str, settings: Settings, client: httpx.Client, body: bytes, count: int = BARE_CALLS
) -> Callable[[], None]:
    """Returns a function that posts an enqueue's request ``count`` times; its job exists after the first."""
    assert settings.upstash_redis_rest_token is not None
    token = settings.upstash_redis_rest_token.get_secret_value()
    headers = {"Authorization": f"Bearer {token}", "Upstash-Encoding": "base64", "Content-Type": "application/json"}

    def post() -> None:
        for _ in range(count):
            assert client.post(url, content=body, headers=headers).status_code == 200

    return post


def measure(count: int) -> Taken:
    """Returns the CPU times of ``count`` jobs, after a warm-up of a tenth as many."""
    taken = Taken()
    with entered_store() as url, own_loop() as loop, unprinted():
        settings = runtime.settings()
        # Its own prefix keeps this job out of the measured queue.
        command = loop.run_until_complete(enqueue_command(settings.model_copy(update={"queue_prefix": "bare"})))
        body = json.dumps(command, ensure_ascii=False, separators=(",", ":")).encode()
        bill = Bill(url, settings)
        with Deployment(loop, settings, SystemClock()) as deployment, httpx.Client() as client:
            post = bare_calls(url, settings, client, body)
            deployment.call(deployment.submission())  # keeps one of the two slots
            deployment.call(deployment.submission())
            for number in range(-(count // 10), count):
                if number == 0:
                    taken, counted = Taken(), bill.calls()
                taken.jobs.append(_one_job(deployment))
                began = time.process_time_ns()
                post()
                taken.bare.append(time.process_time_ns() - began)
            taken.calls = (bill.calls() - counted) / count - BARE_CALLS
        bill.close()
    return taken


def _one_job(deployment: Deployment) -> int:
    """Submits a job, ends the last started one, which starts it, and polls the ended one; returns the CPU ns."""
    last = len(deployment.provider.created) - 1
    submission, webhook = deployment.submission(), deployment.webhook(last)
    poll = deployment.poll(deployment.provider.created[last].job_id)
    began = time.process_time_ns()
    queued = deployment.call(submission)
    ended = deployment.call(webhook)
    seen = deployment.call(poll)
    cpu = time.process_time_ns() - began
    assert (queued["status"], ended["result"], seen["status"]) == ("pending", "finished", "completed")
    return cpu


def print_report(taken: Taken) -> bool:
    """Prints the ratio, and last the unit on this machine; returns whether the target is met."""
    job, bare = statistics.mean(taken.jobs), statistics.mean(taken.bare)
    print(
        f"CPU of this process for a whole job, in units of {BARE_CALLS} bare httpx.Client.post of an enqueue's request;"
    )
    print(f"{len(taken.jobs)} jobs, interleaved.\n")
    ratio = job / bare
    row = [STEPS, f"{ratio:.2f}", f"{taken.calls:.2f}", report.verdict(ratio, MAX_RATIO)]
    report.print_table(["a job", "CPU, mean", "calls of the store", "target (CPU)"], [row])
    print()
    report.print_versions(PACKAGES)
    print(f"The unit here: {bare / 1e6:.2f} ms CPU; a job {job / 1e6:.2f} ms.")
    return ratio <= MAX_RATIO


def main() -> int:
    """Measures and prints; returns 1 if the target is missed."""
    parser = argparse.ArgumentParser(prog="python -m bench.job_cpu", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--jobs", type=int, default=JOBS, help=f"how many jobs are measured (default {JOBS})")
    parser.add_argument("--no-targets", action="store_true", help="exit with 0 even if the target is missed")
    options = parser.parse_args()
    return 0 if print_report(measure(options.jobs)) or options.no_targets else 1


if __name__ == "__main__":
    sys.exit(main())
