"""Examines video and sound with PyAV. Runs in the child only."""

from pathlib import Path
from typing import Any

import av

from shared.media.dimensions import check
from shared.media.images import small, write
from shared.media.media import Answer

EARLY = 1.0  # s; a thumbnail shows this moment of a film, or a tenth of the duration if that is earlier
MAX_FRAMES = 500  # decoded to reach that moment, from the key frame before it

# FFmpeg's demuxers by content type. Without one, FFmpeg guesses and accepts playlists, which name further files.
DEMUXERS = {
    "video/mp4": "mp4", "video/x-m4v": "mp4", "video/quicktime": "mp4", "video/3gpp": "mp4",
    "video/webm": "matroska", "video/x-matroska": "matroska",
    "video/x-msvideo": "avi", "video/x-ms-wmv": "asf", "video/mpeg": "mpeg", "video/x-flv": "flv",
    "audio/mp4": "mp4", "audio/mpeg": "mp3", "audio/wav": "wav", "audio/x-wav": "wav", "audio/ogg": "ogg",
    "audio/flac": "flac", "audio/x-flac": "flac", "audio/aac": "aac", "audio/aiff": "aiff", "audio/x-aiff": "aiff",
    "audio/amr": "amr",
}  # fmt: skip


def show(path: Path, content_type: str, thumbnail: Path) -> Answer:
    """Returns a film's dimensions as displayed and its duration; writes the thumbnail of an early frame."""
    with _opened(path, content_type) as film:
        duration = _duration_of(film)
        stream = film.streams.video[0]
        check(stream.codec_context.width, stream.codec_context.height)
        target = min(EARLY, duration / 10) if duration else 0.0
        frame = _frame_at(film, stream, target) or _first_frame(path, content_type)
        width, height = frame.width, frame.height
        size = small(width, height)
        picture = frame.to_image(width=size[0], height=size[1], interpolation="AREA")  # never a full frame as RGB
        if frame.rotation % 360:  # degrees counterclockwise, from the film's display matrix
            picture = picture.rotate(frame.rotation, expand=True)
        if frame.rotation % 180:
            width, height = height, width
        return {"width": width, "height": height, "duration": duration, "thumbnail_type": write(picture, thumbnail)}


def listen(path: Path, content_type: str, thumbnail: Path) -> Answer:
    """Returns the duration of sound."""
    with _opened(path, content_type) as sound:
        if not sound.streams.audio:
            raise ValueError("no sound")
        return {"duration": _duration_of(sound)}


def _opened(path: Path, content_type: str) -> Any:
    # FFmpeg opens this file only, even if the file names others.
    return av.open(str(path), format=DEMUXERS[content_type], options={"protocol_whitelist": "file"})


def _duration_of(container: Any) -> float | None:
    """Returns the duration in s, or None if the container has none."""
    return None if container.duration is None else round(container.duration / av.time_base, 3)


def _frame_at(film: Any, stream: Any, target: float) -> Any:
    """Returns the frame at ``target`` s, or the last decodable one before it; None if there is none."""
    stream.codec_context.thread_count = 1  # each further thread takes more memory
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


def _first_frame(path: Path, content_type: str) -> Any:
    """Returns the film's first decodable frame; raises ValueError if there is none."""
    with _opened(path, content_type) as film:
        film.streams.video[0].codec_context.thread_count = 1
        for packet in film.demux(video=0):
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
