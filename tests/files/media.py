"""Examining files as a deployment does, and the code that its child runs."""

import io
import sys
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from shared.media import examination
from shared.media.examination import examine
from shared.media.media import Media

ENOUGH = 60.0  # s


async def looked_into(file: Path, content: bytes, content_type: str, timeout: float = ENOUGH) -> Media:
    file.write_bytes(content)
    return await examine(file, content_type, timeout=timeout)


def thumbnail_of(media: Media) -> Image.Image:
    assert media.thumbnail is not None and media.error is None
    picture = Image.open(io.BytesIO(media.thumbnail))
    picture.load()
    return picture


def code(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    """Makes the child run this code."""
    monkeypatch.setattr(examination, "COMMAND", (sys.executable, "-c", text))


def saved(picture: Image.Image, kind: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, kind, **options)
    return buffer.getvalue()
