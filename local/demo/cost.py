"""What the demo cost: calls and billed commands of the store, predictions of the provider."""

from collections.abc import Sequence

import httpx

from local.demo.following import FollowedJob
from local.stack import Stack


def start_bill(stack: Stack) -> None:
    """Resets the store's bill, so that it holds the jobs alone."""
    if stack.urls.store:
        _ask("POST", f"{stack.urls.store}/-/bill/reset", stack.environment["UPSTASH_REDIS_REST_TOKEN"])


def cost(stack: Stack, jobs: Sequence[FollowedJob]) -> str:
    """Returns the bill in three lines."""
    root = str(stack.urls.provider).removesuffix("/v1")
    predictions = _ask("GET", f"{root}/-/predictions", stack.environment["REPLICATE_API_TOKEN"]).json()
    delivered = sum(any(sent["status_code"] == 200 for sent in each["deliveries"]) for each in predictions)
    polls, unchanged = sum(job.polls for job in jobs), sum(job.unchanged for job in jobs)
    return (
        f"Store     {_bill(stack, len(jobs))}\n"
        f"Status    {polls} polls, {unchanged} of them answered 304 Not Modified\n"
        f"Provider  {len(predictions)} predictions; {delivered} announced by webhook, "
        f"{len(predictions) - delivered} found by polling"
    )


def _bill(stack: Stack, jobs: int) -> str:
    """Returns what the store was asked; in memory it counts nothing."""
    if not stack.urls.store:
        return "in the functions' memory, which bills nothing"
    bill = _ask("GET", f"{stack.urls.store}/-/bill", stack.environment["UPSTASH_REDIS_REST_TOKEN"]).json()
    each, commands = bill["calls"] / jobs, bill["billed"] / jobs
    return (
        f"{bill['calls']} HTTP calls and {bill['billed']} billed Redis commands: "
        f"{each:.1f} and {commands:.0f} per job, with every poll, tick, copy and event"
    )


def _ask(method: str, url: str, token: str) -> httpx.Response:
    headers = {"Authorization": f"Bearer {token}"}
    return httpx.request(method, url, headers=headers, trust_env=False).raise_for_status()
