"""Files of many kinds have the right type, dimensions and duration, and a thumbnail of the same colours."""

import gzip
import io
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from shared.media.examination import ROOT, examine
from shared.media.media import Media
from shared.storage.kinds import ENOUGH, content_type_of, examined_type, kind_of
from shared.storage.pages import is_error_page
from tests.files.films import films, sounds
from tests.files.pictures import others, pictures
from tests.files.samples import Sample

STEPS = 8  # of 256; JPEG and the films' codecs take up to 5
Examined = dict[str, tuple[dict[str, object], bytes]]
# As child.py does it, but for many files.
EXAMINE_ALL = """
import json, os, pathlib, sys
from shared.media import films, images
from shared.media.child import answer
from shared.media.confinement import lock
folder, work = pathlib.Path(sys.argv[1]), []
for number, content_type in enumerate(json.loads((folder / "types").read_text())):
    examiner = images.show if content_type.startswith("image/") else films.examine
    work.append((examiner, (folder / str(number)).open("rb"), content_type, (folder / f"{number}-seen").open("wb")))
if sys.argv[2]:
    os.setgid(int(sys.argv[2]))
    os.setuid(int(sys.argv[2]))
lock()
for examiner, file, content_type, thumbnail in work:
    print(json.dumps(answer(examiner, file, content_type, thumbnail)))
"""


def examined(samples: list[Sample], folder: Path, user: str = "") -> Examined:
    """What one locked child of the user finds in all of them, and their thumbnails."""
    for number, sample in enumerate(samples):
        (folder / str(number)).write_bytes(sample.content)
    (folder / "types").write_text(json.dumps([kind_of(sample.content[:ENOUGH]).content_type for sample in samples]))
    child = subprocess.run(
        [sys.executable, "-c", EXAMINE_ALL, str(folder), user], cwd=ROOT, capture_output=True, text=True, check=True
    )
    answers = [json.loads(line) for line in child.stdout.splitlines()]
    seen = [(folder / f"{number}-seen").read_bytes() for number in range(len(samples))]
    return {sample.name: found for sample, *found in zip(samples, answers, seen, strict=True)}  # type: ignore[misc]


@pytest.fixture(scope="module")
def seen(tmp_path_factory: pytest.TempPathFactory) -> Examined:
    """All samples that are examined, by name."""
    return examined([*films(), *pictures(), *sounds()], tmp_path_factory.mktemp("samples"))


def check(sample: Sample, found: dict[str, object]) -> None:
    kind = kind_of(sample.content[:ENOUGH])
    assert kind.content_type == (sample.first_type or sample.content_type)
    assert kind.extension == sample.extension or sample.first_type
    assert content_type_of(f"0.{sample.extension}") == sample.content_type
    assert "error" not in found
    has_picture: object = found.get("has_picture")
    assert examined_type(kind.content_type, has_picture) == sample.content_type  # type: ignore[arg-type]
    size = (found.get("width"), found.get("height")) if sample.size else None
    assert size == sample.size
    assert found.get("duration") == (sample.duration and pytest.approx(sample.duration, abs=0.09))


def check_colours(sample: Sample, thumbnail: bytes) -> None:
    assert sample.size is not None and sample.colours is not None
    picture = Image.open(io.BytesIO(thumbnail)).convert("RGB")
    width, height = picture.size
    assert abs(width / height - sample.size[0] / sample.size[1]) < 0.02
    middle, edge = (0, height // 2) if sample.is_on_its_side else (width // 2, 0)
    boxes = ((6, 6, (middle or width) - 6, (edge or height) - 6), (middle + 6, edge + 6, width - 6, height - 6))
    for box, colour in zip(boxes, sample.colours, strict=True):
        mean = picture.crop(box).resize((1, 1), Image.Resampling.BOX).getpixel((0, 0))
        assert isinstance(mean, tuple)
        assert max(abs(one - other) for one, other in zip(mean, colour, strict=True)) <= STEPS, (mean, colour)


def named(samples: list[Sample]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("sample", samples, ids=lambda sample: sample.name)


@named(films() + pictures())
def test_a_film_or_a_picture_is_shown_as_it_is(seen: Examined, sample: Sample) -> None:
    found, thumbnail = seen[sample.name]
    check(sample, found)
    check_colours(sample, thumbnail)


@named(sounds())
def test_sound_in_any_container_has_its_type_and_duration(seen: Examined, sample: Sample) -> None:
    found, thumbnail = seen[sample.name]
    check(sample, found)
    assert (found["has_picture"], thumbnail) == (False, b"")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may become another user")
def test_no_decoder_needs_a_thread(seen: Examined, tmp_path: Path) -> None:
    """Every user but root may start none, since the kernel counts threads as processes."""
    samples = [*films(), *pictures(), *sounds()]
    assert examined(samples, tmp_path, "65534") == seen


@named(others())
async def test_another_file_has_its_type_and_is_not_examined(sample: Sample, tmp_path: Path) -> None:
    kind = kind_of(sample.content[:ENOUGH])
    assert (kind.content_type, kind.extension) == (sample.content_type, sample.extension)
    assert content_type_of(f"0.{sample.extension}") == sample.content_type
    assert await examine(tmp_path / "none", sample.content_type, timeout=1) == Media(error="unknown_type")


@pytest.mark.parametrize(
    ("name", "content", "kind"),
    [
        ("a.obj", b"# made here\nmtllib a.mtl\nv 0 0 1.5\nf 1 1 1\n", ("model/obj", "obj")),
        ("a.OBJ?x=1", b"v 0 0 1.5\n", ("model/obj", "obj")),
        ("a.mtl", b"newmtl red\nKd 1 0 0\n", ("model/mtl", "mtl")),
        ("a.gltf", b'{"asset": {"version": "2.0"}}', ("model/gltf+json", "gltf")),
        ("a.stl", b"a header".ljust(80) + b"\1\0\0\0" + bytes(50), ("model/stl", "stl")),
        ("a.stl", b"a header".ljust(80) + b"\1\0\0\0" + bytes(51), ("application/octet-stream", "bin")),
        ("a.obj", b"Service Unavailable", ("text/plain; charset=utf-8", "txt")),
        ("a.obj", b'{"error": 1}', ("application/json", "json")),
        ("a.html", b"v 0 0 1.5\n", ("text/plain; charset=utf-8", "txt")),
        ("a.png", b"v 0 0 1.5\n", ("text/plain; charset=utf-8", "txt")),
        ("[/a.obj", b"v 0 0 1.5\n", ("model/obj", "obj")),
    ],
)
def test_a_name_tells_a_model_from_other_text_and_nothing_else(
    name: str, content: bytes, kind: tuple[str, str]
) -> None:
    found = kind_of(content, f"https://replicate.delivery/{name}")
    assert (found.content_type, found.extension) == kind
    assert content_type_of(f"0.{found.extension}") == found.content_type


PAGE = b"<!DOCTYPE html><html><body>Bad gateway</body></html>"


@pytest.mark.parametrize(
    ("name", "content", "is_page"),
    [
        ("x.mp4", b"<h1>Bad</h1>", True),
        ("x.mp4", b'{"error":"internal"}', True),
        ("x.png", b"Service Unavailable", True),
        ("x.png", gzip.compress(PAGE), True),
        ("x.obj", b"Service Unavailable", True),
        ("x.gltf", b"Service Unavailable", True),
        ("x.svg", PAGE, True),
        ("x.svg", PAGE.replace(b"Bad", b"<svg></svg>"), True),
        ("x.svg", b"<?xml version='1.0'?><Error/>", True),
        ("x.svg", b"Service Unavailable", True),
        ("x", PAGE, True),
        ("x", b"Service Unavailable", False),
        ("x.txt", b"Service Unavailable", False),
        ("x.json", b'{"error":"internal"}', False),
        ("x.html", PAGE, False),
        ("x.gltf", b'{"asset": {"version": "2.0"}}', False),
        ("x.obj", b"v 0 0 1\n", False),
        ("x.ply", b"ply\nformat ascii 1.0\n", False),
        ("x.svg", b"<svg/>", False),
        ("x.svg", gzip.compress(b"<svg/>"), False),
        ("x.svg", b"<!DOCTYPE svg [<!ENTITY a 'b'>]><svg/>", False),
        ("x.png", b"<svg/>", False),
        ("x.png", b"\x89PNG\r\n\x1a\n\0", False),
        ("x.mp4", b"\x1f\x8bno gzip", False),
    ],
)
def test_text_in_the_place_of_a_film_a_picture_or_a_model_is_an_error(name: str, content: bytes, is_page: bool) -> None:
    assert is_error_page(content, f"https://replicate.delivery/a/{name}?sig=1") == is_page
