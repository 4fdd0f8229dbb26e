"""The keys of stored files, and the types that first bytes show."""

import random

import pytest

from shared.storage import layout
from shared.storage.kinds import ENOUGH, content_type_of, kind_of
from tests.buckets import DAY, NOW
from tests.files.films import films, sounds


def test_keys_are_laid_out_by_day_and_then_by_user() -> None:
    folder = layout.job_folder(NOW, "app", "ada", "job_1")
    user = layout.user_folder("app", "ada")
    assert folder == f"results/2027-01-15/{user}/job_1" and len(user) == 32
    assert layout.result_key(folder, 0, "mp4") == f"{folder}/0.mp4"
    assert layout.thumbnail_key(folder, 0, "jpg") == f"{folder}/0-thumbnail.jpg"
    upload = layout.upload_key(NOW, "app", "ada", "png")
    assert upload.startswith(f"uploads/2027-01-15/{user}/") and upload != layout.upload_key(NOW, "app", "ada", "png")
    assert layout.user_folder("ap", "pada") != user


def test_a_key_says_which_turn_made_it() -> None:
    for turn in (1, 2, 13):
        assert layout.turn_of(layout.result_key("results/x", 4, "mp4", turn)) == turn
        assert layout.turn_of(layout.thumbnail_key("results/x", 4, "jpg", turn)) == turn
    assert layout.turn_of("results/x/else") == layout.turn_of("results/x/a-2.mp4") == 0


def test_a_day_is_over_at_its_end() -> None:
    midnight = NOW // DAY * DAY
    assert layout.is_before("results/2027-01-14", midnight)
    assert not layout.is_before("results/2027-01-14", midnight - 1)
    assert not layout.is_before("results/2027-01-15", NOW)
    assert not layout.is_before("results/else", NOW) and not layout.is_before("", NOW)


@pytest.mark.parametrize(
    ("first", "content_type", "extension"),
    [
        (b"\x89PNG\r\n\x1a\n" + bytes(20), "image/png", "png"),
        (b'  {"a": 1}', "application/json", "json"),
        ("\ufeff[1, 2]".encode(), "application/json", "json"),
        ("plain é".encode(), "text/plain; charset=utf-8", "txt"),
        (("é" * 5000).encode()[:8191], "text/plain; charset=utf-8", "txt"),
        (b"<!DOCTYPE html><script>", "text/plain; charset=utf-8", "txt"),
        (b"\x00\x01\x02", "application/octet-stream", "bin"),
        (b"\xff\xfe<\x00s\x00", "application/octet-stream", "bin"),
        (b" ", "application/octet-stream", "bin"),
    ],
)  # fmt: skip
def test_a_file_is_what_its_first_bytes_say(first: bytes, content_type: str, extension: str) -> None:
    kind = kind_of(first)
    assert (kind.content_type, kind.extension) == (content_type, extension)
    assert content_type_of(f"a/b.c/0.{extension}") == content_type


def test_no_beginning_of_a_file_is_served_as_something_that_runs() -> None:
    chance = random.Random(0)
    for _ in range(2000):
        kind = kind_of(chance.randbytes(chance.randrange(40)))
        assert kind.extension.isalnum() and kind.content_type not in ("text/html", "image/svg+xml")
    assert content_type_of("a/0.html") == content_type_of("a/0") == kind_of(b"").content_type


@pytest.mark.parametrize("piece", [b"<!-- a -->", b"<?a ?>", b"<!DOCTYPE svg>", b" ", b"0", b"<!--", b"1\n00:00:00,0"])
def test_text_that_resembles_a_kind_takes_no_time_to_refuse(piece: bytes) -> None:
    """A pattern that goes back would need longer than the life of the machine."""
    assert kind_of(piece * (ENOUGH // len(piece))).extension in ("txt", "bin")


@pytest.mark.parametrize("name", ["films", "sounds"])
def test_the_beginning_of_a_container_that_is_cut_off_anywhere_is_read(name: str) -> None:
    """Whatever is missing, it stays what it was, or is sound once that is sure."""
    for sample in {"films": films, "sounds": sounds}[name]():
        if sample.content_type in ("video/mp4", "audio/mp4", "audio/webm", "video/x-matroska", "audio/x-matroska"):
            for length in range(80, 1200, 7):
                kind = kind_of(sample.content[:length])
                assert kind.content_type.startswith(("audio/", "video/"))
                assert name == "sounds" or kind.content_type == (sample.first_type or sample.content_type)


def test_no_bytes_of_a_container_break_its_reading() -> None:
    chance = random.Random(1)
    whole = sounds()[0].content
    for start in (b"\x1a\x45\xdf\xa3", whole[:32], whole[-900:], sounds()[4].content[:200]):
        for _ in range(300):
            changed = bytearray(start + chance.randbytes(60))
            for _ in range(4):
                changed[chance.randrange(len(changed))] = chance.randrange(256)
            kind_of(bytes(changed))
