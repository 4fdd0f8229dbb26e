"""Films and sounds of every kind, made with PyAV."""

import io
import math
import tempfile
from array import array
from collections.abc import Callable
from fractions import Fraction
from functools import partial
from pathlib import Path
from typing import Any, cast

import av
from av.audio.stream import AudioStream
from av.video.reformatter import VideoReformatter
from PIL import Image

from tests.files.samples import LEFT, RIGHT, SIZE, Sample, halves

FRAMES, RATE = 10, 25
PQ, HLG, BT2020, BT709 = 16, 18, 9, 1  # ITU-T H.273
QUIET = {"x265-params": "log-level=0"}
INDEX_FIRST, FRAGMENTS = {"movflags": "faststart"}, {"movflags": "frag_keyframe+empty_moov"}
NO_TAG = {"id3v2_version": "0"}
TAGS_709 = {"colorspace": BT709, "color_primaries": BT709, "color_trc": BT709}


def film(
    codec: str,
    container: str,
    *,
    size: tuple[int, int] = SIZE,
    pixels: str = "yuv420p",
    picture: Any = None,
    frames: int = FRAMES,
    muxing: dict[str, str] | None = None,
    options: dict[str, str] | None = None,
    tags: dict[str, Any] | None = None,
    colours: dict[str, Any] | None = None,
    turned: int = 0,
    live: bool = False,
    sound: bool = False,
) -> bytes:
    """A film whose frames show the picture; ``live`` writes it to what cannot be rewound."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "film"
        target: Any = _Pipe(path) if live else str(path)
        with av.open(target, "w", format=container, options=muxing or {}) as written:
            stream: Any = written.add_stream(codec, rate=RATE, options=options or {})
            stream.width, stream.height, stream.pix_fmt = *size, pixels
            for name, value in (tags or {}).items():
                setattr(stream.codec_context, name, value)
            if turned:
                stream.set_display_rotation(turned)
            heard = written.add_stream("aac", rate=48_000) if sound else None
            frame: Any = picture or halves(size)
            frame = cast(Any, av.VideoFrame).from_image(frame) if isinstance(frame, Image.Image) else frame
            frame = VideoReformatter().reformat(frame, format=pixels, interpolation="BICUBIC", **(colours or {}))
            for number in range(frames):
                frame.pts = number
                written.mux(stream.encode(frame))
            written.mux(stream.encode(None))
            if heard is not None:
                _sing(written, heard, 0.4)
        return path.read_bytes()


class _Pipe(io.RawIOBase):
    """A file that is written from its beginning to its end."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        with self._path.open("ab") as file:
            return file.write(data)


def sound(
    codec: str, container: str, rate: int = 48_000, *, live: bool = False, muxing: dict[str, str] | None = None
) -> bytes:
    """Two seconds of a tone."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "sound"
        with av.open(_Pipe(path) if live else str(path), "w", format=container, options=muxing or {}) as written:
            _sing(written, cast(AudioStream, written.add_stream(codec, rate=rate, layout="mono", bit_rate=64_000)), 2.0)
        return path.read_bytes()


def _sing(container: Any, stream: AudioStream, seconds: float) -> None:
    rate = stream.codec_context.sample_rate
    tone = array("h", (round(9000 * math.sin(n / 20)) for n in range(round(rate * seconds))))
    frame = av.AudioFrame(format="s16", layout="mono", samples=len(tone))
    frame.planes[0].update(tone.tobytes())
    frame.sample_rate, frame.pts = rate, 0
    container.mux(stream.encode(frame))
    container.mux(stream.encode(None))


def signal_of(transfer: int, colour: tuple[int, int, int]) -> list[float]:
    """The signal, from 0 to 1, that shows an sRGB colour whose white has 203 cd/m2. ITU-R BT.2408."""
    light = [v / 3294.6 if v < 11 else ((v / 255 + 0.055) / 1.055) ** 2.4 for v in colour]
    rows = ((0.6274, 0.3293, 0.0433), (0.0691, 0.9195, 0.0114), (0.0164, 0.0880, 0.8956))
    wide = [sum(a * b for a, b in zip(row, light, strict=True)) * 203 for row in rows]
    if transfer == BT709:
        return [(v / 203) ** (1 / 2.4) * 1.055 - 0.055 for v in wide]
    if transfer == PQ:
        powers = [(v / 10_000) ** 0.1593017578125 for v in wide]
        return [((0.8359375 + 18.8515625 * p) / (1 + 18.6875 * p)) ** 78.84375 for p in powers]
    luminance = (0.2627 * wide[0] + 0.678 * wide[1] + 0.0593 * wide[2]) / 1000
    scene = [v / 1000 * luminance ** (1 / 1.2 - 1) for v in wide]
    return [math.sqrt(3 * v) if v <= 1 / 12 else 0.17883277 * math.log(12 * v - 0.28466892) + 0.55991073 for v in scene]


def _of_16_bits(left: list[float], right: list[float]) -> Any:
    frame: Any = av.VideoFrame(*SIZE, "rgb48le")
    half = SIZE[0] // 2
    row = array("H", (round(value * 65_535) for side in (left, right) for value in side * half)).tobytes()
    frame.planes[0].update(row.ljust(frame.planes[0].line_size, b"\0") * SIZE[1])
    return frame


def hdr_film(transfer: int) -> bytes:
    return film(
        "libx265", "mp4", pixels="yuv420p10le", options=QUIET,
        picture=_of_16_bits(signal_of(transfer, LEFT), signal_of(transfer, RIGHT)),
        tags={"colorspace": BT2020, "color_primaries": BT2020, "color_trc": transfer, "color_range": 1},
        colours={"dst_colorspace": "bt2020"},
    )  # fmt: skip


def films() -> list[Sample]:
    mp4 = ("video/mp4", "mp4")
    mov = ("video/quicktime", "mov")
    webm = ("video/webm", "webm")
    mkv = ("video/x-matroska", "mkv")
    as_709 = {"dst_colorspace": "itu709"}
    made: dict[str, tuple[Callable[[], bytes], tuple[str, str], tuple[int, int]]] = {
        "h264": (partial(film, "libx264", "mp4"), mp4, SIZE),
        "h264 with its index first": (partial(film, "libx264", "mp4", muxing=INDEX_FIRST), mp4, SIZE),
        "h264 in fragments": (partial(film, "libx264", "mp4", muxing=FRAGMENTS), mp4, SIZE),
        "h264 with sound": (partial(film, "libx264", "mp4", sound=True), mp4, SIZE),
        "h264 of odd dimensions": (partial(film, "libx264", "mp4", size=(63, 47), pixels="yuv444p"), mp4, (63, 47)),
        "h264 of full range": (partial(film, "libx264", "mp4", pixels="yuvj420p", tags={"color_range": 2}), mp4, SIZE),
        "h264 of BT.709": (partial(film, "libx264", "mp4", tags=TAGS_709, colours=as_709), mp4, SIZE),
        "h264 of 720 lines without a colour space": (
            partial(film, "libx264", "mp4", size=(960, 720), colours=as_709), mp4, (960, 720)),
        "h264 of wide pixels": (
            partial(film, "libx264", "mp4", tags={"sample_aspect_ratio": Fraction(2)}), mp4, (128, 48)),
        "h264 of narrow pixels": (
            partial(film, "libx264", "mp4", tags={"sample_aspect_ratio": Fraction(1, 2)}), mp4, (64, 96)),
        "hevc": (partial(film, "libx265", "mp4", options=QUIET), mp4, SIZE),
        "HDR10": (partial(hdr_film, PQ), mp4, SIZE),
        "HLG": (partial(hdr_film, HLG), mp4, SIZE),
        "BT.2020 without HDR": (partial(hdr_film, BT709), mp4, SIZE),
        "av1": (partial(film, "libsvtav1", "mp4", size=(64, 64), options={"preset": "11"}), mp4, (64, 64)),
        "mpeg-4": (partial(film, "mpeg4", "mp4"), mp4, SIZE),
        "quicktime h264": (partial(film, "libx264", "mov"), mov, SIZE),
        "prores": (partial(film, "prores_ks", "mov", pixels="yuv422p10le"), mov, SIZE),
        "quicktime png": (partial(film, "png", "mov", pixels="rgb24"), mov, SIZE),
        "m4v": (partial(film, "libx264", "ipod"), ("video/x-m4v", "m4v"), SIZE),
        "3gp": (partial(film, "mpeg4", "3gp"), ("video/3gpp", "3gp"), SIZE),
        "3g2": (partial(film, "mpeg4", "3g2"), ("video/3gpp2", "3g2"), SIZE),
        "vp8": (partial(film, "libvpx", "webm"), webm, SIZE),
        "vp9": (partial(film, "libvpx-vp9", "webm"), webm, SIZE),
        "vp9 without a duration": (partial(film, "libvpx-vp9", "webm", live=True), webm, SIZE),
        "matroska h264": (partial(film, "libx264", "matroska"), mkv, SIZE),
        "ffv1": (partial(film, "ffv1", "matroska"), mkv, SIZE),
        "avi mpeg-4": (partial(film, "mpeg4", "avi"), ("video/x-msvideo", "avi"), SIZE),
        "avi mjpeg": (partial(film, "mjpeg", "avi", pixels="yuvj420p"), ("video/x-msvideo", "avi"), SIZE),
        "wmv": (partial(film, "wmv2", "asf"), ("video/x-ms-wmv", "wmv"), SIZE),
        "mpeg-1": (partial(film, "mpeg1video", "mpeg"), ("video/mpeg", "mpg"), SIZE),
        "mpeg-2": (partial(film, "mpeg2video", "vob"), ("video/mpeg", "mpg"), SIZE),
        "transport stream": (partial(film, "libx264", "mpegts"), ("video/mp2t", "ts"), SIZE),
        "flv": (partial(film, "flv", "flv"), ("video/x-flv", "flv"), SIZE),
    }  # fmt: skip
    return [
        *(Sample(name, content, *kind, size, FRAMES / RATE) for name, (content, kind, size) in made.items()),
        Sample("h264 of one frame", partial(film, "libx264", "mp4", frames=1), *mp4, SIZE, 1 / RATE),
        Sample("h264 on its side", partial(film, "libx264", "mp4", turned=90), *mp4, SIZE[::-1], FRAMES / RATE,
               colours=(RIGHT, LEFT), is_on_its_side=True),
        Sample("vp9 that calls itself sound", _called_sound, *mp4, SIZE,
               FRAMES / RATE, first_type="audio/mp4"),
    ]  # fmt: skip


def sounds() -> list[Sample]:
    m4a, weba, mp3 = ("audio/mp4", "m4a"), ("audio/webm", "weba"), ("audio/mpeg", "mp3")
    made: dict[str, tuple[Callable[[], bytes], tuple[str, str]]] = {
        "m4a": (partial(sound, "aac", "ipod"), m4a),
        "mp4 with its index first": (partial(sound, "aac", "mp4", muxing=INDEX_FIRST), m4a),
        "mp4 in fragments": (partial(sound, "aac", "mp4", muxing=FRAGMENTS), m4a),
        "quicktime with its index first": (partial(sound, "pcm_s16le", "mov", muxing=INDEX_FIRST), m4a),
        "opus in webm": (partial(sound, "libopus", "webm"), weba),
        "opus in webm without a duration": (partial(sound, "libopus", "webm", live=True), weba),
        "aac in matroska": (partial(sound, "aac", "matroska"), ("audio/x-matroska", "mka")),
        "aac in 3gp with its index first": (
            partial(sound, "aac", "3gp", muxing=INDEX_FIRST), ("audio/3gpp", "3ga")),
        "mp3": (partial(sound, "libmp3lame", "mp3"), mp3),
        "mp3 of 8 kHz": (partial(sound, "libmp3lame", "mp3", 8000, muxing=NO_TAG), mp3),
        "mp3 of 11.025 kHz": (partial(sound, "libmp3lame", "mp3", 11_025, muxing=NO_TAG), mp3),
        "mp3 of 12 kHz": (partial(sound, "libmp3lame", "mp3", 12_000, muxing=NO_TAG), mp3),
        "mp3 of 22.05 kHz": (partial(sound, "libmp3lame", "mp3", 22_050, muxing=NO_TAG), mp3),
        "mp2": (partial(sound, "mp2", "mp2"), mp3),
        "wav": (partial(sound, "pcm_s16le", "wav"), ("audio/wav", "wav")),
        "rf64": (partial(sound, "pcm_s16le", "wav", muxing={"rf64": "always"}), ("audio/wav", "wav")),
        "wav with a name in Latin-1": (_with_name, ("audio/wav", "wav")),
        "flac in ogg": (partial(sound, "flac", "ogg"), ("audio/ogg", "ogg")),
        "opus": (partial(sound, "libopus", "ogg"), ("audio/ogg", "ogg")),
        "flac": (partial(sound, "flac", "flac"), ("audio/flac", "flac")),
        "aac": (partial(sound, "aac", "adts"), ("audio/aac", "aac")),
        "aiff": (partial(sound, "pcm_s16be", "aiff"), ("audio/aiff", "aiff")),
    }  # fmt: skip
    late: dict[str, tuple[Callable[[], bytes], tuple[str, str], str]] = {
        "mp4 with its index last": (partial(sound, "alac", "mp4"), m4a, "video/mp4"),
        "quicktime with its index last": (partial(sound, "pcm_s16le", "mov"), m4a, "video/quicktime"),
        "wma": (partial(sound, "wmav2", "asf", 44_100), ("audio/x-ms-wma", "wma"), "video/x-ms-wmv"),
    }
    return [
        *(Sample(name, content, *kind, None, 2.0) for name, (content, kind) in made.items()),
        *(Sample(name, make, *kind, None, 2.0, first_type=first) for name, (make, kind, first) in late.items()),
    ]


def _called_sound() -> bytes:
    """A film with the brand of sound."""
    return film("libvpx-vp9", "mp4").replace(b"isom", b"M4A ", 1)


def _with_name() -> bytes:
    """A sound with a title that is not UTF-8."""
    wave = sound("pcm_s16le", "wav")
    note = b"LIST" + (20).to_bytes(4, "little") + b"INFOINAM" + (8).to_bytes(4, "little") + b"caf\xe9 \xff\xfe\0"
    return b"RIFF" + (len(wave) - 8 + len(note)).to_bytes(4, "little") + wave[8:] + note
