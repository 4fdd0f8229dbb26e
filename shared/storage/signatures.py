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


def _is_blu_ray_stream(first: bytes) -> bool:
    """Whether it is a transport stream with a time of 4 bytes before each packet."""
    size = TRANSPORT_PACKET + 4
    return len(first) > 2 * size and set(first[4 : 8 * size : size]) == {0x47}


def _is_dolby(first: bytes, versions: range) -> bool:
    """Whether it begins with a frame of AC-3 or E-AC-3: ETSI TS 102 366, by the version of the bit stream."""
    return len(first) > 6 and first.startswith(b"\x0b\x77") and first[5] >> 3 in versions


def _is_tensors(first: bytes) -> bool:
    """Whether the length of a JSON object comes first, and then its beginning."""
    return first[8:10] in (b'{"', b"{}") and int.from_bytes(first[:8], "little") <= MAX_TENSORS_HEADER


def _is_usdz(first: bytes) -> bool:
    """Whether it is an archive whose first file is a scene, not compressed."""
    name = first[30 : 30 + int.from_bytes(first[26:28], "little")]
    return first.startswith(b"PK\3\4") and first[8:10] == b"\0\0" and name.lower().endswith(USD_FILES)


def _starts(*starts: bytes) -> Callable[[bytes], bool]:
    return lambda first: first.startswith(starts)


def _portable(numbers: bytes) -> Callable[[bytes], object]:
    """The formats of Netpbm, by the digit behind the P; a width and a height follow."""
    return re.compile(rb"P[" + numbers + rb"]\s+(?:#[^\n]*\n\s*)*\d+\s+\d+\s").match


def _jpeg_2000(brand: bytes) -> Callable[[bytes], bool]:
    return lambda first: first.startswith(b"\0\0\0\x0cjP  ") and first[20:24] == brand


def _brand(*starts: bytes) -> Callable[[bytes], bool]:
    return lambda first: first[4:8] == b"ftyp" and first[8:12].startswith(starts)


# The first that matches counts.
SIGNATURES: tuple[Signature, ...] = (
    ("model/gltf-binary", "glb", lambda first: first.startswith(b"glTF")),
    ("model/ply", "ply", POLYGONS.match),
    ("model/vnd.usdz+zip", "usdz", _is_usdz),
    ("application/x-safetensors", "safetensors", _is_tensors),
    ("model/vnd.usda", "usda", re.compile(rb"#usda \d").match),
    ("model/x-usdc", "usdc", _starts(b"PXR-USDC")),
    ("model/stl", "stl", re.compile(rb"\s*solid\b[^\n]*\n\s*facet\s+normal\s").match),
    ("application/x-fbx", "fbx", _starts(b"Kaydara FBX Binary", b"; FBX ")),
    ("image/jp2", "jp2", _jpeg_2000(b"jp2 ")),
    ("image/jpx", "jpx", _jpeg_2000(b"jpx ")),
    ("image/jxl", "jxl", _starts(b"\xff\x0a", b"\0\0\0\x0cJXL \r\n\x87\n")),
    ("image/x-exr", "exr", _starts(b"\x76\x2f\x31\x01")),
    ("image/vnd.radiance", "hdr", _starts(b"#?RADIANCE", b"#?RGBE")),
    ("image/qoi", "qoi", _starts(b"qoif")),
    ("image/x-portable-bitmap", "pbm", _portable(b"14")),
    ("image/x-portable-graymap", "pgm", _portable(b"25")),
    ("image/x-portable-pixmap", "ppm", _portable(b"36")),
    ("audio/x-caf", "caf", _starts(b"caff\0\1")),
    ("audio/ac3", "ac3", lambda first: _is_dolby(first, range(11))),
    ("audio/eac3", "eac3", lambda first: _is_dolby(first, range(11, 17))),
    ("audio/x-w64", "w64", _starts(b"riff\x2e\x91\xcf\x11\xa5\xd6\x28\xdb\x04\xc1\0\0")),
    ("audio/basic", "au", _starts(b".snd\0\0")),
    ("application/mxf", "mxf", _starts(b"\x06\x0e\x2b\x34\x02\x05\x01\x01\x0d\x01\x02")),
    ("video/mp2t", "m2ts", _is_blu_ray_stream),
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
