"""Signatures of files that filetype does not know, or knows too narrowly."""

import re
from collections.abc import Callable

Signature = tuple[str, str, Callable[[bytes], object]]  # content type, extension, and what is true of the first bytes

# MPEG audio, ISO/IEC 11172-3 and 13818-3: kbit/s by whether it is version 1, and by layer; samples a second by version.
# Version 2.5 has 8 to 12 kHz, as speech models use.
BITRATES = {
    (True, 1): (32, 64, 96, 128, 160, 192, 224, 256, 288, 320, 352, 384, 416, 448),
    (True, 2): (32, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384),
    (True, 3): (32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
    (False, 1): (32, 48, 56, 64, 80, 96, 112, 128, 144, 160, 176, 192, 224, 256),
    (False, 2): (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
    (False, 3): (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
}
RATES = {0b11: (44_100, 48_000, 32_000), 0b10: (22_050, 24_000, 16_000), 0b00: (11_025, 12_000, 8000)}
TRANSPORT_PACKET = 188  # bytes; ITU-T H.222.0
MAX_TENSORS_HEADER = 100_000_000  # bytes; a limit of the format
USD_FILES = (b".usd", b".usda", b".usdc")
# Brands of ISO/IEC 14496-12 that films have, and what begins QuickTime films from before there were brands.
FILM_BRANDS = (b"iso", b"mp4", b"avc1", b"hvc", b"hev", b"av01", b"dash", b"msdh", b"cmf", b"M4V", b"f4v", b"MSNV")
QUICKTIME = (b"moov", b"mdat", b"wide", b"pnot")

SUBTITLES = re.compile(rb"(?:\xef\xbb\xbf)?\s*\d+[ \t]*\r?\n\d+:\d\d:\d\d[,.]\d+[ \t]*-->[ \t]*\d+:\d\d:\d\d[,.]\d+")
WEBVTT = re.compile(rb"(?:\xef\xbb\xbf)?WEBVTT(?:[ \t\r\n]|$)")
POLYGONS = re.compile(rb"ply\r?\n(?:format (?:ascii|binary_)|comment|obj_info)")
# A prolog without an internal subset, and the root element: XML 1.0, 2.8. It never goes back, so it takes little time.
SVG = re.compile(
    rb"(?:\xef\xbb\xbf)?\s*(?>(?:<\?.*?\?>|<!--.*?-->|<!DOCTYPE\s+svg[^\[>]*>)\s*)*+<(?:svg:)?svg[\s/>]", re.DOTALL
)


def _is_mpeg_audio(first: bytes) -> bool:
    """Whether there is a frame, and another one where it ends."""
    length = _frame_length(first[:4])
    return length > 0 and _frame_length(first[length : length + 4]) > 0


def _frame_length(header: bytes) -> int:
    """Returns the bytes of a frame of MPEG audio; 0 if this does not begin one."""
    if len(header) < 4 or header[0] != 0xFF or header[1] & 0xE0 != 0xE0:
        return 0
    version, layer = header[1] >> 3 & 3, 4 - (header[1] >> 1 & 3)
    bitrate, rate, padding = header[2] >> 4, header[2] >> 2 & 3, header[2] >> 1 & 1
    if version == 0b01 or layer == 4 or bitrate in (0, 15) or rate == 3:
        return 0
    bits, samples = BITRATES[version == 0b11, layer][bitrate - 1] * 1000, RATES[version][rate]
    if layer == 1:
        return (12 * bits // samples + padding) * 4
    return (72 if layer == 3 and version != 0b11 else 144) * bits // samples + padding


def _is_transport_stream(first: bytes) -> bool:
    return len(first) > 2 * TRANSPORT_PACKET and set(first[: 8 * TRANSPORT_PACKET : TRANSPORT_PACKET]) == {0x47}


def _is_tensors(first: bytes) -> bool:
    """Whether the length of a JSON object comes first, and then its beginning."""
    return first[8:10] in (b'{"', b"{}") and int.from_bytes(first[:8], "little") <= MAX_TENSORS_HEADER


def _is_usdz(first: bytes) -> bool:
    """Whether it is an archive whose first file is a scene, not compressed."""
    name = first[30 : 30 + int.from_bytes(first[26:28], "little")]
    return first.startswith(b"PK\3\4") and first[8:10] == b"\0\0" and name.lower().endswith(USD_FILES)


def _brand(*starts: bytes) -> Callable[[bytes], bool]:
    return lambda first: first[4:8] == b"ftyp" and first[8:12].startswith(starts)


# The first that matches counts.
SIGNATURES: tuple[Signature, ...] = (
    ("model/gltf-binary", "glb", lambda first: first.startswith(b"glTF")),
    ("model/ply", "ply", POLYGONS.match),
    ("model/vnd.usdz+zip", "usdz", _is_usdz),
    ("application/x-safetensors", "safetensors", _is_tensors),
    ("audio/wav", "wav", lambda first: first[:4] in (b"RF64", b"BW64") and first[8:12] == b"WAVE"),
    ("audio/mpeg", "mp3", _is_mpeg_audio),
    ("video/mp2t", "ts", _is_transport_stream),
    ("video/ogg", "ogv", lambda first: first.startswith(b"OggS") and b"\x80theora" in first[:512]),
    ("video/3gpp2", "3g2", _brand(b"3g2")),
    ("video/3gpp", "3gp", _brand(b"3gp")),
    ("video/x-m4v", "m4v", _brand(b"M4V")),
    ("audio/mp4", "m4a", _brand(b"M4A", b"M4B")),
    ("image/avif", "avif", _brand(b"avif", b"avis")),
    ("image/heic", "heic", _brand(b"heic", b"heix", b"hevc", b"hevx")),
)
# Asked after filetype, which knows brands that these would take for films.
LATE_SIGNATURES: tuple[Signature, ...] = (
    ("video/mp4", "mp4", _brand(*FILM_BRANDS)),
    ("video/quicktime", "mov", lambda first: first[4:8] in QUICKTIME),
)
# Of text in UTF-8. SVG may run scripts: see ATTACHED in kinds.py.
TEXT_SIGNATURES: tuple[Signature, ...] = (
    ("text/vtt; charset=utf-8", "vtt", WEBVTT.match),
    ("application/x-subrip; charset=utf-8", "srt", SUBTITLES.match),
    ("image/svg+xml", "svg", SVG.match),
)
