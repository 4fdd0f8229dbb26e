"""Pictures of every kind, made with Pillow, and files that are neither pictures nor films nor sound."""

import io
import json
import struct
import zipfile
from array import array
from typing import Any

from PIL import Image, ImageCms

from tests.files.media import saved
from tests.files.samples import LEFT, RIGHT, SIZE, Sample, halves

BOTH = (LEFT, RIGHT)
BLACK, WHITE, GREY = (0, 0, 0), (255, 255, 255), (128, 128, 128)


def profile(space: bytes, primaries: tuple[tuple[float, float, float], ...], gamma: float) -> bytes:
    """An ICC profile of one gamma: of RGB with the XYZ (D50) of its primaries, or of grey. ICC.1:2010, 7 to 9."""

    def xyz(values: tuple[float, float, float]) -> bytes:
        return b"XYZ \0\0\0\0" + struct.pack(">3i", *(round(value * 65536) for value in values))

    curve = b"curv\0\0\0\0" + struct.pack(">IHH", 1, round(gamma * 256), 0)
    names = [(b"rXYZ", b"rTRC"), (b"gXYZ", b"gTRC"), (b"bXYZ", b"bTRC")]
    white = (0.9642, 1.0, 0.8249)
    tags: dict[bytes, bytes] = {b"wtpt": xyz(white)}
    if space == b"GRAY":
        tags[b"kTRC"] = curve
    for (colorant, tone), values in zip(names, primaries, strict=False):
        tags |= {colorant: xyz(values), tone: curve}
    tags[b"desc"] = b"desc\0\0\0\0" + struct.pack(">I", 5) + b"test\0" + bytes(78)
    table, body = struct.pack(">I", len(tags)), b""
    for name, content in tags.items():
        table += name + struct.pack(">II", 132 + 12 * len(tags) + len(body), len(content))
        body += content + bytes(-len(content) % 4)
    head = struct.pack(
        ">I4sI4s4s4s", 132 + 12 * len(tags) + len(body), b"\0\0\0\0", 0x02400000, b"mntr", space, b"XYZ "
    )
    head += bytes(12) + b"acsp" + bytes(28) + struct.pack(">3i", *(round(value * 65536) for value in white))
    return head.ljust(128, b"\0") + table + body


P3 = profile(b"RGB ", ((0.5151, 0.2412, -0.0011), (0.2920, 0.6922, 0.0419), (0.1571, 0.0666, 0.7841)), 2.2)
LINEAR_GREY = profile(b"GRAY", (), 1.0)


def numbers(mode: str, left: float, right: float, kind: str) -> bytes:
    """A picture of large numbers or fractions."""
    code = {"I;16": "H", "I": "i", "F": "f"}[mode]
    cast: Any = float if mode == "F" else int
    row = array(code, [cast(left)] * 32 + [cast(right)] * 32)
    return saved(Image.frombytes(mode, SIZE, row.tobytes() * SIZE[1]), kind)


def with_profile(picture: Image.Image, icc: bytes, kind: str) -> bytes:
    return saved(picture, kind, icc_profile=icc)


def pictures() -> list[Sample]:
    picture = halves()
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned clockwise
    webp, gif, avif, apng = (("image/" + name, name) for name in ("webp", "gif", "avif", "apng"))
    png, jpeg, tiff = ("image/png", "png"), ("image/jpeg", "jpg"), ("image/tiff", "tif")
    dark = (BLACK, WHITE)  # what is stretched
    made: dict[str, tuple[bytes, tuple[str, str], Any]] = {
        "png": (saved(picture, "PNG"), png, BOTH),
        "png with a palette": (saved(picture.quantize(8), "PNG"), png, BOTH),
        "png of grey": (saved(halves(mode="L", left=60, right=200), "PNG"), png, ((60,) * 3, (200,) * 3)),
        "png of 16 bits": (numbers("I;16", 10_280, 51_400, "PNG"), png, ((40,) * 3, (200,) * 3)),
        "png of 16 bits, nearly black": (numbers("I;16", 500, 1500, "PNG"), png, dark),
        "png of 16 bits, nearly white": (numbers("I;16", 64_000, 65_000, "PNG"), png, dark),
        "png of 16 bits and one level": (numbers("I;16", 32_896, 32_896, "PNG"), png, (GREY, GREY)),
        "png of Display P3": (with_profile(_of_p3(picture), P3, "PNG"), png, BOTH),
        "see-through png of Display P3": (
            with_profile(_see_through(_of_p3(picture)), P3, "PNG"), png, BOTH),
        "png with a broken profile": (with_profile(picture, P3[:200], "PNG"), png, BOTH),
        "jpeg": (saved(picture, "JPEG", quality=95), jpeg, BOTH),
        "jpeg of CMYK": (saved(picture.convert("CMYK"), "JPEG", quality=95), jpeg, BOTH),
        "jpeg of linear grey": (
            with_profile(halves(mode="L", left=55, right=128), LINEAR_GREY, "JPEG"), jpeg, ((128,) * 3, (188,) * 3)),
        "jpeg with a profile of another colour space": (with_profile(picture, LINEAR_GREY, "JPEG"), jpeg, BOTH),
        "jpeg with a preview": (saved(picture, "MPO", save_all=True, append_images=[picture]), jpeg, BOTH),
        "tiff": (saved(picture, "TIFF", compression="tiff_lzw"), tiff, BOTH),
        "tiff of Lab": (saved(_lab(picture), "TIFF"), tiff, BOTH),
        "tiff of 16 bits": (numbers("I;16", 10_280, 51_400, "TIFF"), tiff, ((40,) * 3, (200,) * 3)),
        "tiff of 32 bits": (numbers("I", -70_000, 900_000, "TIFF"), tiff, dark),
        "tiff of fractions": (numbers("F", 0.25, 0.75, "TIFF"), tiff, ((64,) * 3, (191,) * 3)),
        "tiff of small fractions": (numbers("F", 0.001, 0.002, "TIFF"), tiff, dark),
        "tiff of large fractions": (numbers("F", -50.0, 9000.0, "TIFF"), tiff, dark),
        "tiff of fractions up to infinity": (numbers("F", 0.2, float("inf"), "TIFF"), tiff, ((51,) * 3, WHITE)),
        "tiff of fractions and nothing": (numbers("F", float("nan"), 0.5, "TIFF"), tiff, (BLACK, GREY)),
        "webp": (saved(picture, "WEBP", quality=95), webp, BOTH),
        "see-through webp": (saved(_see_through(picture), "WEBP", lossless=True), webp, BOTH),
        "gif": (saved(picture, "GIF"), gif, BOTH),
        "gif in motion": (
            saved(picture, "GIF", save_all=True, append_images=[halves(left="white")]), gif, BOTH),
        "bmp": (saved(picture, "BMP"), ("image/bmp", "bmp"), BOTH),
        "avif": (saved(picture, "AVIF", quality=95), avif, BOTH),
        "avif in motion": (
            saved(picture, "AVIF", quality=95, save_all=True, append_images=[picture]), avif, BOTH),
        "png in motion": (
            saved(picture, "PNG", save_all=True, append_images=[halves(left="white")]), apng, BOTH),
    }  # fmt: skip
    return [
        *(Sample(name, content, *kind, SIZE, None, colours) for name, (content, kind, colours) in made.items()),
        Sample("jpeg on its side", saved(picture, "JPEG", quality=95, exif=exif), *jpeg, SIZE[::-1], None,
               is_on_its_side=True),
    ]  # fmt: skip


def others() -> list[Sample]:
    archive, scene = io.BytesIO(), io.BytesIO()
    with zipfile.ZipFile(archive, "w") as written:
        written.writestr("a.txt", "text")
    with zipfile.ZipFile(scene, "w") as written:
        written.writestr("scene.usdc", b"PXR-USDC" + bytes(80))
    head = json.dumps({"w": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}}).encode()
    svg = b'<svg xmlns="http://www.w3.org/2000/svg"><script>alert(1)</script></svg>'
    prolog = b'\xef\xbb\xbf<?xml version="1.0"?>\n<!-- drawn --> <!-- twice -->\n'
    doctype = b'<!DOCTYPE svg PUBLIC "-//W3C//DTD SVG 1.1//EN" "http://www.w3.org/Graphics/SVG/1.1/DTD/svg11.dtd">\n'
    text, subtitles = "text/plain; charset=utf-8", "application/x-subrip; charset=utf-8"
    made = {
        "glb": (b"glTF" + struct.pack("<III", 2, 20, 0) + b"JSON{}  ", "model/gltf-binary", "glb"),
        "ply": (b"ply\nformat ascii 1.0\nelement vertex 0\nend_header\n", "model/ply", "ply"),
        "ply of numbers": (b"ply\r\nformat binary_little_endian 1.0\r\n\0\1", "model/ply", "ply"),
        "usdz": (scene.getvalue(), "model/vnd.usdz+zip", "usdz"),
        "safetensors": (struct.pack("<Q", len(head)) + head + bytes(4), "application/x-safetensors", "safetensors"),
        "srt": (b"1\r\n00:00:00,000 --> 00:00:02,500\r\nHello\r\n", subtitles, "srt"),
        "srt with a mark": (b"\xef\xbb\xbf\n1\n00:00:00,000 --> 00:00:02,500\nHello\n", subtitles, "srt"),
        "vtt": (b"WEBVTT\n\n00:00.000 --> 00:02.000\nHello\n", "text/vtt; charset=utf-8", "vtt"),
        "vtt with a title": (b"\xef\xbb\xbfWEBVTT - made here\n", "text/vtt; charset=utf-8", "vtt"),
        "svg": (svg, "image/svg+xml", "svg"),
        "svg with a prolog": (prolog + doctype + svg, "image/svg+xml", "svg"),
        "svg with its own entities": (b"<!DOCTYPE svg [<!ENTITY a 'b'>]>" + svg, text, "txt"),
        "page with an svg": (b"<!DOCTYPE html><body>" + svg, text, "txt"),
        "text about vtt": (b"WEBVTTs are files", text, "txt"),
        "json": (b'{"a": 1}', "application/json", "json"),
        "zip": (archive.getvalue(), "application/zip", "zip"),
        "pdf": (b"%PDF-1.7\n", "application/pdf", "pdf"),
        "lyrics": (b"[Verse 1]\nUnder the moon\n", text, "txt"),
        "subtitles with styles": (b"[Script Info]\nTitle: x\n", text, "txt"),
        "lyrics with times": (b"[00:01.00] Under the moon\n", text, "txt"),
        "template": (b"{{template}} hello", text, "txt"),
        "json with a mark": (b"\xef\xbb\xbf [1, {}]\n", "application/json", "json"),
        "long json": (json.dumps([{"text": "word " * 20, "n": 1.5}] * 900).encode(), "application/json", "json"),
        "long text in brackets": (b"[Verse 1]\nUnder the moon\n" * 900, text, "txt"),
        "too deep": (b"[" * 9000, text, "txt"),
        "jp2": (b"\0\0\0\x0cjP  \r\n\x87\n\0\0\0\x14ftypjp2 " + bytes(40), "image/jp2", "jp2"),
        "jxl": (b"\xff\x0a\xfa\x1f" + bytes(40), "image/jxl", "jxl"),
        "jxl in boxes": (b"\0\0\0\x0cJXL \r\n\x87\n" + bytes(40), "image/jxl", "jxl"),
        "exr": (b"\x76\x2f\x31\x01\2\0\0\0" + bytes(40), "image/x-exr", "exr"),
        "hdr": (b"#?RADIANCE\nFORMAT=32-bit_rle_rgbe\n\n-Y 1 +X 1\n\x80\x80\x80\x80", "image/vnd.radiance", "hdr"),
        "ppm": (b"P6\n# made\n2 1\n255\n" + bytes(6), "image/x-portable-pixmap", "ppm"),
        "pgm of text": (b"P2 2 1 255\n0 255\n", "image/x-portable-graymap", "pgm"),
        "text about a place": (b"P1 is 3 floors down", text, "txt"),
        "qoi": (b"qoif\0\0\0\1\0\0\0\1\4\0" + bytes(12), "image/qoi", "qoi"),
        "usdc": (b"PXR-USDC" + bytes(80), "model/x-usdc", "usdc"),
        "usda": (b"#usda 1.0\n(\n)\n", "model/vnd.usda", "usda"),
        "stl of text": (b"solid x\n  facet normal 0 0 1\n outer loop\n", "model/stl", "stl"),
        "fbx": (b"Kaydara FBX Binary  \0\x1a\0" + bytes(40), "application/x-fbx", "fbx"),
        "caf": (b"caff\0\1\0\0desc" + bytes(40), "audio/x-caf", "caf"),
        "ac3": (b"\x0b\x77\x00\x00\x14\x40" + bytes(40), "audio/ac3", "ac3"),
        "eac3": (b"\x0b\x77\x01\xff\x34\x87" + bytes(40), "audio/eac3", "eac3"),
        "w64": (b"riff\x2e\x91\xcf\x11\xa5\xd6\x28\xdb\x04\xc1\0\0" + bytes(40), "audio/x-w64", "w64"),
        "au": (b".snd\0\0\0\x18" + bytes(40), "audio/basic", "au"),
        "mxf": (b"\x06\x0e\x2b\x34\x02\x05\x01\x01\x0d\x01\x02\x01" + bytes(40), "application/mxf", "mxf"),
        "nothing known": (b"\xff\xe3\x18\xc4" + bytes(400), "application/octet-stream", "bin"),
    }  # fmt: skip
    return [Sample(name, *row, colours=None) for name, row in made.items()]


def _see_through(picture: Image.Image) -> Image.Image:
    """The same picture with a transparent corner."""
    shown = picture.convert("RGBA")
    shown.paste((*LEFT, 0), (0, 0, 4, 4))
    return shown


def _lab(picture: Image.Image) -> Image.Image:
    return _converted(picture, ImageCms.createProfile("LAB"), "LAB")


def _of_p3(picture: Image.Image) -> Image.Image:
    return _converted(picture, ImageCms.ImageCmsProfile(io.BytesIO(P3)), "RGB")


def _converted(picture: Image.Image, profile: Any, mode: str) -> Image.Image:
    converted = ImageCms.profileToProfile(picture, ImageCms.createProfile("sRGB"), profile, outputMode=mode)
    assert converted is not None
    return converted
