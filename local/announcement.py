"""What the stack says once it is up: where everything is, and a command to paste."""

import json
import shlex
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from local.stack import Stack

EXAMPLE = {
    "model": "acme/text-to-video",
    "input": {"prompt": "A paper boat sails down a rainy street"},
    "user_id": "ada",
}
REAL_EXAMPLE = {**EXAMPLE, "model": "black-forest-labs/flux-schnell"}


def announcement(stack: "Stack") -> str:
    """Returns the addresses, an API key, and the commands that submit a job and follow it."""
    urls, data_dir, tick = stack.urls, stack.configuration.data_dir, stack.configuration.tick
    kept = "nothing is kept" if stack.configuration.fresh else f"data in {data_dir}"
    store = f"{urls.store}  ({kept})" if urls.store else _store_elsewhere(stack)
    provider = f"{urls.provider}  (simulated)" if urls.provider else f"Replicate itself, {_news(stack)}"
    authorization = f"-H 'Authorization: Bearer {stack.api_key}'"
    body = shlex.quote(json.dumps(EXAMPLE if urls.provider else REAL_EXAMPLE))
    return "\n".join(
        (
            "Sluice is up. Ctrl-C stops it.",
            "",
            f"  functions  {urls.functions}",
            f"  store      {store}",
            f"  provider   {provider}",
            f"  files      {_files(stack)}",
            f"  schedule   a tick every {tick:g} s",
            f"  API key    {stack.api_key}",
            f"  operator   {stack.environment['OPERATOR_TOKEN']}",
            "",
            "Submit a job, then follow it with the id in the answer:",
            "",
            f"  curl -s {urls.functions}/api/submit {authorization} -H 'Content-Type: application/json' -d {body}",
            f"  curl -s {urls.functions}/api/status/JOB_ID {authorization}",
            "",
        )
    )


def _store_elsewhere(stack: "Stack") -> str:
    if stack.is_in_memory:
        return "none: jobs live and end with the functions' process"
    return "as the environment or .env says"


def _files(stack: "Stack") -> str:
    """Where results are kept."""
    location = stack.environment.get("STORAGE_URL", "")
    folder = stack.configuration.data_dir / "storage"
    if location.startswith("memory:"):
        return "in the functions' process, and end with it"
    return str(folder) if location == folder.resolve().as_uri() else location or "not kept"


def _news(stack: "Stack") -> str:
    """How results come back from the real provider."""
    if not stack.environment["PUBLIC_BASE_URL"].startswith("https://"):
        return "asked for results: without an https PUBLIC_BASE_URL it sends no webhooks"
    if not stack.environment.get("REPLICATE_WEBHOOK_SECRET"):
        return "asked for results: its webhooks are refused until REPLICATE_WEBHOOK_SECRET is set"
    return "which sends webhooks to PUBLIC_BASE_URL"
