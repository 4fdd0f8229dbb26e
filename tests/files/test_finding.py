"""Which files an output has: URLs of the provider's hosts, and what is said of media that lie elsewhere."""

import pytest

from shared.json_value import Json
from shared.storage.files import files_in
from tests.buckets import memory_settings
from tests.files.storing import document, ended, job_of
from tests.logs import all_logs
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
    ["https://a.example/page", "https://a.example/", "see https://a.example/page", "x.png", "https://[/x.png", ""],
)
def test_other_texts_are_no_lost_files(text: str) -> None:
    assert found([text]) == []


def test_beside_a_file_of_a_known_host_other_urls_are_the_callers_own() -> None:
    ours = "https://replicate.delivery/x.mp4"
    assert found({"input": ELSEWHERE, "output": ours}) == [(ours, "pending")]


async def test_a_job_whose_files_are_of_no_known_host_says_so_everywhere(world: World, source: Receiver) -> None:
    with all_logs() as logged:
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


OURS = "https://replicate.delivery/a/x.mp4"


@pytest.mark.parametrize(
    ("text", "urls"),
    [
        (f"{OURS}\n", [OURS]),
        (f" \t{OURS} ", [OURS]),
        (f"{OURS}\n{OURS}?2\n", [OURS, f"{OURS}?2"]),
        (f"{OURS},{OURS}?2", [OURS, f"{OURS}?2"]),
        (f'{{"video": "{OURS}", "n": 1}}', [OURS]),
        ('{"video":"https:\\/\\/replicate.delivery\\/a\\/x.mp4?a=1\\u0026b=2"}', [f"{OURS}?a=1&b=2"]),
        (f"['{OURS}']", [OURS]),
        (f'# Done\n\n![film]({OURS} "a film"), [{OURS}?2].', [OURS, f"{OURS}?2"]),
        ("![](https://replicate.delivery/x(1).png)", ["https://replicate.delivery/x(1).png"]),
        (f"<video src='{OURS}?a=1&amp;b=2'></video>", [f"{OURS}?a=1&b=2"]),
        ("https://replicate.delivery/日本語 é.png", ["https://replicate.delivery/日本語 é.png"]),
        ("视频\uff1ahttps://replicate.delivery/日.mp4。", ["https://replicate.delivery/日.mp4"]),
        ("https://replicate.delivery/my cat.png", ["https://replicate.delivery/my cat.png"]),
        (f"{OURS} is the film, and more is at https://elsewhere.example/x.png", [OURS]),
        ("HTTPS://replicate.delivery/a/x.mp4", [OURS]),
        ("see HTTPS://replicate.delivery/a/x.mp4, Https://replicate.delivery/a/x.mp4?2", [OURS, f"{OURS}?2"]),
        ("![](https://replicate.delivery/a'b(c).mp4)", ["https://replicate.delivery/a'b(c).mp4"]),
        (f"'see {OURS}','{OURS}?2'", [OURS, f"{OURS}?2"]),
        (f"see {OURS}?u=data:image/png;base64,AAAA and", [f"{OURS}?u=data:image/png;base64,AAAA"]),
        ("https://replicate.delivery.elsewhere.example/x.png", []),
        ("httpss://replicate.delivery/x.png http:/replicate.delivery/x.png", []),
    ],
)
def test_urls_inside_a_text_are_found(text: str, urls: list[str]) -> None:
    assert [url for url, state in found({"text": [text]}) if state == "pending"] == urls


@pytest.mark.parametrize(
    "text",
    ["x https://replicate.delivery/" + "(" * 2_000_000, "x https://a.b/" + "," * 2_000_000, "http://" * 300_000,
     "data:a/" * 300_000, "data:image/png;base64," + "A" * 4_000_000, "\\/" * 1_000_000 + "://"],
    ids=["brackets", "commas", "beginnings", "data", "base64", "slashes"],
)  # fmt: skip
@pytest.mark.timeout(60)
def test_no_text_takes_long_to_read(text: str) -> None:
    """In proportion to its length: each of these would take hours otherwise."""
    assert [url for url, state in found(text) if state == "pending" and len(url) < 100] == []


async def test_what_is_replaced_is_what_was_found(world: World, source: Receiver) -> None:
    text = f"![film]({source.url('/x.mp4')}), and [page](https://a.example/page)"
    job_id = await ended(world, [text, f"{source.url('/é.mp4')}\n"])
    await world.follow_up()
    shown = await document(world, job_id)
    first, second = (file["url"] for file in shown["files"])
    assert {file["state"] for file in shown["files"]} == {"stored"}
    assert shown["output"] == [f"![film]({first}), and [page](https://a.example/page)", second]
