"""Video and sound by PyAV. Runs in the child only."""

from pathlib import Path
from typing import Any

import av

from shared.media.dimensions import check
from shared.media.images import small, write
from shared.media.media import Answer

EARLY = 1.0  # s into a film its thumbnail is taken, or at a tenth of a shorter one
MAX_FRAMES = 500  # decoded on the way there, from the key frame before it

# FFmpeg's demuxers by content type. Left to guess, it would also take playlists, which name further files.
DEMUXERS = {
    "video/mp4": "mp4", "video/x-m4v": "mp4", "video/quicktime": "mp4", "video/3gpp": "mp4",
    "video/webm": "matroska", "video/x-matroska": "matroska",
    "video/x-msvideo": "avi", "video/x-ms-wmv": "asf", "video/mpeg": "mpeg", "video/x-flv": "flv",
    "audio/mp4": "mp4", "audio/mpeg": "mp3", "audio/wav": "wav", "audio/x-wav": "wav", "audio/ogg": "ogg",
    "audio/flac": "flac", "audio/x-flac": "flac", "audio/aac": "aac", "audio/aiff": "aiff", "audio/x-aiff": "aiff",
    "audio/amr": "amr",
}  # fmt: skip


def show(path: Path, content_type: str, thumbnail: Path) -> Answer:
    """A film's dimensions as displayed, its duration, and the thumbnail of a frame near its beginning."""
    with _opened(path, content_type) as film:
        duration = _duration_of(film)
        stream = film.streams.video[0]
        check(stream.codec_context.width, stream.codec_context.height)
        target = min(EARLY, duration / 10) if duration else 0.0
        frame = _frame_at(film, stream, target) or _first_frame(path, content_type)
        width, height = frame.width, frame.height
        size = small(width, height)
        picture = frame.to_image(width=size[0], height=size[1], interpolation="AREA")  # never all of it as RGB
        if frame.rotation % 360:  # degrees counterclockwise, from the film's display matrix
            picture = picture.rotate(frame.rotation, expand=True)
        if frame.rotation % 180:
            width, height = height, width
        return {"width": width, "height": height, "duration": duration, "thumbnail_type": write(picture, thumbnail)}


def listen(path: Path, content_type: str, thumbnail: Path) -> Answer:
    """The duration of sound."""
    with _opened(path, content_type) as sound:
        if not sound.streams.audio:
            raise ValueError("no sound")
        return {"duration": _duration_of(sound)}


def _opened(path: Path, content_type: str) -> Any:
    # Nothing but this file is opened, whatever it names.
    return av.open(str(path), format=DEMUXERS[content_type], options={"protocol_whitelist": "file"})


def _duration_of(container: Any) -> float | None:
    """In s; None if the container does not tell."""
    return None if container.duration is None else round(container.duration / av.time_base, 3)


def _frame_at(film: Any, stream: Any, target: float) -> Any:
    """The frame at ``target`` s, or the last one before it that can be decoded; None if none can."""
    stream.codec_context.thread_count = 1  # each further one takes memory of its own
    found = None
    try:
        film.seek(int(target * av.time_base))
        for number, frame in enumerate(film.decode(stream)):
            check(frame.width, frame.height)  # may differ from what the head said
            found = frame
            if number >= MAX_FRAMES or (frame.time is not None and frame.time >= target):
                break
    except MemoryError:
        raise
    except av.FFmpegError:
        pass
    return found


def _first_frame(path: Path, content_type: str) -> Any:
    """The first frame that can be decoded, from the very beginning; ValueError if there is none."""
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
