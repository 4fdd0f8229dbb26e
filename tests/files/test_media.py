"""Examining any file gives its media facts or an error code, and leaves no process or file behind."""

import asyncio
import io
import os
import struct
import wave
import zlib
from pathlib import Path
from typing import cast

import av
import pytest
from av.audio.stream import AudioStream
from PIL import Image

from local.simulator.media import image, video
from shared.media import examination
from shared.media.examination import examine
from shared.media.media import Media, answer_of
from tests.files.media import ENOUGH, code, looked_into, saved, thumbnail_of


@pytest.fixture(scope="module")
def film() -> bytes:
    return video("an examined film")


pytestmark = pytest.mark.usefixtures("nothing_left")


def sound(seconds: float) -> bytes:
    buffer = io.BytesIO()
    with wave.open(buffer, "wb") as written:
        written.setnchannels(1)
        written.setsampwidth(2)
        written.setframerate(8000)
        written.writeframes(bytes(round(16_000 * seconds)))
    return buffer.getvalue()


def encoded_sound(kind: str, codec: str) -> bytes:
    """Two seconds of silence."""
    buffer = io.BytesIO()
    with av.open(buffer, "w", format=kind) as container:
        stream = cast(AudioStream, container.add_stream(codec, rate=48_000))
        frame = av.AudioFrame(format="s16p" if codec == "libmp3lame" else "fltp", layout="mono", samples=960)
        frame.sample_rate = 48_000
        for number in range(100):
            for plane in frame.planes:
                plane.update(bytes(plane.buffer_size))
            frame.pts = number * 960
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return buffer.getvalue()


def png_of(width: int, height: int) -> bytes:
    """The beginning of a PNG that claims these dimensions, and a little of its content."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    head = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 6, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + head + chunk(b"IDAT", zlib.compress(bytes(100_000))) + chunk(b"IEND", b"")


async def test_a_film_has_its_size_its_duration_and_a_picture(file: Path, film: bytes) -> None:
    media = await looked_into(file, film, "video/mp4")
    assert (media.width, media.height, media.duration) == (320, 180, 2.0)
    assert media.thumbnail_type == "image/jpeg"
    assert thumbnail_of(media).format == "JPEG" and thumbnail_of(media).size == (320, 180)


async def test_a_film_on_its_side_is_shown_upright(file: Path, film: bytes) -> None:
    at = film.index(b"tkhd") + 4 + 40  # the display matrix of the track, ISO/IEC 14496-12, 8.3.2
    quarter = struct.pack(">9i", 0, 0x10000, 0, -0x10000, 0, 0, 0, 0, 0x40000000)
    media = await looked_into(file, film[:at] + quarter + film[at + 36 :], "video/mp4")
    assert (media.width, media.height) == thumbnail_of(media).size == (180, 320)
    upright = thumbnail_of(await looked_into(file, film, "video/mp4")).rotate(-90, expand=True)
    pairs = zip(upright.resize((9, 16)).tobytes(), thumbnail_of(media).resize((9, 16)).tobytes(), strict=True)
    assert max(abs(one - other) for one, other in pairs) < 30  # turned clockwise, as players turn it


async def test_an_image_has_its_size_and_a_smaller_picture(file: Path) -> None:
    png = saved(Image.open(io.BytesIO(image("large"))).resize((2048, 1024)), "PNG")
    media = await looked_into(file, png, "image/png")
    assert (media.width, media.height, media.duration, media.thumbnail_type) == (2048, 1024, None, "image/jpeg")
    assert thumbnail_of(media).size == (512, 256)


@pytest.mark.parametrize(
    ("picture", "kind"),
    [
        (Image.new("RGBA", (640, 64), (255, 0, 0, 128)), "WEBP"),
        (Image.new("RGBA", (640, 64), (255, 0, 0, 128)), "PNG"),
        (Image.new("LA", (640, 64), (255, 0)), "PNG"),
        (Image.new("RGBA", (640, 64), (255, 0, 0, 0)), "GIF"),
    ],
    ids=["webp", "png", "grey", "gif"],
)
async def test_a_see_through_image_stays_so(file: Path, picture: Image.Image, kind: str) -> None:
    media = await looked_into(file, saved(picture, kind), f"image/{kind.lower()}")
    assert (media.width, media.height, media.thumbnail_type) == (640, 64, "image/webp")
    assert thumbnail_of(media).mode == "RGBA" and thumbnail_of(media).size == (512, 51)


MODES = {
    "PNG": ("RGB", "RGBA", "L", "1", "P", "I;16"),
    "TIFF": ("RGB", "RGBA", "L", "1", "P", "CMYK", "I;16"),
    "WEBP": ("RGB", "RGBA"),
    "JPEG": ("RGB", "L", "CMYK"),
}


@pytest.mark.parametrize(("kind", "mode"), [(kind, mode) for kind, modes in MODES.items() for mode in modes])
async def test_an_image_that_hides_nothing_is_shown_as_jpeg(file: Path, kind: str, mode: str) -> None:
    picture = Image.new(mode, (64, 32), (1, 2, 3, 255) if mode == "RGBA" else 0)
    media = await looked_into(file, saved(picture, kind), f"image/{kind.lower()}")
    assert (media.width, media.height, media.thumbnail_type, media.error) == (64, 32, "image/jpeg", None)


@pytest.mark.parametrize("orientation", range(1, 9))
async def test_a_photo_is_shown_upright_and_without_its_metadata(file: Path, orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    exif[0x010E] = "where it was taken"
    media = await looked_into(file, saved(Image.new("RGB", (1200, 600), "red"), "JPEG", exif=exif), "image/jpeg")
    size = (1200, 600) if orientation < 5 else (600, 1200)
    assert (media.width, media.height) == size
    assert thumbnail_of(media).size == ((512, 256) if orientation < 5 else (256, 512))
    assert not thumbnail_of(media).getexif() and b"where" not in (media.thumbnail or b"")


@pytest.mark.parametrize(
    ("content", "content_type", "seconds"),
    [
        (sound(1.5), "audio/wav", 1.5),
        (sound(1.5), "audio/x-wav", 1.5),
        (encoded_sound("mp3", "libmp3lame"), "audio/mpeg", 2.0),
        (encoded_sound("ogg", "libopus"), "audio/ogg", 2.0),
    ],
    ids=["wav", "x-wav", "mp3", "ogg"],
)
async def test_sound_has_a_duration_and_no_picture(
    file: Path, content: bytes, content_type: str, seconds: float
) -> None:
    media = await looked_into(file, content, content_type)
    assert media.duration == pytest.approx(seconds, abs=0.1)
    assert (media.width, media.height, media.thumbnail, media.error) == (None, None, None, None)


async def test_what_is_no_medium_is_not_looked_into(file: Path) -> None:
    assert await looked_into(file, b"{}", "application/json") == Media(error="unknown_type")


@pytest.mark.parametrize(("width", "height"), [(100_000, 100_000), (100_000, 10), (20_000, 20_000)])
async def test_an_image_too_large_to_show_is_not_decoded(file: Path, width: int, height: int) -> None:
    assert await looked_into(file, png_of(width, height), "image/png") == Media(error="too_large_to_show")


RARER = ("video/webm", "audio/mpeg", "audio/wav", "image/tiff")


@pytest.mark.parametrize(
    "content_type",
    [
        "image/png", "video/mp4",
        *(pytest.param(t, marks=pytest.mark.exhaustive) for t in RARER),
    ],
)  # fmt: skip
@pytest.mark.parametrize(
    "content", [b"", b"\x00", b"<svg/>" * 100, b"#EXTM3U\n#EXTINF:1,\n/etc/hostname\n", sound(0.1)[:60]]
)
async def test_what_is_not_of_its_type_is_unreadable(file: Path, content: bytes, content_type: str) -> None:
    media = await looked_into(file, content, content_type)
    assert media.error == "unreadable" or (content_type == "audio/wav" and content.startswith(b"RIFF"))


async def test_a_file_of_another_type_is_unreadable(file: Path, film: bytes) -> None:
    assert await looked_into(file, film, "image/png") == Media(error="unreadable")
    assert await looked_into(file, image("x"), "video/mp4") == Media(error="unreadable")


@pytest.mark.parametrize("kept", [0.01, 0.3, 0.5])
async def test_a_file_that_was_cut_off_is_shown_or_unreadable(file: Path, film: bytes, kept: float) -> None:
    png = image("x")
    assert await looked_into(file, png[: int(len(png) * kept)], "image/png") == Media(error="unreadable")
    media = await looked_into(file, film[: int(len(film) * kept)], "video/mp4")
    assert media.error == "unreadable" or media.thumbnail


async def test_a_file_that_is_not_there_is_unreadable(tmp_path: Path) -> None:
    assert await examine(tmp_path / "none", "image/png", timeout=ENOUGH) == Media(error="unreadable")


async def test_a_child_that_is_killed_has_its_own_code(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    code(monkeypatch, "import os; os.kill(os.getpid(), 9)")
    assert await looked_into(file, b"x", "image/png") == Media(error="killed")


async def test_a_child_that_takes_too_long_is_ended(
    file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pid_file = tmp_path / "pid"
    code(monkeypatch, f"import os, time; open({str(pid_file)!r}, 'w').write(str(os.getpid())); time.sleep(600)")
    assert await looked_into(file, b"x", "image/png", timeout=1) == Media(error="timed_out")
    with pytest.raises(ProcessLookupError):
        os.kill(int(pid_file.read_text()), 0)


async def test_a_cancelled_examination_ends_its_child(
    file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pid_file = tmp_path / "pid"
    os.mkfifo(pid_file)
    code(monkeypatch, f"import os, time; open({str(pid_file)!r}, 'w').write(str(os.getpid())); time.sleep(600)")
    looking = asyncio.create_task(looked_into(file, b"x", "image/png"))
    pid = int(await asyncio.to_thread(pid_file.read_text))
    looking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await looking
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


@pytest.mark.parametrize(
    "text",
    [
        "", "print('nonsense')", "print('[]')", "print('{\"error\": \"x\"}')", "print('x' * 100_000)",
        "print('{\"width\": NaN}')", "print('{\"width\": \"1\"}')", "print('{\"duration\": -1}')",
        "print('{\"thumbnail_type\": \"text/html\"}')", "print('{\"thumbnail_type\": \"image/jpeg\"}')",
        "print('[' * 4000)", "raise SystemExit(3)", "print('{\"has_picture\": 2}')",
        "open(int(sys.argv[2]), 'wb').write(b'<html>'); print('{\"thumbnail_type\": \"image/jpeg\"}')",
        "open(int(sys.argv[2]), 'wb').write(JPEG + bytes(3 << 20)); print('{\"thumbnail_type\": \"image/jpeg\"}')",
    ],
)  # fmt: skip
async def test_a_child_that_answers_nonsense_has_failed(file: Path, monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    code(monkeypatch, f"import sys; JPEG = b'\\xff\\xd8\\xff'; {text}")
    assert await looked_into(file, b"x", "image/png") == Media(error="failed")


async def test_a_child_that_cannot_be_started_has_failed(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(examination, "COMMAND", (str(file.parent / "none"),))
    assert await looked_into(file, b"x", "image/png") == Media(error="failed")


WITHOUT = (
    "import runpy, sys; sys.modules[{missing!r}] = None;"
    "runpy.run_module('shared.media.child', run_name='__main__', alter_sys=True)"
)


@pytest.mark.parametrize(
    ("missing", "content_type"),
    [("av", "video/mp4"), ("av", "audio/mpeg"), ("PIL", "image/png"), ("PIL", "video/mp4")],
)  # fmt: skip
async def test_without_its_package_a_file_is_not_looked_into(
    file: Path, monkeypatch: pytest.MonkeyPatch, missing: str, content_type: str
) -> None:
    code(monkeypatch, WITHOUT.format(missing=missing))
    assert await looked_into(file, b"x", content_type) == Media(error="not_installed")


async def test_the_child_gets_no_secret(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SIGNING_SECRET", "12345")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "12345")
    code(monkeypatch, "import os; print('{\"width\": %d}' % ('12345' in repr(os.environ)))")
    assert await looked_into(file, b"x", "image/png") == Media(width=0)


def test_only_plausible_values_of_an_answer_are_used() -> None:
    assert answer_of(b'{"width": 3, "duration": 1, "more": []}\n') == Media(width=3, duration=1.0)
    for nonsense in (b"", b"{", b"null", b'{"width": true}', b'{"height": 1e400}', b'{"width": 1e10}', b"\xff"):
        with pytest.raises(ValueError):
            answer_of(nonsense)
