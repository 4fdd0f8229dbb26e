"""Output files that really play: a short video and an image, both showing their prompt."""

import asyncio
import colorsys
import hashlib
import io
import tempfile
import textwrap
from collections import OrderedDict
from pathlib import Path
from typing import TYPE_CHECKING, cast

if TYPE_CHECKING:
    from PIL.Image import Image

VIDEO_SIZE = (320, 180)
IMAGE_SIZE = (512, 512)
FRAMES_A_SECOND = 12
FRAMES = 24

_CACHED = 128


class Gallery:
    """Renders each file once, in a thread, on the first request, and caches the latest ones."""

    def __init__(self) -> None:
        self._rendered: OrderedDict[tuple[str, str], asyncio.Task[bytes]] = OrderedDict()

    async def render(self, kind: str, caption: str) -> bytes:
        """Returns the file's bytes, the same for the same caption; `kind` is mp4 or png."""
        wanted = (kind, caption)
        if wanted not in self._rendered:
            draw = video if kind == "mp4" else image
            self._rendered[wanted] = asyncio.create_task(asyncio.to_thread(draw, caption))
            if len(self._rendered) > _CACHED:
                self._rendered.popitem(last=False)
        self._rendered.move_to_end(wanted)
        # Shielded: a caller that hangs up must not cancel the rendering for the others.
        return await asyncio.shield(self._rendered[wanted])


def image(caption: str) -> bytes:
    """Returns a PNG that shows the caption."""
    png = io.BytesIO()
    _with_ball(_page(caption, IMAGE_SIZE, 26), caption, 0.5).save(png, format="PNG")
    return png.getvalue()


def video(caption: str) -> bytes:
    """Returns a two-second MP4 that shows the caption and a moving ball; H.264 if PyAV includes libx264."""
    import av
    from av.video.stream import VideoStream

    page = _page(caption, VIDEO_SIZE, 18)
    codec = "libx264" if "libx264" in av.codecs_available else "mpeg4"
    # One thread: with several, the bytes would differ from run to run.
    options = {"threads": "1", "preset": "veryfast"}
    with tempfile.TemporaryDirectory() as folder:
        # A file on disk: to move the index to the front (faststart), FFmpeg reopens the file by its name.
        path = Path(folder) / "video.mp4"
        with av.open(str(path), "w", format="mp4", options={"movflags": "faststart"}) as container:
            stream = cast(VideoStream, container.add_stream(codec, rate=FRAMES_A_SECOND, options=options))
            stream.width, stream.height = VIDEO_SIZE
            stream.pix_fmt = "yuv420p"
            for number in range(FRAMES):
                picture = _with_ball(page, caption, number / (FRAMES - 1))
                container.mux(stream.encode(av.VideoFrame.from_image(picture)))  # type: ignore[no-untyped-call]
            container.mux(stream.encode())
        return path.read_bytes()


def _page(caption: str, size: tuple[int, int], letters: int) -> "Image":
    from PIL import Image, ImageDraw, ImageFont

    page = Image.new("RGB", size, _colour(caption, 0.0, 0.35))
    margin = size[1] // 12
    text = "\n".join(textwrap.wrap(caption, width=32, max_lines=5, placeholder=" ...")) or "(no prompt)"
    ImageDraw.Draw(page).multiline_text((margin, margin), text, fill="white", font=ImageFont.load_default(letters))
    return page


def _with_ball(page: "Image", caption: str, position: float) -> "Image":
    from PIL import ImageDraw

    picture = page.copy()
    width, height = page.size
    radius = height // 12
    middle = radius + position * (width - 2 * radius)
    box = (middle - radius, height - 3 * radius, middle + radius, height - radius)
    ImageDraw.Draw(picture).ellipse(box, fill=_colour(caption, 0.5, 0.9))
    return picture


def _colour(caption: str, turn: float, brightness: float) -> tuple[int, int, int]:
    """Returns the caption's colour; half a turn away is its contrast."""
    hue = hashlib.sha256(caption.encode()).digest()[0] / 256 + turn
    red, green, blue = colorsys.hsv_to_rgb(hue % 1, 0.6, brightness)
    return round(red * 255), round(green * 255), round(blue * 255)
