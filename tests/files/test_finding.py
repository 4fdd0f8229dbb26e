"""Which files an output has: URLs of the provider's hosts, and what is said of media that lie elsewhere."""

import pytest
from structlog.testing import capture_logs

from shared.json_value import Json
from shared.storage.files import files_in
from tests.buckets import memory_settings
from tests.files.storing import document, ended, job_of
from tests.receiver import Receiver
from tests.world import World

WAVESPEED = "https://d1q70pf5vjeyhc.cloudfront.net/predictions/0a1b/1.mp4"
ELSEWHERE = "https://cdn.elsewhere.example/films/1.mp4?signature=x"


def found(output: Json, provider: str = "replicate") -> list[tuple[str, str]]:
    """Returns the URL and state of each file."""
    return [(file["url"], file["state"]) for file in files_in(output, provider, memory_settings())]


@pytest.mark.parametrize(
    "url",
    [
        WAVESPEED,
        "https://d1q70pf5vjeyhc.cloudfront.net/media/images/1.jpeg",
        "https://cdn.wavespeed.ai/predictions/1.mp4",
        "https://wavespeed.ai/x",
    ],
)
def test_the_hosts_of_wavespeeds_files_are_known(url: str) -> None:
    assert found([url], "wavespeed") == [(url, "pending")]
    assert found(["https://d0000000000000.cloudfront.net/x"], "wavespeed") == []


@pytest.mark.parametrize("url", [WAVESPEED, ELSEWHERE, "http://replicate.delivery/x.PNG", "https://a.example/x.glb"])
def test_media_of_no_known_host_are_listed(url: str) -> None:
    assert found({"video": [url, url], "words": "as asked"}) == [(url, "foreign_host")]


@pytest.mark.parametrize(
    "text",
    ["https://a.example/page", "https://a.example/", "see https://a.example/x.png", "x.png", "https://[/x.png", ""],
)
def test_other_texts_are_no_lost_files(text: str) -> None:
    assert found([text]) == []


def test_beside_a_file_of_a_known_host_other_urls_are_the_callers_own() -> None:
    ours = "https://replicate.delivery/x.mp4"
    assert found({"input": ELSEWHERE, "output": ours}) == [(ours, "pending")]


async def test_a_job_whose_files_are_of_no_known_host_says_so_everywhere(world: World, source: Receiver) -> None:
    with capture_logs() as logged:
        job_id = await ended(world, [ELSEWHERE, "https://b.example/2.png"])
    shown = await document(world, job_id)
    assert (shown["status"], shown["stage"], shown["output"][0]) == ("completed", "done", ELSEWHERE)
    assert [(file["state"], file["url"], file["size"]) for file in shown["files"]] == [
        ("foreign_host", ELSEWHERE, None),
        ("foreign_host", "https://b.example/2.png", None),
    ]
    (line,) = [line for line in logged if line["event"] == "files_not_kept"]
    assert (line["log_level"], line["files"], line["hosts"]) == ("warning", 2, ["b.example", "cdn.elsewhere.example"])
    assert "signature" not in str(logged)
    assert (await world.runtime.records.stats()).counters["files_foreign"] == 2
    assert not (await job_of(world, job_id)).is_storing and world.follow_ups() == [] and source.received == []
