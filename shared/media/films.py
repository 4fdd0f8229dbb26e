"""Examines video and sound with PyAV. Runs in the child only."""

from typing import TYPE_CHECKING, Any, BinaryIO, cast

import av
import av.subtitles.stream  # PyAV does it when it opens a file, and then the child can open no module
from av.stream import Disposition
from PIL import Image

from shared.media.colours import is_plain, to_srgb
from shared.media.decoders import DEMUXERS
from shared.media.dimensions import check
from shared.media.images import small, write
from shared.media.media import Answer

if TYPE_CHECKING:
    from PIL.Image import Image as Picture

EARLY = 1.0  # s; a thumbnail shows this moment of a film, or a tenth of the duration if that is earlier
MAX_FRAMES = 500  # decoded to reach that moment, from the key frame before it
MAX_STRETCH = 8  # of a pixel's sides; a file with more is wrong
# Colour spaces that FFmpeg converts, by their numbers in ITU-T H.273. Other films have BT.709 from 720 lines on and
# BT.601 below, as browsers assume.
SPACES = (1, 4, 5, 6, 7, 8, 9)
BT709, BT601, HD = 1, 6, 720
# Demuxers of streams without a header: FFmpeg guesses the duration from a few times, or from the bit rate.
HEADLESS = ("mpeg", "mpegts", "aac")


def examine(file: BinaryIO, content_type: str, thumbnail: BinaryIO) -> Answer:
    """Returns a film's dimensions as displayed and its duration; writes the thumbnail of an early frame.

    Of a file without moving pictures it returns the duration of the sound.
    """
    with _opened(file, content_type) as container:
        duration = _duration_of(container)
        stream = _film_in(container)
        if stream is None and not container.streams.audio:
            raise ValueError("neither a film nor sound")
        if stream is None:
            return {"duration": duration, "has_picture": False}
        check(stream.codec_context.width, stream.codec_context.height)
        target = min(EARLY, duration / 10) if duration else 0.0
        frame = _frame_at(container, stream, target) or _first_frame(file, content_type, stream.index)
        return _shown(frame, stream, thumbnail) | {"duration": duration, "has_picture": True}


def _shown(frame: Any, stream: Any, thumbnail: BinaryIO) -> Answer:
    """Writes the frame's thumbnail; returns its dimensions."""
    width, height = _displayed(frame.width, frame.height, stream.sample_aspect_ratio)
    size = small(width, height)
    if frame.colorspace not in SPACES and not frame.format.is_rgb:
        frame.colorspace = BT709 if frame.height >= HD else BT601
    picture = _reduced(frame, size)
    if frame.rotation % 360:  # degrees counterclockwise, from the film's display matrix
        picture = picture.rotate(frame.rotation, expand=True)
    if frame.rotation % 180:
        width, height = height, width
    return {"width": width, "height": height, "thumbnail_type": write(picture, thumbnail)}


def _reduced(frame: Any, size: tuple[int, int]) -> "Picture":
    """Returns the frame as an RGB picture of this size; never a full frame as RGB."""
    # One thread, since the child may not be allowed a second one.
    how = {"width": size[0], "height": size[1], "interpolation": "AREA", "threads": 1}
    if is_plain(frame.color_trc, frame.color_primaries):  # mutant: high dynamic range
        return cast("Picture", frame.to_image(**how))
    # In 8 bits, dark colours of a wide gamut would be off by more than ten steps.
    green, blue, red = (
        Image.frombytes("F", size, bytes(plane), "raw", "F;32F", plane.line_size, 1)
        for plane in frame.reformat(format="gbrpf32le", **how).planes
    )
    return to_srgb((red, green, blue), frame.color_trc, frame.color_primaries)


def _displayed(width: int, height: int, ratio: Any) -> tuple[int, int]:
    """Returns the dimensions with square pixels: one side grows, as HTML's ``videoWidth`` has it."""
    if not ratio or not 1 / MAX_STRETCH <= ratio <= MAX_STRETCH:  # mutant: pixels that are not square
        return width, height
    return (round(width * ratio), height) if ratio > 1 else (width, round(height / ratio))


def _opened(file: BinaryIO, content_type: str) -> Any:
    file.seek(0)
    # FFmpeg opens nothing else, even if the file names others. Names in it may be in any encoding.
    nothing = {"protocol_whitelist": "none"}
    return av.open(file, format=DEMUXERS[content_type], options=nothing, metadata_errors="ignore")


def _film_in(container: Any) -> Any:
    """Returns the first stream of moving pictures, or None; the picture of a song's cover is none."""
    films = (stream for stream in container.streams.video if not stream.disposition & Disposition.attached_pic)
    return next(films, None)


def _duration_of(container: Any) -> float | None:
    """Returns the duration in s, or None if nothing in the container has a time."""
    if container.duration is None or container.format.name in HEADLESS:
        return _measured(container)
    return float(round(container.duration / av.time_base, 3))


def _measured(container: Any) -> float | None:
    """Returns the duration in s by the times of all packets, since a live recording's header has none."""
    start, end = float("inf"), float("-inf")
    for packet in container.demux():
        if packet.pts is not None and packet.time_base:
            at = float(packet.pts * packet.time_base)
            start, end = min(start, at), max(end, at + float((packet.duration or 0) * packet.time_base))
    return round(end - start, 3) if end >= start else None


def _frame_at(film: Any, stream: Any, target: float) -> Any:
    """Returns the frame at ``target`` s, or the last decodable one before it; None if there is none."""
    stream.codec_context.thread_count = 1  # each further thread takes more memory
    target += (film.start_time or 0) / av.time_base
    found = None
    try:
        film.seek(int(target * av.time_base))
        for number, frame in enumerate(film.decode(stream)):
            check(frame.width, frame.height)  # may differ from the dimensions in the header
            found = frame
            if number >= MAX_FRAMES or (frame.time is not None and frame.time >= target):
                break
    except MemoryError:
        raise
    except av.FFmpegError:
        pass
    return found


def _first_frame(file: BinaryIO, content_type: str, index: int) -> Any:
    """Returns the film's first decodable frame; raises ValueError if there is none."""
    with _opened(file, content_type) as film:
        stream = film.streams[index]
        stream.codec_context.thread_count = 1
        for packet in film.demux(stream):
            try:
                frames = packet.decode()
            except MemoryError:
                raise
            except av.FFmpegError:
                continue
            if frames:
                check(frames[0].width, frames[0].height)
                return frames[0]
    raise ValueError("no frame")
