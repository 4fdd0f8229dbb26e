"""The largest files are examined within the memory of a small function."""

import io
import sys
from pathlib import Path
from typing import Any, cast

import av
import pytest
from PIL import Image

from shared.media.examination import examine
from shared.media.media import Media
from tests.files.media import code, looked_into, saved, thumbnail_of


async def test_memory_ends_before_the_machine_s_does(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    code(
        monkeypatch,
        "import runpy, sys; from shared.media import child;"
        "child.answer = lambda *given: {'width': len(bytearray(2 << 30))};"
        "sys.argv[0] = 'child'; child.main()",
    )
    assert await looked_into(file, b"x", "image/png") == Media(error="failed")  # MemoryError, outside of answer()


pytestmark = [pytest.mark.usefixtures("nothing_left"), pytest.mark.timeout(600)]
BOUND = 340  # MiB that a function of 512 MB can spare
PATIENCE = 500.0  # s; these tests are about memory, and a busy machine decodes slowly
LARGE: dict[str, tuple[str, str, tuple[int, int], dict[str, Any]]] = {
    "png": ("RGB", "PNG", (5950, 4200), {"compress_level": 1}),
    "see-through png": ("RGBA", "PNG", (5950, 4200), {"compress_level": 1}),
    "png of one transparent colour": ("RGB", "PNG", (5950, 4200), {"compress_level": 1, "transparency": (0, 0, 0)}),
    "png with a palette": ("P", "PNG", (5950, 4200), {"compress_level": 1, "transparency": 0}),
    "jpeg": ("RGB", "JPEG", (5950, 4200), {}),
    "progressive jpeg": ("RGB", "JPEG", (5950, 4200), {"progressive": True, "subsampling": 0}),
    "webp": ("RGBA", "WEBP", (3463, 3463), {"method": 0}),
    # Here quality is the encoder's effort, of which the decoder's memory does not depend: 1 s instead of a minute.
    "lossless webp": ("RGB", "WEBP", (3463, 3463), {"method": 0, "lossless": True, "quality": 0}),
    "avif": ("RGB", "AVIF", (3463, 3463), {"speed": 10, "subsampling": "4:4:4"}),
    "png of 16 bits": ("I;16", "PNG", (5950, 4200), {"compress_level": 1}),
    "tiff of fractions": ("F", "TIFF", (5950, 4200), {}),
    "tiff": ("RGB", "TIFF", (5950, 4200), {"compression": "tiff_lzw"}),
}


def film_of(width: int, height: int, pixels: str = "yuv420p") -> bytes:
    """Twenty frames with as many references as the format allows."""
    buffer = io.BytesIO()
    with av.open(buffer, "w", format="mp4") as container:
        stream = container.add_stream("libx264", rate=24)
        stream.width, stream.height, stream.pix_fmt = width, height, pixels
        stream.options = {"preset": "ultrafast", "x264-params": "ref=16:bframes=3"}
        frame: Any = cast(Any, av.VideoFrame).from_image(
            Image.effect_noise((width // 16, height // 16), 60).resize((width, height))
        )
        for _ in range(20):
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return buffer.getvalue()


async def peak_of(file: Path, content_type: str, status: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Media, float]:
    """What the child finds, and its peak memory in MiB."""
    code(
        monkeypatch,
        # Not ru_maxrss, which starts from the parent's memory. A locked child opens no file.
        f"import runpy; measured, noted = open('/proc/self/status'), open({str(status)!r}, 'w');"
        "runpy.run_module('shared.media.child', run_name='__main__', alter_sys=True);"
        "noted.write(measured.read())",
    )
    media = await examine(file, content_type, timeout=PATIENCE)
    return media, int(status.read_text().partition("VmHWM:")[2].split()[0]) / 1024


@pytest.mark.skipif(sys.platform != "linux", reason="others count in bytes, and limit nothing")
@pytest.mark.parametrize(
    "name", ["jpeg", *(pytest.param(n, marks=pytest.mark.exhaustive) for n in LARGE if n != "jpeg")]
)
async def test_the_largest_images_are_shown_within_a_small_function_s_memory(
    file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    mode, kind, size, options = LARGE[name]
    noise = Image.effect_noise((size[0] // 8, size[1] // 8), 80).resize(size)
    picture = Image.merge("RGBA", [noise] * 4) if mode == "RGBA" else noise.convert(mode)
    picture.save(file, kind, **options)
    media, peak = await peak_of(file, f"image/{kind.lower()}", tmp_path / "status", monkeypatch)
    assert (media.width, media.height, media.error) == (*size, None) and max(thumbnail_of(media).size) == 512
    assert peak < BOUND, f"{peak:.0f} MiB"


@pytest.mark.exhaustive
@pytest.mark.skipif(sys.platform != "linux", reason="others count in bytes, and limit nothing")
async def test_a_film_of_4k_is_shown_within_a_small_function_s_memory(
    file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file.write_bytes(film_of(3840, 2160))
    media, peak = await peak_of(file, "video/mp4", tmp_path / "status", monkeypatch)
    assert (media.width, media.height) == (3840, 2160) and thumbnail_of(media).size == (512, 288)
    assert peak < BOUND, f"{peak:.0f} MiB"


@pytest.mark.exhaustive
@pytest.mark.skipif(sys.platform != "linux", reason="others count in bytes, and limit nothing")
async def test_what_needs_more_memory_than_the_child_has_has_no_thumbnail(
    file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Sixteen references of 50 MB each: the dimensions do not show it, and decoders report it in several ways."""
    file.write_bytes(film_of(3840, 2160, "yuv444p10le"))
    media, peak = await peak_of(file, "video/mp4", tmp_path / "status", monkeypatch)
    assert media.error in ("too_large_to_show", "unreadable") or thumbnail_of(media).size == (512, 288)
    assert peak < BOUND, f"{peak:.0f} MiB"


@pytest.mark.parametrize(("width", "height"), [(16_000, 16_000), (4000, 4000)])
async def test_a_webp_too_large_to_show_is_not_decoded(file: Path, width: int, height: int) -> None:
    """Its decoder takes memory for the whole canvas when it is opened."""
    animated = bytearray(saved(Image.new("RGBA", (64, 64)), "WEBP", save_all=True,
                               append_images=[Image.new("RGBA", (64, 64), "red")]))  # fmt: skip
    assert animated[12:16] == b"VP8X"
    animated[24:30] = (width - 1).to_bytes(3, "little") + (height - 1).to_bytes(3, "little")
    assert await looked_into(file, bytes(animated), "image/webp") == Media(error="too_large_to_show")
