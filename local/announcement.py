"""What the stack prints once it is up: where each part is, and a command to paste."""

import json
import shlex
from collections.abc import Mapping

from local.configuration import Configuration
from local.environment import first_api_key, is_in_memory
from local.ports import Urls

EXAMPLE = {
    "model": "acme/text-to-video",
    "input": {"prompt": "A paper boat sails down a rainy street"},
    "user_id": "ada",
}
REAL_EXAMPLE = {**EXAMPLE, "model": "black-forest-labs/flux-schnell"}


def announcement(urls: Urls, configuration: Configuration, environment: Mapping[str, str]) -> str:
    """Returns the addresses, an API key, and the commands that submit a job and follow it."""
    kept = "nothing is kept" if configuration.fresh else f"data in {configuration.data_dir}"
    store = f"{urls.store}  ({kept})" if urls.store else _store_elsewhere(environment)
    provider = f"{urls.provider}  (simulated)" if urls.provider else f"Replicate itself, {_news(environment)}"
    api_key = first_api_key(environment)
    authorization = f"-H 'Authorization: Bearer {api_key}'"
    body = shlex.quote(json.dumps(EXAMPLE if urls.provider else REAL_EXAMPLE))
    return "\n".join(
        (
            "Sluice is up. Ctrl-C stops it.",
            "",
            f"  functions  {urls.functions}",
            f"  store      {store}",
            f"  provider   {provider}",
            f"  files      {_files(configuration, environment)}",
            f"  schedule   a tick every {configuration.tick:g} s",
            f"  API key    {_keys(environment)}",
            f"  operator   {environment['OPERATOR_TOKEN']}",
            "",
            "Submit a job, then follow it with the id in the answer:",
            "",
            f"  curl -s {urls.functions}/api/submit {authorization} -H 'Content-Type: application/json' -d {body}",
            f"  curl -s {urls.functions}/api/status/JOB_ID {authorization}",
            "",
        )
    )


def _keys(environment: Mapping[str, str]) -> str:
    """All API keys by name, one a line."""
    pairs = [pair.partition(":") for pair in environment["API_KEYS"].split(",") if pair.strip()]
    return f"\n{' ' * 13}".join(f"{name.strip()}: {key.strip()}" for name, _, key in pairs)


def _store_elsewhere(environment: Mapping[str, str]) -> str:
    if is_in_memory(environment):
        return "none: jobs live and end with the functions' process"
    return "as the environment or .env says"


def _files(configuration: Configuration, environment: Mapping[str, str]) -> str:
    """Where results are kept."""
    location = environment.get("STORAGE_URL", "")
    folder = configuration.data_dir / "storage"
    if location.startswith("memory:"):
        return "in the functions' process, and end with it"
    return str(folder) if location == folder.resolve().as_uri() else location or "not kept"


def _news(environment: Mapping[str, str]) -> str:
    """How results come back from the real provider."""
    if not environment["PUBLIC_BASE_URL"].startswith("https://"):
        return "asked for results: without an https PUBLIC_BASE_URL it sends no webhooks"
    if not environment.get("REPLICATE_WEBHOOK_SECRET"):
        return "asked for results: its webhooks are refused until REPLICATE_WEBHOOK_SECRET is set"
    return "which sends webhooks to PUBLIC_BASE_URL"
